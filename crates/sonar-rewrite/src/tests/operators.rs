//! Short functions for operators, for tests of single rules.

use super::build::Builder;
use super::rules::any_conv;
use rand::rngs::StdRng;
use sonar_ir::graph::{Conv2dAttrs, NodeId, Op, TensorType};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

/// Builds something on a value.
pub type Build<'a> = &'a dyn Fn(&mut Builder, NodeId) -> NodeId;

/// [`Build`] with random numbers.
pub type RandomBuild<'a> = &'a dyn Fn(&mut Builder, &mut StdRng, NodeId) -> NodeId;

pub const NCHW: [usize; 4] = [0, 3, 1, 2];
pub const NHWC: [usize; 4] = [0, 2, 3, 1];

pub fn turn(b: &mut Builder, x: NodeId, perm: &[usize]) -> NodeId {
    b.op(Op::Transpose(perm.to_vec()), &[x])
}

pub fn shaped(b: &mut Builder, x: NodeId, shape: &[usize]) -> NodeId {
    b.op(Op::Reshape(TensorType::fixed(shape).shape), &[x])
}

pub fn unary(b: &mut Builder, f: UnaryOp, x: NodeId) -> NodeId {
    b.op(Op::Unary(f), &[x])
}

pub fn binary(b: &mut Builder, f: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
    b.op(Op::Binary(f), &[x, y])
}

pub fn matmul(b: &mut Builder, x: NodeId, y: NodeId) -> NodeId {
    b.op(Op::MatMul, &[x, y])
}

/// The product with a weight of `columns` columns.
pub fn linear(b: &mut Builder, x: NodeId, columns: usize) -> NodeId {
    let rows = *b.shape(x).last().expect("a matrix has columns");
    let w = b.param(&[rows, columns]);
    matmul(b, x, w)
}

pub fn number(b: &mut Builder, value: f32) -> NodeId {
    b.op(Op::Splat(value, vec![]), &[])
}

pub fn concat(b: &mut Builder, axis: usize, parts: &[NodeId]) -> NodeId {
    b.op(Op::Concat { axis }, parts)
}

pub fn reduce(b: &mut Builder, op: ReduceOp, axes: &[usize], keep: bool, x: NodeId) -> NodeId {
    b.op(Op::Reduce { op, axes: axes.to_vec(), keep }, &[x])
}

/// A convolution with `groups` groups.
pub fn grouped(rng: &mut StdRng, groups: usize) -> Conv2dAttrs {
    any_conv(rng, groups)
}
