//! Hand-computed values of every operator, and identities between operators and their gradients.

use super::*;
use crate::graph::init;
use crate::graph::{Dim, Init, PoolAttrs, TensorType};
use proptest::prelude::*;

/// The result of an operator on tensors of these shapes and elements.
fn eval(op: Op, operands: &[(&[usize], &[f32])]) -> Tensor {
    let mut graph = Graph::new("test");
    let mut values = Values::new();
    let mut ids = Vec::new();
    for (i, (shape, data)) in operands.iter().enumerate() {
        ids.push(graph.input(format!("x{i}"), TensorType::fixed(shape)));
        values.insert(format!("x{i}"), Tensor::new(shape.to_vec(), data.to_vec()));
    }
    let result = graph.push(op, &ids).unwrap();
    graph.outputs.push(result);
    run(&graph, &values).unwrap().remove(0)
}

#[track_caller]
fn check(op: Op, operands: &[(&[usize], &[f32])], shape: &[usize], expected: &[f32]) {
    let found = eval(op, operands);
    assert_eq!(found.shape, shape);
    let error = found.relative_error(&Tensor::new(shape.to_vec(), expected.to_vec()));
    assert!(error < 1e-6, "expected {expected:?}, found {:?}", found.data);
}

/// `first, first + 1, …`
fn count_from(first: f32, count: usize) -> Vec<f32> {
    (0..count).map(|i| first + i as f32).collect()
}

fn fixed(shape: &[usize]) -> Vec<Dim> {
    TensorType::fixed(shape).shape
}

#[test]
fn splat_reshape_and_broadcast() {
    check(Op::Splat(2.5, fixed(&[2])), &[], &[2], &[2.5, 2.5]);
    check(Op::Reshape(fixed(&[3, 2])), &[(&[2, 3], &count_from(0.0, 6))], &[3, 2], &count_from(0.0, 6));
    check(Op::Broadcast(fixed(&[2, 3])), &[(&[2, 1], &[1.0, 2.0])], &[2, 3], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    check(Op::Broadcast(fixed(&[2, 2])), &[(&[], &[7.0])], &[2, 2], &[7.0; 4]);
}

#[test]
fn convolution() {
    // Each output is the sum of a 2×2 window, weighted 1, 2, 3, 4; the padding is at the bottom and on the right.
    let attrs = Conv2dAttrs { pad: [0, 0, 1, 1], ..Conv2dAttrs::default() };
    let (x, w) = ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]);
    check(Op::Conv2d(attrs), &[(&[1, 2, 2, 1], &x), (&[2, 2, 1, 1], &w)], &[1, 2, 2, 1], &[30.0, 14.0, 11.0, 4.0]);
    // A stride of 2 and a dilation of 2: one output, which reads the corners.
    let attrs = Conv2dAttrs { stride: [2, 2], dilation: [2, 2], ..Conv2dAttrs::default() };
    let x = count_from(1.0, 9);
    check(Op::Conv2d(attrs), &[(&[1, 3, 3, 1], &x), (&[2, 2, 1, 1], &w)], &[1, 1, 1, 1], &[1.0 + 6.0 + 21.0 + 36.0]);
    // Two groups: the first two outputs read the first input channel, the others the second.
    let attrs = Conv2dAttrs { groups: 2, ..Conv2dAttrs::default() };
    check(Op::Conv2d(attrs), &[(&[1, 1, 1, 2], &[10.0, 1.0]), (&[1, 1, 1, 4], &w)], &[1, 1, 1, 4], &[10.0, 20.0, 3.0, 4.0]);
    // Two input channels, two output channels.
    let attrs = Conv2dAttrs::default();
    check(Op::Conv2d(attrs), &[(&[1, 1, 1, 2], &[10.0, 1.0]), (&[1, 1, 2, 2], &w)], &[1, 1, 1, 2], &[13.0, 24.0]);
}

#[test]
fn matrix_product() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
    check(Op::MatMul, &[(&[2, 2], &a), (&[2, 2], &b)], &[2, 2], &[19.0, 22.0, 43.0, 50.0]);
    // One right side for every leading index, or one each.
    check(Op::MatMul, &[(&[2, 1, 2], &a), (&[2, 1], &[1.0, 10.0])], &[2, 1, 1], &[21.0, 43.0]);
    check(Op::MatMul, &[(&[2, 1, 2], &a), (&[2, 2, 1], &b)], &[2, 1, 1], &[17.0, 53.0]);
}

