//! Verifier of plans.

use super::{ARENA_ALIGNMENT, VerifyError};
use crate::loops::{Buffer, BufferKind};
use crate::plan::{KernelCall, Plan, SlotKind};
use std::ops::{Range, RangeInclusive};
use thiserror::Error;

/// Why a plan is not well-formed. Kernels, slots and calls are given by their index.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlanProblem {
    /// A kernel that does not exist.
    #[error("call {call}: there is no kernel {kernel}")]
    NoKernel {
        /// The call.
        call: usize,
        /// The kernel.
        kernel: usize,
    },
    /// A slot that does not exist.
    #[error("call {call}: there is no slot {slot}")]
    NoSlot {
        /// The call.
        call: usize,
        /// The slot.
        slot: usize,
    },
    /// Another number of arguments than the kernel takes.
    #[error("call {call}: the kernel takes {expected} arguments, but {found} are passed")]
    Arguments {
        /// The call.
        call: usize,
        /// How many the kernel takes.
        expected: usize,
        /// How many are passed.
        found: usize,
    },
    /// An argument of another length.
    #[error("call {call}: `{buffer}` has {expected} elements, but slot {slot} has {found}")]
    Length {
        /// The call.
        call: usize,
        /// Name of the argument.
        buffer: String,
        /// Its length.
        expected: usize,
        /// The slot passed.
        slot: usize,
        /// Its length.
        found: usize,
    },
    /// A kernel writes what it may only read.
    #[error("call {call} writes slot {slot}, which may only be read")]
    ReadOnly {
        /// The call.
        call: usize,
        /// The slot.
        slot: usize,
    },
    /// A slot is read before it is written.
    #[error("call {call} reads slot {slot} before it is written")]
    Undefined {
        /// The call.
        call: usize,
        /// The slot.
        slot: usize,
    },
    /// A constant with another number of elements than its shape says.
    #[error("slot {slot} has {expected} elements, but the constant has {found}")]
    Constant {
        /// The slot.
        slot: usize,
        /// What its shape says.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A slot that is not aligned or not within the arena.
    #[error("slot {0} is not aligned or not within the arena")]
    SlotPlace(usize),
    /// Temporaries that are not aligned or not within the arena.
    #[error("the temporaries of call {0} are not aligned or not within the arena")]
    ScratchPlace(usize),
    /// Two slots share memory while both are in use.
    #[error("slots {0} and {1} share memory while both are in use")]
    Overlap(usize, usize),
    /// A slot shares memory with the temporaries of a call while it is in use.
    #[error("slot {slot} is in use when call {call} uses its memory for temporaries")]
    ScratchOverlap {
        /// The slot.
        slot: usize,
        /// The call.
        call: usize,
    },
}

/// Checks that a plan is well-formed.
pub fn plan(plan: &Plan) -> Result<(), VerifyError> {
    plan.kernels.iter().try_for_each(super::program)?;
    check(plan).map_err(|problem| VerifyError::Plan { name: plan.name.clone(), problem })
}

fn check(plan: &Plan) -> Result<(), PlanProblem> {
    let mut lifetimes: Vec<Option<RangeInclusive<usize>>> = vec![None; plan.slots.len()];
    for (i, call) in plan.calls.iter().enumerate() {
        check_call(plan, i, call, &mut lifetimes)?;
    }
    let mut slots = Vec::new();
    for (i, lifetime) in lifetimes.into_iter().enumerate() {
        let place = slot_place(plan, i)?;
        if let (Some(place), Some(lifetime)) = (place, lifetime) {
            slots.push((i, place, lifetime));
        }
    }
    check_overlaps(plan, &slots)
}

