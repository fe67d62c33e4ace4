//! Operators are recognised in all forms that other programs use, and in no others.

use super::build::Builder;
use super::check;
use super::patient;
use super::rules::alone;
use crate::{Options, rewrite};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::{Dim, NodeId, Op};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

fn rows(b: &mut Builder, rng: &mut StdRng) -> NodeId {
    let shape: Vec<usize> = (0..rng.random_range(1..4)).map(|_| rng.random_range(2..6)).collect();
    b.input(&shape)
}

/// A constant of a random shape that broadcasts to the shape of a value.
fn number(b: &mut Builder, rng: &mut StdRng, value: f32, like: NodeId) -> NodeId {
    let shape = b.graph.ty(like).shape.clone();
    let shape = match rng.random_range(0..3) {
        0 => vec![],
        1 => vec![Dim::Fixed(1)],
        _ => shape,
    };
    b.op(Op::Splat(value, shape), &[])
}

fn unary(b: &mut Builder, op: UnaryOp, x: NodeId) -> NodeId {
    b.op(Op::Unary(op), &[x])
}

fn binary(b: &mut Builder, op: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
    b.op(Op::Binary(op), &[x, y])
}

/// `x · value`, as a product in either order or as a quotient.
fn times(b: &mut Builder, rng: &mut StdRng, x: NodeId, value: f32) -> NodeId {
    match rng.random_range(0..3) {
        0 => {
            let value = number(b, rng, 1.0 / value, x);
            binary(b, BinaryOp::Div, x, value)
        }
        1 => {
            let value = number(b, rng, value, x);
            b.mul(value, x)
        }
        _ => {
            let value = number(b, rng, value, x);
            b.mul(x, value)
        }
    }
}

fn plus(b: &mut Builder, rng: &mut StdRng, x: NodeId, value: f32) -> NodeId {
    let value = number(b, rng, value, x);
    if rng.random() { b.add(x, value) } else { b.add(value, x) }
}

/// `x · gate / 2` with the half at any position.
fn half_product(b: &mut Builder, rng: &mut StdRng, x: NodeId, gate: NodeId) -> NodeId {
    match rng.random_range(0..4) {
        0 => {
            let half = times(b, rng, x, 0.5);
            b.mul(half, gate)
        }
        1 => {
            let half = times(b, rng, gate, 0.5);
            b.mul(x, half)
        }
        2 => {
            let product = b.mul(gate, x);
            times(b, rng, product, 0.5)
        }
        _ => {
            let product = b.mul(x, gate);
            times(b, rng, product, 0.5)
        }
    }
}

fn gelu(b: &mut Builder, rng: &mut StdRng, x: NodeId, slope: f32) -> NodeId {
    let scaled = times(b, rng, x, slope);
    let erf = unary(b, UnaryOp::Erf, scaled);
    let gate = plus(b, rng, erf, 1.0);
    half_product(b, rng, x, gate)
}

fn gelu_tanh(b: &mut Builder, rng: &mut StdRng, x: NodeId, cubic: f32) -> NodeId {
    let linear = (2.0 / std::f32::consts::PI).sqrt();
    let square = b.mul(x, x);
    let argument = if rng.random() {
        let cube = b.mul(square, x);
        let bend = times(b, rng, cube, cubic);
        let sum = b.add(x, bend);
        times(b, rng, sum, linear)
    } else {
        let bend = times(b, rng, square, cubic);
        let factor = plus(b, rng, bend, 1.0);
        let scaled = times(b, rng, x, linear);
        b.mul(scaled, factor)
    };
    let tanh = unary(b, UnaryOp::Tanh, argument);
    let gate = plus(b, rng, tanh, 1.0);
    half_product(b, rng, x, gate)
}

/// `min(max(x, 0), most)` in any order.
fn clamp(b: &mut Builder, rng: &mut StdRng, x: NodeId, most: f32) -> NodeId {
    let least = |b: &mut Builder, rng: &mut StdRng, x: NodeId| match rng.random() {
        true => b.relu(x),
        false => {
            let zero = number(b, rng, 0.0, x);
            binary(b, BinaryOp::Max, x, zero)
        }
    };
    let bound = number(b, rng, most, x);
    if rng.random() {
        let x = least(b, rng, x);
        binary(b, BinaryOp::Min, x, bound)
    } else {
        let x = binary(b, BinaryOp::Min, bound, x);
        least(b, rng, x)
    }
}

