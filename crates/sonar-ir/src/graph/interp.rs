//! The reference interpreter of the graph IR: what every operator means.
//!
//! Within an operator, arithmetic is in double precision; its result is rounded to `f32` once. So the tolerance of a comparison with
//! compiled code only has to allow for rounding within operators, and a graph that rounds on purpose rounds here too. The code
//! prefers clarity to speed; only the loops over channels are written to run over consecutive memory.

mod attention;
mod data;
mod window;

use crate::entity::EntityVec;
use crate::graph::{Conv2dAttrs, Graph, Node, NodeId, Op, Term};
use crate::scalar::{BinaryOp, ReduceOp, UnaryOp};
use crate::tensor::{Tensor, Values};
use crate::verify::{self, VerifyError};
use data::Array;
use thiserror::Error;

/// Why a graph cannot be run.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum InterpError {
    /// The graph is not well-formed.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// The batch of the graph is not bound.
    #[error("the batch N of {0} is not bound: specialise the graph first")]
    UnboundBatch(NodeId),
    /// An input or parameter was not given.
    #[error("no value is given for `{0}`")]
    Missing(String),
    /// An input or parameter was given with another shape.
    #[error("`{name}` has shape {expected:?}, but the value given has shape {found:?}")]
    WrongShape {
        /// Name of the input or parameter.
        name: String,
        /// The shape that the graph declares.
        expected: Vec<usize>,
        /// The shape of the value.
        found: Vec<usize>,
    },
}

/// The outputs of a specialised graph for these inputs and parameters.
///
/// ```
/// use sonar_ir::graph::interp;
/// use sonar_ir::{Graph, Op, Tensor, TensorType, UnaryOp, Values};
///
/// let mut graph = Graph::new("f");
/// let x = graph.input("x", TensorType::fixed(&[3]));
/// let y = graph.push(Op::Unary(UnaryOp::Relu), &[x])?;
/// graph.outputs.push(y);
/// let values = Values::from([("x".to_string(), Tensor::new(vec![3], vec![-1.0, 0.0, 2.0]))]);
/// assert_eq!(interp::run(&graph, &values)?[0].data, [0.0, 0.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(graph: &Graph, values: &Values) -> Result<Vec<Tensor>, InterpError> {
    Ok(outputs(graph, values, true)?.iter().map(Array::round).collect())
}

/// The elements of each output, without any rounding to single precision on the way: see [`run`].
pub fn run_unrounded(graph: &Graph, values: &Values) -> Result<Vec<Vec<f64>>, InterpError> {
    Ok(outputs(graph, values, false)?.into_iter().map(|output| output.data).collect())
}

