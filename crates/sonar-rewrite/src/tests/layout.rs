//! Rules for the order of axes and elements, each tested alone.

use super::build::Builder;
use super::operators::{Build, NCHW, NHWC, RandomBuild, binary, concat, linear, matmul, number, reduce, shaped, turn, unary};
use super::rules::{alone, image};
use super::{check, kernels};
use rand::RngExt;
use sonar_ir::graph::Op;
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

#[test]
fn transposes() {
    alone("transposes", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = turn(b, x, &NCHW);
        let y = turn(b, y, &[2, 0, 3, 1]);
        unary(b, UnaryOp::Tanh, y)
    });
    alone("transposes", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let y = turn(b, x, &NCHW);
        let y = unary(b, UnaryOp::Tanh, y);
        turn(b, y, &NHWC)
    });
}

#[test]
fn reshapes() {
    alone("reshapes", &[], true, |b, rng| {
        let n = rng.random_range(1..4);
        let x = b.input(&[n, 6, 4]);
        let y = shaped(b, x, &[n * 3, 8]);
        let y = shaped(b, y, &[2, n, 12]);
        unary(b, UnaryOp::Tanh, y)
    });
    alone("reshapes", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 6, 4]);
        let n = b.shape(x)[0];
        let y = shaped(b, x, &[n, 24]);
        unary(b, UnaryOp::Tanh, y)
    });
}

#[test]
fn unit_transpose() {
    alone("unit-transpose", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 1, 1, rng.random_range(2..9)]);
        turn(b, x, &NCHW)
    });
    alone("unit-transpose", &[], false, |b, rng| {
        let x = b.input(&[1, rng.random_range(2..4), 1, rng.random_range(2..9)]);
        turn(b, x, &NCHW)
    });
}

#[test]
fn sink_transpose() {
    let sinks: [RandomBuild<'_>; 11] = [
        &|b, _, x| unary(b, UnaryOp::Tanh, x),
        &|b, _, x| {
            let [_, channels, ..] = b.shape(x)[..] else { panic!("an image has four axes") };
            let scale = b.param(&[channels, 1, 1]);
            binary(b, BinaryOp::Mul, x, scale)
        },
        &|b, _, x| {
            let width = *b.shape(x).last().expect("an image has four axes");
            let bias = b.param(&[width]);
            let y = b.add(x, bias);
            unary(b, UnaryOp::Tanh, y)
        },
        &|b, rng, x| {
            let other = b.input(&[b.shape(x)[0], b.shape(x)[2], b.shape(x)[3], rng.random_range(1..5)]);
            let other = turn(b, other, &NCHW);
            concat(b, 1, &[x, other])
        },
        &|b, _, x| {
            let mut shape = b.shape(x);
            shape[1] = 2;
            let other = b.param(&shape);
            concat(b, 1, &[x, other])
        },
        &|b, _, x| b.op(Op::Slice { axis: 1, start: 1, end: 3 }, &[x]),
        &|b, _, x| b.op(Op::Pad(vec![(0, 0), (1, 0), (0, 2), (3, 0)]), &[x]),
        &|b, rng, x| reduce(b, ReduceOp::Max, &[2, 3], rng.random_range(0..2) == 0, x),
        &|b, rng, x| reduce(b, ReduceOp::Sum, &[1], rng.random_range(0..2) == 0, x),
        &|b, _, x| b.add(x, x),
        &|b, _, x| {
            let y = unary(b, UnaryOp::Tanh, x);
            binary(b, BinaryOp::Max, x, y)
        },
    ];
    for sink in sinks {
        alone("sink-transpose", &[], true, |b, rng| {
            let x = image(b, rng, 3);
            let x = turn(b, x, &NCHW);
            sink(b, rng, x)
        });
    }
    // Rows that stay rows.
    alone("sink-transpose", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = turn(b, x, &[1, 0, 2, 3]);
        let y = linear(b, y, 5);
        b.op(Op::Softmax, &[y])
    });
    // Rows that become columns, a product that needs its leading axes, a different order of the other side.
    let stays: [Build<'_>; 4] = [
        &|b, x| b.op(Op::Softmax, &[x]),
        &|b, x| linear(b, x, 4),
        &|b, x| {
            let shape = b.shape(x);
            let other = b.input(&shape);
            binary(b, BinaryOp::Max, x, other)
        },
        &|b, x| {
            let [n, channels, height, width] = b.shape(x)[..] else { panic!("an image has four axes") };
            let other = b.input(&[n, height, width, channels]);
            let other = turn(b, other, &[0, 3, 2, 1]);
            let other = turn(b, other, &[0, 1, 3, 2]);
            binary(b, BinaryOp::Max, x, other)
        },
    ];
    for stay in stays {
        alone("sink-transpose", &[], false, |b, rng| {
            let x = image(b, rng, 3);
            let x = turn(b, x, &NCHW);
            stay(b, x)
        });
    }
    alone("sink-transpose", &[], false, |b, rng| {
        let x = b.input(&[2, rng.random_range(2..4), 2, 3]);
        let x = turn(b, x, &[0, 2, 1, 3]);
        let y = b.input(&[b.shape(x)[0], b.shape(x)[1], 3, 4]);
        matmul(b, x, y)
    });
}

