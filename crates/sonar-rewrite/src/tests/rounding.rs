//! Adding and subtracting a large constant rounds on purpose. It stays for every allowed rounding.

use super::build::Builder;
use super::{kernels, patient, random_values};
use crate::{Options, RULES, Rewritten, Rule, rewrite};
use sonar_ir::graph::interp;
use sonar_ir::graph::{Conv2dAttrs, Dim, Graph, NodeId, Op, PoolAttrs};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// Adding this rounds a number to an integer.
const MAGIC: f32 = 12_582_912.0;

fn number(b: &mut Builder, value: f32) -> NodeId {
    b.op(Op::Splat(value, vec![]), &[])
}

fn plus(b: &mut Builder, x: NodeId, value: f32) -> NodeId {
    let c = number(b, value);
    b.add(x, c)
}

fn minus(b: &mut Builder, x: NodeId, value: f32) -> NodeId {
    let c = number(b, value);
    b.op(Op::Binary(BinaryOp::Sub), &[x, c])
}

fn times(b: &mut Builder, x: NodeId, value: f32) -> NodeId {
    let c = number(b, value);
    b.mul(x, c)
}

/// Rounds to an integer.
fn round(b: &mut Builder, x: NodeId) -> NodeId {
    let y = plus(b, x, MAGIC);
    minus(b, y, MAGIC)
}

fn image(b: &mut Builder) -> NodeId {
    let x = b.input(&[2, 6, 6, 4]);
    times(b, x, 10.0)
}

