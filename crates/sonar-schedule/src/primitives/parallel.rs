//! Runs the iterations of a loop on several threads.

use sonar_ir::loops::{LoopKind, Program, Stmt};
use sonar_ir::verify::dependence;

use crate::error::ScheduleError;
use crate::primitives::find;

/// Runs iterations at the same time.
///
/// ```text
/// for n in 0..N { … }   -->   parallel for n in 0..N { … }
/// ```
///
/// Legal if the loop is the only statement of the body and its iterations are independent: see [`dependence`].
pub fn parallel(program: &Program, name: &str) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let var = find(&program, name)?;
    let dependent = match program.body.as_slice() {
        [Stmt::For { var: outermost, extent, body, .. }] if *outermost == var => dependence(&program, var, *extent, body),
        _ => return Err(ScheduleError::NotOutermost(name.to_owned())),
    };
    if let Some(buffer) = dependent {
        return Err(ScheduleError::Dependent { name: name.to_owned(), buffer: program.buffers[buffer].name.clone() });
    }
    if let [Stmt::For { kind, .. }] = program.body.as_mut_slice() {
        *kind = LoopKind::Parallel;
    }
    Ok(program)
}
