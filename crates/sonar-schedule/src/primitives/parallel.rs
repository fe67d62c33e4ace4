//! Running a loop's iterations on several threads.

use sonar_ir::loops::{Access, BufferKind, LoopKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::primitives::find;
use crate::walk;

/// Lets iterations run at the same time.
///
/// ```text
/// for n in 0..N { … }   -->   parallel for n in 0..N { … }
/// ```
///
/// Legal if the loop is the only statement of the body, no two iterations write the same element of an argument, no
/// iteration reads an element of an argument that another writes, and every temporary that is used is filled in the same
/// iteration (each thread has its own). It must come before `tensorize`, which hides what is written.
pub fn parallel(program: &Program, name: &str) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let var = find(&program, name)?;
    match program.body.as_slice() {
        [Stmt::For { var: outermost, .. }] if *outermost == var => {}
        _ => return Err(ScheduleError::NotOutermost(name.to_owned())),
    }
    if let Some(buffer) = shared(&program, var) {
        return Err(ScheduleError::Dependent { name: name.to_owned(), buffer });
    }
    if let [Stmt::For { kind, .. }] = program.body.as_mut_slice() {
        *kind = LoopKind::Parallel;
    }
    Ok(program)
}

/// A buffer through which iterations of the outermost loop may depend on each other.
fn shared(program: &Program, var: Var) -> Option<String> {
    let extents = walk::extents(&program.body, program.vars.len());
    let mut writes: Vec<Access> = Vec::new();
    let mut reads: Vec<Access> = Vec::new();
    let mut early: Option<Access> = None;
    walk::accesses(&program.body, &mut |access, write| {
        let kind = program.buffers[access.buffer.0 as usize].kind;
        match (kind, write) {
            (BufferKind::Temp, true) => writes.push(access.clone()),
            (BufferKind::Temp, false) => {
                // Statements are visited in order: a temporary must have been written before it is read.
                if !writes.iter().any(|w| w.buffer == access.buffer) {
                    early = Some(access.clone());
                }
            }
            (BufferKind::Output, true) => writes.push(access.clone()),
            (BufferKind::Output, false) => reads.push(access.clone()),
            (BufferKind::Input | BufferKind::Packed, _) => {}
        }
    });
    let is_output = |access: &&Access| program.buffers[access.buffer.0 as usize].kind == BufferKind::Output;
    let clash = writes.iter().filter(is_output).find(|write| !private(write, var, &extents));
    let stray = reads.iter().find(|read| writes.iter().filter(is_output).any(|w| w.index != read.index));
    let mixed = writes.iter().filter(is_output).find(|write| {
        let stride = write.index.coefficient(var);
        writes.iter().any(|other| other.buffer == write.buffer && other.index.coefficient(var) != stride)
    });
    let access = clash.or(mixed).cloned().or(stray.cloned()).or(early)?;
    Some(program.buffers[access.buffer.0 as usize].name.clone())
}

/// Whether different values of `var` always give different addresses: each coefficient is larger than everything that
/// the smaller ones can add up to, so that an address determines every variable.
fn private(access: &Access, var: Var, extents: &[usize]) -> bool {
    if access.index.coefficient(var) == 0 {
        return extents[var.0 as usize] == 1;
    }
    let mut terms: Vec<(i64, i64)> =
        access.index.terms.iter().map(|&(v, c)| (c.abs(), extents[v.0 as usize] as i64)).filter(|t| t.1 > 1).collect();
    terms.sort_unstable();
    let mut reach = 0;
    terms.iter().all(|&(coefficient, extent)| {
        let distinct = coefficient > reach;
        reach += coefficient * (extent - 1);
        distinct
    })
}