#[test]
fn batch_normalisation() {
    let x = [1.0, 10.0, 3.0, 30.0];
    let (gamma, beta, mean, variance) = ([2.0, 1.0], [0.5, 0.0], [1.0, 10.0], [3.0, 99.0]);
    let statistics: [(&[usize], &[f32]); 5] = [(&[2, 2], &x), (&[2], &gamma), (&[2], &beta), (&[2], &mean), (&[2], &variance)];
    check(Op::BatchNorm { eps: 1.0 }, &statistics, &[2, 2], &[0.5, 0.0, 2.5, 2.0]);
    // The means are 2 and 20, the biased variances 1 and 100.
    check(Op::BatchNormTrain { eps: 0.0 }, &statistics[..3], &[2, 2], &[-1.5, -1.0, 2.5, 1.0]);
}

#[test]
fn functions_of_elements() {
    check(Op::Unary(UnaryOp::Relu), &[(&[3], &[-1.0, 0.0, 2.0])], &[3], &[0.0, 0.0, 2.0]);
    check(Op::Unary(UnaryOp::Step), &[(&[3], &[-1.0, 0.0, 2.0])], &[3], &[0.0, 0.0, 1.0]);
    check(Op::Unary(UnaryOp::Rsqrt), &[(&[2], &[4.0, 0.25])], &[2], &[0.5, 2.0]);
    check(Op::Unary(UnaryOp::Sigmoid), &[(&[1], &[0.0])], &[1], &[0.5]);
    check(Op::Unary(UnaryOp::Erf), &[(&[3], &[-1.0, 0.5, f32::INFINITY])], &[3], &[-0.842_700_8, 0.520_499_9, 1.0]);
    let (a, b) = ([1.0, 2.0, 3.0], [10.0, 20.0]);
    let operands: [(&[usize], &[f32]); 2] = [(&[3], &a), (&[2, 1], &b)];
    check(Op::Binary(BinaryOp::Sub), &operands, &[2, 3], &[-9.0, -8.0, -7.0, -19.0, -18.0, -17.0]);
    check(Op::Binary(BinaryOp::Div), &operands, &[2, 3], &[0.1, 0.2, 0.3, 0.05, 0.1, 0.15]);
    check(Op::Binary(BinaryOp::Max), &operands, &[2, 3], &[10.0, 10.0, 10.0, 20.0, 20.0, 20.0]);
}

/// A window of 2×2 with a stride of 2 and padding of 1 on every side.
const POOL: PoolAttrs = PoolAttrs { kernel: [2, 2], stride: [2, 2], pad: [1; 4], count_include_pad: false };