#[test]
fn gelu_in_every_form() {
    for _ in 0..6 {
        alone("gelu", &[], true, |b, rng| {
            let x = rows(b, rng);
            gelu(b, rng, x, FRAC_1_SQRT_2)
        });
        alone("gelu", &[], true, |b, rng| {
            let x = rows(b, rng);
            gelu_tanh(b, rng, x, 0.044715)
        });
    }
    // The sum multiplied out.
    alone("gelu", &[], true, |b, rng| {
        let x = rows(b, rng);
        let scaled = times(b, rng, x, 1.0 / SQRT_2);
        let erf = unary(b, UnaryOp::Erf, scaled);
        let half = times(b, rng, x, 0.5);
        let moved = b.mul(half, erf);
        b.add(moved, half)
    });
}

#[test]
fn what_is_no_gelu() {
    alone("gelu", &[], false, |b, rng| {
        let x = rows(b, rng);
        gelu(b, rng, x, 0.7)
    });
    alone("gelu", &[], false, |b, rng| {
        let x = rows(b, rng);
        gelu_tanh(b, rng, x, 0.05)
    });
    // The gate of another value.
    alone("gelu", &[], false, |b, rng| {
        let x = b.input(&[3, 4]);
        let y = b.input(&[3, 4]);
        let scaled = times(b, rng, x, FRAC_1_SQRT_2);
        let erf = unary(b, UnaryOp::Erf, scaled);
        let gate = plus(b, rng, erf, 1.0);
        half_product(b, rng, y, gate)
    });
    // A scale per channel is not a single number.
    alone("gelu", &[], false, |b, rng| {
        let x = b.input(&[3, 4]);
        let slope = b.param(&[4]);
        let scaled = b.mul(x, slope);
        let erf = unary(b, UnaryOp::Erf, scaled);
        let gate = plus(b, rng, erf, 1.0);
        half_product(b, rng, x, gate)
    });
}

#[test]
fn silu() {
    alone("silu", &[], true, |b, rng| {
        let x = rows(b, rng);
        let gate = unary(b, UnaryOp::Sigmoid, x);
        if rng.random() { b.mul(gate, x) } else { b.mul(x, gate) }
    });
    alone("silu", &[], false, |b, rng| {
        let x = rows(b, rng);
        let scaled = times(b, rng, x, 1.702);
        let gate = unary(b, UnaryOp::Sigmoid, scaled);
        b.mul(x, gate)
    });
}

#[test]
fn hard_swish() {
    for _ in 0..4 {
        alone("hard-swish", &[], true, |b, rng| {
            let x = rows(b, rng);
            let moved = plus(b, rng, x, 3.0);
            let gate = clamp(b, rng, moved, 6.0);
            if rng.random() {
                let gate = times(b, rng, gate, 1.0 / 6.0);
                b.mul(x, gate)
            } else {
                let product = b.mul(gate, x);
                times(b, rng, product, 1.0 / 6.0)
            }
        });
        alone("hard-swish", &[], true, |b, rng| {
            let x = rows(b, rng);
            let scaled = times(b, rng, x, 1.0 / 6.0);
            let line = plus(b, rng, scaled, 0.5);
            let gate = clamp(b, rng, line, 1.0);
            b.mul(x, gate)
        });
    }
    alone("hard-swish", &[], false, |b, rng| {
        let x = rows(b, rng);
        let scaled = times(b, rng, x, 0.2);
        let line = plus(b, rng, scaled, 0.5);
        let gate = clamp(b, rng, line, 1.0);
        b.mul(x, gate)
    });
}

fn reduce(b: &mut Builder, op: ReduceOp, x: NodeId, axis: usize) -> NodeId {
    b.op(Op::Reduce { op, axes: vec![axis], keep: true }, &[x])
}

