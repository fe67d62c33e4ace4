//! A compiled model before machine code: which kernels run in which order on which memory.

use crate::entity::{EntityVec, entity};
use crate::loops::{BufferKind, Program};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the graph it came from.
    pub name: String,
    /// Distinct kernels.
    pub kernels: EntityVec<KernelId, Program>,
    /// Every tensor that kernels read or write.
    pub slots: EntityVec<SlotId, Slot>,
    /// Calls in order.
    pub calls: Vec<KernelCall>,
    /// Elements of the arena that slots of kind [`SlotKind::Arena`] share.
    pub arena: usize,
}

entity! {
    /// A kernel of its plan.
    KernelId, "k"
}

entity! {
    /// A slot of its plan.
    SlotId, "s"
}

/// Memory of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Shape of the tensor, for people and for checks at the boundary.
    pub shape: Vec<usize>,
    /// Where it lives.
    pub kind: SlotKind,
}

/// Where a tensor lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SlotKind {
    /// The caller's `i`-th input.
    Input(usize),
    /// The caller's `i`-th output.
    Output(usize),
    /// A parameter by name, given when the model is loaded.
    Param(String),
    /// A constant that the compiler computed.
    Const(Vec<f32>),
    /// Elements `offset..` of the arena; slots whose lifetimes do not overlap may share it.
    Arena {
        /// First element; a multiple of 16.
        offset: usize,
    },
}

/// One call of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCall {
    /// Which kernel.
    pub kernel: KernelId,
    /// The slot of each argument buffer (inputs and outputs) of the kernel, in order.
    pub args: Vec<SlotId>,
    /// Offset into the arena, in elements, for the kernel's temporaries, laid end to end at multiples of 16.
    pub scratch: usize,
}

impl Plan {
    /// The largest number of arena elements in use during one call: tensors that were written and are read later, the call's
    /// arguments, and its temporaries. No arena can be smaller.
    pub fn largest_live_set(&self) -> usize {
        let mut lifetimes: BTreeMap<SlotId, RangeInclusive<usize>> = BTreeMap::new();
        for (index, call) in self.calls.iter().enumerate() {
            for &slot in call.args.iter().filter(|&&slot| matches!(self.slots[slot].kind, SlotKind::Arena { .. })) {
                let first = lifetimes.get(&slot).map_or(index, |lifetime| *lifetime.start());
                lifetimes.insert(slot, first..=index);
            }
        }
        let live = |(index, call): (usize, &KernelCall)| -> usize {
            let slots =
                lifetimes.iter().filter(|(_, lifetime)| lifetime.contains(&index)).map(|(&slot, _)| self.slots[slot].len());
            let buffers = self.kernels[call.kernel].buffers.iter();
            slots.chain(buffers.filter(|buffer| buffer.kind == BufferKind::Temp).map(|buffer| buffer.len)).sum()
        };
        self.calls.iter().enumerate().map(live).max().unwrap_or(0)
    }
}

impl Slot {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