#[test]
fn pooling() {
    // The windows of these 3×3 elements hold 1; 2, 3; 4, 7; 5, 6, 8, 9.
    let x = count_from(1.0, 9);
    let x: (&[usize], &[f32]) = (&[1, 3, 3, 1], &x);
    let dy: (&[usize], &[f32]) = (&[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    check(Op::MaxPool(POOL), &[x], &[1, 2, 2, 1], &[1.0, 3.0, 7.0, 9.0]);
    check(Op::MaxPoolGrad(POOL), &[x, dy], &[1, 3, 3, 1], &[1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0]);
    check(Op::AvgPool(POOL), &[x], &[1, 2, 2, 1], &[1.0, 2.5, 5.5, 7.0]);
    check(Op::AvgPoolGrad(POOL, [3, 3]), &[dy], &[1, 3, 3, 1], &[1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.5, 1.0, 1.0]);
    let counted = PoolAttrs { count_include_pad: true, ..POOL };
    check(Op::AvgPool(counted), &[x], &[1, 2, 2, 1], &[0.25, 1.25, 2.75, 7.0]);
    check(Op::GlobalAvgPool, &[(&[1, 2, 1, 2], &[1.0, 10.0, 3.0, 30.0])], &[1, 2], &[2.0, 20.0]);
}

#[test]
fn padding_never_wins_and_the_first_largest_takes_the_gradient() {
    let x: (&[usize], &[f32]) = (&[1, 2, 2, 1], &[-5.0, -3.0, -3.0, -4.0]);
    let whole = PoolAttrs { kernel: [3, 3], stride: [3, 3], pad: [1, 1, 0, 0], count_include_pad: false };
    check(Op::MaxPool(whole), &[x], &[1, 1, 1, 1], &[-3.0]);
    check(Op::MaxPoolGrad(whole), &[x, (&[1, 1, 1, 1], &[6.0])], &[1, 2, 2, 1], &[0.0, 6.0, 0.0, 0.0]);
}

#[test]
fn data_movement() {
    let x = count_from(0.0, 6);
    let x: (&[usize], &[f32]) = (&[2, 3], &x);
    check(Op::Transpose(vec![1, 0]), &[x], &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    check(Op::Slice { axis: 1, start: 1, end: 3 }, &[x], &[2, 2], &[1.0, 2.0, 4.0, 5.0]);
    check(Op::Slice { axis: 0, start: 1, end: 2 }, &[x], &[1, 3], &[3.0, 4.0, 5.0]);
    check(Op::Concat { axis: 1 }, &[x, (&[2, 1], &[8.0, 9.0])], &[2, 4], &[0.0, 1.0, 2.0, 8.0, 3.0, 4.0, 5.0, 9.0]);
    check(Op::Pad(vec![(1, 0), (0, 1)]), &[(&[1, 2], &[1.0, 2.0])], &[2, 3], &[0.0, 0.0, 0.0, 1.0, 2.0, 0.0]);
    let turned = eval(Op::Transpose(vec![2, 0, 1]), &[(&[2, 3, 4], &count_from(0.0, 24))]);
    // Element [3, 1, 2] of the result is element [1, 2, 3] of the operand.
    assert_eq!((turned.shape, turned.data[3 * 6 + 3 + 2]), (vec![4, 2, 3], 12.0 + 2.0 * 4.0 + 3.0));
}

#[test]
fn reductions_and_softmax() {
    let x = [1.0, -2.0, 3.0, 4.0, 5.0, 12.0];
    let x: (&[usize], &[f32]) = (&[2, 3], &x);
    let reduce = |op, axes: &[usize], keep| Op::Reduce { op, axes: axes.to_vec(), keep };
    check(reduce(ReduceOp::Sum, &[0], false), &[x], &[3], &[5.0, 3.0, 15.0]);
    check(reduce(ReduceOp::Mean, &[1], true), &[x], &[2, 1], &[2.0 / 3.0, 7.0]);
    check(reduce(ReduceOp::Max, &[0, 1], false), &[x], &[], &[12.0]);
    check(reduce(ReduceOp::Min, &[1], false), &[x], &[2], &[-2.0, 4.0]);
    // e^ln 3 : e^0 is 3 : 1, also for very large or small inputs.
    let ln3 = 3f32.ln();
    check(Op::Softmax, &[(&[1, 2], &[ln3, 0.0])], &[1, 2], &[0.75, 0.25]);
    check(Op::Softmax, &[(&[1, 2], &[1000.0, 1000.0])], &[1, 2], &[0.5, 0.5]);
    // Two heads: one weights the values by 3 : 1; in the other the mask leaves only the second value.
    let operands: [(&[usize], &[f32]); 4] = [
        (&[1, 2], &[ln3 / 2.0, 5.0]),
        (&[2, 2], &[1.0, 1.0, 0.0, 1.0]),
        (&[2, 2], &[4.0, 7.0, 8.0, 9.0]),
        (&[2, 1, 2], &[0.0, 0.0, f32::NEG_INFINITY, 0.0]),
    ];
    check(Op::Attention { heads: 2, scale: 2.0 }, &operands, &[1, 2], &[5.0, 9.0]);
    let layer_norm = Op::LayerNorm { eps: 3.0 };
    check(
        layer_norm,
        &[(&[2, 2], &[1.0, 3.0, 5.0, 5.0]), (&[2], &[2.0, 4.0]), (&[2], &[0.5, 0.0])],
        &[2, 2],
        &[-0.5, 2.0, 0.5, 0.0],
    );
    check(Op::LogSoftmax, &[(&[1, 2], &[ln3, 0.0])], &[1, 2], &[0.75f32.ln(), 0.25f32.ln()]);
}

#[test]
fn fused_sums() {
    let terms = vec![Term::MatMul { relu: true }, Term::Add, Term::Add];
    let operands: [(&[usize], &[f32]); 4] =
        [(&[2, 2], &[1.0, -1.0, 2.0, 3.0]), (&[2, 2], &[1.0, 0.0, 0.0, 1.0]), (&[2], &[10.0, -20.0]), (&[2, 1], &[0.5, 0.25])];
    let sum = [11.5, -19.5, 12.25, -16.75];
    check(Op::FusedSum { terms: terms.clone(), relu: false }, &operands, &[2, 2], &sum);
    check(Op::FusedSum { terms, relu: true }, &operands, &[2, 2], &[11.5, 0.0, 12.25, 0.0]);
    // A bias first: terms broadcast in any order.
    let terms = vec![Term::Add, Term::Conv2d { attrs: Conv2dAttrs::default(), relu: true }];
    let operands: [(&[usize], &[f32]); 3] = [(&[1], &[1.0]), (&[1, 1, 2, 1], &[-3.0, 3.0]), (&[1, 1, 1, 1], &[2.0])];
    check(Op::FusedSum { terms, relu: false }, &operands, &[1, 1, 2, 1], &[1.0, 7.0]);
}

#[test]
fn a_graph_that_cannot_be_run_is_refused() {
    let mut graph = Graph::new("f");
    let x = graph.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(2)] });
    graph.outputs.push(x);
    assert_eq!(run(&graph, &Values::new()), Err(InterpError::UnboundBatch(x)));
    let graph = graph.specialise(3);
    assert_eq!(run(&graph, &Values::new()), Err(InterpError::Missing("x".to_string())));
    let values = Values::from([("x".to_string(), Tensor::full(vec![6], 0.0))]);
    let wrong = InterpError::WrongShape { name: "x".to_string(), expected: vec![3, 2], found: vec![6] };
    assert_eq!(run(&graph, &values), Err(wrong));
    let mut broken = graph.clone();
    broken.outputs.push(NodeId(9));
    assert!(matches!(run(&broken, &values), Err(InterpError::Invalid(_))));
}

