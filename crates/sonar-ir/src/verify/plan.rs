//! Verifier of plans.

use super::{ARENA_ALIGNMENT, VerifyError};
use crate::entity::EntityVec;
use crate::loops::{Buffer, BufferKind};
use crate::plan::{KernelCall, KernelId, Plan, SlotId, SlotKind};
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
        kernel: KernelId,
    },
    /// A slot that does not exist.
    #[error("call {call}: there is no slot {slot}")]
    NoSlot {
        /// The call.
        call: usize,
        /// The slot.
        slot: SlotId,
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
        slot: SlotId,
        /// Its length.
        found: usize,
    },
    /// A kernel writes a slot that it may only read.
    #[error("call {call} writes slot {slot}, which may only be read")]
    ReadOnly {
        /// The call.
        call: usize,
        /// The slot.
        slot: SlotId,
    },
    /// A slot is read before it is written.
    #[error("call {call} reads slot {slot} before it is written")]
    Undefined {
        /// The call.
        call: usize,
        /// The slot.
        slot: SlotId,
    },
    /// A constant with another number of elements than its shape says.
    #[error("slot {slot} has {expected} elements, but the constant has {found}")]
    Constant {
        /// The slot.
        slot: SlotId,
        /// Number of elements by its shape.
        expected: usize,
        /// Number of elements given.
        found: usize,
    },
    /// A slot that is not aligned or not within the arena.
    #[error("slot {0} is not aligned or not within the arena")]
    SlotPlace(SlotId),
    /// Temporaries that are not aligned or not within the arena.
    #[error("the temporaries of call {0} are not aligned or not within the arena")]
    ScratchPlace(usize),
    /// Two slots share memory while both are in use.
    #[error("slots {0} and {1} share memory while both are in use")]
    Overlap(SlotId, SlotId),
    /// A slot shares memory with the temporaries of a call while it is in use.
    #[error("slot {slot} is in use when call {call} uses its memory for temporaries")]
    ScratchOverlap {
        /// The slot.
        slot: SlotId,
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
    let mut lifetimes = EntityVec::filled(None, plan.slots.len());
    for (i, call) in plan.calls.iter().enumerate() {
        check_call(plan, i, call, &mut lifetimes)?;
    }
    let mut slots = Vec::new();
    for (id, lifetime) in plan.slots.keys().zip(lifetimes) {
        let place = slot_place(plan, id)?;
        if let (Some(place), Some(lifetime)) = (place, lifetime) {
            slots.push((id, place, lifetime));
        }
    }
    check_overlaps(plan, &slots)
}

