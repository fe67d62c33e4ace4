//! Splits a loop.

use sonar_ir::loops::{Affine, LoopKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::loops::build::fresh_var;
use crate::loops::visit;
use crate::primitives::{find, rename_below};

/// Makes two loops of one, and a remainder loop if the factor does not divide the extent.
///
/// ```text
/// for x in 0..n { … x … }   -->   for x.o in 0..n / f { for x.i in 0..f { … f·x.o + x.i … } }
///                                 for x.t in 0..n % f { … n - n % f + x.t … }
/// ```
///
/// Loops in the remainder get names that end in `.t`. Always legal for `1 <= f <= n`.
pub fn split(program: &Program, name: &str, factor: usize) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let x = find(&program, name)?;
    let extent = visit::extents(&program.body, program.vars.len())[x];
    if factor == 0 || factor > extent {
        return Err(ScheduleError::BadFactor { name: name.to_owned(), extent, factor });
    }
    let outer = fresh_var(&mut program, &format!("{name}.o"));
    let inner = fresh_var(&mut program, &format!("{name}.i"));
    let (blocks, rest) = (extent / factor, extent % factor);
    let taken = take_loop(&mut program, x);
    let mut replacement = Vec::new();
    if rest > 0 {
        let mut body = taken.clone();
        let tail = fresh_var(&mut program, &format!("{name}.t"));
        visit::substitute(&mut body, x, &Affine::var(tail, 1).shift((blocks * factor) as i64));
        rename_below(&mut program, &mut body, ".t");
        replacement.push(Stmt::For { var: tail, extent: rest, kind: LoopKind::Serial, body });
    }
    let mut body = taken;
    visit::substitute(&mut body, x, &Affine::var(outer, factor as i64).plus(inner, 1));
    let body = vec![Stmt::For { var: inner, extent: factor, kind: LoopKind::Serial, body }];
    replacement.insert(0, Stmt::For { var: outer, extent: blocks, kind: LoopKind::Serial, body });
    visit::at_loop(&mut program.body, x, &mut |stmts, i| stmts.splice(i..=i, replacement.drain(..)).for_each(drop));
    Ok(program)
}

/// Takes the body of a loop, which is empty afterwards.
fn take_loop(program: &mut Program, x: Var) -> Vec<Stmt> {
    visit::at_loop(&mut program.body, x, &mut |stmts, i| match &mut stmts[i] {
        Stmt::For { body, .. } => std::mem::take(body),
        _ => vec![],
    })
    .unwrap_or_default()
}
