//! Verifier of the graph IR.

use super::{MAX_ELEMENTS, VerifyError};
use crate::entity::Entity;
use crate::graph::infer::{TypeError, infer};
use crate::graph::{Dim, Graph, Node, NodeId, Op, TensorType};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a graph is not well-formed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum GraphProblem {
    /// A node reads a value that does not come before it.
    #[error("{node} reads {operand}, which does not come before it")]
    OperandOrder {
        /// The reader.
        node: NodeId,
        /// The value that it reads.
        operand: NodeId,
    },
    /// The graph returns a value that does not exist.
    #[error("{0} is returned, but does not exist")]
    MissingOutput(NodeId),
    /// An operator cannot be applied to its operands.
    #[error("{node}: {error}")]
    Operands {
        /// The operator.
        node: NodeId,
        /// The error.
        error: TypeError,
    },
    /// The recorded type of a node is not the inferred one.
    #[error("{node} has type {inferred}, but {recorded} is recorded")]
    WrongType {
        /// The node.
        node: NodeId,
        /// The inferred type.
        inferred: TensorType,
        /// The recorded type.
        recorded: TensorType,
    },
    /// A type that no value may have.
    #[error("{node} has type {ty}: {reason}")]
    BadType {
        /// The node.
        node: NodeId,
        /// Its type.
        ty: TensorType,
        /// Why no value may have it.
        reason: &'static str,
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

/// Checks that a graph is well-formed.
pub fn graph(graph: &Graph) -> Result<(), VerifyError> {
    check(graph).map_err(|problem| VerifyError::Graph { name: graph.name.clone(), problem })
}

fn check(graph: &Graph) -> Result<(), GraphProblem> {
    let mut names = BTreeSet::new();
    for (id, node) in graph.iter() {
        if let Some(&operand) = node.operands.iter().find(|operand| **operand >= id) {
            return Err(GraphProblem::OperandOrder { node: id, operand });
        }
        check_type(id, node)?;
        if matches!(node.op, Op::Input | Op::Param(_)) {
            let name = node.name.as_deref().ok_or(GraphProblem::Unnamed(id))?;
            if !names.insert(name) {
                return Err(GraphProblem::DuplicateName { node: id, name: name.to_string() });
            }
        } else {
            let types: Vec<&TensorType> = node.operands.iter().map(|&operand| graph.ty(operand)).collect();
            let inferred = infer(&node.op, &types).map_err(|error| GraphProblem::Operands { node: id, error })?;
            if inferred != node.ty {
                return Err(GraphProblem::WrongType { node: id, inferred, recorded: node.ty.clone() });
            }
        }
    }
    match graph.outputs.iter().find(|output| output.index() >= graph.nodes.len()) {
        Some(&output) => Err(GraphProblem::MissingOutput(output)),
        None => Ok(()),
    }
}

fn check_type(id: NodeId, node: &Node) -> Result<(), GraphProblem> {
    let mut batches = node.ty.shape.iter().map(|dim| *dim == Dim::Batch);
    let leading = batches.next() == Some(true);
    let elements = node.ty.shape.iter().filter_map(|dim| dim.fixed()).fold(1, usize::saturating_mul);
    let reason = if batches.any(|batch| batch) {
        "the batch may only be the leading axis"
    } else if leading && matches!(node.op, Op::Param(_)) {
        "a parameter does not depend on the batch"
    } else if elements == 0 {
        "an extent is 0"
    } else if elements > MAX_ELEMENTS {
        "there are too many elements"
    } else {
        return Ok(());
    };
    Err(GraphProblem::BadType { node: id, ty: node.ty.clone(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Init;
    use crate::scalar::UnaryOp;

    /// `relu(x + w)` and `x`, with two nodes before the sum.
    fn example() -> Graph {
        let mut graph = Graph::new("f");
        let x = graph.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(2)] });
        let w = graph.param("w", &[2], Init::Zeros);
        let sum = graph.push(Op::Binary(crate::scalar::BinaryOp::Add), &[x, w]).unwrap();
        let y = graph.push(Op::Unary(UnaryOp::Relu), &[sum]).unwrap();
        graph.outputs = vec![y, x];
        graph
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Graph), expected: &str) {
        let mut changed = example();
        change(&mut changed);
        assert_eq!(graph(&changed).unwrap_err().to_string(), format!("in graph `f`: {expected}"));
    }

    #[test]
    fn ill_formed_graphs_are_refused() {
        assert_eq!(graph(&example()), Ok(()));
        assert_eq!(graph(&example().specialise(4)), Ok(()));
        refused(|g| g.nodes[NodeId(2)].operands[0] = NodeId(3), "%2 reads %3, which does not come before it");
        refused(|g| g.outputs.push(NodeId(4)), "%4 is returned, but does not exist");
        refused(|g| _ = g.nodes[NodeId(2)].operands.pop(), "%2: expected 2 operands, found 1");
        refused(|g| g.nodes[NodeId(3)].ty = TensorType::fixed(&[2]), "%3 has type f32[N,2], but f32[2] is recorded");
        refused(
            |g| g.nodes[NodeId(0)].ty.shape.push(Dim::Batch),
            "%0 has type f32[N,2,N]: the batch may only be the leading axis",
        );
        refused(|g| g.nodes[NodeId(1)].ty.shape[0] = Dim::Batch, "%1 has type f32[N]: a parameter does not depend on the batch");
        refused(|g| g.nodes[NodeId(0)].ty.shape[1] = Dim::Fixed(0), "%0 has type f32[N,0]: an extent is 0");
        let huge = TensorType::fixed(&[1 << 40, 1 << 40]);
        refused(|g| g.nodes[NodeId(0)].ty = huge, "%0 has type f32[1099511627776,1099511627776]: there are too many elements");
        refused(|g| g.nodes[NodeId(0)].name = None, "%0 is an input or a parameter without a name");
        let twice = "the name `x` of %1 is already that of another input or parameter";
        refused(|g| g.nodes[NodeId(1)].name = Some("x".to_string()), twice);
    }
}
