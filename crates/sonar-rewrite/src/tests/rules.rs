//! Each rule alone: it fires exactly where it should, and its result computes the same.

use super::build::Builder;
use super::wrong_rule;
use super::{check, check_rules, fired, fused, kernels};
use crate::language::{EGraph, add, nodes};
use crate::rules::{Match, RULES, Rule};
use egg::Id;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::{Conv2dAttrs, Dim, Graph, NodeId, Op, PoolAttrs, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// Checks one rule on random graphs from `build`. Only the rules that it needs in order to match are also used.
#[track_caller]
pub fn alone(name: &str, helpers: &[&str], fires: bool, build: impl Fn(&mut Builder, &mut StdRng) -> NodeId) {
    let rules: Vec<Rule> = RULES.iter().filter(|rule| rule.name == name || helpers.contains(&&*rule.name)).cloned().collect();
    assert_eq!(rules.len(), 1 + helpers.len(), "no such rule");
    for seed in 0..4 {
        let mut builder = Builder::new();
        let output = build(&mut builder, &mut StdRng::seed_from_u64(seed));
        let graph = builder.finish(&[output]);
        let results = check_rules(&graph, &rules).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert_eq!(fired(&results[0], name) > 0, fires, "{name} with seed {seed}: {graph:?}");
    }
}

pub fn image(b: &mut Builder, rng: &mut StdRng, channels: usize) -> NodeId {
    let shape = [rng.random_range(1..3), rng.random_range(5..9), rng.random_range(5..9), channels];
    b.input(&shape)
}

/// Any attributes that a 3x3 or 5x5 convolution may have on an image of at least 5x5.
pub fn any_conv(rng: &mut StdRng, groups: usize) -> Conv2dAttrs {
    let mut two = |low: usize, high: usize| [rng.random_range(low..high), rng.random_range(low..high)];
    let ([top, left], [bottom, right]) = (two(0, 3), two(0, 3));
    Conv2dAttrs { stride: two(1, 3), pad: [top, left, bottom, right], dilation: two(1, 3), groups }
}

pub fn any_pool(rng: &mut StdRng, count_include_pad: bool) -> PoolAttrs {
    let mut two = |low: usize, high: usize| [rng.random_range(low..high), rng.random_range(low..high)];
    let ([top, left], [bottom, right]) = (two(0, 2), two(0, 2));
    PoolAttrs { kernel: two(2, 4), stride: two(1, 3), pad: [top, left, bottom, right], count_include_pad }
}

#[test]
fn identity() {
    alone("identity", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = b.op(Op::Transpose(vec![0, 1, 2, 3]), &[x]);
        let shape = b.graph.ty(x).shape.clone();
        let y = b.op(Op::Reshape(shape.clone()), &[y]);
        let one = b.op(Op::Splat(1.0, vec![Dim::Fixed(3)]), &[]);
        let y = b.op(Op::Binary(BinaryOp::Div), &[y, one]);
        b.op(Op::Unary(UnaryOp::Tanh), &[y])
    });
    alone("identity", &[], false, |b, rng| {
        let size = rng.random_range(2..5);
        let x = b.input(&[size, size]);
        let y = b.op(Op::Transpose(vec![1, 0]), &[x]);
        let one = b.op(Op::Splat(1.0, vec![Dim::Fixed(size)]), &[]);
        b.op(Op::Binary(BinaryOp::Div), &[one, y])
    });
}

#[test]
fn relu_of_relu() {
    alone("relu-of-relu", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = b.relu(x);
        b.relu(y)
    });
    alone("relu-of-relu", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let y = b.op(Op::Unary(UnaryOp::Neg), &[x]);
        b.relu(y)
    });
}

#[test]
fn sum_normal() {
    // Sums are built in normal form, so there is only something to do after another rule finds a new fact.
    alone("sum-normal", &["identity"], true, |b, rng| {
        let x = image(b, rng, 3);
        let shift = b.input(&[3]);
        let shape = b.graph.ty(x).shape.clone();
        let wide = b.op(Op::Broadcast(shape.clone()), &[shift]);
        let wide = b.op(Op::Reshape(shape), &[wide]);
        b.add(x, wide)
    });
    alone("sum-normal", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let zero = b.zeros(x);
        let bias = b.param(&[3]);
        let y = b.add(zero, bias);
        let y = b.add(y, x);
        b.add(y, zero)
    });
}

