//! The functions that micro-kernels put together are as exact as they say, over the whole range of their argument, and whole kernels
//! let through what is not a number, as the interpreter does.

mod support;

use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::graph::{init, interp};
use sonar_ir::{BinaryOp, Graph, Init, NodeId, Op, ReduceOp, Tensor, TensorType, Term, UnaryOp, Values};
use sonar_tune::RewriteLevel;
use support::{Variant, run_compiled};

/// Arguments of one run.
const COUNT: usize = 1 << 16;
/// Every so many bit patterns of a number are tried: a prime, so that all exponents and signs meet all sorts of fractions.
const STRIDE: u32 = 4099;

/// The smallest normal number.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;
/// The largest error in units of the last place, of results that are not below a size; errors of smaller ones are in units of that
/// size's last place. Activations are differences where they are small.
const BOUNDS: [(UnaryOp, f64, f64); 11] = [
    (UnaryOp::Exp, 1.0, SMALLEST),
    (UnaryOp::Expm1, 2.0, SMALLEST),
    (UnaryOp::Log, 1.0, SMALLEST),
    (UnaryOp::Log1p, 2.0, SMALLEST),
    (UnaryOp::Tanh, 2.5, SMALLEST),
    (UnaryOp::Sigmoid, 2.1, SMALLEST),
    (UnaryOp::Erf, 3.0, SMALLEST),
    (UnaryOp::Gelu, 2.0, 1.0),
    (UnaryOp::GeluTanh, 3.5, 1.0),
    (UnaryOp::Silu, 3.5, 256.0 * SMALLEST),
    (UnaryOp::HardSwish, 2.0, 1.0),
];

/// The distance of neighbours of a result, at least that of the neighbours of a size.
fn ulp(value: f64, size: f64) -> f64 {
    let exponent = (value.abs().max(size).log2().floor() as i32).min(127);
    2f64.powi(exponent - 23)
}

/// The error of a result in units of the last place; infinite if it is of another kind than the right one.
fn error(found: f32, right: f64, size: f64) -> f64 {
    if right.is_nan() || (right as f32).is_infinite() || found.is_nan() || found.is_infinite() {
        let same = (right.is_nan() && found.is_nan()) || f64::from(found) == f64::from(right as f32);
        // Next to where a result overflows, the largest number is as good as infinity.
        let edge = found == f32::MAX && (right as f32).is_infinite() || found.is_infinite() && right.abs() > 3.4e38;
        return if same || edge { 0.0 } else { f64::INFINITY };
    }
    (f64::from(found) - right).abs() / ulp(right, size)
}

#[test]
fn functions_keep_their_bounds_over_the_whole_range() {
    let arguments: Vec<f32> = (0..u32::MAX / STRIDE).map(|i| f32::from_bits(i * STRIDE)).collect();
    let special = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, f32::MIN_POSITIVE];
    for (op, bound, size) in BOUNDS {
        let mut graph = Graph::new(op.name());
        let x = graph.input("x", TensorType::fixed(&[COUNT]));
        graph.outputs = vec![graph.push(Op::Unary(op), &[x]).expect("a well-typed graph")];
        for target in support::targets() {
            let compiled = sonar_tune::compile(&graph, &sonar_tune::CompileOptions::new(&target)).expect("it compiles");
            let model = compiled.load(&Default::default()).expect("there are no weights");
            let mut context = model.context().expect("threads start");
            let (mut worst, mut at) = (0.0, 0.0);
            for chunk in arguments.chunks(COUNT - special.len()) {
                let mut x: Vec<f32> = special.iter().chain(chunk).copied().collect();
                x.resize(COUNT, 1.0);
                let mut y = vec![0.0; COUNT];
                context.run(&[&x], &mut [&mut y]).expect("a run");
                for (&x, &y) in x.iter().zip(&y) {
                    let error = error(y, op.eval(f64::from(x)), size);
                    if error > worst {
                        (worst, at) = (error, x);
                    }
                }
            }
            assert!(worst <= bound, "{op} on {target} is off by {worst:.2} units of the last place at {at:e}");
        }
    }
}

/// Numbers that a kernel may treat in a way of its own.
const SPECIAL: [f32; 12] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, 88.0, -104.0, -3.5];

/// Asserts that compiled code agrees with the interpreter in kind everywhere, and to four digits, for every target, with and without
/// rewriting. A third of the elements of the inputs are special.
fn check(name: &str, build: impl Fn(&mut Graph) -> NodeId) {
    check_part(name, 1, build);
}

