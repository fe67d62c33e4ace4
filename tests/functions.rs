//! The functions that micro-kernels put together are as exact as they say, over the whole range of their argument.

mod support;

use sonar_ir::{Graph, Op, TensorType, UnaryOp};

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
