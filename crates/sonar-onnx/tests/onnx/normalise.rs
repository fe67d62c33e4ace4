//! Normalisations and reductions.

use super::support::*;
use sonar_ir::Tensor;

/// A function of the elements that agree in all axes but these, in the order of the axes.
fn over(x: &Tensor, axes: &[usize], function: impl Fn(&[f64]) -> Vec<f64>) -> Tensor {
    let group = |i: &[usize]| -> Vec<Vec<usize>> {
        indices(&x.shape).filter(|j| (0..i.len()).all(|axis| axes.contains(&axis) || i[axis] == j[axis])).collect()
    };
    tabulate(&x.shape, |i| {
        let members = group(i);
        let values: Vec<f64> = members.iter().map(|j| at(x, j)).collect();
        let own = members.iter().position(|j| j == i).expect("an element is in its own group");
        function(&values)[own]
    })
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let total: f64 = values.iter().map(|v| v.exp()).sum();
    values.iter().map(|v| v.exp() / total).collect()
}

fn standard(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean) / (variance + 1e-5).sqrt()).collect()
}

#[test]
fn softmax_over_an_axis_or_over_all_from_an_axis_on() {
    let x = ramp(&[2, 3, 4]);
    for (axis, opset) in [(-1, 13), (1, 13), (0, 17), (2, 11)] {
        let own = if axis < 0 { 2 } else { axis as usize };
        let expected = over(&x, &[own], softmax);
        check(opset, "Softmax", &[int("axis", axis)], &[Arg::Run(x.clone())], expected.clone());
        let log = tabulate(&x.shape, |i| at(&expected, i).ln());
        check(opset, "LogSoftmax", &[int("axis", axis)], &[Arg::Run(x.clone())], log);
    }
    check(13, "Softmax", &[], &[Arg::Run(x.clone())], over(&x, &[2], softmax));
    // Before version 13 the default is axis 1, and everything from there on is one.
    check(11, "Softmax", &[], &[Arg::Run(x.clone())], over(&x, &[1, 2], softmax));
    check(11, "Softmax", &[int("axis", 0)], &[Arg::Run(x.clone())], over(&x, &[0, 1, 2], softmax));
}

#[test]
fn layers_instances_and_batches() {
    let x = ramp(&[2, 3, 2, 4]);
    let (scale, bias) = (tensor(&[3], &[1.0, -2.0, 0.5]), tensor(&[3], &[0.25, 1.0, -1.0]));
    let affine = |normal: &Tensor| tabulate(&x.shape, |i| at(normal, i) * at(&scale, &[i[1]]) + at(&bias, &[i[1]]));
    let args = [Arg::Run(x.clone()), Arg::Known(scale.clone()), Arg::Known(bias.clone())];
    check(13, "InstanceNormalization", &[], &args, affine(&over(&x, &[2, 3], standard)));

    let (mean, variance) = (tensor(&[3], &[0.5, -1.0, 2.0]), tensor(&[3], &[1.0, 4.0, 0.25]));
    let given = tabulate(&x.shape, |i| (at(&x, i) - at(&mean, &[i[1]])) / (at(&variance, &[i[1]]) + 1e-5).sqrt());
    let statistics = [Arg::Known(mean.clone()), Arg::Known(variance.clone())];
    let all = [&args[..], &statistics].concat();
    check(15, "BatchNormalization", &[], &all, affine(&given));
    check(9, "BatchNormalization", &[float("momentum", 0.5)], &all, affine(&given));
    refused(8 + 1, "BatchNormalization", &[int("spatial", 0)], &all, "each element by itself");

    // In training mode, statistics are those of the batch, and the running ones approach them.
    let moment = |power: i32, around: &dyn Fn(usize) -> f64| {
        tabulate(&[3], |c| {
            indices(&[2, 2, 4]).map(|j| (at(&x, &[j[0], c[0], j[1], j[2]]) - around(c[0])).powi(power)).sum::<f64>() / 16.0
        })
    };
    let batch_mean = moment(1, &|_| 0.0);
    let batch_variance = moment(2, &|c| at(&batch_mean, &[c]));
    let running = |old: &Tensor, new: &Tensor| tabulate(&[3], |c| 0.75 * at(old, c) + 0.25 * at(new, c));
    let expected = [affine(&over(&x, &[0, 2, 3], standard)), running(&mean, &batch_mean), running(&variance, &batch_variance)];
    check_all(15, "BatchNormalization", &[int("training_mode", 1), float("momentum", 0.75)], &all, &expected);

    let (scale, bias) = (ramp(&[2, 4]), ramp(&[4]));
    let normal = over(&x, &[2, 3], standard);
    let expected = tabulate(&x.shape, |i| at(&normal, i) * at(&scale, &i[2..]) + at(&bias, &i[3..]));
    check(17, "LayerNormalization", &[int("axis", -2)], &[Arg::Run(x.clone()), Arg::Known(scale), Arg::Known(bias)], expected);

    // One axis is an operator of the IR, whose shift may be left out.
    let (scale, bias) = (ramp(&[4]), tensor(&[4], &[0.5, -1.0, 2.0, 0.0]));
    let normal = over(&x, &[3], standard);
    let scaled = tabulate(&x.shape, |i| at(&normal, i) * at(&scale, &i[3..]));
    let shifted = tabulate(&x.shape, |i| at(&scaled, i) + at(&bias, &i[3..]));
    let operands = [Arg::Run(x.clone()), Arg::Known(scale), Arg::Known(bias)];
    check(17, "LayerNormalization", &[], &operands[..2], scaled);
    check(17, "LayerNormalization", &[int("axis", 3)], &operands, shifted);
}