#[test]
fn scale_of_scale() {
    alone("scale-scale", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let (s, t) = (b.param(&[3]), b.param(&[1]));
        let y = b.mul(s, x);
        b.mul(y, t)
    });
    alone("scale-scale", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let s = b.param(&[3]);
        let y = b.mul(s, x);
        b.mul(y, x)
    });
}

#[test]
fn scale_of_dense() {
    alone("scale-dense", &[], true, |b, rng| {
        let groups = rng.random_range(1..3);
        let x = image(b, rng, 4);
        let y = b.conv(x, 3, 6, any_conv(rng, groups));
        b.batch_norm(y)
    });
    alone("scale-dense", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5]);
        let w = b.param(&[5, 3]);
        let y = b.op(Op::MatMul, &[x, w]);
        b.batch_norm(y)
    });
    // A scale that varies over the image is not a scale per output channel.
    alone("scale-dense", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.same_conv(x, 3, 6);
        let width = b.shape(y)[2];
        let s = b.param(&[width, 1]);
        b.mul(y, s)
    });
    // Neither is a scale that makes the result larger.
    alone("scale-dense", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.same_conv(x, 3, 1);
        let s = b.param(&[5]);
        b.mul(y, s)
    });
    // A weight that is an input is not constant.
    alone("scale-dense", &[], false, |b, rng| {
        let (x, w) = (b.input(&[rng.random_range(1..4), 5]), b.input(&[5, 3]));
        let y = b.op(Op::MatMul, &[x, w]);
        b.batch_norm(y)
    });
}

#[test]
fn scale_of_sum() {
    alone("scale-sum", &["sum-flatten"], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.same_conv(x, 3, 4);
        let bias = b.param(&[4]);
        let y = b.add(y, bias);
        let y = b.add(x, y);
        b.batch_norm(y)
    });
    alone("scale-sum", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
        let y = b.add(x, y);
        b.batch_norm(y)
    });
}

#[test]
fn flatten() {
    alone("sum-flatten", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
        let bias = b.param(&[3]);
        let one = b.add(x, bias);
        let other = b.add(y, bias);
        let both = b.add(one, other);
        b.add(both, one)
    });
    alone("sum-flatten", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let mut y = b.add(x, x);
        for _ in 0..4 {
            y = b.relu(y);
            y = b.add(y, x);
        }
        y
    });
}

#[test]
fn one_dense_term() {
    alone("fuse-residual", &["fuse-prologue"], true, |b, rng| {
        let groups = [1, 4][rng.random_range(0..2)];
        let x = image(b, rng, 4);
        let y = b.relu(x);
        let y = b.conv(y, 3, 4, Conv2dAttrs { pad: [1; 4], groups, ..Conv2dAttrs::default() });
        let y = b.batch_norm(y);
        let z = b.same_conv(x, 1, 4);
        b.add(y, z)
    });
    alone("fuse-residual", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5]);
        let w = b.param(&[5, 3]);
        let bias = b.param(&[3]);
        let y = b.relu(x);
        let y = b.op(Op::MatMul, &[y, w]);
        b.add(y, bias)
    });
}

#[test]
fn prologue() {
    alone("fuse-prologue", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.relu(x);
        b.conv(y, 3, 2, any_conv(rng, 2))
    });
    alone("fuse-prologue", &[], true, |b, rng| {
        let (x, w) = (b.input(&[2, rng.random_range(1..4), 5]), b.input(&[2, 5, 3]));
        let y = b.relu(x);
        b.op(Op::MatMul, &[y, w])
    });
    // An activation of the right side is not a prologue.
    alone("fuse-prologue", &[], false, |b, rng| {
        let (x, w) = (b.input(&[2, rng.random_range(1..4), 5]), b.input(&[2, 5, 3]));
        let w = b.relu(w);
        b.op(Op::MatMul, &[x, w])
    });
}

#[test]
fn epilogue() {
    alone("fuse-epilogue", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 3, 2, any_conv(rng, 1));
        b.relu(y)
    });
    alone("fuse-epilogue", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.batch_norm(x);
        b.relu(y)
    });
    alone("fuse-epilogue", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.cell_pool(x);
        b.relu(y)
    });
}