/// Checks a call alone, and extends the lifetimes of the slots that it writes or reads.
fn check_call(
    plan: &Plan,
    index: usize,
    call: &KernelCall,
    lifetimes: &mut EntityVec<SlotId, Option<RangeInclusive<usize>>>,
) -> Result<(), PlanProblem> {
    let kernel = plan.kernels.get(call.kernel).ok_or(PlanProblem::NoKernel { call: index, kernel: call.kernel })?;
    let is_argument = |buffer: &&Buffer| matches!(buffer.kind, BufferKind::Input | BufferKind::Output);
    let buffers: Vec<&Buffer> = kernel.buffers.iter().filter(is_argument).collect();
    if buffers.len() != call.args.len() {
        return Err(PlanProblem::Arguments { call: index, expected: buffers.len(), found: call.args.len() });
    }
    // A call reads what an earlier call has written, so reads are checked before writes.
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
fn slot_place(plan: &Plan, id: SlotId) -> Result<Option<Range<usize>>, PlanProblem> {
    let slot = &plan.slots[id];
    match &slot.kind {
        SlotKind::Const(data) if data.len() != slot.len() => {
            Err(PlanProblem::Constant { slot: id, expected: slot.len(), found: data.len() })
        }
        SlotKind::Arena { offset } => place(plan, *offset, slot.len()).map(Some).ok_or(PlanProblem::SlotPlace(id)),
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

fn check_overlaps(plan: &Plan, slots: &[(SlotId, Range<usize>, RangeInclusive<usize>)]) -> Result<(), PlanProblem> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{Access, Affine, BufId, Expr, LoopKind, Program, Stmt, Var};
    use crate::plan::Slot;

    /// Copies 16 elements, by way of a temporary of 10.
    fn copy() -> Program {
        let buffer = |name: &str, len, kind| Buffer { name: name.to_string(), len, kind };
        let access = |buffer| Access { buffer: BufId(buffer), index: Affine::var(Var(0), 1) };
        let store = Stmt::Store { target: access(1), value: Expr::Load(access(0)) };
        let buffers =
            vec![buffer("x", 16, BufferKind::Input), buffer("y", 16, BufferKind::Output), buffer("t", 10, BufferKind::Temp)];
        Program {
            name: "copy".to_string(),
            buffers: buffers.into(),
            vars: vec!["i".to_string()].into(),
            setup: vec![],
            body: vec![Stmt::For { var: Var(0), extent: 16, kind: LoopKind::Serial, body: vec![store] }],
            tiles: EntityVec::new(),
        }
    }

    /// Three copies in a row: input → arena 0 → arena 16 → output, with temporaries at 32.
    fn example() -> Plan {
        let slot = |kind| Slot { shape: vec![4, 4], kind };
        let slots = [
            SlotKind::Input(0),
            SlotKind::Arena { offset: 0 },
            SlotKind::Arena { offset: 16 },
            SlotKind::Output(0),
            SlotKind::Const(vec![1.0; 16]),
        ];
        Plan {
            name: "f".to_string(),
            kernels: vec![copy()].into(),
            slots: slots.map(slot).into_iter().collect(),
            calls: (0..3)
                .map(|i| KernelCall { kernel: KernelId(0), args: vec![SlotId(i), SlotId(i + 1)], scratch: 32 })
                .collect(),
            arena: 48,
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Plan), expected: &str) {
        let mut changed = example();
        change(&mut changed);
        assert_eq!(plan(&changed).unwrap_err().to_string(), format!("in plan `f`: {expected}"));
    }

    #[test]
    fn ill_formed_plans_are_refused() {
        assert_eq!(plan(&example()), Ok(()));
        refused(|p| p.calls[0].kernel = KernelId(1), "call 0: there is no kernel k1");
        refused(|p| p.calls[1].args[0] = SlotId(5), "call 1: there is no slot s5");
        refused(|p| _ = p.calls[1].args.pop(), "call 1: the kernel takes 2 arguments, but 1 are passed");
        refused(|p| p.slots[SlotId(0)].shape = vec![15], "call 0: `x` has 16 elements, but slot s0 has 15");
        refused(|p| p.calls[0].args[1] = SlotId(4), "call 0 writes slot s4, which may only be read");
        refused(|p| p.calls[0].args[0] = SlotId(2), "call 0 reads slot s2 before it is written");
        refused(|p| p.calls[2].args[0] = SlotId(3), "call 2 reads slot s3 before it is written");
        refused(|p| p.slots[SlotId(4)].kind = SlotKind::Const(vec![]), "slot s4 has 16 elements, but the constant has 0");
        refused(|p| p.slots[SlotId(1)].kind = SlotKind::Arena { offset: 8 }, "slot s1 is not aligned or not within the arena");
        refused(|p| p.slots[SlotId(2)].kind = SlotKind::Arena { offset: 48 }, "slot s2 is not aligned or not within the arena");
        refused(|p| p.arena = 47, "the temporaries of call 0 are not aligned or not within the arena");
        refused(
            |p| p.slots[SlotId(2)].kind = SlotKind::Arena { offset: 0 },
            "slots s1 and s2 share memory while both are in use",
        );
        refused(|p| p.calls[1].scratch = 16, "slot s2 is in use when call 1 uses its memory for temporaries");
    }

    #[test]
    fn memory_is_reused_after_the_last_read() {
        let mut plan = example();
        // The first copy does not use the second slot's memory, and the third copy does not use the first's.
        plan.calls[0].scratch = 16;
        plan.calls[2].scratch = 0;
        assert_eq!(super::plan(&plan), Ok(()));
    }
}