#[test]
fn reductions() {
    type Function = fn(&[f64]) -> f64;
    let x = ramp(&[2, 3, 4]);
    let all: [(&str, Function); 7] = [
        ("ReduceSum", |v| v.iter().sum()),
        ("ReduceMean", |v| v.iter().sum::<f64>() / v.len() as f64),
        ("ReduceMax", |v| v.iter().copied().fold(f64::MIN, f64::max)),
        ("ReduceMin", |v| v.iter().copied().fold(f64::MAX, f64::min)),
        ("ReduceSumSquare", |v| v.iter().map(|v| v * v).sum()),
        ("ReduceL1", |v| v.iter().map(|v| v.abs()).sum()),
        ("ReduceL2", |v| v.iter().map(|v| v * v).sum::<f64>().sqrt()),
    ];
    for (op, function) in all {
        for axes in [&[0][..], &[1], &[0, 2], &[0, 1, 2]] {
            let full = over(&x, axes, |values| vec![function(values); values.len()]);
            let kept: Vec<usize> = (0..3).map(|i| if axes.contains(&i) { 1 } else { x.shape[i] }).collect();
            let expected = tabulate(&kept, |i| at(&full, i));
            let dropped: Vec<usize> = (0..3).filter(|i| !axes.contains(i)).map(|i| x.shape[i]).collect();
            let list_of: Vec<i64> = axes.iter().map(|&a| a as i64 - 3).collect();
            check(18, op, &[], &[Arg::Run(x.clone()), list(&list_of)], expected.clone());
            let flat = Tensor::new(dropped, expected.data.clone());
            check(18, op, &[int("keepdims", 0)], &[Arg::Run(x.clone()), list(&list_of)], flat);
            if op != "ReduceSum" {
                check(12, op, &[ints("axes", &list_of)], &[Arg::Run(x.clone())], expected);
            }
        }
        let whole = tensor(&[1, 1, 1], &[function(&x.data.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()) as f32]);
        check(18, op, &[], &[Arg::Run(x.clone())], whole);
        if op == "ReduceSum" {
            check(18, op, &[int("noop_with_empty_axes", 1)], &[Arg::Run(x.clone())], x.clone());
        }
    }
}
