//! Gradients of every operator against finite differences, in double precision.
//!
//! The difference quotient is itself a graph, `(f(x + h·v) − f(x − h·v)) / 2h` for a random direction `v`, run on the reference
//! interpreter, which computes in double precision and rounds only what a graph returns. It must equal `⟨∇f(x), v⟩`.

use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::interp;
use sonar_ir::graph::{Conv2dAttrs, Graph, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::{BinaryOp, Dim, ReduceOp, Tensor, UnaryOp, Values};
use sonar_train::TrainError;
use sonar_train::autodiff::gradients;
use sonar_train::rng::Rng;

const STEP: f32 = 1e-4;
const TOLERANCE: f64 = 2e-4;
const DIRECTIONS: u64 = 3;

type Build<'a> = &'a dyn Fn(&mut Graph, &[NodeId]) -> Result<NodeId, TypeError>;

fn random(rng: &mut Rng, shape: &[usize], range: (f64, f64)) -> Tensor {
    let len = shape.iter().product();
    let data = (0..len).map(|_| (range.0 + rng.unit() * (range.1 - range.0)) as f32).collect();
    Tensor::new(shape.to_vec(), data)
}

/// `Σ f(operands) · weights`, with one weight for each element of the result.
fn weighted(graph: &mut Graph, build: Build<'_>, operands: &[NodeId], weights: &str) -> Result<NodeId, TypeError> {
    let y = build(graph, operands)?;
    let ty = graph.ty(y).clone();
    let name = graph.iter().find(|(_, n)| n.name.as_deref() == Some(weights)).map(|(id, _)| id);
    let weights = name.unwrap_or_else(|| graph.input(weights, ty.clone()));
    let product = graph.push(Op::Binary(BinaryOp::Mul), &[y, weights])?;
    if ty.rank() == 0 {
        return Ok(product);
    }
    graph.push(Op::Reduce { op: ReduceOp::Sum, axes: (0..ty.rank()).collect(), keep: false }, &[product])
}

fn check_between(shapes: &[&[usize]], range: (f64, f64), build: Build<'_>) {
    let mut rng = Rng::new(&[7]);
    let mut graph = Graph::new("analytic");
    let declare = |graph: &mut Graph, prefix: &str| -> Vec<NodeId> {
        shapes.iter().enumerate().map(|(i, s)| graph.input(format!("{prefix}{i}"), TensorType::fixed(s))).collect()
    };
    let operands = declare(&mut graph, "x");
    let loss = weighted(&mut graph, build, &operands, "weights").expect("the graph is well typed");
    graph.outputs = gradients(&mut graph, loss, &operands).expect("the operator has a gradient");

    let mut difference = Graph::new("difference");
    let points = declare(&mut difference, "x");
    let directions = declare(&mut difference, "v");
    let mut side = |h: f32| {
        let mut moved = Vec::new();
        for (&x, &v) in points.iter().zip(&directions) {
            let h = difference.push(Op::Splat(h, vec![]), &[])?;
            let hv = difference.push(Op::Binary(BinaryOp::Mul), &[v, h])?;
            moved.push(difference.push(Op::Binary(BinaryOp::Add), &[x, hv])?);
        }
        weighted(&mut difference, build, &moved, "weights")
    };
    let (above, below) = (side(STEP).expect("well typed"), side(-STEP).expect("well typed"));
    let change = difference.push(Op::Binary(BinaryOp::Sub), &[above, below]).expect("well typed");
    let width = difference.push(Op::Splat(2.0 * STEP, vec![]), &[]).expect("well typed");
    difference.outputs = vec![difference.push(Op::Binary(BinaryOp::Div), &[change, width]).expect("well typed")];

    let mut values = Values::new();
    for (i, shape) in shapes.iter().enumerate() {
        values.insert(format!("x{i}"), random(&mut rng, shape, range));
    }
    let weights = graph.inputs()[shapes.len()];
    let extents = graph.ty(weights).extents().expect("the batch is bound");
    values.insert("weights".into(), random(&mut rng, &extents, (-1.0, 1.0)));
    let gradients = interp::run(&graph, &values).expect("the gradient graph runs");

    for (i, gradient) in gradients.iter().enumerate() {
        for _ in 0..DIRECTIONS {
            for (j, shape) in shapes.iter().enumerate() {
                let range = if i == j { (-1.0, 1.0) } else { (0.0, 0.0) };
                values.insert(format!("v{j}"), random(&mut rng, shape, range));
            }
            // Single precision has too few digits for a difference over so short a step.
            let numeric = interp::run_unrounded(&difference, &values).expect("the difference graph runs")[0][0];
            let products = gradient.data.iter().zip(&values[&format!("v{i}")].data);
            let (mut analytic, mut size) = (0.0, 0.0);
            for (&g, &v) in products {
                analytic += f64::from(g) * f64::from(v);
                size += (f64::from(g) * f64::from(v)).abs();
            }
            assert!(
                (analytic - numeric).abs() <= TOLERANCE * size.max(1e-3),
                "operand {i}: the gradient says {analytic}, differences say {numeric}"
            );
        }
    }
}

fn check(shapes: &[&[usize]], build: Build<'_>) {
    check_between(shapes, (-1.5, 1.5), build);
}

/// The operator itself, applied to all operands.
fn check_op(op: Op, shapes: &[&[usize]]) {
    check(shapes, &|g, x| g.push(op.clone(), x));
}

fn conv(stride: [usize; 2], pad: [usize; 4], dilation: [usize; 2], groups: usize) -> Conv2dAttrs {
    Conv2dAttrs { stride, pad, dilation, groups }
}

fn convolutions() -> [(Conv2dAttrs, [usize; 4], [usize; 4]); 4] {
    [
        (conv([1, 1], [1; 4], [1, 1], 1), [2, 5, 4, 3], [3, 3, 3, 2]),
        (conv([2, 2], [1, 0, 1, 1], [1, 1], 1), [1, 6, 7, 2], [3, 3, 2, 3]),
        (conv([1, 2], [2; 4], [2, 1], 1), [1, 5, 5, 1], [3, 2, 1, 2]),
        (conv([2, 1], [1; 4], [1, 1], 2), [2, 5, 5, 4], [3, 3, 2, 6]),
    ]
}

#[test]
fn convolution() {
    for (attrs, x, w) in convolutions() {
        check_op(Op::Conv2d(attrs), &[&x, &w]);
    }
}

#[test]
fn gradients_of_convolution_are_differentiable_again() {
    for (attrs, x, w) in convolutions() {
        let types = [TensorType::fixed(&x), TensorType::fixed(&w)];
        let y = sonar_ir::graph::infer::infer(&Op::Conv2d(attrs), &[&types[0], &types[1]])
            .expect("well typed")
            .extents()
            .expect("bound");
        check_op(Op::Conv2dGradInput(attrs, [x[1], x[2]]), &[&y, &w]);
        check_op(Op::Conv2dGradWeight(attrs, [w[0], w[1]]), &[&x, &y]);
    }
}

#[test]
fn matrix_product() {
    check_op(Op::MatMul, &[&[3, 4], &[4, 2]]);
    check_op(Op::MatMul, &[&[2, 3, 4], &[4, 5]]);
    check_op(Op::MatMul, &[&[2, 3, 4], &[2, 4, 5]]);
}

#[test]
fn batch_normalisation() {
    check_op(Op::BatchNormTrain { eps: 1e-3 }, &[&[2, 3, 2, 3], &[3], &[3]]);
    check_op(Op::BatchNormTrain { eps: 1e-5 }, &[&[5, 2], &[2], &[2]]);
    check_between(&[&[2, 3, 2, 3], &[3], &[3], &[3], &[3]], (0.3, 2.0), &|g, x| g.push(Op::BatchNorm { eps: 1e-3 }, x));
}

#[test]
fn functions_of_one_number() {
    for &op in UnaryOp::ALL.iter().filter(|&&op| op != UnaryOp::Step) {
        let positive = matches!(op, UnaryOp::Log | UnaryOp::Log1p | UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Recip);
        let range = if positive { (0.5, 2.0) } else { (-1.5, 1.5) };
        check_between(&[&[3, 4]], range, &|g, x| g.push(Op::Unary(op), x));
    }
}

#[test]
fn an_activation_of_pieces_has_the_slope_of_each() {
    check_between(&[&[8, 8]], (-6.0, 6.0), &|g, x| g.push(Op::Unary(UnaryOp::HardSwish), x));
}

#[test]
fn functions_of_two_numbers_with_broadcasting() {
    for &op in BinaryOp::ALL {
        for [a, b] in [[&[2, 3][..], &[2, 3]], [&[2, 3], &[3]], [&[2, 1], &[4, 1, 3]], [&[], &[2, 2]]] {
            check_between(&[a, b], (0.5, 2.0), &|g, x| g.push(Op::Binary(op), x));
        }
    }
}

#[test]
fn an_operand_used_twice_gathers_both_gradients() {
    check(&[&[4]], &|g, x| {
        let square = g.push(Op::Binary(BinaryOp::Mul), &[x[0], x[0]])?;
        g.push(Op::Binary(BinaryOp::Sub), &[square, x[0]])
    });
}

#[test]
fn pooling() {
    for count_include_pad in [false, true] {
        let small = PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad };
        let strided = PoolAttrs { kernel: [2, 3], stride: [2, 2], pad: [0, 1, 1, 1], count_include_pad };
        for (attrs, x) in [(small, [2, 4, 5, 2]), (strided, [1, 5, 6, 3])] {
            check_op(Op::AvgPool(attrs), &[&x]);
            check_op(Op::MaxPool(attrs), &[&x]);
            let ty = TensorType::fixed(&x);
            let y = sonar_ir::graph::infer::infer(&Op::AvgPool(attrs), &[&ty]).expect("well typed").extents().expect("bound");
            check_op(Op::AvgPoolGrad(attrs, [x[1], x[2]]), &[&y]);
        }
    }
    check_op(Op::GlobalAvgPool, &[&[2, 3, 4, 3]]);
}

