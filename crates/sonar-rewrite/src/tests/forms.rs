//! Rules about layouts, strengths, linear operators and forms of convolutions, each alone.

use super::build::Builder;
use super::rules::{alone, any_conv, any_pool, image};
use super::{check, kernels};
use rand::RngExt;
use rand::rngs::StdRng;
use sonar_ir::graph::{Conv2dAttrs, Dim, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

/// Builds something on a value.
type Build<'a> = &'a dyn Fn(&mut Builder, NodeId) -> NodeId;

/// [`Build`] with random numbers.
type RandomBuild<'a> = &'a dyn Fn(&mut Builder, &mut StdRng, NodeId) -> NodeId;

const NCHW: [usize; 4] = [0, 3, 1, 2];
const NHWC: [usize; 4] = [0, 2, 3, 1];

fn turn(b: &mut Builder, x: NodeId, perm: &[usize]) -> NodeId {
    b.op(Op::Transpose(perm.to_vec()), &[x])
}

fn shaped(b: &mut Builder, x: NodeId, shape: &[usize]) -> NodeId {
    b.op(Op::Reshape(TensorType::fixed(shape).shape), &[x])
}

fn unary(b: &mut Builder, f: UnaryOp, x: NodeId) -> NodeId {
    b.op(Op::Unary(f), &[x])
}

fn binary(b: &mut Builder, f: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
    b.op(Op::Binary(f), &[x, y])
}

fn matmul(b: &mut Builder, x: NodeId, y: NodeId) -> NodeId {
    b.op(Op::MatMul, &[x, y])
}

/// The product with a weight of so many columns.
fn linear(b: &mut Builder, x: NodeId, columns: usize) -> NodeId {
    let rows = *b.shape(x).last().expect("a matrix has columns");
    let w = b.param(&[rows, columns]);
    matmul(b, x, w)
}

fn number(b: &mut Builder, value: f32) -> NodeId {
    b.op(Op::Splat(value, vec![]), &[])
}

fn concat(b: &mut Builder, axis: usize, parts: &[NodeId]) -> NodeId {
    b.op(Op::Concat { axis }, parts)
}

fn reduce(b: &mut Builder, op: ReduceOp, axes: &[usize], keep: bool, x: NodeId) -> NodeId {
    b.op(Op::Reduce { op, axes: axes.to_vec(), keep }, &[x])
}

fn grouped(rng: &mut StdRng, groups: usize) -> Conv2dAttrs {
    any_conv(rng, groups)
}

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
    // Rows that become columns, a product that needs its leading axes, another order of the other side.
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
    // A bias of columns that are no columns before.
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
    alone("pad-window", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let x = b.op(pads(rng), &[x]);
        b.avg_pool(x, PoolAttrs { kernel: [4, 5], stride: [2, 1], pad: [1, 0, 1, 0], count_include_pad: true })
    });
    // A mean without the padding, a window that could miss the image, channels, images.
    alone("pad-window", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let x = b.op(pads(rng), &[x]);
        b.avg_pool(x, PoolAttrs { kernel: [4, 5], stride: [2, 1], pad: [1, 0, 1, 0], count_include_pad: false })
    });
    alone("pad-window", &[], false, |b, rng| {
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

#[test]
fn dense_of_dense() {
    alone("dense-dense", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5, 7]);
        let y = linear(b, x, rng.random_range(5..9));
        linear(b, y, 6)
    });
    // What comes after, of one element; a bottleneck would only be widened.
    alone("dense-dense", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = b.conv(x, 3, 7, any_conv(rng, 1));
        let stride = [rng.random_range(1..3), 1];
        b.conv(y, 1, 4, Conv2dAttrs { stride, ..Conv2dAttrs::default() })
    });
    alone("dense-dense", &[], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 3, 4, any_conv(rng, 4));
        b.conv(y, 1, 5, Conv2dAttrs::default())
    });
    alone("dense-dense", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let y = b.conv(x, 1, 6, Conv2dAttrs::default());
        b.conv(y, 3, 5, any_conv(rng, 1))
    });
    alone("dense-dense", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 20]);
        let y = linear(b, x, 2);
        linear(b, y, 20)
    });
    // Two windows, padding between, groups, a stride that skips what the window needs.
    alone("dense-dense", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 3, 4, Conv2dAttrs { pad: [2; 4], ..any_conv(rng, 1) });
        b.conv(y, 3, 4, Conv2dAttrs { pad: [2; 4], ..any_conv(rng, 1) })
    });
    alone("dense-dense", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 3, 4, any_conv(rng, 1));
        b.conv(y, 1, 4, Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() })
    });
    alone("dense-dense", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 3, 4, any_conv(rng, 2));
        b.conv(y, 1, 4, Conv2dAttrs::default())
    });
    alone("dense-dense", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 1, 4, Conv2dAttrs { stride: [2, 1], ..Conv2dAttrs::default() });
        b.conv(y, 3, 4, Conv2dAttrs { pad: [1; 4], ..any_conv(rng, 1) })
    });
}

