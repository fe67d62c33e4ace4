//! Rules for wide kernels, slices and concatenations, alone and together.

use super::build::Builder;
use super::rules::{alone, any_conv, image};
use super::{check, fired, patient};
use crate::{KernelShape, Options, RULES, Rule, rewrite};
use rand::RngExt;
use sonar_ir::graph::{Conv2dAttrs, Dim, Graph, NodeId, Op};
use sonar_ir::scalar::UnaryOp;

fn slice(b: &mut Builder, x: NodeId, axis: usize, start: usize, end: usize) -> NodeId {
    b.op(Op::Slice { axis, start, end }, &[x])
}

fn concat(b: &mut Builder, axis: usize, parts: &[NodeId]) -> NodeId {
    b.op(Op::Concat { axis }, parts)
}

fn tanh(b: &mut Builder, x: NodeId) -> NodeId {
    b.op(Op::Unary(UnaryOp::Tanh), &[x])
}

fn matmul(b: &mut Builder, x: NodeId, columns: usize) -> NodeId {
    let rows = *b.shape(x).last().expect("a matrix");
    let w = b.param(&[rows, columns]);
    b.op(Op::MatMul, &[x, w])
}

/// A product, or convolution, with bias and activation.
fn layer(b: &mut Builder, product: NodeId) -> NodeId {
    let channels = *b.shape(product).last().expect("channels");
    let bias = b.param(&[channels]);
    let y = b.add(product, bias);
    b.relu(y)
}

/// One value that depends on all of these. They have equal shapes except for the last axis, and none is close to another.
fn all(b: &mut Builder, values: &[NodeId]) -> NodeId {
    let values: Vec<NodeId> = values.iter().map(|&x| b.op(Op::Softmax, &[x])).collect();
    let axis = b.shape(values[0]).len() - 1;
    concat(b, axis, &values)
}

#[test]
fn slice_of_slice() {
    for (outer, fires) in [(1, true), (0, false)] {
        alone("slice-slice", &[], fires, |b, rng| {
            let x = b.input(&[5, rng.random_range(9..12)]);
            let y = slice(b, x, 1, 2, 8);
            slice(b, y, outer, 1, 4)
        });
    }
}

#[test]
fn slice_of_concat() {
    for (start, end) in [(0, 4), (4, 7), (2, 6), (1, 3), (0, 7), (3, 12)] {
        alone("slice-concat", &[], true, |b, rng| {
            let rows = rng.random_range(1..4);
            let parts = [4, 3, 5].map(|columns| b.input(&[rows, columns]));
            let y = concat(b, 1, &parts);
            slice(b, y, 1, start, end)
        });
    }
    alone("slice-concat", &[], false, |b, rng| {
        let rows = rng.random_range(2..4);
        let parts = [4, 3].map(|columns| b.input(&[rows, columns]));
        let y = concat(b, 1, &parts);
        slice(b, y, 0, 1, 2)
    });
}

#[test]
fn concat_of_slices() {
    for (parts, fires) in [([(0, 3), (3, 4), (4, 7)], true), ([(0, 3), (4, 7), (3, 4)], false), ([(0, 3), (2, 5), (5, 7)], false)]
    {
        alone("concat-slices", &[], fires, |b, rng| {
            let x = b.input(&[rng.random_range(1..4), 9]);
            let parts = parts.map(|(start, end)| slice(b, x, 1, start, end));
            concat(b, 1, &parts)
        });
    }
    alone("concat-slices", &[], false, |b, _| {
        let (x, y) = (b.input(&[3, 9]), b.input(&[3, 9]));
        let parts = [slice(b, x, 1, 0, 4), slice(b, y, 1, 4, 9)];
        concat(b, 1, &parts)
    });
}

#[test]
fn slice_of_map() {
    alone("slice-map", &[], true, |b, rng| {
        let x = image(b, rng, 7);
        let y = tanh(b, x);
        slice(b, y, rng.random_range(1..4), 2, 5)
    });
    alone("slice-map", &[], false, |b, rng| {
        let x = image(b, rng, 7);
        let y = b.op(Op::Softmax, &[x]);
        slice(b, y, 3, 2, 5)
    });
}

#[test]
fn map_of_concat() {
    alone("map-concat", &[], true, |b, rng| {
        let (x, y) = (image(b, rng, 3), b.input(&[1, 1, 1, 1]));
        let shape = b.shape(x);
        let y = b.op(Op::Broadcast(shape[..3].iter().chain(&[2]).map(|&extent| Dim::Fixed(extent)).collect()), &[y]);
        let y = concat(b, 3, &[x, y, x]);
        b.relu(y)
    });
    alone("map-concat", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let y = concat(b, 3, &[x, x]);
        b.op(Op::Softmax, &[y])
    });
}