#[test]
fn movement_of_data() {
    let dims = |shape: &[usize]| shape.iter().map(|&d| Dim::Fixed(d)).collect::<Vec<_>>();
    check_op(Op::Reshape(dims(&[2, 6])), &[&[2, 2, 3]]);
    check_op(Op::Transpose(vec![2, 0, 1]), &[&[2, 3, 4]]);
    check_op(Op::Concat { axis: 1 }, &[&[2, 1, 2], &[2, 3, 2], &[2, 2, 2]]);
    check_op(Op::Slice { axis: 1, start: 1, end: 3 }, &[&[2, 4, 2]]);
    check_op(Op::Pad(vec![(0, 0), (1, 2), (0, 1)]), &[&[2, 3, 2]]);
    check_op(Op::Broadcast(dims(&[4, 2, 3])), &[&[2, 1]]);
}

#[test]
fn layer_normalisation() {
    check_op(Op::LayerNorm { eps: 1e-3 }, &[&[2, 3, 4], &[4], &[4]]);
    check_op(Op::LayerNorm { eps: 1e-5 }, &[&[3, 5], &[5], &[5]]);
}

#[test]
fn attention() {
    check_op(Op::Attention { heads: 2, scale: 0.7 }, &[&[3, 4], &[5, 4], &[5, 6]]);
    check_op(Op::Attention { heads: 1, scale: 0.5 }, &[&[2, 3, 2], &[2, 3, 2], &[2, 3, 2], &[2, 1, 3, 1]]);
    check_op(Op::Attention { heads: 2, scale: -1.0 }, &[&[2, 3, 2], &[2, 3, 2], &[2, 3, 2], &[3, 3]]);
}