/// The same with special elements only in the first of some equal parts of each input, so that some windows of an image hold none.
fn check_part(name: &str, parts: usize, build: impl Fn(&mut Graph) -> NodeId) {
    let mut graph = Graph::new(name);
    let output = build(&mut graph);
    graph.outputs = vec![output];
    let mut values = init::randomise(&graph, 7);
    values.extend(init::inputs(&graph, 7));
    for (k, id) in graph.inputs().into_iter().enumerate() {
        let name = graph.node(id).name.clone().expect("inputs have names");
        let data = &mut values.get_mut(&name).expect("every input has a value").data;
        let some = data.len() / parts;
        data[..some]
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| i % 3 == k)
            .for_each(|(i, x)| *x = SPECIAL[(i / 3 * 5 + i / 40) % SPECIAL.len()]);
    }
    let expected = &interp::run(&graph, &values).expect("it runs")[0];
    assert!(expected.data.iter().any(|y| y.is_nan()) && expected.data.iter().any(|y| !y.is_nan()), "{name} tests nothing");
    for target in support::targets() {
        for rewrite in [RewriteLevel::Unfused, RewriteLevel::Written, RewriteLevel::Full] {
            let variant = Variant { max_rounding: 0.0, ..Variant::new(&target, rewrite, 1) };
            let found = &run_compiled(&graph, &values, &variant)[0];
            for (i, (&found, &right)) in found.data.iter().zip(&expected.data).enumerate() {
                // What is made of the largest numbers may be much smaller than the terms that it is the sum of.
                let scale = right.abs().max(if right.abs() > 1e6 { 1e30 } else { 1.0 });
                let close = (found - right).abs() <= 1e-4 * scale;
                let same = found == right || (found.is_nan() && right.is_nan()) || close;
                assert!(same, "{name} on {target}, {rewrite:?}: element {i} is {found:e}, not {right:e}");
            }
        }
    }
}

fn input(graph: &mut Graph, shape: &[usize]) -> NodeId {
    graph.input(format!("x{}", graph.nodes.len()), TensorType::fixed(shape))
}

fn param(graph: &mut Graph, shape: &[usize], init: Init) -> NodeId {
    graph.param(format!("w{}", graph.nodes.len()), shape, init)
}

fn push(graph: &mut Graph, op: Op, operands: &[NodeId]) -> NodeId {
    graph.push(op, operands).expect("a well-typed graph")
}

#[test]
fn elementwise_kernels_of_special_values() {
    // Whole vectors and a tail of every width.
    for &op in UnaryOp::ALL.iter().filter(|&&op| op != UnaryOp::Step) {
        check(op.name(), |g| {
            let x = input(g, &[3, 53]);
            push(g, Op::Unary(op), &[x])
        });
    }
    for &op in BinaryOp::ALL {
        check(op.name(), |g| {
            let (x, y) = (input(g, &[3, 53]), input(g, &[3, 53]));
            push(g, Op::Binary(op), &[x, y])
        });
    }
    check("clip", |g| {
        let x = input(g, &[3, 53]);
        let (low, high) = (push(g, Op::Splat(-1.0, vec![]), &[]), push(g, Op::Splat(6.0, vec![]), &[]));
        let x = push(g, Op::Binary(BinaryOp::Max), &[low, x]);
        push(g, Op::Binary(BinaryOp::Min), &[x, high])
    });
}

#[test]
fn fused_kernels_of_special_values() {
    for columns in [7, 20, 32] {
        check("relu of a product", |g| {
            let x = input(g, &[5, 3]);
            let w = param(g, &[3, columns], Init::He);
            let y = push(g, Op::MatMul, &[x, w]);
            push(g, Op::Unary(UnaryOp::Relu), &[y])
        });
        check_part("relu, convolution, residual, relu", 4, |g| {
            let x = input(g, &[1, 9, 8, columns]);
            let w = param(g, &[3, 3, columns, columns], Init::He);
            let residual = input(g, &[1, 9, 8, columns]);
            let b = param(g, &[columns], Init::Uniform);
            let y = push(g, Op::Unary(UnaryOp::Relu), &[x]);
            let y = push(g, Op::Conv2d(Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() }), &[y, w]);
            let y = push(g, Op::Binary(BinaryOp::Add), &[y, b]);
            let y = push(g, Op::Binary(BinaryOp::Add), &[y, residual]);
            push(g, Op::Unary(UnaryOp::Relu), &[y])
        });
        check("fused sum", |g| {
            let x = input(g, &[6, 5]);
            let (w, b) = (param(g, &[5, columns], Init::He), input(g, &[columns]));
            push(g, Op::FusedSum { terms: vec![Term::MatMul { relu: true }, Term::Add], relu: true }, &[x, w, b])
        });
        check_part("depthwise convolution", 4, |g| {
            let x = input(g, &[1, 12, 9, columns]);
            let w = param(g, &[3, 3, 1, columns], Init::He);
            let attrs = Conv2dAttrs { pad: [1; 4], groups: columns, ..Conv2dAttrs::default() };
            let y = push(g, Op::Conv2d(attrs), &[x, w]);
            push(g, Op::Unary(UnaryOp::HardSwish), &[y])
        });
    }
}