#[test]
fn a_chain_of_products_stays_small() {
    let mut b = Builder::new();
    let mut x = b.input(&[3, 6]);
    for _ in 0..40 {
        x = linear(&mut b, x, 6);
    }
    let rewritten = check(&b.finish(&[x]));
    assert_eq!(rewritten.report.stop, crate::StopReason::Saturated, "{}", rewritten.report);
    assert!(kernels(&rewritten.graph) <= 5, "{}", rewritten.report);
}

#[test]
fn association() {
    // A thin matrix on the right, and one on the left.
    alone("associate", &[], true, |b, rng| {
        let [x, y] = [(); 2].map(|()| b.input(&[2, 6, 6]));
        let z = b.input(&[2, 6, rng.random_range(1..3)]);
        let y = matmul(b, x, y);
        matmul(b, y, z)
    });
    alone("associate", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..3), 6]);
        let [y, z] = [(); 2].map(|()| b.param(&[6, 6]));
        let y = matmul(b, y, z);
        let y = unary(b, UnaryOp::Tanh, y);
        let w = b.input(&[6, 6]);
        let y = matmul(b, y, w);
        matmul(b, x, y)
    });
    alone("associate", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(1..3), 6]);
        let [y, z] = [(); 2].map(|()| b.input(&[6, 6]));
        let y = matmul(b, x, y);
        matmul(b, y, z)
    });
}

#[test]
fn scales_and_shifts_before_weights() {
    for groups in [1, 2] {
        alone("dense-scale", &[], true, |b, rng| {
            let x = image(b, rng, 4);
            let s = b.param(&[4]);
            let x = binary(b, BinaryOp::Mul, x, s);
            b.conv(x, 3, 6, grouped(rng, groups))
        });
        alone("dense-shift", &[], true, |b, rng| {
            let x = image(b, rng, 4);
            let shift = b.param(&[1, 1, 4]);
            let x = b.add(x, shift);
            b.conv(x, 3, 6, Conv2dAttrs { pad: [0; 4], ..grouped(rng, groups) })
        });
    }
    alone("dense-scale", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5]);
        let three = number(b, 3.0);
        let x = binary(b, BinaryOp::Mul, x, three);
        linear(b, x, 4)
    });
    alone("dense-shift", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5]);
        let three = number(b, 3.0);
        let x = b.add(x, three);
        linear(b, x, 4)
    });
    // One number for each row; a scale that is no constant; padding; a shift for each place.
    alone("dense-scale", &[], false, |b, rng| {
        let x = b.input(&[rng.random_range(2..4), 5]);
        let s = b.param(&[b.shape(x)[0], 1]);
        let x = binary(b, BinaryOp::Mul, x, s);
        linear(b, x, 4)
    });
    alone("dense-shift", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let shift = b.param(&[4]);
        let x = b.add(x, shift);
        b.conv(x, 3, 6, Conv2dAttrs { pad: [0, 0, 1, 0], ..any_conv(rng, 1) })
    });
    alone("dense-shift", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let shift = b.param(&[b.shape(x)[2], 4]);
        let x = b.add(x, shift);
        b.conv(x, 1, 6, Conv2dAttrs::default())
    });
}

#[test]
fn a_batch_norm_before_a_convolution_folds() {
    let mut b = Builder::new();
    let x = b.input(&[2, 5, 4, 6]);
    let y = b.batch_norm(x);
    let y = b.conv(y, 3, 6, Conv2dAttrs { groups: 2, ..Conv2dAttrs::default() });
    let y = b.batch_norm(y);
    let y = b.relu(y);
    let rewritten = check(&b.finish(&[y]));
    assert_eq!(kernels(&rewritten.graph), 1, "{:?}", rewritten.graph);
}

#[test]
fn mean_of_sum() {
    alone("mean-sum", &["sum-flatten", "mean-conv"], true, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.conv(x, 1, 6, Conv2dAttrs::default());
        let z = b.conv(x, 3, 6, Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() });
        let bias = b.param(&[6]);
        let sum = b.add(y, z);
        let sum = b.add(sum, bias);
        b.op(Op::GlobalAvgPool, &[sum])
    });
    // Nothing is gained without a convolution.
    alone("mean-sum", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
        let sum = b.add(x, y);
        b.op(Op::GlobalAvgPool, &[sum])
    });
}

