//! Where the buffers of every call of a plan lie: what code in memory and code in object files have in common.

use crate::emit::references::References;
use crate::error::CodegenError;
use crate::memory::buffer::aligned;
use crate::run::launch::{arguments, layout};
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{BufId, BufferKind, Program};
use sonar_ir::plan::{KernelCall, Plan, SlotId, SlotKind};
use std::collections::HashMap;

/// Where one buffer of a call lies; offsets are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferPlace {
    /// The caller's input.
    Input(usize),
    /// The caller's output.
    Output(usize),
    /// Among the constants: weights as they are given, and packed ones.
    Constant(usize),
    /// In the arena.
    Arena(usize),
    /// A temporary: in the arena for the first thread, and where temporaries of the call start in memory of its own for
    /// every other one.
    Temp { arena: usize, scratch: usize },
    /// Nowhere: the function does not touch it.
    Unused,
}

/// Where every buffer of a plan lies.
pub(crate) struct Placement {
    /// For each call, the place of each buffer of its kernel's body.
    pub calls: Vec<EntityVec<BufId, BufferPlace>>,
    /// Slots whose contents kernels read as they are given, and where they lie among the constants.
    pub given: Vec<(SlotId, usize)>,
    /// Calls whose setup is to be run. The packed weights of other calls are the same as those of one of these.
    pub setups: Vec<usize>,
    /// Elements of the constants.
    pub constants: usize,
    /// Elements of the temporaries of the call that has most.
    pub scratch: usize,
}

/// Finds a place for everything. A weight that only setups read has none; a weight that calls pack in the same way is packed once.
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

/// Which buffers the two parts of a kernel touch.
struct KernelReferences {
    setup: EntityVec<BufId, bool>,
    body: EntityVec<BufId, bool>,
    /// What the setup does, as text: kernels of which it is the same pack weights in the same way, whatever their bodies are.
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