#[test]
fn reductions_of_special_values() {
    for columns in [7, 20, 32] {
        for (op, axes) in [ReduceOp::Max, ReduceOp::Min].into_iter().flat_map(|op| [(op, vec![2]), (op, vec![1]), (op, vec![0])])
        {
            check(&format!("{op} over {axes:?}"), |g| {
                let x = input(g, &[2, 3, columns]);
                push(g, Op::Reduce { op, axes: axes.clone(), keep: false }, &[x])
            });
        }
        check("max pooling", |g| {
            let x = input(g, &[1, 15, 9, columns]);
            let attrs = PoolAttrs { kernel: [2; 2], stride: [1; 2], pad: [0, 0, 1, 1], count_include_pad: false };
            push(g, Op::MaxPool(attrs), &[x])
        });
    }
    for op in [Op::Softmax, Op::LogSoftmax] {
        check("softmax", |g| {
            let x = input(g, &[40, 3]);
            push(g, op.clone(), &[x])
        });
    }
}

/// A function by its name, what it gives, and arguments that it is tried with.
type Case = (&'static str, fn(f64) -> f64, &'static [f32]);

/// Results that are small beside the terms they are made of keep their digits.
#[test]
fn tails_keep_their_digits() {
    let cases: [Case; 6] = [
        ("softplus", |x| x.exp().ln_1p(), &[-20.0, -30.0, -50.0, -80.0, -1.0, 0.0, 3.0, 90.0]),
        ("mish", |x| x * x.exp().ln_1p().tanh(), &[-20.0, -30.0, -50.0, -80.0, -1.0, 3.0]),
        ("silu", |x| x / (1.0 + (-x).exp()), &[-20.0, -50.0, -80.0, 1e-20, 3.0]),
        ("expm1", f64::exp_m1, &[1e-3, -1e-3, 1e-7, -1e-20, -30.0, 30.0, 88.5]),
        ("log1p", f64::ln_1p, &[1e-3, -1e-3, 1e-7, 1e-20, 1e20]),
        ("tanh", f64::tanh, &[1e-3, -1e-7, 1e-20]),
    ];
    for (name, function, arguments) in cases {
        let mut graph = Graph::new(name);
        let x = graph.input("x", TensorType::fixed(&[arguments.len()]));
        let softplus = |graph: &mut Graph| {
            let size = push(graph, Op::Unary(UnaryOp::Abs), &[x]);
            let negative = push(graph, Op::Unary(UnaryOp::Neg), &[size]);
            let power = push(graph, Op::Unary(UnaryOp::Exp), &[negative]);
            let log = push(graph, Op::Unary(UnaryOp::Log1p), &[power]);
            let positive = push(graph, Op::Unary(UnaryOp::Relu), &[x]);
            push(graph, Op::Binary(BinaryOp::Add), &[positive, log])
        };
        let y = match name {
            "softplus" => softplus(&mut graph),
            "mish" => {
                let gate = softplus(&mut graph);
                let gate = push(&mut graph, Op::Unary(UnaryOp::Tanh), &[gate]);
                push(&mut graph, Op::Binary(BinaryOp::Mul), &[x, gate])
            }
            name => push(&mut graph, Op::Unary(UnaryOp::from_name(name).expect("a function")), &[x]),
        };
        graph.outputs = vec![y];
        let values = Values::from([("x".to_string(), Tensor::new(vec![arguments.len()], arguments.to_vec()))]);
        for target in support::targets() {
            for rewrite in [RewriteLevel::Unfused, RewriteLevel::Full] {
                let found = &run_compiled(&graph, &values, &Variant::new(&target, rewrite, 1))[0];
                for (&x, &found) in arguments.iter().zip(&found.data) {
                    let (found, right) = (f64::from(found), function(f64::from(x)));
                    assert!((found - right).abs() <= 2e-6 * right.abs(), "{name}({x}) on {target} is {found:e}, not {right:e}");
                }
            }
        }
    }
}
