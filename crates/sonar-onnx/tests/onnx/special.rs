//! What operators give for not-a-number, infinities, zeros and numbers at the ends of the range, element by element.

use super::support::*;
use sonar_ir::Tensor;
use sonar_onnx::proto::AttributeProto;

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// Numbers that an operator may treat in a way of its own.
const X: [f32; 20] =
    [NAN, INF, -INF, 0.0, -0.0, 1e-38, -1e-40, 1e-7, -1e-7, 1.0, -1.0, 3.5, -3.5, 20.0, -20.0, -80.0, 88.0, -89.0, 1e30, -1e30];

/// Asserts that tensors agree element by element: in kind, and to five digits.
#[track_caller]
fn agree(what: &str, found: &Tensor, expected: &[f64]) {
    assert_eq!(found.data.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.data.iter().zip(expected).enumerate() {
        let (found, right) = (f64::from(found), f64::from(expected as f32));
        let close = (found - right).abs() <= 1e-5 * right.abs().max(1e-38);
        assert!(found == right || (found.is_nan() && right.is_nan()) || close, "{what}: element {i} is {found:e}, not {right:e}");
    }
}

/// Asserts what an operator makes of its arguments, given at every run and known at import.
#[track_caller]
fn gives(op: &str, attributes: &[AttributeProto], args: &[Arg], expected: &[f64]) {
    let found = apply(20, op, attributes, args, 1).unwrap_or_else(|e| panic!("{op}: {e}"));
    agree(op, &found[0], expected);
    let known: Vec<Arg> = args.iter().map(|a| if let Arg::Run(t) = a { Arg::Known(t.clone()) } else { a.clone() }).collect();
    if let Ok(found) = apply(20, op, attributes, &known, 1) {
        agree(&format!("{op} of constants"), &found[0], expected);
    }
}

/// Asserts that an operator is this function of every special number.
#[track_caller]
fn is(op: &str, attributes: &[AttributeProto], function: impl Fn(f64) -> f64) {
    let expected: Vec<f64> = X.iter().map(|&x| function(f64::from(x))).collect();
    gives(op, attributes, &[run(&[X.len()], &X)], &expected);
}

/// `max` and `min` as ONNX has them.
fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

#[test]
fn activations() {
    let softplus = |x: f64| max(x, 0.0) + (-x.abs()).exp().ln_1p();
    is("Relu", &[], |x| max(x, 0.0));
    for alpha in [0.01, 1.0, 0.0, 2.0, -0.5] {
        let slope = f64::from(alpha);
        is("LeakyRelu", &[float("alpha", alpha)], |x| if x < 0.0 { slope * x } else { x });
    }
    is("HardSigmoid", &[], |x| min(max(f64::from(0.2f32) * x + 0.5, 0.0), 1.0));
    is("HardSwish", &[], |x| x * min(max(x / 6.0 + 0.5, 0.0), 1.0));
    is("Elu", &[float("alpha", 1.5)], |x| if x < 0.0 { 1.5 * x.exp_m1() } else { x });
    is("Selu", &[float("alpha", 2.0), float("gamma", 3.0)], |x| 3.0 * if x < 0.0 { 2.0 * x.exp_m1() } else { x });
    is("Softplus", &[], softplus);
    is("Mish", &[], |x| x * softplus(x).tanh());
    is("Softsign", &[], |x| if x.is_infinite() { f64::NAN } else { x / (1.0 + x.abs()) });
    is("Sigmoid", &[], |x| 1.0 / (1.0 + (-x).exp()));
    is("Tanh", &[], f64::tanh);
    is("Exp", &[], f64::exp);
    is("Log", &[], f64::ln);
    is("Sqrt", &[], f64::sqrt);
    is("Reciprocal", &[], |x| 1.0 / x);
    is("Abs", &[], f64::abs);
    is("Neg", &[], |x| -x);
    is("Sign", &[], |x| if x == 0.0 || x.is_nan() { x } else { x.signum() });
}

#[test]
fn limits() {
    let bounds = |low: f32, high: f32| [run(&[X.len()], &X), Arg::Known(tensor(&[], &[low])), Arg::Known(tensor(&[], &[high]))];
    for (low, high) in [(-1.0, 1.0), (0.0, 6.0), (-INF, 0.0), (1.0, -1.0)] {
        let expected: Vec<f64> = X.iter().map(|&x| min(max(x.into(), low.into()), high.into())).collect();
        gives("Clip", &[], &bounds(low, high), &expected);
    }
    for (op, function) in [("Max", max as fn(f64, f64) -> f64), ("Min", min)] {
        let expected: Vec<f64> = X.iter().flat_map(|&a| X.iter().map(move |&b| function(a.into(), b.into()))).collect();
        gives(op, &[], &[run(&[X.len(), 1], &X), run(&[X.len()], &X)], &expected);
    }
}

#[test]
fn comparisons_with_not_a_number_are_false() {
    type Comparison = fn(&f32, &f32) -> bool;
    let comparisons: [(&str, Comparison); 5] = [
        ("Equal", |a, b| a == b),
        ("Greater", |a, b| a > b),
        ("Less", |a, b| a < b),
        ("GreaterOrEqual", |a, b| a >= b),
        ("LessOrEqual", |a, b| a <= b),
    ];
    for (op, holds) in comparisons {
        let expected: Vec<f64> = X.iter().flat_map(|a| X.iter().map(move |b| f64::from(u8::from(holds(a, b))))).collect();
        gives(op, &[], &[run(&[X.len(), 1], &X), run(&[X.len()], &X)], &expected);
    }
    let truth: Vec<f64> = X.iter().map(|&x| f64::from(u8::from(x != 0.0))).collect();
    gives("Cast", &[int("to", 9)], &[run(&[X.len()], &X)], &truth);
}

#[test]
fn what_is_not_chosen_does_not_matter() {
    let chosen: Vec<bool> = (0..X.len()).map(|i| i % 2 == 0).collect();
    let flags: Vec<f32> = chosen.iter().map(|&c| if c { 1.0 } else { 0.0 }).collect();
    let reversed: Vec<f32> = X.iter().rev().copied().collect();
    let expected: Vec<f64> = (0..X.len()).map(|i| if chosen[i] { X[i] } else { reversed[i] }.into()).collect();
    let (x, y) = (run(&[X.len()], &X), run(&[X.len()], &reversed));
    gives("Where", &[], &[Arg::Bools(vec![X.len()], chosen), x.clone(), y.clone()], &expected);
    gives("Where", &[], &[run(&[X.len()], &flags), x, y], &expected);
}

#[test]
fn powers() {
    for exponent in [2.0, 3.0, 1.0, 0.0, -1.0, -2.0, 1.5, -1.5, 0.3] {
        let expected: Vec<f64> = X.iter().map(|&x| f64::from(x).powf(exponent)).collect();
        let found = apply(15, "Pow", &[], &[run(&[X.len()], &X), Arg::Known(tensor(&[], &[exponent as f32]))], 1);
        // Squares of what is above the largest number or below the smallest are what they are as `f32`.
        let expected: Vec<f64> = expected.into_iter().map(|v| f64::from(v as f32)).collect();
        let found = &found.unwrap_or_else(|e| panic!("{e}"))[0];
        for (i, (&found, &right)) in found.data.iter().zip(&expected).enumerate() {
            let found = f64::from(found);
            let close = (found - right).abs() <= 1e-4 * right.abs() + 1e-37;
            let same = found == right || (found.is_nan() && right.is_nan()) || close;
            assert!(same, "{} to the {exponent}: {found:e}, not {right:e}", X[i]);
        }
    }
    let (x, e) = ([-2.0, -2.0, 4.0, -4.0, 0.0, -1.0, 3.0, NAN], [2.0, 3.0, 0.5, -1.0, 0.0, 1.5, -2.0, 0.0]);
    let expected: Vec<f64> = x.iter().zip(e).map(|(&x, e)| f64::from(x).powf(e.into())).collect();
    gives("Pow", &[], &[run(&[8], &x), Arg::Known(tensor(&[8], &e))], &expected);
}

#[test]
fn reductions_and_windows() {
    let x = [NAN, 1.0, 2.0, 3.0, 4.0, 5.0, INF, 7.0, -INF, -INF, -INF, -INF];
    let nan = f64::NAN;
    let axes = Arg::Ints(vec![1], vec![1]);
    let args = [run(&[3, 4], &x), axes];
    gives("ReduceMax", &[], &args, &[nan, f64::INFINITY, f64::NEG_INFINITY]);
    gives("ReduceMin", &[], &args, &[nan, 4.0, f64::NEG_INFINITY]);
    gives("Softmax", &[], &args[..1], &[nan; 12]);
    let two = [1.0, -INF, 2.0, -1e30];
    let share = 1.0 / (1.0 + 1f64.exp());
    gives("Softmax", &[], &[run(&[1, 4], &two)], &[share, 0.0, 1.0 - share, 0.0]);
    let pooled = [nan, 2.0, 3.0, 5.0, f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    gives("MaxPool", &[ints("kernel_shape", &[1, 2])], &[run(&[1, 1, 3, 4], &x)], &pooled);
}
