//! Functions of each element, comparisons, and products.

use super::support::*;
use sonar_ir::Tensor;
use sonar_onnx::proto::AttributeProto;

const X: [f32; 8] = [-3.0, -1.0, -0.25, 0.0, 0.25, 0.75, 1.0, 3.0];

/// Asserts that an operator is this function of every element.
#[track_caller]
fn is(op: &str, attributes: &[AttributeProto], function: impl Fn(f64) -> f64) {
    let expected: Vec<f32> = X.iter().map(|&x| function(f64::from(x)) as f32).collect();
    check(22, op, attributes, &[run(&[2, 4], &X)], tensor(&[2, 4], &expected));
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn functions_of_one_number() {
    is("Relu", &[], |x| x.max(0.0));
    is("LeakyRelu", &[], |x| if x < 0.0 { 0.01 * x } else { x });
    is("LeakyRelu", &[float("alpha", 2.0)], |x| if x < 0.0 { 2.0 * x } else { x });
    is("LeakyRelu", &[float("alpha", -0.5)], |x| if x < 0.0 { -0.5 * x } else { x });
    is("Sigmoid", &[], sigmoid);
    is("HardSigmoid", &[], |x| (0.2 * x + 0.5).clamp(0.0, 1.0));
    is("HardSigmoid", &[float("alpha", 0.5), float("beta", 0.25)], |x| (0.5 * x + 0.25).clamp(0.0, 1.0));
    is("HardSwish", &[], |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0));
    is("Swish", &[], |x| x / (1.0 + (-x).exp()));
    is("Swish", &[float("alpha", 0.5)], |x| x / (1.0 + (-0.5 * x).exp()));
    is("Tanh", &[], f64::tanh);
    is("Elu", &[float("alpha", 1.5)], |x| if x < 0.0 { 1.5 * (x.exp() - 1.0) } else { x });
    is("Selu", &[float("alpha", 2.0), float("gamma", 3.0)], |x| 3.0 * if x < 0.0 { 2.0 * (x.exp() - 1.0) } else { x });
    is("Softplus", &[], |x| (1.0 + x.exp()).ln());
    is("Softsign", &[], |x| x / (1.0 + x.abs()));
    is("Mish", &[], |x| x * (1.0 + x.exp()).ln().tanh());
    is("Exp", &[], f64::exp);
    is("Abs", &[], f64::abs);
    is("Neg", &[], |x| -x);
    is("Sign", &[], |x| if x == 0.0 { 0.0 } else { x.signum() });
    is("Gelu", &[text("approximate", "tanh")], |x| {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
    });
    let x = [0.25, 1.0, 4.0];
    check(13, "Sqrt", &[], &[run(&[3], &x)], tensor(&[3], &[0.5, 1.0, 2.0]));
    check(13, "Reciprocal", &[], &[run(&[3], &x)], tensor(&[3], &[4.0, 1.0, 0.25]));
    check(13, "Log", &[], &[run(&[3], &x)], tensor(&[3], &[0.25f32.ln(), 0.0, 4f32.ln()]));
    // Values of the error function from Abramowitz and Stegun, table 7.1.
    let (x, erf) = ([-1.0, 0.0, 0.5, 2.0], [-0.842_700_8, 0.0, 0.520_499_9, 0.995_322_3]);
    check(13, "Erf", &[], &[run(&[4], &x)], tensor(&[4], &erf));
    let x: Vec<f32> = x.iter().map(|x| x * std::f32::consts::SQRT_2).collect();
    let gelu: Vec<f32> = x.iter().zip(erf).map(|(x, erf)| 0.5 * x * (1.0 + erf)).collect();
    check(20, "Gelu", &[], &[run(&[4], &x)], tensor(&[4], &gelu));
}

#[test]
fn functions_of_two_numbers_broadcast() {
    let (a, b) = (ramp(&[2, 3, 4]), tensor(&[3, 1], &[2.0, -4.0, 0.5]));
    for (op, function) in [
        ("Add", (|a, b| a + b) as fn(f64, f64) -> f64),
        ("Sub", |a, b| a - b),
        ("Mul", |a, b| a * b),
        ("Div", |a, b| a / b),
        ("Max", f64::max),
        ("Min", f64::min),
        ("Sum", |a, b| a + b),
        ("Mean", |a, b| (a + b) / 2.0),
        ("Greater", |a, b| f64::from(a > b)),
        ("Less", |a, b| f64::from(a < b)),
        ("GreaterOrEqual", |a, b| f64::from(a >= b)),
        ("LessOrEqual", |a, b| f64::from(a <= b)),
        ("Equal", |a, b| f64::from(a == b)),
        ("PRelu", |a, b| if a < 0.0 { a * b } else { a }),
    ] {
        let expected = tabulate(&[2, 3, 4], |i| function(at(&a, i), at(&b, &[i[1], 0])));
        check(16, op, &[], &[Arg::Run(a.clone()), Arg::Run(b.clone())], expected.clone());
        check(16, op, &[], &[Arg::Run(a.clone()), Arg::Known(b.clone())], expected);
    }
}

#[test]
fn powers() {
    let x = [-2.0, -1.0, 0.5, 3.0];
    let power = |e: f32| tensor(&[4], &x.map(|x: f32| x.powf(e)));
    for exponent in [0.0, 1.0, 2.0, 3.0, 7.0, -1.0, -2.0] {
        check(15, "Pow", &[], &[run(&[4], &x), number(exponent)], power(exponent));
    }
    let positive = [0.25, 1.0, 4.0];
    let power = |e: f32| tensor(&[3], &positive.map(|x: f32| x.powf(e)));
    for exponent in [0.5, -0.5, 1.5, 0.1] {
        check(15, "Pow", &[], &[run(&[3], &positive), number(exponent)], power(exponent));
    }
    let each = Arg::Known(tensor(&[3], &[2.0, 3.0, 2.0]));
    check(15, "Pow", &[], &[run(&[3], &[-2.0, -2.0, 3.0]), each], tensor(&[3], &[4.0, -8.0, 9.0]));
    refused(15, "Pow", &[], &[run(&[1], &[2.0]), run(&[1], &[2.0])], "exponents that are not known");
}

