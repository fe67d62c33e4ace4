//! Resizing, against values computed by hand from the formulas of the operator.

use super::support::*;
use sonar_onnx::proto::AttributeProto;

/// A signal of one channel resized by a factor.
#[track_caller]
fn scaled(attributes: &[AttributeProto], x: &[f32], scale: f32, expected: &[f32]) {
    let scales = Arg::Known(tensor(&[3], &[1.0, 1.0, scale]));
    let args = [run(&[1, 1, x.len()], x), Arg::Absent, scales];
    check(19, "Resize", attributes, &args, tensor(&[1, 1, expected.len()], expected));
}

fn coordinates(mode: &str, transformation: &str) -> Vec<AttributeProto> {
    vec![text("mode", mode), text("coordinate_transformation_mode", transformation)]
}

#[test]
fn linear() {
    let x = [1.0, 2.0, 4.0];
    scaled(&coordinates("linear", "half_pixel"), &x, 2.0, &[1.0, 1.25, 1.75, 2.5, 3.5, 4.0]);
    scaled(&coordinates("linear", "pytorch_half_pixel"), &x, 2.0, &[1.0, 1.25, 1.75, 2.5, 3.5, 4.0]);
    scaled(&coordinates("linear", "asymmetric"), &x, 2.0, &[1.0, 1.5, 2.0, 3.0, 4.0, 4.0]);
    scaled(&coordinates("linear", "align_corners"), &x, 5.0 / 3.0 + 1e-6, &[1.0, 1.5, 2.0, 3.0, 4.0]);
    scaled(&coordinates("linear", "half_pixel"), &[1.0, 3.0, 5.0, 7.0], 0.5, &[2.0, 6.0]);
    scaled(&coordinates("linear", "pytorch_half_pixel"), &[1.0, 3.0], 0.5, &[1.0]);
    // Shrinking by half with a kernel of twice the width: weights 1/8, 3/8, 3/8, 1/8, of which the first is beyond the border
    // for the first element, and the second one sees only zeros.
    let smooth = [coordinates("linear", "half_pixel"), vec![int("antialias", 1), int("exclude_outside", 1)]].concat();
    scaled(&smooth, &[8.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.5, &[24.0 / 7.0, 0.0, 0.0]);
}

#[test]
fn nearest() {
    let x = [1.0, 2.0, 3.0];
    scaled(&coordinates("nearest", "asymmetric"), &x, 2.0, &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    let rounded = |how: &str| [coordinates("nearest", "half_pixel"), vec![text("nearest_mode", how)]].concat();
    // Coordinates are -0.25, 0.25, 0.75, 1.25, 1.75, 2.25.
    scaled(&rounded("floor"), &x, 2.0, &[1.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
    scaled(&rounded("ceil"), &x, 2.0, &[1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    scaled(&rounded("round_prefer_floor"), &x, 2.0, &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    // Coordinates are 0.5 and 2.5.
    let four = [1.0, 2.0, 3.0, 4.0];
    scaled(&rounded("round_prefer_floor"), &four, 0.5, &[1.0, 3.0]);
    scaled(&rounded("round_prefer_ceil"), &four, 0.5, &[2.0, 4.0]);
}

#[test]
fn cubic() {
    // At 0.25 beyond an element, the kernel with a = -0.75 has these weights for the elements around.
    let weights = |t: f64| {
        let near = |t: f64| 1.25 * t * t * t - 2.25 * t * t + 1.0;
        let far = |t: f64| -0.75 * t * t * t + 3.75 * t * t - 6.0 * t + 3.0;
        [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
    };
    let w = weights(0.5);
    let x = [1.0, 0.0, 0.0, 2.0];
    let args = [run(&[1, 4], &x), Arg::Absent, Arg::Known(tensor(&[2], &[1.0, 0.25]))];
    // The only element of the result lies at 1.5.
    let middle = (w[0] * 1.0 + w[3] * 2.0) as f32;
    check(19, "Resize", &coordinates("cubic", "half_pixel"), &args, tensor(&[1, 1], &[middle]));
}

#[test]
fn images_sizes_and_regions() {
    let x = ramp(&[1, 2, 2, 3]);
    let repeated = tabulate(&[1, 2, 4, 9], |i| at(&x, &[0, i[1], i[2] / 2, i[3] / 3]));
    let asymmetric = [coordinates("nearest", "asymmetric"), vec![text("nearest_mode", "floor")]].concat();
    let args = [Arg::Run(x.clone()), Arg::Absent, Arg::Known(tensor(&[4], &[1.0, 1.0, 2.0, 3.0]))];
    check(13, "Resize", &asymmetric, &args, repeated.clone());
    check(10, "Resize", &[], &[Arg::Run(x.clone()), args[2].clone()], repeated.clone());
    check(9, "Upsample", &[], &[Arg::Run(x.clone()), args[2].clone()], repeated.clone());
    let sizes = [Arg::Run(x.clone()), Arg::Absent, Arg::Absent, list(&[1, 2, 4, 9])];
    check(13, "Resize", &asymmetric, &sizes, repeated.clone());
    let axes = [asymmetric, vec![ints("axes", &[3, 2])]].concat();
    check(18, "Resize", &axes, &[Arg::Run(x.clone()), Arg::Absent, Arg::Absent, list(&[9, 4])], repeated);
    // The first half of four elements, and one element from beyond them.
    let crop = [coordinates("linear", "tf_crop_and_resize"), vec![float("extrapolation_value", 9.0)]].concat();
    let region = Arg::Known(tensor(&[4], &[0.0, -1.0 / 3.0, 1.0, 2.0 / 3.0]));
    let args = [run(&[1, 4], &[1.0, 2.0, 3.0, 4.0]), region, Arg::Absent, list(&[1, 4])];
    check(13, "Resize", &crop, &args, tensor(&[1, 4], &[9.0, 1.0, 2.0, 3.0]));
    refused(13, "Resize", &[text("mode", "other")], &args, "the mode `other`");
    refused(13, "Resize", &[], &args[..1], "either scales or sizes");
}