fn last(b: &Builder, x: NodeId) -> usize {
    b.shape(x).len() - 1
}

#[test]
fn softmax() {
    let soft = |b: &mut Builder, rng: &mut StdRng, x: NodeId, axis: usize| {
        let x = if rng.random() {
            let largest = reduce(b, ReduceOp::Max, x, axis);
            binary(b, BinaryOp::Sub, x, largest)
        } else {
            x
        };
        let power = unary(b, UnaryOp::Exp, x);
        let total = reduce(b, ReduceOp::Sum, power, axis);
        if rng.random() {
            let inverse = unary(b, UnaryOp::Recip, total);
            b.mul(power, inverse)
        } else {
            binary(b, BinaryOp::Div, power, total)
        }
    };
    alone("softmax", &[], true, |b, rng| {
        let x = rows(b, rng);
        let axis = last(b, x);
        soft(b, rng, x, axis)
    });
    alone("softmax", &[], false, |b, rng| {
        let x = b.input(&[3, 4]);
        soft(b, rng, x, 0)
    });
    // The sum of something else.
    alone("softmax", &[], false, |b, _| {
        let x = b.input(&[3, 4]);
        let (power, other) = (unary(b, UnaryOp::Exp, x), unary(b, UnaryOp::Abs, x));
        let total = reduce(b, ReduceOp::Sum, other, 1);
        binary(b, BinaryOp::Div, power, total)
    });
}

fn normal(b: &mut Builder, rng: &mut StdRng, x: NodeId, axis: usize) -> NodeId {
    let mean = reduce(b, ReduceOp::Mean, x, axis);
    let centred = binary(b, BinaryOp::Sub, x, mean);
    let square = b.mul(centred, centred);
    let variance = reduce(b, ReduceOp::Mean, square, axis);
    let shifted = plus(b, rng, variance, 1e-3);
    match rng.random_range(0..3) {
        0 => {
            let root = unary(b, UnaryOp::Sqrt, shifted);
            binary(b, BinaryOp::Div, centred, root)
        }
        1 => {
            let root = unary(b, UnaryOp::Sqrt, shifted);
            let inverse = unary(b, UnaryOp::Recip, root);
            b.mul(inverse, centred)
        }
        _ => {
            let inverse = unary(b, UnaryOp::Rsqrt, shifted);
            b.mul(centred, inverse)
        }
    }
}

#[test]
fn layer_norm() {
    for _ in 0..3 {
        alone("layer-norm", &[], true, |b, rng| {
            let x = rows(b, rng);
            let axis = last(b, x);
            normal(b, rng, x, axis)
        });
    }
    alone("layer-norm", &[], false, |b, rng| {
        let x = b.input(&[3, 4]);
        normal(b, rng, x, 0)
    });
    // The scale may be applied to the deviation.
    alone("layer-norm", &[], true, |b, rng| {
        let x = b.input(&[3, 5]);
        let gamma = if rng.random() { b.param(&[5]) } else { b.param(&[1, 5]) };
        let mean = reduce(b, ReduceOp::Mean, x, 1);
        let centred = binary(b, BinaryOp::Sub, x, mean);
        let square = b.mul(centred, centred);
        let variance = reduce(b, ReduceOp::Mean, square, 1);
        let shifted = plus(b, rng, variance, 1e-3);
        let inverse = unary(b, UnaryOp::Rsqrt, shifted);
        let factor = b.mul(inverse, gamma);
        b.mul(centred, factor)
    });
}

#[test]
fn layer_norm_takes_scale_and_shift() {
    let shapes: [&[usize]; 3] = [&[5], &[1, 5], &[1, 1, 5]];
    alone("scale-layer-norm", &["layer-norm", "shift-layer-norm"], true, |b, rng| {
        let x = b.input(&[2, 3, 5]);
        let y = normal(b, rng, x, 2);
        let (gamma, beta) = (b.param(shapes[rng.random_range(0..3)]), b.param(shapes[rng.random_range(0..3)]));
        let y = b.mul(gamma, y);
        b.add(y, beta)
    });
    alone("shift-layer-norm", &["layer-norm"], true, |b, rng| {
        let x = b.input(&[3, 5]);
        let y = normal(b, rng, x, 1);
        let beta = b.param(&[5]);
        b.add(beta, y)
    });
    // One weight for each row.
    alone("scale-layer-norm", &["layer-norm"], false, |b, rng| {
        let x = b.input(&[3, 5]);
        let y = normal(b, rng, x, 1);
        let gamma = b.param(&[3, 1]);
        b.mul(y, gamma)
    });
}

