//! Helpers to build graphs by hand: arithmetic on node ids, copying, and sharing of equal nodes.

use sonar_ir::entity::EntityVec;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, Node, NodeId, Op, TensorType};
use sonar_ir::{BinaryOp, Dim, ReduceOp, UnaryOp};
use std::collections::HashMap;

/// Extents of a value of a graph with a bound batch.
pub(crate) fn extents(graph: &Graph, id: NodeId) -> Vec<usize> {
    graph.ty(id).shape.iter().map(|d| d.fixed().unwrap_or(1)).collect()
}

/// A rank-0 constant.
pub(crate) fn number(graph: &mut Graph, value: f64) -> Result<NodeId, TypeError> {
    graph.push(Op::Splat(value as f32, vec![]), &[])
}

/// A constant tensor with the shape of another node.
pub(crate) fn filled_like(graph: &mut Graph, value: f32, like: NodeId) -> Result<NodeId, TypeError> {
    let shape = graph.ty(like).shape.clone();
    graph.push(Op::Splat(value, shape), &[])
}

/// A function of each element.
pub(crate) fn unary(graph: &mut Graph, op: UnaryOp, x: NodeId) -> Result<NodeId, TypeError> {
    graph.push(Op::Unary(op), &[x])
}

/// `a + b`
pub(crate) fn add(graph: &mut Graph, a: NodeId, b: NodeId) -> Result<NodeId, TypeError> {
    graph.push(Op::Binary(BinaryOp::Add), &[a, b])
}

/// `a - b`
pub(crate) fn sub(graph: &mut Graph, a: NodeId, b: NodeId) -> Result<NodeId, TypeError> {
    graph.push(Op::Binary(BinaryOp::Sub), &[a, b])
}

/// `a * b`
pub(crate) fn mul(graph: &mut Graph, a: NodeId, b: NodeId) -> Result<NodeId, TypeError> {
    graph.push(Op::Binary(BinaryOp::Mul), &[a, b])
}

/// `a / b`
pub(crate) fn div(graph: &mut Graph, a: NodeId, b: NodeId) -> Result<NodeId, TypeError> {
    graph.push(Op::Binary(BinaryOp::Div), &[a, b])
}

/// `x * factor`
pub(crate) fn scale(graph: &mut Graph, x: NodeId, factor: f64) -> Result<NodeId, TypeError> {
    let factor = number(graph, factor)?;
    mul(graph, x, factor)
}

/// A reduction over all axes but the last: `[…,C] → [C]`.
pub(crate) fn per_channel(graph: &mut Graph, op: ReduceOp, x: NodeId) -> Result<NodeId, TypeError> {
    match graph.ty(x).rank() {
        0 | 1 => Ok(x),
        rank => graph.push(Op::Reduce { op, axes: (0..rank - 1).collect(), keep: false }, &[x]),
    }
}

/// `x` summed over the axes along which `shape` was broadcast to the shape of `x`.
pub(crate) fn unbroadcast(graph: &mut Graph, x: NodeId, shape: &[Dim]) -> Result<NodeId, TypeError> {
    let from = graph.ty(x).shape.clone();
    let missing = from.len() - shape.len();
    let axes: Vec<usize> = (0..from.len()).filter(|&i| i < missing || shape[i - missing] != from[i]).collect();
    if axes.is_empty() {
        return Ok(x);
    }
    let keep = axes.iter().any(|&i| i >= missing);
    let sum = graph.push(Op::Reduce { op: ReduceOp::Sum, axes, keep }, &[x])?;
    if graph.ty(sum).shape == shape { Ok(sum) } else { graph.push(Op::Reshape(shape.to_vec()), &[sum]) }
}

/// Appends an input or parameter with the given operator.
pub(crate) fn declare(graph: &mut Graph, op: Op, name: &str, ty: TensorType) -> NodeId {
    let id = NodeId(graph.nodes.len() as u32);
    graph.nodes.push(Node { op, operands: vec![], ty, name: Some(name.to_string()) });
    id
}

/// Rebuilds a graph node by node. `rule` gets the new graph, the old node and its operands in the new graph. It returns the new
/// node that replaces the old one.
pub(crate) fn map_nodes(
    graph: &Graph,
    mut rule: impl FnMut(&mut Graph, NodeId, &Node, &[NodeId]) -> Result<NodeId, TypeError>,
) -> Result<Graph, TypeError> {
    let mut mapped = Graph::new(graph.name.clone());
    let mut renamed: EntityVec<NodeId, NodeId> = EntityVec::new();
    for (id, node) in graph.iter() {
        let operands: Vec<NodeId> = node.operands.iter().map(|o| renamed[*o]).collect();
        renamed.push(rule(&mut mapped, id, node, &operands)?);
    }
    mapped.outputs = graph.outputs.iter().map(|o| renamed[*o]).collect();
    Ok(mapped)
}

/// Copies a node into another graph, with the given operands.
pub(crate) fn copy(graph: &mut Graph, node: &Node, operands: &[NodeId]) -> NodeId {
    graph.nodes.push(Node { operands: operands.to_vec(), ..node.clone() })
}

/// The same function, in which equal nodes are computed once.
pub(crate) fn share_equal_nodes(graph: &Graph) -> Result<Graph, TypeError> {
    // Operators contain floats, so they have no hash. Their debug text contains all of their attributes.
    let mut seen: HashMap<(String, Vec<NodeId>), NodeId> = HashMap::new();
    map_nodes(graph, |shared, _, node, operands| {
        if matches!(node.op, Op::Input | Op::Param(_)) {
            return Ok(copy(shared, node, operands));
        }
        let key = (format!("{:?}", node.op), operands.to_vec());
        Ok(*seen.entry(key).or_insert_with(|| copy(shared, node, operands)))
    })
}
