//! The constants of a plan: weights in the order in which kernels read them.

use crate::error::CodegenError;
use crate::memory::buffer::AlignedBuffer;
use crate::memory::placement::{BufferPlace, Placement};
use crate::module::ProgramEntry;
use crate::run::launch::{Launch, arguments, layout};
use crate::run::pool::Pool;
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::BufferKind;
use sonar_ir::plan::{KernelId, Plan, Slot, SlotKind};
use sonar_ir::tensor::Tensor;
use std::borrow::Cow;

/// Fills the constants: copies the weights that kernels read unchanged, and runs setups to pack the others.
///
/// `setups` are the functions of the kernels' setups, which must be alive; `value_of` gives a parameter by its name. At any time only
/// the parameters of one call are in memory.
pub(crate) fn fill<'v, E: From<CodegenError>>(
    plan: &Plan,
    placement: &Placement,
    setups: &EntityVec<KernelId, Option<ProgramEntry>>,
    value_of: &mut dyn FnMut(&str) -> Result<Cow<'v, Tensor>, E>,
) -> Result<AlignedBuffer, E> {
    let mut constants = AlignedBuffer::new(placement.constants);
    for &(slot, place) in &placement.given {
        constants.write(place, contents(&plan.slots[slot], value_of)?.as_slice());
    }
    let mut pool = Pool::new(1)?;
    for &index in &placement.setups {
        let call = &plan.calls[index];
        let (program, buffers) = (&plan.kernels[call.kernel], &placement.calls[index]);
        let Some(entry) = setups[call.kernel] else { continue };
        let mut launch = Launch::new(entry, None, program.buffers.len(), 1);
        let read = crate::emit::references::References::of(&program.setup);
        // These must live until the setup has run.
        let mut sources = Vec::new();
        for (buffer, &slot) in arguments(program).zip(&call.args).filter(|(buffer, _)| read.touches(*buffer)) {
            let contents = contents(&plan.slots[slot], value_of)?;
            launch.set(buffer, contents.as_slice().as_ptr().cast_mut());
            sources.push(contents);
        }
        let (offsets, len) = layout(program, BufferKind::Temp);
        let temporaries = AlignedBuffer::new(len);
        offsets.iter().for_each(|&(buffer, offset)| launch.set(buffer, temporaries.at(offset)));
        for (buffer, place) in buffers.entries() {
            if let BufferPlace::Constant(offset) = place
                && program.buffers[buffer].kind == BufferKind::Packed
            {
                launch.set(buffer, constants.at(*offset));
            }
        }
        // SAFETY: the plan is verified. A setup touches temporaries and packed buffers, whose addresses are set. It reads
        // arguments that `place_buffers` has found to be weights; they have the lengths that the program states.
        unsafe { launch.run(&mut pool) };
    }
    Ok(constants)
}

/// The numbers of a weight.
enum Contents<'a, 'v> {
    Given(Cow<'v, Tensor>),
    Known(&'a [f32]),
}

impl Contents<'_, '_> {
    fn as_slice(&self) -> &[f32] {
        match self {
            Contents::Given(tensor) => &tensor.data,
            Contents::Known(data) => data,
        }
    }
}

/// The contents of a slot that is a weight. A parameter is checked.
fn contents<'a, 'v, E: From<CodegenError>>(
    slot: &'a Slot,
    value_of: &mut dyn FnMut(&str) -> Result<Cow<'v, Tensor>, E>,
) -> Result<Contents<'a, 'v>, E> {
    match &slot.kind {
        SlotKind::Param(name) => {
            let value = value_of(name)?;
            if value.shape != slot.shape || value.data.len() != slot.len() {
                let (name, expected, found) = (name.clone(), slot.shape.clone(), value.shape.clone());
                return Err(CodegenError::ParamShape { name, expected, found }.into());
            }
            Ok(Contents::Given(value))
        }
        SlotKind::Const(data) => Ok(Contents::Known(data)),
        // `place_buffers` asks for the contents of weights only.
        SlotKind::Input(_) | SlotKind::Output(_) | SlotKind::Arena { .. } => Ok(Contents::Known(&[])),
    }
}
