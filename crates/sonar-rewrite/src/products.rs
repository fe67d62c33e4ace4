//! Products that are rounded before they are added to something.

use crate::error::RewriteError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use std::collections::{BTreeMap, BTreeSet};

/// The same graph, with every `a·b + c` as `a·b − (−c)`. Both give the same bits. But code generators fuse a product and an addition
/// into one instruction that rounds once; they do not fuse a product and a subtraction.
pub fn products_rounded(graph: &Graph) -> Result<Graph, RewriteError> {
    let mut result = Graph::new(graph.name.clone());
    let mut ids: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    // Products, and reshapes of products.
    let mut products: BTreeSet<NodeId> = BTreeSet::new();
    for (id, node) in graph.iter() {
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[operand]).collect();
        let of_product = node.operands.iter().any(|operand| products.contains(operand));
        let name = node.name.clone().unwrap_or_default();
        let new = match (&node.op, &operands[..]) {
            (Op::Input, _) => result.input(name, node.ty.clone()),
            (Op::Param(init), _) => result.param(name, &node.ty.extents().unwrap_or_default(), *init),
            (Op::Binary(BinaryOp::Add), &[a, b]) if of_product => {
                let negative = result.push(Op::Unary(UnaryOp::Neg), &[b])?;
                result.push(Op::Binary(BinaryOp::Sub), &[a, negative])?
            }
            (op, _) => result.push(op.clone(), &operands)?,
        };
        let moves = matches!(
            node.op,
            Op::Reshape(_) | Op::Transpose(_) | Op::Slice { .. } | Op::Broadcast(_) | Op::Concat { .. } | Op::Pad(_)
        );
        if node.op == Op::Binary(BinaryOp::Mul) || moves && of_product {
            products.insert(id);
        }
        ids.insert(id, new);
    }
    result.outputs = graph.outputs.iter().map(|output| ids[output]).collect();
    Ok(result)
}