#[test]
fn batch_rows() {
    alone("batch-rows", &[], true, |b, rng| {
        let columns = rng.random_range(3..7);
        let x = b.input(&[2, 5, columns]);
        let w = b.param(&[columns, 3]);
        let axis = rng.random_range(0..2);
        let steps = [0, 1].map(|i| slice(b, x, axis, i, i + 1));
        let steps = steps.map(|row| b.op(Op::MatMul, &[row, w]));
        b.add(steps[0], steps[1])
    });
    // Columns are summed over; and a weight that is an input, or differs for each batch, is not constant.
    alone("batch-rows", &[], false, |b, _| {
        let x = b.input(&[4, 9]);
        let x = slice(b, x, 1, 2, 7);
        matmul(b, x, 3)
    });
    alone("batch-rows", &[], false, |b, _| {
        let (x, w, v) = (b.input(&[2, 4, 5]), b.input(&[5, 3]), b.param(&[1, 3, 2]));
        let x = slice(b, x, 0, 1, 2);
        let y = b.op(Op::MatMul, &[x, w]);
        b.op(Op::MatMul, &[y, v])
    });
}

#[test]
fn widen_convolutions() {
    alone("widen", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let attrs = any_conv(rng, 1);
        let branches = [3, 5, 1].map(|channels| b.conv(x, 3, channels, attrs));
        all(b, &branches)
    });
    // Kernels with a bias and an activation are widened together with them.
    alone("widen", &["fuse-residual", "fuse-epilogue", "sum-flatten"], true, |b, rng| {
        let x = image(b, rng, 4);
        let attrs = any_conv(rng, 1);
        let branches = [3, 2].map(|channels| {
            let y = b.conv(x, 3, channels, attrs);
            layer(b, y)
        });
        all(b, &branches)
    });
    // Other windows, other values and other groups.
    alone("widen", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = tanh(b, x);
        let grouped = Conv2dAttrs { groups: 2, ..Conv2dAttrs::default() };
        let branches = [b.same_conv(x, 3, 3), b.same_conv(x, 1, 3), b.same_conv(y, 3, 3)];
        let others = [2, 4].map(|channels| b.conv(x, 1, channels, grouped));
        let branches: Vec<NodeId> = branches.into_iter().chain(others).collect();
        all(b, &branches)
    });
    // The second one depends on the first and is scaled.
    alone("widen", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.same_conv(x, 3, 4);
        let z = b.same_conv(y, 3, 4);
        let s = b.param(&[4]);
        b.mul(z, s)
    });
}

#[test]
fn widen_products() {
    alone("widen", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..3), 4, 6]);
        let branches = [5, 5, 2].map(|columns| matmul(b, x, columns));
        all(b, &branches)
    });
    // Gates of a recurrent cell: products of two values in one kernel.
    alone("widen", &["fuse-sources", "sum-flatten"], true, |b, rng| {
        let (x, h) = (b.input(&[rng.random_range(1..3), 6]), b.input(&[1, 4]));
        let gates = [3, 3, 3].map(|columns| {
            let (y, z) = (matmul(b, x, columns), matmul(b, h, columns));
            let bias = b.param(&[columns]);
            let y = b.add(y, bias);
            b.add(y, z)
        });
        all(b, &gates)
    });
    alone("widen", &[], false, |b, _| {
        let (x, v, w) = (b.input(&[4, 6]), b.input(&[6, 3]), b.input(&[6, 3]));
        let branches = [v, w].map(|w| b.op(Op::MatMul, &[x, w]));
        all(b, &branches)
    });
}

#[test]
fn widen_concat() {
    alone("widen-concat", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let parts = [b.same_conv(x, 1, 3), b.same_conv(x, 3, 2), tanh(b, x), b.same_conv(x, 3, 3), b.same_conv(x, 3, 1)];
        concat(b, 3, &parts)
    });
    // As in a fire module.
    alone("widen-concat", &["fuse-residual", "fuse-epilogue"], true, |b, rng| {
        let x = image(b, rng, 4);
        let parts = [(1, 5), (3, 3)].map(|(k, channels)| {
            let y = b.same_conv(x, k, channels);
            layer(b, y)
        });
        concat(b, 3, &parts)
    });
    // The same weight twice.
    alone("widen-concat", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.same_conv(x, 3, 2);
        let z = tanh(b, x);
        concat(b, 3, &[z, y, y, z, z])
    });
    // Windows that reach over other edges, other values, another axis.
    alone("widen-concat", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = tanh(b, x);
        let shifted = Conv2dAttrs { pad: [2, 1, 0, 1], ..Conv2dAttrs::default() };
        let parts = [b.conv(x, 3, 3, shifted), b.same_conv(x, 3, 2), b.same_conv(y, 1, 2)];
        concat(b, 3, &parts)
    });
    alone("widen-concat", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let parts = [0, 1].map(|_| b.same_conv(x, 1, 3));
        concat(b, 2, &parts)
    });
}