/// `[…,T,H·D] → […,H,T,D]`, or for keys `[…,H,D,T]`, in one step or two.
fn split(b: &mut Builder, rng: &mut StdRng, x: NodeId, heads: usize, keys: bool) -> NodeId {
    let mut shape = b.shape(x);
    let last = shape.pop().expect("a matrix");
    shape.extend([heads, last / heads]);
    let leading = shape.len() - 3;
    let x = b.op(Op::Reshape(shape.into_iter().map(Dim::Fixed).collect()), &[x]);
    let turn = |b: &mut Builder, x: NodeId, axes: [usize; 3]| {
        let perm = (0..leading).chain(axes.map(|axis| leading + axis)).collect();
        b.op(Op::Transpose(perm), &[x])
    };
    if !keys {
        return turn(b, x, [1, 0, 2]);
    }
    if rng.random() {
        return turn(b, x, [1, 2, 0]);
    }
    let x = turn(b, x, [1, 0, 2]);
    turn(b, x, [0, 2, 1])
}

struct Sizes {
    leading: Vec<usize>,
    heads: usize,
    rows: usize,
    keys: usize,
    depth: usize,
    width: usize,
}

fn sizes(rng: &mut StdRng) -> Sizes {
    let leading = (0..rng.random_range(0..3)).map(|_| rng.random_range(1..3)).collect();
    let [heads, rows, keys, depth, width] = [(); 5].map(|()| rng.random_range(2..5));
    Sizes { leading, heads, rows, keys, depth, width }
}

fn attention(b: &mut Builder, rng: &mut StdRng, of: &Sizes, masked: bool) -> NodeId {
    let shape = |tokens: usize, last: usize| [&of.leading[..], &[tokens, of.heads * last]].concat();
    let [q, k, v] = [shape(of.rows, of.depth), shape(of.keys, of.depth), shape(of.keys, of.width)].map(|shape| b.input(&shape));
    let mut q = split(b, rng, q, of.heads, false);
    let (k, v) = (split(b, rng, k, of.heads, true), split(b, rng, v, of.heads, false));
    let before = rng.random();
    if before {
        q = times(b, rng, q, 0.4);
    }
    let mut scores = b.op(Op::MatMul, &[q, k]);
    if !before {
        scores = times(b, rng, scores, 0.4);
    }
    if masked {
        let mask = if rng.random() { b.input(&[of.rows, of.keys]) } else { b.param(&[of.heads, 1, of.keys]) };
        scores = b.add(mask, scores);
    }
    let weights = b.op(Op::Softmax, &[scores]);
    b.op(Op::MatMul, &[weights, v])
}

/// `[…,H,T,D] → […,T,H·D]`
fn join(b: &mut Builder, x: NodeId) -> NodeId {
    let leading = b.shape(x).len() - 3;
    let perm = (0..leading).chain([leading + 1, leading, leading + 2]).collect();
    let x = b.op(Op::Transpose(perm), &[x]);
    flat(b, x)
}

/// The last two axes as one.
fn flat(b: &mut Builder, x: NodeId) -> NodeId {
    let mut shape = b.shape(x);
    let last = shape.pop().unwrap_or(1) * shape.pop().unwrap_or(1);
    shape.push(last);
    b.op(Op::Reshape(shape.into_iter().map(Dim::Fixed).collect()), &[x])
}

#[test]
fn attention_of_heads() {
    for masked in [false, true] {
        for _ in 0..2 {
            alone("attention", &["identity"], true, |b, rng| {
                let of = sizes(rng);
                let y = attention(b, rng, &of, masked);
                join(b, y)
            });
        }
    }
    becomes(&["Attention"], |b, rng| {
        let of = Sizes { leading: vec![2], heads: 2, rows: 3, keys: 4, depth: 5, width: 6 };
        let y = attention(b, rng, &of, true);
        join(b, y)
    });
}