/// A name for people, and the function that builds the graph.
type Case = (&'static str, fn(&mut Builder) -> NodeId);

const CASES: &[Case] = &[
    ("(x + c) − c", |b| {
        let x = image(b);
        round(b, x)
    }),
    ("c + (x − c)", |b| {
        let x = image(b);
        let y = minus(b, x, MAGIC);
        let c = number(b, MAGIC);
        b.add(c, y)
    }),
    ("c − (c − x)", |b| {
        let x = image(b);
        let c = number(b, MAGIC);
        let y = b.op(Op::Binary(BinaryOp::Sub), &[c, x]);
        b.op(Op::Binary(BinaryOp::Sub), &[c, y])
    }),
    ("(x + c) + (−c)", |b| {
        let x = image(b);
        let y = plus(b, x, MAGIC);
        plus(b, y, -MAGIC)
    }),
    ("one constant in three steps", |b| {
        let x = image(b);
        let y = plus(b, x, MAGIC);
        let y = minus(b, y, MAGIC / 2.0);
        minus(b, y, MAGIC / 2.0)
    }),
    ("fixed point: a multiple of 2⁻⁸", |b| {
        let x = image(b);
        let y = plus(b, x, 1.5 * 32768.0);
        minus(b, y, 1.5 * 32768.0)
    }),
    ("something added in between", |b| {
        let (x, y) = (image(b), b.input(&[2, 6, 6, 4]));
        let z = plus(b, x, MAGIC);
        let z = b.add(z, y);
        minus(b, z, MAGIC)
    }),
    ("a sum of two", |b| {
        let (x, y) = (image(b), b.input(&[2, 6, 6, 4]));
        let z = b.add(x, y);
        round(b, z)
    }),
    ("a convolution before, quantised and back", |b| {
        let x = image(b);
        let y = b.same_conv(x, 3, 4);
        let y = times(b, y, 8.0);
        let y = round(b, y);
        times(b, y, 0.125)
    }),
    ("a convolution after", |b| {
        let x = image(b);
        let y = round(b, x);
        b.conv(y, 3, 4, Conv2dAttrs::default())
    }),
    ("half of it before a convolution, half after", |b| {
        let x = image(b);
        let y = plus(b, x, MAGIC);
        let y = minus(b, y, MAGIC);
        let w = b.op(Op::Splat(1.0, [1, 1, 4, 4].map(Dim::Fixed).to_vec()), &[]);
        b.op(Op::Conv2d(Conv2dAttrs::default()), &[y, w])
    }),
    ("a batch normalisation before", |b| {
        let x = image(b);
        let y = b.same_conv(x, 3, 4);
        let y = b.batch_norm(y);
        round(b, y)
    }),
    ("a product with a bias before, an activation after", |b| {
        let x = b.input(&[5, 8]);
        let (w, bias) = (b.param(&[8, 16]), b.param(&[16]));
        let y = b.op(Op::MatMul, &[x, w]);
        let y = b.add(y, bias);
        let y = times(b, y, 16.0);
        let y = round(b, y);
        let y = b.relu(y);
        times(b, y, 1.0 / 16.0)
    }),
    ("constants of each channel", |b| {
        let x = image(b);
        let c = b.op(Op::Splat(MAGIC, vec![Dim::Fixed(4)]), &[]);
        let y = b.add(x, c);
        b.op(Op::Binary(BinaryOp::Sub), &[y, c])
    }),
    ("a constant that is computed", |b| {
        let x = image(b);
        let (one, large) = (number(b, 1.5), number(b, 8_388_608.0));
        let c = b.mul(one, large);
        let y = b.add(x, c);
        b.op(Op::Binary(BinaryOp::Sub), &[y, c])
    }),
    ("a mean of what is rounded", |b| {
        let x = image(b);
        let y = plus(b, x, MAGIC);
        let y = minus(b, y, MAGIC);
        b.op(Op::GlobalAvgPool, &[y])
    }),
    ("a pooling in between", |b| {
        let x = image(b);
        let y = plus(b, x, MAGIC);
        let y = b.op(Op::MaxPool(PoolAttrs { kernel: [2, 2], stride: [2, 2], pad: [0; 4], count_include_pad: false }), &[y]);
        minus(b, y, MAGIC)
    }),
    ("a layer normalisation before", |b| {
        let x = b.input(&[5, 8]);
        let (gamma, beta) = (b.param(&[8]), b.param(&[8]));
        let y = b.op(Op::LayerNorm { eps: 1e-5 }, &[x, gamma, beta]);
        let y = times(b, y, 4.0);
        round(b, y)
    }),
    ("transposed in between", |b| {
        let x = image(b);
        let y = plus(b, x, MAGIC);
        let y = b.op(Op::Transpose(vec![0, 3, 1, 2]), &[y]);
        let y = minus(b, y, MAGIC);
        b.op(Op::Unary(UnaryOp::Tanh), &[y])
    }),
];

fn rewritten(graph: &Graph, rules: &[Rule]) -> Rewritten {
    rewrite(graph, &Options { rules, ..patient() }).expect("the graph is well-formed")
}

/// The largest difference between a graph and its rewritten form, on the given value of parameters or on random values.
fn difference(graph: &Graph, value_of_params: Option<f32>) -> f32 {
    let mut values = random_values(graph, 3);
    for id in graph.params() {
        if let (Some(value), Some(name)) = (value_of_params, &graph.node(id).name)
            && let Some(tensor) = values.get_mut(name)
        {
            tensor.data.fill(value);
        }
    }
    let expected = interp::run(graph, &values).expect("values are given");
    let mut most = 0.0f32;
    for candidate in &rewritten(graph, RULES).candidates {
        let found = interp::run(candidate, &values).expect("values are given");
        for (a, b) in expected.iter().zip(&found).flat_map(|(a, b)| a.data.iter().zip(&b.data)) {
            most = most.max((a - b).abs());
        }
    }
    most
}

#[test]
fn rounding_on_purpose_stays() {
    for (what, build) in CASES {
        let mut b = Builder::new();
        let output = build(&mut b);
        let error = difference(&b.finish(&[output]), None);
        assert!(error < 1e-4, "{what}: off by {error}");
    }
}

#[test]
fn so_does_adding_and_subtracting_a_parameter() {
    let builds: [Case; 3] = [
        ("(x + p) − p", |b| {
            let (x, p) = (image(b), b.param(&[4]));
            let y = b.add(x, p);
            b.op(Op::Binary(BinaryOp::Sub), &[y, p])
        }),
        ("p − (p − x)", |b| {
            let (x, p) = (image(b), b.param(&[4]));
            let y = b.op(Op::Binary(BinaryOp::Sub), &[p, x]);
            b.op(Op::Binary(BinaryOp::Sub), &[p, y])
        }),
        ("(x + p) + (−p), after a convolution", |b| {
            let (x, p) = (image(b), b.param(&[4]));
            let w = b.op(Op::Splat(0.1, [3, 3, 4, 4].map(Dim::Fixed).to_vec()), &[]);
            let y = b.op(Op::Conv2d(Conv2dAttrs::default()), &[x, w]);
            let y = b.add(y, p);
            let minus = b.op(Op::Unary(UnaryOp::Neg), &[p]);
            b.add(y, minus)
        }),
    ];
    for (what, build) in builds {
        let mut b = Builder::new();
        let output = build(&mut b);
        let error = difference(&b.finish(&[output]), Some(MAGIC));
        assert!(error < 1e-4, "{what}: off by {error}");
    }
}

#[test]
fn small_constants_are_combined() {
    let mut b = Builder::new();
    let x = b.input(&[2, 6, 6, 4]);
    let y = b.same_conv(x, 3, 4);
    let y = plus(&mut b, y, 3.0);
    let y = minus(&mut b, y, 3.0);
    let y = plus(&mut b, y, 500.0);
    let graph = b.finish(&[y]);
    assert_eq!(kernels(&rewritten(&graph, RULES).graph), 1);
}

#[test]
fn constants_that_would_overflow_or_vanish_stay_apart() {
    for (first, second) in [(1e30, 1e30), (1e-30, 1e-30)] {
        let mut b = Builder::new();
        let x = b.input(&[64]);
        let y = times(&mut b, x, first);
        let y = times(&mut b, y, second);
        let graph = b.finish(&[y]);
        let values = [0.0f32, 1e-30, -1e20, 1e30].into_iter().cycle().take(64).collect();
        let values = sonar_ir::Values::from([("x0".to_string(), sonar_ir::Tensor::new(vec![64], values))]);
        let run = |graph: &Graph| interp::run(graph, &values).expect("values are given").swap_remove(0).data;
        assert_eq!(run(&graph), run(&rewritten(&graph, RULES).graph), "{first} · {second}");
    }
    // The inverse of a denormal number is infinite; the inverse of a huge number is denormal.
    for divisor in [1e-40, 3e38] {
        let mut b = Builder::new();
        let x = b.input(&[64]);
        let c = number(&mut b, divisor);
        let y = b.op(Op::Binary(BinaryOp::Div), &[x, c]);
        let found = rewritten(&b.finish(&[y]), RULES).graph;
        assert!(found.nodes.iter().any(|node| node.op == Op::Binary(BinaryOp::Div)), "{found}");
    }
}
