//! Unrolls a loop.

use sonar_ir::loops::{LoopKind, Program, Stmt};

use crate::error::ScheduleError;
use crate::loops::visit;
use crate::primitives::find;

/// The largest number of copies.
const MOST: usize = 64;

/// Marks a loop to be unrolled by the code generator.
///
/// ```text
/// for x in 0..4 { … }   -->   unrolled for x in 0..4 { … }
/// ```
///
/// Legal for serial loops of at most 64 iterations.
pub fn unroll(program: &Program, name: &str) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let var = find(&program, name)?;
    let done = visit::at_loop(&mut program.body, var, &mut |stmts, i| match &mut stmts[i] {
        Stmt::For { kind, extent, .. } if *kind == LoopKind::Serial && *extent <= MOST => {
            *kind = LoopKind::Unrolled;
            true
        }
        _ => false,
    });
    if done == Some(true) {
        return Ok(program);
    }
    let reason = format!("it is parallel, or longer than {MOST}");
    Err(ScheduleError::Illegal { step: "unroll", name: name.to_owned(), reason })
}