/// Three products of one value, like queries, keys and values.
fn projections(rows: usize, width: usize) -> Graph {
    let mut b = Builder::new();
    let x = b.input(&[rows, width]);
    let parts = [0, 1, 2].map(|_| {
        let y = matmul(&mut b, x, width);
        let bias = b.param(&[width]);
        b.add(y, bias)
    });
    let gate = b.op(Op::Softmax, &[parts[0]]);
    let y = b.mul(gate, parts[1]);
    let y = b.mul(y, parts[2]);
    b.finish(&[y])
}

/// Steps of a recurrent cell with `gates` gates; its inputs are the rows of one matrix.
fn recurrent(steps: usize, gates: usize, width: usize) -> Graph {
    let mut b = Builder::new();
    let (x, mut h) = (b.input(&[steps, width]), b.input(&[1, width]));
    let weights: Vec<[NodeId; 3]> =
        (0..gates).map(|_| [b.param(&[width, width]), b.param(&[width, width]), b.param(&[width])]).collect();
    for step in 0..steps {
        let row = slice(&mut b, x, 0, step, step + 1);
        let mut state = h;
        for [w, u, bias] in &weights {
            let (y, z) = (b.op(Op::MatMul, &[row, *w]), b.op(Op::MatMul, &[h, *u]));
            let y = b.add(y, z);
            let y = b.add(y, *bias);
            let gate = b.op(Op::Unary(UnaryOp::Sigmoid), &[y]);
            state = b.mul(state, gate);
        }
        h = tanh(&mut b, state);
    }
    b.finish(&[h])
}

fn dense_kernels(graph: &Graph) -> usize {
    let is_weight = graph.weights();
    let dense = |op: &Op| match op {
        Op::Conv2d(_) | Op::MatMul => true,
        Op::FusedSum { terms, .. } => terms.iter().any(|term| *term != sonar_ir::Term::Add),
        _ => false,
    };
    graph.iter().filter(|(id, node)| !is_weight[*id] && dense(&node.op)).count()
}

#[test]
fn projections_become_one_product() {
    let graph = projections(16, 24);
    let rewritten = check(&graph);
    assert!(fired(&rewritten, "widen") > 0);
    assert_eq!(dense_kernels(&rewritten.graph), 1, "{}", rewritten.graph);
}

#[test]
fn gates_of_a_recurrent_cell_become_one_product() {
    let graph = recurrent(3, 4, 16);
    let rewritten = check(&graph);
    assert!(fired(&rewritten, "batch-rows") > 0);
    // One kernel for each step: reading such small weights again is better than keeping values in another kernel between steps.
    assert_eq!(dense_kernels(&rewritten.graph), 3, "{}\n{}", rewritten.graph, rewritten.report);
}

#[test]
fn wide_kernels_that_do_not_pay_are_left() {
    let graph = projections(16, 24);
    let narrow = |kernel: &KernelShape<'_>| match kernel.result.shape.last() {
        Some(Dim::Fixed(channels)) if *channels > 24 => 1.0,
        _ => crate::roofline(kernel),
    };
    let rewritten = rewrite(&graph, &Options { cost: &narrow, ..patient() }).expect("it is rewritten");
    assert_eq!(dense_kernels(&rewritten.graph), 3);
}

#[test]
fn a_fire_module_has_two_kernels_either_way() {
    let mut b = Builder::new();
    let x = b.input(&[1, 9, 9, 16]);
    let squeezed = b.same_conv(x, 1, 8);
    let squeezed = layer(&mut b, squeezed);
    let parts = [(1, 12), (3, 12)].map(|(k, channels)| {
        let y = b.same_conv(squeezed, k, channels);
        layer(&mut b, y)
    });
    let y = concat(&mut b, 3, &parts);
    let graph = b.finish(&[y]);
    let without: Vec<Rule> = RULES.iter().filter(|rule| rule.name != "widen-concat").cloned().collect();
    // One wide kernel computes more than two; it pays if starting a kernel is expensive.
    let dear = |kernel: &crate::KernelShape<'_>| 1e-6 + crate::roofline(kernel);
    let with = |rules: &[Rule]| rewrite(&graph, &Options { rules, cost: &dear, ..patient() }).expect("it is rewritten");
    assert!(fired(&check(&graph), "widen-concat") > 0);
    let [apart, together] = [with(&without), with(RULES)];
    assert_eq!((dense_kernels(&apart.graph), dense_kernels(&together.graph)), (3, 2), "{}", together.graph);
}
