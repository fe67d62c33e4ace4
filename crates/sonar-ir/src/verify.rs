//! The verifiers of the four languages. A pass that hands on what these refuse is wrong.
//!
//! A **graph** is well-formed if
//! - every operand of a node and every output exists, and operands come before the node;
//! - every node's type is what [`crate::infer::infer`] says; only the leading axis of a declared type is the batch;
//! - every extent is at least 1, and no tensor has more than [`MAX_ELEMENTS`] elements (the batch counting as 1);
//! - inputs and parameters have names, and no two share one.

mod graph;

pub use graph::graph;

use crate::graph::NodeId;
use crate::infer::TypeError;
use thiserror::Error;

/// The most elements that a tensor or a buffer may have.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// Which invariant does not hold, and where.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum VerifyError {
    /// A node reads a value that does not come before it.
    #[error("{node} reads {operand}, which does not come before it")]
    OperandOrder {
        /// The reader.
        node: NodeId,
        /// What it reads.
        operand: NodeId,
    },
    /// The graph returns a value that does not exist.
    #[error("the graph returns {0}, which does not exist")]
    MissingOutput(NodeId),
    /// An operator cannot be applied to its operands.
    #[error("{node}: {error}")]
    Type {
        /// The operator.
        node: NodeId,
        /// Why not.
        error: TypeError,
    },
    /// The recorded type of a node is not the inferred one.
    #[error("{node} has type {inferred}, not {recorded}")]
    WrongType {
        /// The node.
        node: NodeId,
        /// What inference says.
        inferred: String,
        /// What the node says.
        recorded: String,
    },
    /// A type that no value may have.
    #[error("{node} has type {ty}: {problem}")]
    BadType {
        /// The node.
        node: NodeId,
        /// Its type.
        ty: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An input or a parameter has no name.
    #[error("{0} is an input or a parameter without a name")]
    Unnamed(NodeId),
    /// Two inputs or parameters share a name.
    #[error("the name `{name}` of {node} is already that of another input or parameter")]
    DuplicateName {
        /// The second one.
        node: NodeId,
        /// The name.
        name: String,
    },
}