#[test]
fn choosing() {
    let (a, b) = (run(&[2, 2], &[1.0, f32::INFINITY, -3.0, 4.0]), run(&[2], &[5.0, 6.0]));
    let chosen = tensor(&[2, 2], &[1.0, 6.0, 5.0, 4.0]);
    let condition = Arg::Bools(vec![2, 2], vec![true, false, false, true]);
    check(16, "Where", &[], &[condition, a.clone(), b.clone()], chosen.clone());
    // A condition that is computed at every run.
    check(16, "Where", &[], &[run(&[2, 2], &[1.0, 0.0, 0.0, 1.0]), a.clone(), b.clone()], chosen);
    let infinite = tensor(&[2, 2], &[5.0, f32::INFINITY, 5.0, 6.0]);
    check(16, "Where", &[], &[run(&[2, 2], &[0.0, 1.0, 0.0, 0.0]), a.clone(), b.clone()], infinite.clone());
    check(16, "Where", &[], &[Arg::Bools(vec![2, 2], vec![false, true, false, false]), a, b], infinite);
    let truth = [run(&[4], &[0.0, 0.0, 1.0, 1.0]), run(&[4], &[0.0, 1.0, 0.0, 1.0])];
    check(16, "And", &[], &truth, tensor(&[4], &[0.0, 0.0, 0.0, 1.0]));
    check(16, "Or", &[], &truth, tensor(&[4], &[0.0, 1.0, 1.0, 1.0]));
    check(16, "Not", &[], &truth[..1], tensor(&[4], &[1.0, 1.0, 0.0, 0.0]));
}

#[test]
fn casts() {
    let x = [-1.5, 0.0, 2.75, 300.0];
    check(19, "Cast", &[int("to", 1)], &[run(&[4], &x)], tensor(&[4], &x));
    check(19, "Cast", &[int("to", 9)], &[run(&[4], &x)], tensor(&[4], &[1.0, 0.0, 1.0, 1.0]));
    refused(19, "Cast", &[int("to", 7)], &[run(&[4], &x)], "a cast to Int64 of what is not known");
    refused(19, "Cast", &[int("to", 8)], &[run(&[4], &x)], "a cast to type 8");
    let known = Arg::Known(tensor(&[4], &x));
    check(19, "Cast", &[int("to", 7)], std::slice::from_ref(&known), tensor(&[4], &[-1.0, 0.0, 2.0, 300.0]));
    check(19, "Cast", &[int("to", 2)], &[known], tensor(&[4], &[255.0, 0.0, 2.0, 44.0]));
}

/// `α · A' · B' + β · C`, element by element.
fn gemm(a: &Tensor, b: &Tensor, c: &Tensor, transposed: (bool, bool), factors: (f64, f64)) -> Tensor {
    let a_at = |i: usize, k: usize| if transposed.0 { at(a, &[k, i]) } else { at(a, &[i, k]) };
    let b_at = |k: usize, j: usize| if transposed.1 { at(b, &[j, k]) } else { at(b, &[k, j]) };
    let (m, k) = if transposed.0 { (a.shape[1], a.shape[0]) } else { (a.shape[0], a.shape[1]) };
    let n = if transposed.1 { b.shape[0] } else { b.shape[1] };
    tabulate(&[m, n], |i| factors.0 * (0..k).map(|l| a_at(i[0], l) * b_at(l, i[1])).sum::<f64>() + factors.1 * at(c, &[i[1]]))
}

#[test]
fn products() {
    for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
        let a = ramp(if ta { &[3, 2] } else { &[2, 3] });
        let b = ramp(if tb { &[4, 3] } else { &[3, 4] });
        let c = tensor(&[4], &[1.0, -2.0, 3.0, 0.5]);
        let attributes = [int("transA", ta.into()), int("transB", tb.into()), float("alpha", 0.5), float("beta", 2.0)];
        let expected = gemm(&a, &b, &c, (ta, tb), (0.5, 2.0));
        check(13, "Gemm", &attributes, &[Arg::Run(a.clone()), Arg::Run(b.clone()), Arg::Run(c.clone())], expected.clone());
        check(13, "Gemm", &attributes, &[Arg::Run(a.clone()), Arg::Known(b.clone()), Arg::Known(c)], expected);
        let plain = gemm(&a, &b, &Tensor::full(vec![4], 0.0), (ta, tb), (1.0, 0.0));
        check(13, "Gemm", &attributes[..2], &[Arg::Run(a), Arg::Run(b)], plain);
    }
    let (a, b) = (ramp(&[2, 1, 3, 4]), ramp(&[5, 4, 2]));
    let expected = tabulate(&[2, 5, 3, 2], |i| (0..4).map(|k| at(&a, &[i[0], 0, i[2], k]) * at(&b, &[i[1], k, i[3]])).sum());
    check(13, "MatMul", &[], &[Arg::Run(a), Arg::Run(b)], expected);
    let (row, matrix) = (run(&[2], &[1.0, 2.0]), run(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    check(13, "MatMul", &[], &[row.clone(), matrix], tensor(&[3], &[9.0, 12.0, 15.0]));
    check(13, "MatMul", &[], &[row.clone(), row], tensor(&[], &[5.0]));
}