#[test]
fn what_is_no_attention() {
    // The heads are not joined again.
    alone("attention", &[], false, |b, rng| {
        let of = Sizes { heads: 3, rows: 4, ..sizes(rng) };
        let y = attention(b, rng, &of, false);
        flat(b, y)
    });
    // The softmax is over the wrong axis.
    alone("attention", &[], false, |b, rng| {
        let (q, k, v) = (b.input(&[4, 8]), b.input(&[4, 8]), b.input(&[4, 8]));
        let (q, k, v) = (split(b, rng, q, 2, false), split(b, rng, k, 2, true), split(b, rng, v, 2, false));
        let scores = b.op(Op::MatMul, &[q, k]);
        let turned = b.op(Op::Transpose(vec![0, 2, 1]), &[scores]);
        let weights = b.op(Op::Softmax, &[turned]);
        let y = b.op(Op::MatMul, &[weights, v]);
        join(b, y)
    });
    // A scale per head is not a single number.
    alone("attention", &[], false, |b, rng| {
        let (q, k, v) = (b.input(&[4, 8]), b.input(&[4, 8]), b.input(&[4, 8]));
        let (q, k, v) = (split(b, rng, q, 2, false), split(b, rng, k, 2, true), split(b, rng, v, 2, false));
        let scores = b.op(Op::MatMul, &[q, k]);
        let scale = b.param(&[2, 1, 1]);
        let scores = b.mul(scores, scale);
        let weights = b.op(Op::Softmax, &[scores]);
        let y = b.op(Op::MatMul, &[weights, v]);
        join(b, y)
    });
}

/// After all rules the graph has exactly these operators, apart from weights.
fn becomes(expected: &[&str], build: impl Fn(&mut Builder, &mut StdRng) -> NodeId) {
    for seed in 0..4 {
        let mut b = Builder::new();
        let output = build(&mut b, &mut StdRng::seed_from_u64(seed));
        let rewritten = check(&b.finish(&[output]));
        let is_weight = rewritten.graph.weights();
        let live = rewritten.graph.iter().filter(|(id, node)| !is_weight[*id] && node.op != Op::Input);
        let names: Vec<String> = live.map(|(_, node)| name(&node.op)).collect();
        assert_eq!(names, expected, "seed {seed}");
    }
}

fn name(op: &Op) -> String {
    match op {
        Op::Unary(op) => op.name().to_owned(),
        op => format!("{op:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn whole_blocks() {
    becomes(&["FusedSum", "gelu"], |b, rng| {
        let x = b.input(&[4, 6]);
        let (w, bias) = (b.param(&[6, 8]), b.param(&[8]));
        let y = b.op(Op::MatMul, &[x, w]);
        let y = b.add(y, bias);
        gelu(b, rng, y, FRAC_1_SQRT_2)
    });
    becomes(&["LayerNorm"], |b, rng| {
        let x = b.input(&[4, 6]);
        let y = normal(b, rng, x, 1);
        let (gamma, beta) = (b.param(&[6]), b.param(&[6]));
        let y = b.mul(y, gamma);
        b.add(y, beta)
    });
}

#[test]
fn formulas_with_rounded_constants_are_proven() {
    for seed in 0..4 {
        let (mut b, mut rng) = (Builder::new(), StdRng::seed_from_u64(seed));
        let x = b.input(&[5, 6]);
        let y = gelu(&mut b, &mut rng, x, FRAC_1_SQRT_2);
        let y = gelu_tanh(&mut b, &mut rng, y, 0.044715);
        let y = normal(&mut b, &mut rng, y, 1);
        let graph = b.finish(&[y]);
        let rewritten = rewrite(&graph, &Options { explain: true, ..patient() }).expect("it is proven");
        for rule in ["gelu (near)", "layer-norm (real)"] {
            assert!(rewritten.report.proof.contains(rule), "{}", rewritten.report.proof);
        }
    }
}