fn outputs(graph: &Graph, values: &Values, rounded: bool) -> Result<Vec<Array>, InterpError> {
    verify::graph(graph)?;
    let mut uses_left = graph.uses();
    let mut results: EntityVec<NodeId, Option<Array>> = EntityVec::new();
    for (id, node) in graph.iter() {
        let shape = node.ty.extents().ok_or(InterpError::UnboundBatch(id))?;
        let operands: Vec<&Array> = node.operands.iter().filter_map(|operand| results[*operand].as_ref()).collect();
        let mut result = evaluate(node, &operands, shape, values)?;
        if rounded {
            result.data.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
        // A value is kept only until its last use, so that deep networks fit into memory.
        for operand in &node.operands {
            let left = &mut uses_left[*operand];
            *left -= 1;
            if *left == 0 {
                results[*operand] = None;
            }
        }
        results.push(Some(result));
    }
    Ok(graph.outputs.iter().filter_map(|output| results[*output].clone()).collect())
}

fn evaluate(node: &Node, operands: &[&Array], shape: Vec<usize>, values: &Values) -> Result<Array, InterpError> {
    let x = operands.first().copied();
    Ok(match (&node.op, x) {
        (Op::Input | Op::Param(_), _) => given(node, shape, values)?,
        (Op::Splat(value, _), _) => Array::full(shape, f64::from(*value)),
        (op, Some(x)) => apply(op, x, operands, shape),
        // Only operators without operands are left: the verifier has checked the arity of every operator.
        (_, None) => Array::full(shape, 0.0),
    })
}

/// The value of an input or a parameter.
fn given(node: &Node, shape: Vec<usize>, values: &Values) -> Result<Array, InterpError> {
    let name = node.name.clone().unwrap_or_default();
    match values.get(&name) {
        None => Err(InterpError::Missing(name)),
        Some(tensor) if tensor.shape != shape => {
            Err(InterpError::WrongShape { name, expected: shape, found: tensor.shape.clone() })
        }
        Some(tensor) => Ok(Array { shape, data: tensor.data.iter().map(|&v| f64::from(v)).collect() }),
    }
}

/// The value of an operator that has at least the operand `x`, the first of `operands`.
fn apply(op: &Op, x: &Array, operands: &[&Array], shape: Vec<usize>) -> Array {
    match op {
        Op::Input | Op::Param(_) | Op::Splat(..) => x.clone(),
        Op::Conv2d(attrs) => window::conv2d(attrs, x, operands[1], shape),
        Op::Conv2dGradInput(attrs, _) => window::conv2d_grad_input(attrs, x, operands[1], shape),
        Op::Conv2dGradWeight(attrs, _) => window::conv2d_grad_weight(attrs, x, operands[1], shape),
        Op::MatMul => matmul(x, operands[1], shape),
        Op::BatchNorm { eps } => batch_norm(x, operands[1], operands[2], &operands[3].data, &operands[4].data, f64::from(*eps)),
        Op::BatchNormTrain { eps } => {
            let (mean, variance) = statistics(x);
            batch_norm(x, operands[1], operands[2], &mean, &variance, f64::from(*eps))
        }
        Op::Unary(op) => x.map(|v| op.eval(v)),
        Op::Binary(op) => zip(*op, x, operands[1], &shape),
        Op::MaxPool(attrs) => window::max_pool(attrs, x, shape),
        Op::MaxPoolGrad(attrs) => window::max_pool_grad(attrs, x, operands[1]),
        Op::AvgPool(attrs) => window::avg_pool(attrs, x, shape),
        Op::AvgPoolGrad(attrs, _) => window::avg_pool_grad(attrs, x, shape),
        Op::GlobalAvgPool => reduce(ReduceOp::Mean, &[1, 2], x, shape),
        Op::Reshape(_) => Array { shape, data: x.data.clone() },
        Op::Transpose(perm) => {
            let strides = x.strides();
            x.gather(&shape, &perm.iter().map(|&axis| strides[axis]).collect::<Vec<_>>(), 0)
        }
        Op::Concat { axis } => concat(*axis, operands, shape),
        Op::Slice { axis, start, .. } => {
            let strides = x.strides();
            x.gather(&shape, &strides, start * strides[*axis])
        }
        Op::Pad(pads) => {
            let mut result = Array::full(shape, 0.0);
            let before = pads.iter().zip(result.strides()).map(|(pad, stride)| pad.0 * stride).sum();
            result.scatter(x, before);
            result
        }
        Op::Softmax => rows(x, softmax),
        Op::LogSoftmax => rows(x, |row| {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|v| (v - largest).exp()).sum();
            row.iter_mut().for_each(|v| *v -= largest + total.ln());
        }),
        Op::Attention { heads, scale } => attention::attention(*heads, f64::from(*scale), operands, shape),
        Op::LayerNorm { eps } => layer_norm(x, operands[1], operands[2], f64::from(*eps)),
        Op::Reduce { op, axes, .. } => reduce(*op, axes, x, shape),
        Op::Broadcast(_) => x.broadcast(&shape),
        Op::FusedSum { terms, relu } => fused_sum(terms, *relu, operands, shape),
    }
}

fn zip(op: BinaryOp, a: &Array, b: &Array, shape: &[usize]) -> Array {
    let mut result = a.broadcast(shape);
    for (a, b) in result.data.iter_mut().zip(b.broadcast(shape).data) {
        *a = op.eval(*a, b);
    }
    result
}

fn matmul(a: &Array, b: &Array, shape: Vec<usize>) -> Array {
    let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let k = a.shape[a.shape.len() - 1];
    let mut result = Array::full(shape, 0.0);
    for (index, (c, a)) in result.data.chunks_exact_mut(m * n).zip(a.data.chunks_exact(m * k)).enumerate() {
        let b = if b.shape.len() == 2 { &b.data[..] } else { &b.data[index * k * n..][..k * n] };
        for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(k)) {
            for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
                data::add_scaled(c, a, b);
            }
        }
    }
    result
}

