//! Running a loop's iterations on several threads.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, BufferKind, LoopKind, Program, Stmt, Var};
use std::collections::BTreeMap;

use crate::error::ScheduleError;
use crate::loops::visit;
use crate::primitives::{find, gcd};

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
    let extents = visit::extents(&program.body, program.vars.len());
    let mut writes: Vec<Access> = Vec::new();
    let mut reads: Vec<Access> = Vec::new();
    let mut early: Option<Access> = None;
    visit::accesses(&program.body, &mut |access, write| {
        let kind = program.buffers[access.buffer].kind;
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
    let outputs: Vec<&Access> =
        writes.iter().filter(|access| program.buffers[access.buffer].kind == BufferKind::Output).collect();
    let clash = (0..outputs.len()).find(|&i| outputs[..=i].iter().any(|other| !apart(outputs[i], other, var, &extents)));
    let stray = reads.iter().find(|read| outputs.iter().any(|write| write.buffer == read.buffer && write.index != read.index));
    let access = clash.map(|i| outputs[i].clone()).or(stray.cloned()).or(early)?;
    Some(program.buffers[access.buffer].name.clone())
}

/// Whether two writes, or one by itself, never meet in different iterations of `var`.
///
/// The variable moves both by the same stride. What moves an address by less adds up to less than the stride, and what moves it
/// by more moves it by multiples of something larger than everything before.
fn apart(a: &Access, b: &Access, var: Var, extents: &EntityVec<Var, usize>) -> bool {
    if a.buffer != b.buffer {
        return true;
    }
    let (stride, extent) = (a.index.coefficient(var).abs(), extents[var] as i64);
    if a.index.coefficient(var) != b.index.coefficient(var) {
        return false;
    }
    if stride == 0 || extent == 1 {
        return extent == 1;
    }
    // Both lie within one pattern: of terms with one coefficient, the longest, and the distance of their starts.
    let mut reaches: BTreeMap<i64, i64> = BTreeMap::new();
    for &(v, coefficient) in a.index.terms.iter().chain(&b.index.terms).filter(|term| term.0 != var) {
        let reach = coefficient.abs() * (extents[v] as i64 - 1);
        let longest = reaches.entry(coefficient.abs()).or_insert(0);
        *longest = reach.max(*longest);
    }
    let distance = (a.index.offset - b.index.offset).abs();
    let below: i64 = reaches.range(..stride).map(|(_, reach)| reach).sum();
    let below = below + if distance < stride { distance } else { 0 };
    let above = reaches.range(stride..).filter(|(_, reach)| **reach > 0).map(|(coefficient, _)| *coefficient);
    let above = above.chain((distance >= stride).then_some(distance)).reduce(gcd);
    below < stride && above.is_none_or(|step| step > below + stride * (extent - 1))
}
