//! What differs between the versions of ONNX's operators.

use super::support::*;

#[test]
fn attributes_became_arguments() {
    let x = [-2.0, -0.5, 0.5, 2.0];
    let clipped = tensor(&[4], &[-1.0, -0.5, 0.5, 1.0]);
    check(9, "Clip", &[float("min", -1.0), float("max", 1.0)], &[run(&[4], &x)], clipped.clone());
    check(11, "Clip", &[], &[run(&[4], &x), number(-1.0), number(1.0)], clipped);
    check(11, "Clip", &[], &[run(&[4], &x), Arg::Absent, number(1.0)], tensor(&[4], &[-2.0, -0.5, 0.5, 1.0]));
    check(11, "Clip", &[], &[run(&[4], &x), number(0.0)], tensor(&[4], &[0.0, 0.0, 0.5, 2.0]));
    check(11, "Clip", &[], &[run(&[4], &x)], tensor(&[4], &x));

    let grid = || Arg::Run(ramp(&[1, 2, 3]));
    let sums = tensor(&[1, 2, 1], &[1.0, -2.5]);
    check(11, "ReduceSum", &[ints("axes", &[2])], &[grid()], sums.clone());
    check(13, "ReduceSum", &[], &[grid(), list(&[2])], sums);
    check(11, "Squeeze", &[ints("axes", &[0])], &[grid()], ramp(&[2, 3]));
    check(13, "Squeeze", &[], &[grid(), list(&[0])], ramp(&[2, 3]));
    check(11, "Unsqueeze", &[ints("axes", &[3, 0])], &[grid()], ramp(&[1, 1, 2, 1, 3]));
    let parts = [tensor(&[1, 2, 1], &[0.5, -2.0]), tensor(&[1, 2, 2], &[-1.0, 1.5, 2.5, -3.0])];
    check_all(11, "Split", &[int("axis", 2), ints("split", &[1, 2])], &[grid()], &parts);
    check_all(13, "Split", &[int("axis", 2)], &[grid(), list(&[1, 2])], &parts);
    check(9, "Slice", &[ints("starts", &[1]), ints("ends", &[3]), ints("axes", &[2])], &[grid()], parts[1].clone());
    check(10, "Slice", &[], &[grid(), list(&[1]), list(&[3]), list(&[2])], parts[1].clone());
    let padded = tensor(&[1, 2, 4], &[9.0, 0.5, -1.0, 1.5, 9.0, -2.0, 2.5, -3.0]);
    check(10, "Pad", &[ints("pads", &[0, 0, 1, 0, 0, 0]), float("value", 9.0)], &[grid()], padded.clone());
    check(11, "Pad", &[], &[grid(), list(&[0, 0, 1, 0, 0, 0]), number(9.0)], padded);
}

#[test]
fn dropout_of_every_version_does_nothing() {
    let x = ramp(&[2, 3]);
    check(9, "Dropout", &[float("ratio", 0.3)], &[Arg::Run(x.clone())], x.clone());
    check(12, "Dropout", &[int("seed", 1)], &[Arg::Run(x.clone()), number(0.3)], x.clone());
    let mode = |training| Arg::Bools(vec![], vec![training]);
    check(13, "Dropout", &[], &[Arg::Run(x.clone()), number(0.3), mode(false)], x.clone());
    check_all(13, "Dropout", &[], &[Arg::Run(x.clone())], &[x.clone(), tensor(&[2, 3], &[1.0; 6])]);
    check(13, "Dropout", &[], &[Arg::Run(x.clone()), number(0.0), mode(true)], x.clone());
    refused(13, "Dropout", &[], &[Arg::Run(x), number(0.5), mode(true)], "dropout in training mode");
}

#[test]
fn versions_out_of_range_are_refused() {
    for opset in [-1, 0, 8, 24, i64::MAX] {
        refused(opset, "Relu", &[], &[run(&[1], &[1.0])], "9 to 23 are supported");
    }
}