#[test]
fn softmax_and_its_logarithm() {
    check_op(Op::Softmax, &[&[3, 5]]);
    check_op(Op::LogSoftmax, &[&[2, 2, 4]]);
}

#[test]
fn reductions() {
    for &op in ReduceOp::ALL {
        for (axes, keep) in [(vec![0], false), (vec![1, 2], false), (vec![0, 2], true), (vec![0, 1, 2], false)] {
            check_op(Op::Reduce { op, axes, keep }, &[&[2, 3, 4]]);
        }
    }
}

#[test]
fn what_the_loss_does_not_see_has_gradient_zero() {
    let mut graph = Graph::new("blind");
    let x = graph.input("x", TensorType::fixed(&[]));
    let y = graph.input("y", TensorType::fixed(&[2]));
    let step = graph.push(Op::Unary(UnaryOp::Step), &[x]).expect("well typed");
    graph.outputs = gradients(&mut graph, step, &[x, y]).expect("zero gradients");
    let values = Values::from([("x".into(), Tensor::full(vec![], 1.0)), ("y".into(), Tensor::full(vec![2], 1.0))]);
    let found = interp::run(&graph, &values).expect("the graph runs");
    assert_eq!(found, [Tensor::full(vec![], 0.0), Tensor::full(vec![2], 0.0)]);
}

#[test]
fn what_cannot_be_differentiated_is_refused() {
    let mut graph = Graph::new("refused");
    let x = graph.input("x", TensorType::fixed(&[1, 2, 2, 1]));
    let sum = graph.push(Op::FusedSum { terms: vec![sonar_ir::Term::Add], relu: true }, &[x]).expect("well typed");
    let all = Op::Reduce { op: ReduceOp::Sum, axes: vec![0, 1, 2, 3], keep: false };
    let loss = graph.push(all, &[sum]).expect("well typed");
    assert!(matches!(gradients(&mut graph, sum, &[x]), Err(TrainError::NotScalar(_))));
    assert!(matches!(gradients(&mut graph, loss, &[x]), Err(TrainError::NotDifferentiable(_))));

    let mut graph = Graph::new("symbolic");
    let x = graph.input("x", TensorType { shape: vec![Dim::Batch] });
    let loss = graph.push(Op::Reduce { op: ReduceOp::Sum, axes: vec![0], keep: false }, &[x]).expect("well typed");
    assert!(matches!(gradients(&mut graph, loss, &[x]), Err(TrainError::SymbolicBatch(_))));
}