#[test]
fn a_value_that_is_returned_and_read_twice_is_kept() {
    let mut graph = Graph::new("f");
    let x = graph.input("x", TensorType::fixed(&[1]));
    let y = graph.push(Op::Binary(BinaryOp::Add), &[x, x]).unwrap();
    let z = graph.push(Op::Binary(BinaryOp::Mul), &[y, y]).unwrap();
    graph.outputs = vec![y, z, y];
    let values = Values::from([("x".to_string(), Tensor::full(vec![1], 3.0))]);
    let results = run(&graph, &values).unwrap();
    assert_eq!(results.iter().map(|tensor| tensor.data[0]).collect::<Vec<_>>(), [6.0, 36.0, 6.0]);
}

/// A convolution with the extents of its input and weight: `[N,H,W,C]` and `[KH,KW,C/groups,O]`.
fn convolutions() -> impl Strategy<Value = (Conv2dAttrs, [usize; 4], [usize; 4])> {
    let attrs = (
        proptest::array::uniform2(1usize..3),
        proptest::array::uniform4(0usize..3),
        proptest::array::uniform2(1usize..3),
        1usize..3,
    )
        .prop_map(|(stride, pad, dilation, groups)| Conv2dAttrs { stride, pad, dilation, groups });
    let kernel = proptest::array::uniform2(1usize..4);
    (attrs, kernel, proptest::array::uniform2(1usize..3), 1usize..3, proptest::array::uniform2(0usize..4)).prop_map(
        |(attrs, k, [c, o], n, more)| {
            // The padded image is at least as large as the window.
            let extent = |i: usize| (attrs.dilation[i] * (k[i] - 1) + 1 + more[i]).saturating_sub(attrs.pad[i]).max(1);
            (attrs, [n, extent(0), extent(1), c * attrs.groups], [k[0], k[1], c, o * attrs.groups])
        },
    )
}

fn random(shape: &[usize], name: &str) -> Tensor {
    let mut graph = Graph::new("random");
    graph.input(name, TensorType::fixed(shape));
    init::inputs(&graph, 5).remove(name).unwrap()
}

fn apply_to(op: Op, operands: &[&Tensor]) -> Tensor {
    eval(op, &operands.iter().map(|t| (&t.shape[..], &t.data[..])).collect::<Vec<_>>())
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * (1.0 + a.abs().max(b.abs()))
}