#[test]
fn scales_of_products_and_means() {
    alone("scale-product", &[], true, |b, rng| {
        let x = b.input(&[2, rng.random_range(1..5), 3]);
        let y = b.input(&[2, 3, 4]);
        let y = matmul(b, x, y);
        let s = b.op(Op::Splat(0.5, vec![Dim::Fixed(1); 2]), &[]);
        binary(b, BinaryOp::Mul, y, s)
    });
    alone("scale-product", &[], false, |b, rng| {
        let x = b.input(&[2, rng.random_range(1..5), 3]);
        let y = b.input(&[2, 3, 4]);
        let y = matmul(b, x, y);
        let s = b.param(&[4]);
        binary(b, BinaryOp::Mul, y, s)
    });
    for count_include_pad in [false, true] {
        alone("scale-mean", &[], true, |b, rng| {
            let x = image(b, rng, 3);
            let x = b.avg_pool(x, any_pool(rng, count_include_pad));
            let s = b.param(&[3]);
            binary(b, BinaryOp::Mul, x, s)
        });
    }
    alone("scale-mean", &[], false, |b, rng| {
        let x = image(b, rng, 3);
        let x = b.op(Op::MaxPool(any_pool(rng, false)), &[x]);
        let s = b.param(&[3]);
        binary(b, BinaryOp::Mul, x, s)
    });
    alone("mean-conv", &[], true, |b, rng| {
        let x = image(b, rng, 3);
        let x = b.same_conv(x, 1, 5);
        b.op(Op::GlobalAvgPool, &[x])
    });
    alone("mean-conv", &[], false, |b, rng| {
        let x = image(b, rng, 4);
        let y = b.same_conv(x, 3, 5);
        let y = b.op(Op::GlobalAvgPool, &[y]);
        let z = b.conv(x, 1, 5, Conv2dAttrs { stride: [2, 2], ..Conv2dAttrs::default() });
        let z = b.op(Op::GlobalAvgPool, &[z]);
        b.add(y, z)
    });
}

#[test]
fn the_scale_of_attention_goes_into_weights() {
    let mut b = Builder::new();
    let x = b.input(&[2, 5, 8]);
    let heads = |b: &mut Builder, perm: &[usize]| {
        let y = linear(b, x, 8);
        let bias = b.param(&[8]);
        let y = b.add(y, bias);
        let y = shaped(b, y, &[2, 5, 2, 4]);
        turn(b, y, perm)
    };
    let query = heads(&mut b, &[0, 2, 1, 3]);
    let key = heads(&mut b, &[0, 2, 3, 1]);
    let scores = matmul(&mut b, query, key);
    let two = number(&mut b, 2.0);
    let scores = binary(&mut b, BinaryOp::Div, scores, two);
    let y = b.op(Op::Softmax, &[scores]);
    let rewritten = check(&b.finish(&[y]));
    // One product for both, two transposes, the scores, and their softmax.
    assert_eq!(kernels(&rewritten.graph), 5, "{:?}", rewritten.graph);
}

#[test]
fn merge_groups() {
    for (groups, inputs, outputs) in [(4, 8, 12), (3, 6, 3), (6, 6, 12), (5, 10, 5)] {
        alone("merge-groups", &[], true, |b, rng| {
            let x = image(b, rng, inputs);
            b.conv(x, 3, outputs, any_conv(rng, groups))
        });
    }
    // No groups, a channel each, wide groups.
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
        let cost = crate::cost::of_machine(crate::cost::Machine { lanes, filter: Some(4) });
        let options = crate::Options { cost: &cost, ..crate::Options::default() };
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

#[test]
fn a_thousand_nodes() {
    // Blocks of another layout with everything that the rules of whole graphs look at.
    let mut b = Builder::new();
    let mut x = b.input(&[1, 6, 6, 4]);
    for i in 0..100 {
        let y = b.same_conv(x, 3, 4);
        let y = turn(&mut b, y, &NCHW);
        let scale = b.param(&[4, 1, 1]);
        let y = binary(&mut b, BinaryOp::Div, y, scale);
        let y = binary(&mut b, BinaryOp::Sub, y, scale);
        let y = b.relu(y);
        let y = turn(&mut b, y, &NHWC);
        let y = b.same_conv(y, 1 + 2 * (i % 2), 4);
        let y = shaped(&mut b, y, &[36, 4]);
        let y = unary(&mut b, UnaryOp::Neg, y);
        let y = shaped(&mut b, y, &[1, 6, 6, 4]);
        x = b.add(x, y);
    }
    let graph = b.finish(&[x]);
    assert!(graph.nodes.len() > 1_000);
    let rewritten = crate::rewrite(&graph, &crate::Options::default()).expect("the graph is well-formed");
    assert_eq!(rewritten.report.stop, crate::StopReason::Saturated, "{}", rewritten.report);
    assert_eq!(kernels(&rewritten.graph), 200, "{}", rewritten.report);
}
