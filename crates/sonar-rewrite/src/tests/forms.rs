//! Rules for other forms of convolutions, each tested alone.

use super::build::Builder;
use super::operators::{concat, linear, matmul, reduce, unary};
use super::rules::{alone, any_conv, image};
use rand::RngExt;
use sonar_ir::graph::{Conv2dAttrs, Op};
use sonar_ir::scalar::{ReduceOp, UnaryOp};

#[test]
fn merge_groups() {
    for (groups, inputs, outputs) in [(4, 8, 12), (3, 6, 3), (6, 6, 12), (5, 10, 5)] {
        alone("merge-groups", &[], true, |b, rng| {
            let x = image(b, rng, inputs);
            b.conv(x, 3, outputs, any_conv(rng, groups))
        });
    }
    // One group, depthwise groups, wide groups.
    for (groups, inputs, outputs) in [(1, 4, 4), (6, 6, 6), (2, 80, 2)] {
        alone("merge-groups", &[], false, |b, rng| {
            let x = image(b, rng, inputs);
            b.conv(x, 3, outputs, any_conv(rng, groups))
        });
    }
}

#[test]
fn other_forms_of_products() {
    alone("whole-window", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5, 5, 3]);
        b.conv(x, 5, 4, Conv2dAttrs { stride: [2, 3], ..Conv2dAttrs::default() })
    });
    alone("whole-window", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5, 5, 4]);
        let y = b.conv(x, 5, 4, Conv2dAttrs { groups: 2, ..Conv2dAttrs::default() });
        let z = b.conv(x, 5, 4, Conv2dAttrs { pad: [1, 0, 0, 0], stride: [2, 1], ..Conv2dAttrs::default() });
        b.add(y, z)
    });
    alone("image-matmul", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        linear(b, x, 4)
    });
    alone("image-matmul", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5, 3]);
        linear(b, x, 4)
    });
}

#[test]
fn sums_of_parts() {
    alone("dense-concat", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let parts = [UnaryOp::Tanh, UnaryOp::Exp].map(|f| unary(b, f, x));
        let x = concat(b, 3, &[x, parts[0], parts[1]]);
        b.conv(x, 3, 4, any_conv(rng, 1))
    });
    alone("dense-concat", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 3]);
        let y = unary(b, UnaryOp::Tanh, x);
        let x = concat(b, 1, &[y, x]);
        linear(b, x, 4)
    });
    // Rows, groups.
    alone("dense-concat", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = unary(b, UnaryOp::Tanh, x);
        let rows = concat(b, 1, &[y, x]);
        let channels = concat(b, 3, &[y, x]);
        let y = b.conv(rows, 3, 4, Conv2dAttrs { stride: [3, 1], pad: [1; 4], ..Conv2dAttrs::default() });
        let y = reduce(b, ReduceOp::Sum, &[1], true, y);
        let z = b.conv(channels, 3, 4, Conv2dAttrs { pad: [1; 4], groups: 2, ..Conv2dAttrs::default() });
        b.add(y, z)
    });
    alone("shared-weight", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = unary(b, UnaryOp::Tanh, x);
        let w = b.param(&[3, 3, 3, 4]);
        let attrs = any_conv(rng, 1);
        let [x, y] = [x, y].map(|x| b.op(Op::Conv2d(attrs), &[x, w]));
        b.add(x, y)
    });
    alone("shared-weight", &[], true, |b, rng| {
        let [x, y] = [(); 2].map(|()| b.input(&[3, 5]));
        let w = b.param(&[5, rng.random_range(1..4)]);
        let [x, y] = [x, y].map(|x| matmul(b, x, w));
        b.add(x, y)
    });
    alone("shared-weight", &[], false, |b, rng| {
        let x = b.input(&[3, 5]);
        let y = b.input(&[1, 5]);
        let w = b.param(&[5, rng.random_range(1..4)]);
        let [x, y] = [x, y].map(|x| matmul(b, x, w));
        b.add(x, y)
    });
}

#[test]
fn groups_are_merged_to_fill_vectors() {
    // Thirty-two groups of four channels, as in the first stage of ResNeXt-50.
    let groups_with = |lanes: usize, channels: usize| {
        let mut b = Builder::new();
        let x = b.input(&[1, 28, 28, channels]);
        let y = b.conv(x, 3, channels, Conv2dAttrs { pad: [1; 4], groups: 32, ..Conv2dAttrs::default() });
        let graph = b.finish(&[y]);
        let machine = sonar_ir::machine::Machine::usual(lanes);
        let cost = crate::cost::Assumptions { machine, lanes, filter: Some(4), footprint: 0 }.cost();
        let options = crate::Options { cost: &cost, ..super::patient() };
        let rewritten = crate::rewrite(&graph, &options).expect("the graph is well-formed");
        let groups = rewritten.graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Conv2d(attrs) => Some(attrs.groups),
            Op::FusedSum { terms, .. } => terms.iter().find_map(|term| match term {
                sonar_ir::graph::Term::Conv2d { attrs, .. } => Some(attrs.groups),
                _ => None,
            }),
            _ => None,
        });
        groups.max().expect("a convolution stays one")
    };
    assert_eq!((groups_with(16, 128), groups_with(8, 128), groups_with(4, 128)), (8, 16, 32));
    assert_eq!(groups_with(16, 1024), 32);
}
