//! Rules that replace an operator by a cheaper one, each tested alone.

use super::operators::{Build, binary, number, reduce, unary};
use super::rules::{alone, any_conv, image};
use rand::RngExt;
use rand::rngs::StdRng;
use sonar_ir::graph::{Op, PoolAttrs};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

#[test]
fn strength() {
    let rows: [(&str, bool, Build<'_>); 14] = [
        ("divide", true, &|b, x| {
            let c = b.graph.param("c", &[3], sonar_ir::Init::Ones);
            binary(b, BinaryOp::Div, x, c)
        }),
        ("divide", false, &|b, x| {
            let y = unary(b, UnaryOp::Exp, x);
            binary(b, BinaryOp::Div, x, y)
        }),
        ("divide-root", true, &|b, x| {
            let y = unary(b, UnaryOp::Exp, x);
            let y = unary(b, UnaryOp::Sqrt, y);
            binary(b, BinaryOp::Div, x, y)
        }),
        ("divide-root", true, &|b, x| {
            let one = number(b, 1.0);
            let y = unary(b, UnaryOp::Exp, x);
            binary(b, BinaryOp::Div, one, y)
        }),
        ("divide-root", false, &|b, x| {
            let two = number(b, 2.0);
            let y = unary(b, UnaryOp::Exp, x);
            binary(b, BinaryOp::Div, two, y)
        }),
        ("subtract-const", true, &|b, x| {
            let c = b.param(&[3]);
            binary(b, BinaryOp::Sub, c, x)
        }),
        ("subtract-const", true, &|b, x| {
            let c = b.param(&[1, 3]);
            binary(b, BinaryOp::Sub, x, c)
        }),
        ("subtract-const", false, &|b, x| {
            let y = unary(b, UnaryOp::Tanh, x);
            binary(b, BinaryOp::Sub, x, y)
        }),
        ("subtract", true, &|b, x| {
            let y = unary(b, UnaryOp::Tanh, x);
            binary(b, BinaryOp::Sub, x, y)
        }),
        ("negate", true, &|b, x| unary(b, UnaryOp::Neg, x)),
        ("unary-pairs", true, &|b, x| {
            let y = unary(b, UnaryOp::Exp, x);
            let y = unary(b, UnaryOp::Log, y);
            unary(b, UnaryOp::Tanh, y)
        }),
        ("unary-pairs", true, &|b, x| {
            let y = unary(b, UnaryOp::Exp, x);
            let y = unary(b, UnaryOp::Sqrt, y);
            unary(b, UnaryOp::Recip, y)
        }),
        ("unary-pairs", true, &|b, x| {
            let y = unary(b, UnaryOp::Sigmoid, x);
            unary(b, UnaryOp::Relu, y)
        }),
        ("unary-pairs", false, &|b, x| {
            let y = unary(b, UnaryOp::Tanh, x);
            unary(b, UnaryOp::Relu, y)
        }),
    ];
    for (name, fires, build) in rows {
        alone(name, &[], fires, |b, rng| {
            let x = image(b, rng, 3);
            build(b, x)
        });
    }
}

#[test]
fn padding() {
    let pads = |rng: &mut StdRng| {
        let mut pad = || (rng.random_range(0..3), rng.random_range(1..3));
        Op::Pad(vec![(0, 0), pad(), pad(), (0, 0)])
    };
    alone("pad-window", &[], true, |b, rng| {
        let groups = rng.random_range(1..3);
        let x = image(b, rng, 4);
        let x = b.op(pads(rng), &[x]);
        b.conv(x, 3, 6, any_conv(rng, groups))
    });
    alone("pad-mean", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let x = b.op(pads(rng), &[x]);
        b.avg_pool(x, PoolAttrs { kernel: [4, 5], stride: [2, 1], pad: [1, 0, 1, 0], count_include_pad: true })
    });
    // A mean without the padding, a window that could miss the image, padding of channels, padding of images.
    alone("pad-mean", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let x = b.op(pads(rng), &[x]);
        b.avg_pool(x, PoolAttrs { kernel: [4, 5], stride: [2, 1], pad: [1, 0, 1, 0], count_include_pad: false })
    });
    alone("pad-mean", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let x = b.op(pads(rng), &[x]);
        b.avg_pool(x, PoolAttrs { kernel: [1, 2], stride: [1, 1], pad: [0; 4], count_include_pad: true })
    });
    alone("pad-window", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let x = b.op(Op::Pad(vec![(0, 0), (1, 1), (0, 0), (0, 2)]), &[x]);
        b.conv(x, 3, 6, any_conv(rng, 2))
    });
}

#[test]
fn global_mean() {
    for keep in [false, true] {
        alone("global-mean", &[], true, |b, rng| {
            let x = image(b, rng, 3);
            reduce(b, ReduceOp::Mean, &[1, 2], keep, x)
        });
    }
    alone("global-mean", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let kernel = [b.shape(x)[1], b.shape(x)[2]];
        b.avg_pool(x, PoolAttrs { kernel, stride: [2, 1], pad: [0; 4], count_include_pad: false })
    });
    alone("global-mean", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let y = reduce(b, ReduceOp::Sum, &[1, 2], false, x);
        let z = reduce(b, ReduceOp::Mean, &[2, 3], false, x);
        let z = reduce(b, ReduceOp::Mean, &[0, 1], true, z);
        binary(b, BinaryOp::Mul, y, z)
    });
}
