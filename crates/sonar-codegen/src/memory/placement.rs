//! The place of the buffers of every call of a plan, for code in memory and for code in object files.

use crate::emit::references::References;
use crate::error::CodegenError;
use crate::memory::buffer::aligned;
use crate::run::launch::{arguments, layout};
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{BufId, BufferKind, Program};
use sonar_ir::plan::{KernelCall, Plan, SlotId, SlotKind};
use std::collections::HashMap;

/// The place of one buffer of a call; offsets are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferPlace {
    /// The caller's input.
    Input(usize),
    /// The caller's output.
    Output(usize),
    /// Among the constants: weights as they are given, and packed weights.
    Constant(usize),
    /// In the arena.
    Arena(usize),
    /// A temporary: in the arena for the first thread; for every other thread in its own memory, where temporaries of the call
    /// start at `scratch`.
    Temp { arena: usize, scratch: usize },
    /// Nowhere: the function does not use it.
    Unused,
}

/// The place of every buffer of a plan.
pub(crate) struct Placement {
    /// For each call, the place of each buffer of its kernel's body.
    pub calls: Vec<EntityVec<BufId, BufferPlace>>,
    /// Slots that kernels read unchanged, and their offsets among the constants.
    pub given: Vec<(SlotId, usize)>,
    /// Calls whose setup must run. The packed weights of every other call are equal to those of one of these.
    pub setups: Vec<usize>,
    /// Elements of the constants.
    pub constants: usize,
    /// The largest number of temporary elements of a call.
    pub scratch: usize,
}

/// Places all buffers. A weight that only setups read has no place; a weight that calls pack in the same way is packed once.
pub(crate) fn place_buffers(plan: &Plan) -> Result<Placement, CodegenError> {
    let kernels = plan.kernels.map(|(_, kernel)| KernelReferences::of(kernel));
    let mut result = Placement { calls: Vec::new(), given: Vec::new(), setups: Vec::new(), constants: 0, scratch: 0 };
    let mut given: HashMap<SlotId, usize> = HashMap::new();
    let mut packed: HashMap<(&str, Vec<SlotId>), usize> = HashMap::new();
    for (index, call) in plan.calls.iter().enumerate() {
        let (program, uses) = (&plan.kernels[call.kernel], &kernels[call.kernel]);
        let mut buffers = EntityVec::filled(BufferPlace::Unused, program.buffers.len());
        for (buffer, &slot) in arguments(program).zip(&call.args).filter(|(buffer, _)| uses.body[*buffer]) {
            buffers[buffer] = match plan.slots[slot].kind {
                SlotKind::Input(i) => BufferPlace::Input(i),
                SlotKind::Output(i) => BufferPlace::Output(i),
                SlotKind::Arena { offset } => BufferPlace::Arena(offset),
                SlotKind::Param(_) | SlotKind::Const(_) => BufferPlace::Constant(*given.entry(slot).or_insert_with(|| {
                    let place = result.constants;
                    result.constants += aligned(plan.slots[slot].len());
                    result.given.push((slot, place));
                    place
                })),
            };
        }
        let (offsets, len) = layout(program, BufferKind::Packed);
        if len > 0 {
            let start = *packed.entry((uses.packing.as_str(), sources(plan, call, uses)?)).or_insert_with(|| {
                result.setups.push(index);
                result.constants += len;
                result.constants - len
            });
            offsets.iter().for_each(|&(buffer, offset)| buffers[buffer] = BufferPlace::Constant(start + offset));
        }
        let (offsets, len) = layout(program, BufferKind::Temp);
        for (buffer, offset) in offsets {
            buffers[buffer] = BufferPlace::Temp { arena: call.scratch + offset, scratch: offset };
        }
        result.scratch = result.scratch.max(len);
        result.calls.push(buffers);
    }
    Ok(result)
}

/// The buffers that the two parts of a kernel use.
struct KernelReferences {
    setup: EntityVec<BufId, bool>,
    body: EntityVec<BufId, bool>,
    /// The text of the setup: kernels with equal texts pack weights in the same way, even if their bodies differ.
    packing: String,
}

impl KernelReferences {
    fn of(program: &Program) -> Self {
        let touched = |uses: &References<'_>| program.buffers.map(|(buffer, _)| uses.touches(buffer));
        let (setup, body) = (References::of(&program.setup), References::of(&program.body));
        KernelReferences { setup: touched(&setup), body: touched(&body), packing: program.setup_text() }
    }
}

/// The slots that the setup of a call reads, which must be weights.
fn sources(plan: &Plan, call: &KernelCall, uses: &KernelReferences) -> Result<Vec<SlotId>, CodegenError> {
    let program = &plan.kernels[call.kernel];
    let read = arguments(program).zip(&call.args).filter(|(buffer, _)| uses.setup[*buffer]);
    let slots: Vec<SlotId> = read.map(|(_, &slot)| slot).collect();
    if slots.iter().all(|&slot| matches!(plan.slots[slot].kind, SlotKind::Param(_) | SlotKind::Const(_))) {
        return Ok(slots);
    }
    Err(CodegenError::Unsupported {
        name: program.name.clone(),
        reason: "its setup reads a value that is not a weight".to_string(),
    })
}
