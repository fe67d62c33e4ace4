//! Verifier of the graph IR.

use super::{MAX_ELEMENTS, VerifyError};
use crate::graph::{Dim, Graph, NodeId, Op, TensorType};
use crate::infer::infer;
use std::collections::BTreeSet;

/// Checks that a graph is well-formed.
pub fn graph(graph: &Graph) -> Result<(), VerifyError> {
    let mut names = BTreeSet::new();
    for (id, node) in graph.iter() {
        if let Some(&operand) = node.operands.iter().find(|operand| **operand >= id) {
            return Err(VerifyError::OperandOrder { node: id, operand });
        }
        check_type(id, &node.ty)?;
        if matches!(node.op, Op::Input | Op::Param(_)) {
            let name = node.name.as_deref().ok_or(VerifyError::Unnamed(id))?;
            if !names.insert(name) {
                return Err(VerifyError::DuplicateName { node: id, name: name.to_string() });
            }
            if matches!(node.op, Op::Param(_)) && node.ty.extents().is_none() {
                return Err(bad_type(id, &node.ty, "a parameter does not depend on the batch"));
            }
            continue;
        }
        let types: Vec<&TensorType> = node.operands.iter().map(|&operand| graph.ty(operand)).collect();
        let inferred = infer(&node.op, &types).map_err(|error| VerifyError::Type { node: id, error })?;
        if inferred != node.ty {
            let (inferred, recorded) = (inferred.to_string(), node.ty.to_string());
            return Err(VerifyError::WrongType { node: id, inferred, recorded });
        }
    }
    match graph.outputs.iter().find(|output| output.0 as usize >= graph.nodes.len()) {
        Some(&output) => Err(VerifyError::MissingOutput(output)),
        None => Ok(()),
    }
}

fn check_type(node: NodeId, ty: &TensorType) -> Result<(), VerifyError> {
    if ty.shape.iter().skip(1).any(|dim| *dim == Dim::Batch) {
        return Err(bad_type(node, ty, "the batch may only be the leading axis"));
    }
    let mut elements = 1usize;
    for extent in ty.shape.iter().filter_map(|dim| dim.fixed()) {
        if extent == 0 {
            return Err(bad_type(node, ty, "an extent is 0"));
        }
        elements = elements.saturating_mul(extent);
    }
    if elements > MAX_ELEMENTS {
        return Err(bad_type(node, ty, "it has too many elements"));
    }
    Ok(())
}

fn bad_type(node: NodeId, ty: &TensorType, problem: &'static str) -> VerifyError {
    VerifyError::BadType { node, ty: ty.to_string(), problem }
}