/// A convolution by its definition, element by element.
fn conv2d_by_definition(attrs: &Conv2dAttrs, x: &Tensor, w: &Tensor, shape: &[usize]) -> Tensor {
    let at = |t: &Tensor, i: [usize; 4]| f64::from(t.data[((i[0] * t.shape[1] + i[1]) * t.shape[2] + i[2]) * t.shape[3] + i[3]]);
    let mut data = Vec::new();
    for i in 0..shape.iter().product() {
        let o = i % shape[3];
        let pixel = i / shape[3];
        let (n, oy, ox) = (pixel / shape[2] / shape[1], pixel / shape[2] % shape[1], pixel % shape[2]);
        let group = o / (shape[3] / attrs.groups);
        let mut sum = 0.0;
        for ky in 0..w.shape[0] {
            for kx in 0..w.shape[1] {
                for c in 0..w.shape[2] {
                    let y = (oy * attrs.stride[0] + ky * attrs.dilation[0]).wrapping_sub(attrs.pad[0]);
                    let x_ = (ox * attrs.stride[1] + kx * attrs.dilation[1]).wrapping_sub(attrs.pad[1]);
                    if y < x.shape[1] && x_ < x.shape[2] {
                        sum += at(x, [n, y, x_, group * w.shape[2] + c]) * at(w, [ky, kx, c, o]);
                    }
                }
            }
        }
        data.push(sum as f32);
    }
    Tensor::new(shape.to_vec(), data)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn convolution_is_its_definition_and_its_gradients_are_adjoint((attrs, x, w) in convolutions()) {
        let (x, w) = (random(&x, "x"), random(&w, "w"));
        let y = apply_to(Op::Conv2d(attrs), &[&x, &w]);
        prop_assert!(y.relative_error(&conv2d_by_definition(&attrs, &x, &w, &y.shape)) < 1e-6);
        let dy = random(&y.shape, "dy");
        let dx = apply_to(Op::Conv2dGradInput(attrs, [x.shape[1], x.shape[2]]), &[&dy, &w]);
        let dw = apply_to(Op::Conv2dGradWeight(attrs, [w.shape[0], w.shape[1]]), &[&x, &dy]);
        let expected = dot(&y, &dy);
        prop_assert!(close(expected, dot(&x, &dx)), "{expected} is not {}", dot(&x, &dx));
        prop_assert!(close(expected, dot(&w, &dw)), "{expected} is not {}", dot(&w, &dw));
    }

    #[test]
    fn gradients_of_pools_are_adjoint(
        kernel in proptest::array::uniform2(1usize..4),
        stride in proptest::array::uniform2(1usize..3),
        pad in proptest::array::uniform4(0usize..3),
        count_include_pad in any::<bool>(),
        more in proptest::array::uniform2(0usize..4),
    ) {
        let pad = std::array::from_fn(|i| pad[i].min(kernel[i % 2] - 1));
        let attrs = PoolAttrs { kernel, stride, pad, count_include_pad };
        let x = random(&[2, kernel[0] + more[0], kernel[1] + more[1], 3], "x");
        let hw = [x.shape[1], x.shape[2]];

        let y = apply_to(Op::AvgPool(attrs), &[&x]);
        let dy = random(&y.shape, "dy");
        let dx = apply_to(Op::AvgPoolGrad(attrs, hw), &[&dy]);
        prop_assert!(close(dot(&y, &dy), dot(&x, &dx)));

        // If no two elements are equal, a max pool is linear around `x`.
        let y = apply_to(Op::MaxPool(attrs), &[&x]);
        let dx = apply_to(Op::MaxPoolGrad(attrs), &[&x, &dy]);
        prop_assert!(close(dot(&y, &dy), dot(&x, &dx)));
    }
}

#[test]
fn parameters_are_read_by_name() {
    let mut graph = Graph::new("f");
    let x = graph.input("x", TensorType::fixed(&[1, 2]));
    let w = graph.param("w", &[2, 1], Init::He);
    let y = graph.push(Op::MatMul, &[x, w]).unwrap();
    graph.outputs.push(y);
    let tensor = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![2.0, 3.0]);
    let values = Values::from([("x".to_string(), tensor(&[1, 2])), ("w".to_string(), tensor(&[2, 1]))]);
    assert_eq!(run(&graph, &values).unwrap()[0].data, [13.0]);
}
