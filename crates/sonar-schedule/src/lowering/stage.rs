//! What lowering an operator gives: a program for each tensor that it writes.

use sonar_ir::NodeId;
use sonar_ir::loops::Program;

/// A program that writes one tensor, and which values it reads.
pub(crate) struct Stage {
    pub(crate) program: Program,
    /// What each input buffer is, in order.
    pub(crate) inputs: Vec<Value>,
    /// What the output buffer is.
    pub(crate) output: Value,
    pub(crate) kind: TaskKind,
}

/// Sorts of computation.
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
    /// The value of a node of the graph that has memory of its own: no reshape, nor another view.
    Node(NodeId),
    /// A tensor between two stages of one node; an index into [`Tasks::internals`](crate::lowering::task::Tasks::internals).
    Internal(usize),
}
