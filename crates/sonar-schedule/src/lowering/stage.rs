//! The result of lowering an operator: one program for each tensor that it writes.

use sonar_ir::NodeId;
use sonar_ir::loops::Program;

/// A program that writes one tensor, and the values that it reads.
pub(crate) struct Stage {
    pub(crate) program: Program,
    /// The value of each input buffer, in order.
    pub(crate) inputs: Vec<Value>,
    /// The value of the output buffer.
    pub(crate) output: Value,
    pub(crate) kind: TaskKind,
}

/// Kinds of computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Sums of products: convolutions, matrix products, their gradients.
    Contraction,
    /// Poolings and their gradients.
    Window,
    /// Reductions, statistics, softmax.
    Reduction,
    /// A function of each element.
    Elementwise,
    /// Copies.
    Movement,
}

/// A tensor that a kernel reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// The value of a node that has its own memory: not a reshape or another view.
    Node(NodeId),
    /// A tensor between two stages of one node, as an index into [`Tasks::internals`](crate::lowering::task::Tasks::internals).
    Internal(usize),
}