#[test]
fn many_dense_terms() {
    alone("fuse-sources", &["sum-flatten"], true, |b, rng| {
        let x = image(b, rng, 4);
        let active = b.relu(x);
        let terms = [b.same_conv(active, 3, 4), b.same_conv(x, 1, 4), b.same_conv(active, 5, 4), x];
        let sum = terms.into_iter().reduce(|a, y| b.add(a, y)).expect("there are terms");
        b.batch_norm(sum)
    });
    alone("fuse-sources", &[], true, |b, rng| {
        let rows = rng.random_range(1..4);
        let (x, y) = (b.input(&[rows, 5]), b.input(&[rows, 4]));
        let (v, w) = (b.param(&[5, 3]), b.param(&[4, 3]));
        let x = b.op(Op::MatMul, &[x, v]);
        let y = b.op(Op::MatMul, &[y, w]);
        b.add(x, y)
    });
}

#[test]
fn merge_convolutions() {
    // A smaller window anywhere inside a larger one, with any stride and groups.
    alone("merge-convs", &[], true, |b, rng| {
        let groups = rng.random_range(1..3);
        let x = image(b, rng, 4);
        let outer = any_conv(rng, groups);
        let outer = Conv2dAttrs { pad: outer.pad.map(|pad| pad + 2), dilation: [1, 1], ..outer };
        let [dy, dx] = [rng.random_range(0..3), rng.random_range(0..3)];
        let mut inner = outer;
        for (pad, less) in inner.pad.iter_mut().zip([dy, dx, 2 - dy, 2 - dx]) {
            *pad -= less;
        }
        let large = b.conv(x, 5, 6, outer);
        let small = b.conv(x, 3, 6, inner);
        b.add(large, small)
    });
    // A pointwise kernel inside a dilated one.
    alone("merge-convs", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let large = b.conv(x, 3, 6, Conv2dAttrs { pad: [2; 4], dilation: [2, 2], ..Conv2dAttrs::default() });
        let small = b.conv(x, 1, 6, Conv2dAttrs { dilation: [2, 2], ..Conv2dAttrs::default() });
        b.add(large, small)
    });
    // Windows that are not aligned, other strides, other inputs.
    alone("merge-convs", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let large = b.conv(x, 4, 6, Conv2dAttrs { pad: [1, 1, 2, 2], ..Conv2dAttrs::default() });
        let small = b.conv(x, 2, 6, Conv2dAttrs { pad: [1, 1, 0, 0], ..Conv2dAttrs::default() });
        let y = b.relu(x);
        let other = b.same_conv(y, 1, 6);
        let sum = b.add(small, other);
        let sum = b.relu(sum);
        b.add(large, sum)
    });
    alone("merge-convs", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
        let one = b.same_conv(x, 3, 6);
        let other = b.same_conv(y, 3, 6);
        b.add(one, other)
    });
    // One channel that is broadcast over the channels of the other.
    alone("merge-convs", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let one = b.same_conv(x, 3, 1);
        let many = b.same_conv(x, 3, 6);
        b.add(one, many)
    });
}

#[test]
fn merge_matmuls() {
    alone("merge-matmuls", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5]);
        let (v, w) = (b.param(&[5, 3]), b.param(&[5, 3]));
        let y = b.op(Op::MatMul, &[x, v]);
        let z = b.op(Op::MatMul, &[x, w]);
        b.add(y, z)
    });
    alone("merge-matmuls", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5]);
        let (v, w) = (b.param(&[5, 3]), b.param(&[5, 1]));
        let y = b.op(Op::MatMul, &[x, v]);
        let z = b.op(Op::MatMul, &[x, w]);
        b.add(y, z)
    });
}

#[test]
fn merge_pools() {
    for count_include_pad in [false, true] {
        alone("merge-pools", &[], true, |b, rng| {
            let x = image(b, rng, 3);
            let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
            let attrs = any_pool(rng, count_include_pad);
            let x = b.avg_pool(x, attrs);
            let y = b.avg_pool(y, attrs);
            b.add(x, y)
        });
    }
    alone("merge-pools", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let attrs = PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad: false };
        let y = b.avg_pool(x, attrs);
        let z = b.avg_pool(x, PoolAttrs { count_include_pad: true, ..attrs });
        b.add(y, z)
    });
}

#[test]
fn split_pool() {
    for count_include_pad in [false, true] {
        alone("split-pool", &[], true, |b, rng| {
            let x = image(b, rng, 3);
            let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
            let y = b.add(x, y);
            b.avg_pool(y, any_pool(rng, count_include_pad))
        });
    }
    alone("split-pool", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let bias = b.param(&[3]);
        let y = b.add(x, bias);
        b.avg_pool(y, any_pool(rng, false))
    });
    // Zeros of the padding reduce the mean of a constant.
    alone("split-pool", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let bias = b.param(&[3]);
        let y = b.add(x, bias);
        b.avg_pool(y, PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1, 0, 0, 0], count_include_pad: true })
    });
}