/// Mean and biased variance of each channel, the last axis.
fn statistics(x: &Array) -> (Vec<f64>, Vec<f64>) {
    let channels = x.last_extent();
    let count = (x.data.len() / channels) as f64;
    let mut mean = vec![0.0; channels];
    for row in x.data.chunks_exact(channels) {
        data::add_scaled(&mut mean, 1.0 / count, row);
    }
    let mut variance = vec![0.0; channels];
    for row in x.data.chunks_exact(channels) {
        for ((variance, mean), v) in variance.iter_mut().zip(&mean).zip(row) {
            *variance += (v - mean) * (v - mean) / count;
        }
    }
    (mean, variance)
}

fn batch_norm(x: &Array, gamma: &Array, beta: &Array, mean: &[f64], variance: &[f64], eps: f64) -> Array {
    rows(x, |row| {
        for (c, v) in row.iter_mut().enumerate() {
            *v = gamma.data[c] * (*v - mean[c]) / (variance[c] + eps).sqrt() + beta.data[c];
        }
    })
}

fn softmax(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = row.iter().map(|v| (v - largest).exp()).sum();
    row.iter_mut().for_each(|v| *v = (*v - largest).exp() / total);
}

fn layer_norm(x: &Array, gamma: &Array, beta: &Array, eps: f64) -> Array {
    rows(x, |row| {
        let count = row.len() as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
        for (c, v) in row.iter_mut().enumerate() {
            *v = gamma.data[c] * (*v - mean) / (variance + eps).sqrt() + beta.data[c];
        }
    })
}

/// A copy of `x` with `change` applied to each row along the last axis.
fn rows(x: &Array, change: impl Fn(&mut [f64])) -> Array {
    let mut result = x.clone();
    result.data.chunks_exact_mut(x.last_extent()).for_each(change);
    result
}

fn concat(axis: usize, operands: &[&Array], shape: Vec<usize>) -> Array {
    let mut result = Array::full(shape, 0.0);
    let stride = result.strides()[axis];
    let mut start = 0;
    for operand in operands {
        result.scatter(operand, start * stride);
        start += operand.shape[axis];
    }
    result
}

fn reduce(op: ReduceOp, axes: &[usize], x: &Array, shape: Vec<usize>) -> Array {
    let first = match op {
        ReduceOp::Sum | ReduceOp::Mean => 0.0,
        ReduceOp::Max => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
    };
    let mut result = Array::full(shape, first);
    let kept: Vec<usize> = (0..x.shape.len()).map(|i| if axes.contains(&i) { 1 } else { x.shape[i] }).collect();
    data::walk(&x.shape, &data::broadcast_strides(&kept, x.shape.len()), 0, |from, to| {
        let (value, v) = (&mut result.data[to], x.data[from]);
        *value = op.combine().eval(*value, v);
    });
    if op == ReduceOp::Mean {
        let count: usize = axes.iter().map(|&axis| x.shape[axis]).product();
        result.data.iter_mut().for_each(|v| *v /= count as f64);
    }
    result
}

fn fused_sum(terms: &[Term], relu: bool, operands: &[&Array], shape: Vec<usize>) -> Array {
    let prologue = |relu: bool, x: &Array| if relu { x.map(|v| UnaryOp::Relu.eval(v)) } else { x.clone() };
    let mut sum = Array::full(shape, 0.0);
    let mut rest = operands;
    for term in terms {
        let (mine, others) = rest.split_at(term.arity());
        rest = others;
        let value = match term {
            Term::Conv2d { attrs, relu } => {
                let x = prologue(*relu, mine[0]);
                let shape = conv2d_shape(attrs, &x, mine[1]);
                window::conv2d(attrs, &x, mine[1], shape)
            }
            Term::MatMul { relu } => {
                let a = prologue(*relu, mine[0]);
                let mut shape = a.shape.clone();
                if let Some(last) = shape.last_mut() {
                    *last = mine[1].last_extent();
                }
                matmul(&a, mine[1], shape)
            }
            Term::Add => mine[0].clone(),
        };
        let value = value.broadcast(&sum.shape);
        data::add_scaled(&mut sum.data, 1.0, &value.data);
    }
    prologue(relu, &sum)
}

/// Shape of a convolution's result; the verifier has checked that the window fits.
fn conv2d_shape(attrs: &Conv2dAttrs, x: &Array, w: &Array) -> Vec<usize> {
    let extent = |i: usize| {
        let pads = attrs.pad[i] + attrs.pad[i + 2];
        crate::graph::infer::window(x.shape[1 + i], pads, w.shape[i], attrs.dilation[i], attrs.stride[i]).unwrap_or(0)
    };
    vec![x.shape[0], extent(0), extent(1), w.shape[3]]
}

#[cfg(test)]
mod tests;
