//! A compiled model before machine code: which kernels run in which order on which memory.

use crate::loops::Program;
use serde::{Deserialize, Serialize};

/// A whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the graph it came from.
    pub name: String,
    /// Distinct kernels.
    pub kernels: Vec<Program>,
    /// Every tensor that kernels read or write.
    pub slots: Vec<Slot>,
    /// Calls in order.
    pub calls: Vec<KernelCall>,
    /// Elements of the arena that slots of kind [`SlotKind::Arena`] share.
    pub arena: usize,
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
    /// Index into [`Plan::kernels`].
    pub kernel: usize,
    /// Index into [`Plan::slots`] for each argument buffer (inputs and outputs) of the kernel, in order.
    pub args: Vec<usize>,
    /// Offset into the arena, in elements, for the kernel's temporaries, laid end to end at multiples of 16.
    pub scratch: usize,
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