#[test]
fn pool_of_conv() {
    for count_include_pad in [false, true] {
        alone("pool-of-conv", &[], true, |b, rng| {
            let groups = rng.random_range(1..3);
            let x = image(b, rng, 4);
            let y = b.conv(x, 1, 6, Conv2dAttrs { groups, ..Conv2dAttrs::default() });
            b.avg_pool(y, any_pool(rng, count_include_pad))
        });
    }
    alone("pool-of-conv", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 1, 6, Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() });
        b.avg_pool(y, any_pool(rng, false))
    });
}

#[test]
fn conv_of_pool() {
    alone("conv-of-pool", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.avg_pool(x, PoolAttrs { stride: [1, 1], ..any_pool(rng, true) });
        b.same_conv(y, 1, 6)
    });
    alone("conv-of-pool", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.cell_pool(x);
        b.same_conv(y, 3, 6)
    });
}

#[test]
fn every_rule_is_named_once() {
    for (i, rule) in RULES.iter().enumerate() {
        assert!(RULES[..i].iter().all(|other| other.name != rule.name), "{rule:?}");
    }
}

#[test]
fn a_block_becomes_one_kernel() {
    let mut b = Builder::new();
    let x = b.input(&[1, 6, 6, 4]);
    let y = b.same_conv(x, 3, 4);
    let y = b.batch_norm(y);
    let z = b.same_conv(x, 1, 4);
    let z = b.batch_norm(z);
    let y = b.add(y, z);
    let y = b.add(y, x);
    let y = b.relu(y);
    let graph = b.finish(&[y]);
    let rewritten = check(&graph);
    let terms = fused(&rewritten.graph);
    let attrs = Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() };
    let kernel = vec![Term::Conv2d { attrs, relu: false }, Term::Add, Term::Add];
    assert_eq!(terms, [(kernel, true)], "the two convolutions merge, and all else folds in");
    assert!(rewritten.report.cost < rewritten.report.fusion_cost);
}

#[test]
fn batch_norm_of_zero_is_its_shift() {
    let mut b = Builder::new();
    let x = b.input(&[1, 6, 6, 4]);
    let zero = b.zeros(x);
    let y = b.relu(zero);
    let y = b.same_conv(y, 3, 4);
    let y = b.batch_norm(y);
    let y = b.add(x, y);
    let y = b.op(Op::Unary(UnaryOp::Tanh), &[y]);
    let rewritten = check(&b.finish(&[y]));
    assert_eq!(kernels(&rewritten.graph), 2);
    assert_eq!(rewritten.graph.params().len(), 4, "the weight is not needed, the statistics are");
}

/// A wrong rule for tests of the checker: it replaces the mean over a window by the maximum.
fn wrong_pool(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    vec![add(egraph, Op::MaxPool(*attrs), m.operands)]
}

/// A wrong rule for tests of the checker: it replaces a sum by each of its terms.
fn wrong_sum(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let relu = matches!(m.op, Op::Unary(UnaryOp::Relu));
    let sums = nodes(egraph, m.operands[0]).filter(|(op, _)| relu && matches!(op, Op::FusedSum { .. }));
    sums.flat_map(|(_, terms)| terms.to_vec()).collect()
}

fn with_wrong(apply: fn(&mut EGraph, &Match<'_>) -> Vec<Id>) -> Vec<Rule> {
    let wrong = wrong_rule("wrong", apply);
    RULES.iter().cloned().chain([wrong]).collect()
}

fn pool_and_sum() -> Graph {
    let mut b = Builder::new();
    let x = b.input(&[1, 6, 6, 4]);
    let y = b.cell_pool(x);
    let bias = b.param(&[4]);
    let y = b.add(y, bias);
    let y = b.relu(y);
    b.finish(&[y])
}

#[test]
fn a_wrong_rule_is_caught() {
    let problem = check_rules(&pool_and_sum(), &with_wrong(wrong_pool)).expect_err("the maximum is not the mean");
    assert!(problem.contains("relative error"), "{problem}");
}

#[test]
#[should_panic(expected = "different types")]
fn a_rule_of_the_wrong_type_is_caught_at_once() {
    let _ = check_rules(&pool_and_sum(), &with_wrong(wrong_sum));
}