#[test]
fn an_island_of_another_layout_vanishes() {
    let mut b = Builder::new();
    let x = b.input(&[2, 5, 4, 3]);
    let y = b.same_conv(x, 3, 6);
    let y = turn(&mut b, y, &NCHW);
    let bias = b.param(&[6, 1, 1]);
    let y = b.add(y, bias);
    let z = b.same_conv(x, 1, 6);
    let z = turn(&mut b, z, &NCHW);
    let y = b.add(y, z);
    let y = b.relu(y);
    let y = turn(&mut b, y, &NHWC);
    let rewritten = check(&b.finish(&[y]));
    assert_eq!(kernels(&rewritten.graph), 1, "{:?}", rewritten.graph);
}

#[test]
fn sink_reshape() {
    alone("sink-reshape", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let [n, h, w, c] = b.shape(x)[..] else { panic!("an image has four axes") };
        let y = shaped(b, x, &[n * h * w, c]);
        let y = linear(b, y, 5);
        let bias = b.param(&[5]);
        let y = b.add(y, bias);
        b.op(Op::Softmax, &[y])
    });
    alone("sink-reshape", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let all: usize = b.shape(x).iter().product();
        let [y, z] = [UnaryOp::Tanh, UnaryOp::Exp].map(|f| {
            let y = unary(b, f, x);
            shaped(b, y, &[all])
        });
        let y = binary(b, BinaryOp::Sub, y, z);
        let two = number(b, 2.0);
        binary(b, BinaryOp::Mul, y, two)
    });
    // Rows that do not stay whole.
    alone("sink-reshape", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let all: usize = b.shape(x).iter().product();
        let y = shaped(b, x, &[all / 2, 2]);
        if rng.random_range(0..2) == 0 { b.op(Op::Softmax, &[y]) } else { linear(b, y, 3) }
    });
    // A bias of columns that are not columns before the reshape.
    alone("sink-reshape", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let all: usize = b.shape(x).iter().product();
        let y = shaped(b, x, &[all / 2, 2]);
        let bias = b.param(&[2]);
        b.add(y, bias)
    });
}

#[test]
fn transposed_products() {
    alone("turn-product", &[], true, |b, rng| {
        let x = b.input(&[2, rng.random_range(1..5), 3]);
        let y = b.input(&[2, 3, rng.random_range(1..5)]);
        let y = matmul(b, x, y);
        turn(b, y, &[0, 2, 1])
    });
    alone("turn-product", &[], false, |b, rng| {
        let x = b.input(&[2, rng.random_range(1..5), 3]);
        let y = linear(b, x, 4);
        turn(b, y, &[0, 2, 1])
    });
    alone("product-turned", &[], true, |b, rng| {
        let x = b.input(&[2, 3, rng.random_range(1..5)]);
        let x = turn(b, x, &[0, 2, 1]);
        let y = b.input(&[2, rng.random_range(1..5), 3]);
        let y = turn(b, y, &[0, 2, 1]);
        matmul(b, x, y)
    });
    alone("product-turned", &[], true, |b, rng| {
        let x = b.input(&[3, rng.random_range(1..5)]);
        let x = turn(b, x, &[1, 0]);
        linear(b, x, 4)
    });
    alone("product-turned", &[], false, |b, rng| {
        let x = b.input(&[2, 3, rng.random_range(1..5)]);
        let x = turn(b, x, &[0, 2, 1]);
        let y = b.input(&[2, 3, 4]);
        matmul(b, x, y)
    });
}