/// Checks a call by itself, and extends the lifetimes of the slots that it writes or reads.
fn check_call(
    plan: &Plan,
    index: usize,
    call: &KernelCall,
    lifetimes: &mut [Option<RangeInclusive<usize>>],
) -> Result<(), PlanProblem> {
    let kernel = plan.kernels.get(call.kernel).ok_or(PlanProblem::NoKernel { call: index, kernel: call.kernel })?;
    let is_argument = |buffer: &&Buffer| matches!(buffer.kind, BufferKind::Input | BufferKind::Output);
    let buffers: Vec<&Buffer> = kernel.buffers.iter().filter(is_argument).collect();
    if buffers.len() != call.args.len() {
        return Err(PlanProblem::Arguments { call: index, expected: buffers.len(), found: call.args.len() });
    }
    // What a call reads was written by an earlier one, so reads are looked at before writes.
    let arguments = || buffers.iter().zip(&call.args);
    let reads = arguments().filter(|(buffer, _)| buffer.kind == BufferKind::Input);
    let writes = arguments().filter(|(buffer, _)| buffer.kind == BufferKind::Output);
    for (buffer, &id) in reads.chain(writes) {
        let slot = plan.slots.get(id).ok_or(PlanProblem::NoSlot { call: index, slot: id })?;
        if slot.len() != buffer.len {
            let (expected, found) = (buffer.len, slot.len());
            return Err(PlanProblem::Length { call: index, buffer: buffer.name.clone(), expected, slot: id, found });
        }
        if matches!(slot.kind, SlotKind::Input(_) | SlotKind::Param(_) | SlotKind::Const(_)) {
            if buffer.kind == BufferKind::Output {
                return Err(PlanProblem::ReadOnly { call: index, slot: id });
            }
            continue;
        }
        let first = match (&lifetimes[id], buffer.kind) {
            (Some(lifetime), _) => *lifetime.start(),
            (None, BufferKind::Output) => index,
            (None, _) => return Err(PlanProblem::Undefined { call: index, slot: id }),
        };
        lifetimes[id] = Some(first..=index);
    }
    Ok(())
}

/// The elements of the arena that a slot has, if it is there.
fn slot_place(plan: &Plan, index: usize) -> Result<Option<Range<usize>>, PlanProblem> {
    let slot = &plan.slots[index];
    match &slot.kind {
        SlotKind::Const(data) if data.len() != slot.len() => {
            Err(PlanProblem::Constant { slot: index, expected: slot.len(), found: data.len() })
        }
        SlotKind::Arena { offset } => place(plan, *offset, slot.len()).map(Some).ok_or(PlanProblem::SlotPlace(index)),
        SlotKind::Input(_) | SlotKind::Output(_) | SlotKind::Param(_) | SlotKind::Const(_) => Ok(None),
    }
}

/// `offset..offset + len` if it is aligned and within the arena.
fn place(plan: &Plan, offset: usize, len: usize) -> Option<Range<usize>> {
    let end = offset.checked_add(len)?;
    (offset.is_multiple_of(ARENA_ALIGNMENT) && end <= plan.arena).then_some(offset..end)
}

/// The elements that the temporaries of a call take.
fn scratch_len(plan: &Plan, call: &KernelCall) -> usize {
    let temporaries = plan.kernels[call.kernel].buffers.iter().filter(|buffer| buffer.kind == BufferKind::Temp);
    temporaries.map(|buffer| buffer.len.next_multiple_of(ARENA_ALIGNMENT)).sum()
}

fn check_overlaps(plan: &Plan, slots: &[(usize, Range<usize>, RangeInclusive<usize>)]) -> Result<(), PlanProblem> {
    for (i, (a, place, lifetime)) in slots.iter().enumerate() {
        for (b, other, others_lifetime) in &slots[i + 1..] {
            let together = lifetime.start() <= others_lifetime.end() && others_lifetime.start() <= lifetime.end();
            if together && overlap(place, other) {
                return Err(PlanProblem::Overlap(*a, *b));
            }
        }
    }
    for (index, call) in plan.calls.iter().enumerate() {
        let len = scratch_len(plan, call);
        if len == 0 {
            continue;
        }
        let scratch = place(plan, call.scratch, len).ok_or(PlanProblem::ScratchPlace(index))?;
        if let Some((slot, ..)) = slots.iter().find(|(_, place, life)| life.contains(&index) && overlap(place, &scratch)) {
            return Err(PlanProblem::ScratchOverlap { slot: *slot, call: index });
        }
    }
    Ok(())
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
