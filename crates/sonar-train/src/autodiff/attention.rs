//! The gradients of attention, computed from its products and its softmax.

use crate::build::{mul, scale, sub, unbroadcast};
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::{Dim, ReduceOp};

/// Appends the gradients of `y = attention(q, k, v[, mask])` with respect to its operands, in order.
///
/// With weights `p = softmax(scale · q·kᵀ + mask)` of each head: `dv = pᵀ·dy`, `ds = p · (dp − Σ p·dp)` where `dp = dy·vᵀ`, `dq
/// = scale · ds·k` and `dk = scale · dsᵀ·q`. The gradient of the mask is `ds`.
pub(crate) fn gradients(
    graph: &mut Graph,
    operands: &[NodeId],
    heads: usize,
    factor: f32,
    dy: NodeId,
) -> Result<Vec<NodeId>, TypeError> {
    let mut apart = |x: NodeId| split(graph, x, heads);
    let [q, k, v, dy] = [apart(operands[0])?, apart(operands[1])?, apart(operands[2])?, apart(dy)?];
    let keys = turned(graph, k)?;
    let dots = graph.push(Op::MatMul, &[q, keys])?;
    let mut scores = scale(graph, dots, f64::from(factor))?;
    if let Some(&mask) = operands.get(3) {
        scores = crate::build::add(graph, scores, mask)?;
    }
    let p = graph.push(Op::Softmax, &[scores])?;

    let pt = turned(graph, p)?;
    let dv = graph.push(Op::MatMul, &[pt, dy])?;
    let values = turned(graph, v)?;
    let dp = graph.push(Op::MatMul, &[dy, values])?;
    let weighted = mul(graph, p, dp)?;
    let last = graph.ty(weighted).rank() - 1;
    let total = graph.push(Op::Reduce { op: ReduceOp::Sum, axes: vec![last], keep: true }, &[weighted])?;
    let centred = sub(graph, dp, total)?;
    let ds = mul(graph, p, centred)?;

    let dq = graph.push(Op::MatMul, &[ds, k])?;
    let dq = scale(graph, dq, f64::from(factor))?;
    let dst = turned(graph, ds)?;
    let dk = graph.push(Op::MatMul, &[dst, q])?;
    let dk = scale(graph, dk, f64::from(factor))?;
    let mut gradients = vec![join(graph, dq)?, join(graph, dk)?, join(graph, dv)?];
    if let Some(&mask) = operands.get(3) {
        let shape = graph.ty(mask).shape.clone();
        gradients.push(unbroadcast(graph, ds, &shape)?);
    }
    Ok(gradients)
}

/// `[…,T,H·D] → […,H,T,D]`
fn split(graph: &mut Graph, x: NodeId, heads: usize) -> Result<NodeId, TypeError> {
    let mut shape = graph.ty(x).shape.clone();
    if let Some(Dim::Fixed(last)) = shape.pop() {
        shape.extend([Dim::Fixed(heads), Dim::Fixed(last / heads)]);
    }
    let rank = shape.len();
    let x = graph.push(Op::Reshape(shape), &[x])?;
    swapped(graph, x, rank - 3)
}

/// `[…,H,T,D] → […,T,H·D]`
fn join(graph: &mut Graph, x: NodeId) -> Result<NodeId, TypeError> {
    let rank = graph.ty(x).rank();
    let x = swapped(graph, x, rank - 3)?;
    let mut shape = graph.ty(x).shape.clone();
    if let (Some(Dim::Fixed(depth)), Some(Dim::Fixed(heads))) = (shape.pop(), shape.pop()) {
        shape.push(Dim::Fixed(heads * depth));
    }
    graph.push(Op::Reshape(shape), &[x])
}

/// Swaps the last two axes.
fn turned(graph: &mut Graph, x: NodeId) -> Result<NodeId, TypeError> {
    let axis = graph.ty(x).rank() - 2;
    swapped(graph, x, axis)
}

/// Swaps an axis with the next one.
fn swapped(graph: &mut Graph, x: NodeId, axis: usize) -> Result<NodeId, TypeError> {
    let mut perm: Vec<usize> = (0..graph.ty(x).rank()).collect();
    perm.swap(axis, axis + 1);
    graph.push(Op::Transpose(perm), &[x])
}
