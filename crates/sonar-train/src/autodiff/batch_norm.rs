//! Batch normalisation in training form. Each direction needs only reductions to one number per channel and a single
//! elementwise pass over the image.
//!
//! With the mean and the biased variance of each channel over the `M` other positions, `rstd = 1/√(variance + eps)`:
//!
//! - forward: `y = x·scale + shift` with `scale = gamma·rstd` and `shift = beta − mean·scale`;
//! - backward, with `S1 = Σ dy` and `S2 = Σ dy·(x − mean)`: `dbeta = S1`, `dgamma = rstd·S2`, and
//!   `dx = dy·scale + x·slope + offset` with `slope = −scale·rstd²·S2/M` and `offset = −scale·S1/M − slope·mean`.
//!
//! Both directions build the statistics from the same expressions, so sharing equal nodes leaves one copy.

use crate::build::{add, copy, extents, map_nodes, mul, number, per_channel, scale, sub, unary};
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::{ReduceOp, UnaryOp};

/// Statistics of each channel (the last axis), of shape `[C]`.
pub(crate) struct Statistics {
    /// Arithmetic mean.
    pub mean: NodeId,
    /// Biased variance.
    pub variance: NodeId,
}

/// Appends the statistics of `x`. The variance is the mean of squared differences. The mean of squares minus the square of the
/// mean would save one pass, but can be negative in single precision.
pub(crate) fn statistics(graph: &mut Graph, x: NodeId) -> Result<Statistics, TypeError> {
    let mean = per_channel(graph, ReduceOp::Mean, x)?;
    let centred = sub(graph, x, mean)?;
    let squared = mul(graph, centred, centred)?;
    let variance = per_channel(graph, ReduceOp::Mean, squared)?;
    Ok(Statistics { mean, variance })
}

/// Appends the gradients of `y = batch_norm_train(x, gamma, beta)` with respect to its three operands, in order.
pub(crate) fn gradients(graph: &mut Graph, [x, gamma]: [NodeId; 2], eps: f32, dy: NodeId) -> Result<[NodeId; 3], TypeError> {
    let count: usize = extents(graph, x).iter().rev().skip(1).product();
    let share = 1.0 / count as f64;
    let Statistics { mean, variance } = statistics(graph, x)?;
    let rstd = reciprocal_deviation(graph, variance, eps)?;
    let gain = mul(graph, gamma, rstd)?;

    let sum = per_channel(graph, ReduceOp::Sum, dy)?;
    let centred = sub(graph, x, mean)?;
    let product = mul(graph, dy, centred)?;
    let correlation = per_channel(graph, ReduceOp::Sum, product)?;
    let dgamma = mul(graph, rstd, correlation)?;

    let slope = mul(graph, gain, rstd)?;
    let slope = mul(graph, slope, dgamma)?;
    let slope = scale(graph, slope, -share)?;
    let offset = mul(graph, gain, sum)?;
    let offset = scale(graph, offset, -share)?;
    let recentre = mul(graph, slope, mean)?;
    let offset = sub(graph, offset, recentre)?;

    let direct = mul(graph, dy, gain)?;
    let pulled = mul(graph, x, slope)?;
    let dx = add(graph, direct, pulled)?;
    let dx = add(graph, dx, offset)?;
    Ok([dx, dgamma, sum])
}

/// The same function with every `batch_norm_train` expressed by statistics, `scale` and `shift`.
pub(crate) fn expand(graph: &Graph) -> Result<Graph, TypeError> {
    map_nodes(graph, |expanded, _, node, operands| match node.op {
        Op::BatchNormTrain { eps } => normalise(expanded, [operands[0], operands[1], operands[2]], eps),
        _ => Ok(copy(expanded, node, operands)),
    })
}

fn normalise(graph: &mut Graph, [x, gamma, beta]: [NodeId; 3], eps: f32) -> Result<NodeId, TypeError> {
    let Statistics { mean, variance } = statistics(graph, x)?;
    let rstd = reciprocal_deviation(graph, variance, eps)?;
    let gain = mul(graph, gamma, rstd)?;
    let shift = mul(graph, mean, gain)?;
    let shift = sub(graph, beta, shift)?;
    let scaled = mul(graph, x, gain)?;
    add(graph, scaled, shift)
}

/// `1 / √(variance + eps)`
pub(crate) fn reciprocal_deviation(graph: &mut Graph, variance: NodeId, eps: f32) -> Result<NodeId, TypeError> {
    let eps = number(graph, f64::from(eps))?;
    let sum = add(graph, variance, eps)?;
    unary(graph, UnaryOp::Rsqrt, sum)
}
