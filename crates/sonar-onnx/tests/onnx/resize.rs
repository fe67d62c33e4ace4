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

/// 1, 2, …, 10.
fn ten() -> Vec<f32> {
    (1..=10).map(|i| i as f32).collect()
}

#[test]
fn extents_are_products_of_32_bits_rounded_down() {
    // 0.7, as 32-bit floating point has it, is a little less; its product with 10 is rounded to 7.
    let halves = [17.0, 37.0, 57.0, 77.0, 97.0, 117.0, 137.0].map(|v: f32| v / 14.0);
    scaled(&coordinates("linear", "half_pixel"), &ten(), 0.7, &halves);
    let extent = |from: usize, scale: f32, to: usize| {
        let scales = Arg::Known(tensor(&[2], &[1.0, scale]));
        let found = apply(13, "Resize", &[], &[Arg::Run(ramp(&[1, from])), Arg::Absent, scales], 1).unwrap();
        assert_eq!(found[0].shape, [1, to], "{from} · {scale}");
    };
    for (from, scale, to) in
        [(10, 0.6, 6), (7, 0.7, 4), (7, 1.6, 11), (10, 2.3, 23), (5, 1.4, 7), (10, 0.29, 2), (3, 1.0 / 3.0, 1)]
    {
        extent(from, scale, to);
    }
}

#[test]
fn coordinates_come_from_the_scale_that_is_given() {
    // The extent is rounded from 3.5 to 3, but elements are 1 / 0.35 apart.
    let apart = 1.0 / 0.35;
    scaled(&coordinates("linear", "asymmetric"), &ten(), 0.35, &[1.0, 1.0 + apart, 1.0 + 2.0 * apart]);
    let first = 0.5 + 0.5 * apart;
    scaled(&coordinates("linear", "half_pixel"), &ten(), 0.35, &[first, first + apart, first + 2.0 * apart]);
    // The middle of the result lies in the middle of the operand.
    scaled(&coordinates("linear", "half_pixel_symmetric"), &ten(), 0.35, &[5.5 - apart, 5.5, 5.5 + apart]);
    // The corners are aligned whatever the scale is.
    scaled(&coordinates("linear", "align_corners"), &ten(), 0.35, &[1.0, 5.5, 10.0]);
    scaled(&coordinates("linear", "align_corners"), &[1.0, 2.0, 3.0, 4.0], 0.6, &[1.0, 4.0]);
    scaled(&coordinates("linear", "align_corners"), &[1.0, 5.0], 0.6, &[1.0]);
}

#[test]
fn nearest_elements_with_scales_that_are_not_whole() {
    let rounded = |how: &str| [coordinates("nearest", "asymmetric"), vec![text("nearest_mode", how)]].concat();
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    // Coordinates are 0, 0.625, 1.25, 1.875, 2.5, 3.125, 3.75, 4.375.
    scaled(&rounded("floor"), &x, 1.6, &[1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0]);
    scaled(&rounded("ceil"), &x, 1.6, &[1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 5.0, 5.0]);
    scaled(&rounded("round_prefer_ceil"), &x, 1.6, &[1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0]);
    scaled(&rounded("round_prefer_floor"), &x, 1.6, &[1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 5.0, 5.0]);
    // 3 / 0.6 is 5 with 32 bits, and a little less with 64.
    scaled(&rounded("floor"), &ten(), 0.6, &[1.0, 2.0, 4.0, 6.0, 7.0, 9.0]);
    scaled(&rounded("ceil"), &ten(), 0.6, &[1.0, 3.0, 5.0, 6.0, 8.0, 10.0]);
}

#[test]
fn versions_that_cannot_choose_round_up_where_they_shrink() {
    let images = |scale: f32| [Arg::Run(tensor(&[1, 1, 1, 10], &ten())), Arg::Known(tensor(&[4], &[1.0, 1.0, 1.0, scale]))];
    let smaller = tensor(&[1, 1, 1, 6], &[1.0, 3.0, 5.0, 6.0, 8.0, 10.0]);
    check(10, "Resize", &[], &images(0.6), smaller.clone());
    check(9, "Upsample", &[], &images(0.6), smaller);
    let larger = [1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9, 9, 10].map(|v| v as f32);
    check(9, "Upsample", &[text("mode", "nearest")], &images(1.7), tensor(&[1, 1, 1, 17], &larger));
    let thirds: Vec<f32> = (0..6).map(|i| 1.0 + i as f32 / 0.6).collect();
    check(10, "Resize", &[text("mode", "linear")], &images(0.6), tensor(&[1, 1, 1, 6], &thirds));
}

#[test]
fn sizes_that_keep_the_aspect_ratio() {
    let x = tabulate(&[6, 10], |i| (10 * i[0] + i[1]) as f64);
    let resized = |policy: &str, sizes: &[i64]| {
        let attributes = [coordinates("linear", "half_pixel"), vec![text("keep_aspect_ratio_policy", policy)]].concat();
        apply(19, "Resize", &attributes, &[Arg::Run(x.clone()), Arg::Absent, Arg::Absent, list(sizes)], 1).unwrap().remove(0)
    };
    assert_eq!(resized("stretch", &[5, 7]).shape, [5, 7]);
    // Both axes by 0.7: 4.2 and 7; the first row lies at 0.5 / 0.7 - 0.5.
    let smaller = resized("not_larger", &[5, 7]);
    assert_eq!(smaller.shape, [4, 7]);
    let at = 0.5 / 0.7 - 0.5;
    assert!((smaller.data[0] - (10.0 * at + at)).abs() < 1e-4, "{smaller:?}");
    // Both by 5/6: 5 and 8.33.
    assert_eq!(resized("not_smaller", &[5, 7]).shape, [5, 8]);
    assert_eq!(resized("not_larger", &[9, 33]).shape, [9, 15]);
    assert_eq!(resized("not_smaller", &[9, 33]).shape, [20, 33]);
}

#[test]
fn large_images() {
    // A third of the elements, each of which lies on one.
    let x = tabulate(&[1, 1920], |i| f64::from((i[1] * 7 % 64) as u32));
    let third = tabulate(&[1, 640], |i| at(&x, &[0, 3 * i[1] + 1]));
    let args = [Arg::Run(x), Arg::Absent, Arg::Absent, list(&[1, 640])];
    check(13, "Resize", &coordinates("linear", "half_pixel"), &args, third);
    let huge = [Arg::Run(tensor(&[1, 5000], &[0.0; 5000])), Arg::Absent, Arg::Absent, list(&[1, 5001])];
    refused(13, "Resize", &[text("mode", "linear")], &huge, "resize in two steps");
    let scales = |list: &[f32]| Arg::Known(tensor(&[list.len()], list));
    let with = |scales: Arg| [run(&[1, 3], &[1.0; 3]), Arg::Absent, scales];
    refused(13, "Resize", &[], &with(scales(&[1.0])), "1 scales for 2 axes");
    for scale in [0.0, -1.0, 0.1, f32::NAN, f32::INFINITY] {
        refused(13, "Resize", &[], &with(scales(&[1.0, scale])), "an axis of extent 3 scaled by");
    }
}
