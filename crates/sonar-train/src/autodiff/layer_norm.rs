//! The gradients of layer normalisation.

use crate::build::{add, mul, number, per_channel, sub, unary};
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::{ReduceOp, UnaryOp};

/// Appends the gradients of `y = layer_norm(x, gamma, beta)` with respect to its three operands, in order.
///
/// With `x̂ = (x − mean) · rstd` and `g = dy · gamma`, and means over the last axis: `dx = (g − mean(g) − x̂ · mean(g · x̂)) ·
/// rstd`, `dgamma = Σ dy · x̂` and `dbeta = Σ dy` over all axes but the last.
pub(crate) fn gradients(graph: &mut Graph, [x, gamma]: [NodeId; 2], eps: f32, dy: NodeId) -> Result<[NodeId; 3], TypeError> {
    let mean = mean_of_rows(graph, x)?;
    let centred = sub(graph, x, mean)?;
    let square = mul(graph, centred, centred)?;
    let variance = mean_of_rows(graph, square)?;
    let eps = number(graph, f64::from(eps))?;
    let shifted = add(graph, variance, eps)?;
    let rstd = unary(graph, UnaryOp::Rsqrt, shifted)?;
    let standard = mul(graph, centred, rstd)?;

    let weighted = mul(graph, dy, gamma)?;
    let level = mean_of_rows(graph, weighted)?;
    let product = mul(graph, weighted, standard)?;
    let slope = mean_of_rows(graph, product)?;
    let pulled = mul(graph, standard, slope)?;
    let dx = sub(graph, weighted, level)?;
    let dx = sub(graph, dx, pulled)?;
    let dx = mul(graph, dx, rstd)?;

    let product = mul(graph, dy, standard)?;
    let dgamma = per_channel(graph, ReduceOp::Sum, product)?;
    let dbeta = per_channel(graph, ReduceOp::Sum, dy)?;
    Ok([dx, dgamma, dbeta])
}

fn mean_of_rows(graph: &mut Graph, x: NodeId) -> Result<NodeId, TypeError> {
    let last = graph.ty(x).rank() - 1;
    graph.push(Op::Reduce { op: ReduceOp::Mean, axes: vec![last], keep: true }, &[x])
}
