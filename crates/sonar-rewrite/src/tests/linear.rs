//! Rules that multiply constants into constants, each tested alone.

use super::build::Builder;
use super::operators::{binary, grouped, linear, matmul, number, shaped, turn, unary};
use super::rules::{alone, any_conv, any_pool, image};
use super::{check, kernels};
use rand::RngExt;
use sonar_ir::graph::{Conv2dAttrs, Dim, Op};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

#[test]
fn dense_of_dense() {
    alone("dense-dense", &[], true, |b, rng| {
        let x = b.input(&[rng.random_range(1..4), 5, 7]);
        let y = linear(b, x, rng.random_range(5..9));
        linear(b, y, 6)
    });
    // The outer window has one element. Merging a bottleneck would only widen it.
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
    // Two windows, padding between, groups, a stride that skips pixels that the window needs.
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
    // One number for each row; a scale that is not constant; padding; a shift for each pixel.
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
    // Without a convolution nothing is gained.
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
    // One product for both inputs, two transposes, the scores, and their softmax.
    assert_eq!(kernels(&rewritten.graph), 5, "{:?}", rewritten.graph);
}
