//! What only moves elements, and the arithmetic of shapes.

use super::support::*;
use sonar_onnx::proto::{AttributeProto, AttributeType};

/// `0, 1, 2, …`
fn counted(shape: &[usize]) -> sonar_ir::Tensor {
    let mut next = -1.0;
    tabulate(shape, |_| {
        next += 1.0;
        next
    })
}

#[test]
fn shapes_change() {
    let x = || Arg::Run(counted(&[2, 3, 4]));
    check(13, "Reshape", &[], &[x(), list(&[0, -1])], counted(&[2, 12]));
    check(14, "Reshape", &[], &[x(), list(&[4, 3, -1])], counted(&[4, 3, 2]));
    check(13, "Flatten", &[], &[x()], counted(&[2, 12]));
    check(13, "Flatten", &[int("axis", 0)], &[x()], counted(&[1, 24]));
    check(13, "Flatten", &[int("axis", -1)], &[x()], counted(&[6, 4]));
    check(13, "Squeeze", &[], &[Arg::Run(counted(&[1, 3, 1])), list(&[-1])], counted(&[1, 3]));
    check(13, "Squeeze", &[], &[Arg::Run(counted(&[1, 3, 1]))], counted(&[3]));
    check(13, "Unsqueeze", &[], &[Arg::Run(counted(&[3])), list(&[0, -1])], counted(&[1, 3, 1]));
    let transposed = tabulate(&[4, 2, 3], |i| at(&counted(&[2, 3, 4]), &[i[1], i[2], i[0]]));
    check(13, "Transpose", &[ints("perm", &[2, 0, 1])], &[x()], transposed);
    let reversed = tabulate(&[4, 3, 2], |i| at(&counted(&[2, 3, 4]), &[i[2], i[1], i[0]]));
    check(13, "Transpose", &[], &[x()], reversed);
    check(13, "Identity", &[], &[x()], counted(&[2, 3, 4]));
    refused(13, "Reshape", &[], &[x(), list(&[5, 5])], "cannot have the shape [5, 5]");
    refused(13, "Reshape", &[], &[x(), list(&[-1, -1])], "leaves two extents open");
    refused(13, "Transpose", &[ints("perm", &[0, 0, 1])], &[x()], "not distinct");
    refused(13, "Reshape", &[], &[x(), run(&[2], &[2.0, 12.0])], "must be known at import");
}

#[test]
fn parts_and_wholes() {
    let x = counted(&[2, 5]);
    let columns = |columns: &[usize]| tabulate(&[2, columns.len()], |i| at(&x, &[i[0], columns[i[1]]]));
    let sliced = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64], expected| {
        check(13, "Slice", &[], &[Arg::Run(x.clone()), list(starts), list(ends), list(axes), list(steps)], expected);
    };
    sliced(&[1], &[4], &[1], &[1], columns(&[1, 2, 3]));
    sliced(&[0], &[i64::MAX], &[1], &[2], columns(&[0, 2, 4]));
    sliced(&[-1], &[i64::MIN], &[-1], &[-2], columns(&[4, 2, 0]));
    sliced(&[1, 1], &[2, 3], &[0, 1], &[1, 1], tensor(&[1, 2], &[6.0, 7.0]));
    check_all(
        18,
        "Split",
        &[int("axis", 1), int("num_outputs", 2)],
        &[Arg::Run(x.clone())],
        &[columns(&[0, 1, 2]), columns(&[3, 4])],
    );
    let halves = [columns(&[0]), columns(&[1, 2, 3, 4])];
    check_all(13, "Split", &[int("axis", -1)], &[Arg::Run(x.clone()), list(&[1, 4])], &halves);
    let together = [Arg::Run(columns(&[0])), Arg::Known(columns(&[1, 2, 3, 4]))];
    check(13, "Concat", &[int("axis", 1)], &together, x.clone());
    check(13, "Gather", &[int("axis", 1)], &[Arg::Run(x.clone()), list(&[3, -5, 3])], columns(&[3, 0, 3]));
    check(13, "Gather", &[int("axis", 1)], &[Arg::Run(x.clone()), Arg::Ints(vec![], vec![2])], tensor(&[2], &[2.0, 7.0]));
    let square = Arg::Ints(vec![2, 2], vec![0, 1, 1, 0]);
    let rows = tabulate(&[2, 2, 5], |i| at(&x, &[if i[0] == i[1] { 0 } else { 1 }, i[2]]));
    check(13, "Gather", &[], &[Arg::Run(x.clone()), square], rows);
    refused(13, "Gather", &[int("axis", 1)], &[Arg::Run(x.clone()), list(&[5])], "an index beyond axis 1");
    let expanded = tabulate(&[3, 2, 5], |i| at(&x, &i[1..]));
    check(13, "Expand", &[], &[Arg::Run(x.clone()), list(&[3, 1, 5])], expanded);
    let tiled = tabulate(&[4, 5], |i| at(&x, &[i[0] % 2, i[1]]));
    check(13, "Tile", &[], &[Arg::Run(x), list(&[2, 1])], tiled);
}

#[test]
fn padding() {
    let x = counted(&[2, 3]);
    let columns = |columns: &[usize]| tabulate(&[2, columns.len()], |i| at(&x, &[i[0], columns[i[1]]]));
    let padded = |mode: &str, expected| {
        check(19, "Pad", &[text("mode", mode)], &[Arg::Run(x.clone()), list(&[0, 2, 0, 1])], expected);
    };
    padded("edge", columns(&[0, 0, 0, 1, 2, 2]));
    padded("reflect", columns(&[2, 1, 0, 1, 2, 1]));
    padded("wrap", columns(&[1, 2, 0, 1, 2, 0]));
    let constant = |value: f64| tabulate(&[2, 6], |i| if (2..5).contains(&i[1]) { at(&x, &[i[0], i[1] - 2]) } else { value });
    padded("constant", constant(0.0));
    check(13, "Pad", &[], &[Arg::Run(x.clone()), list(&[0, 2, 0, 1]), number(-1.5)], constant(-1.5));
    check(18, "Pad", &[], &[Arg::Run(x.clone()), list(&[2, 1]), number(7.0), list(&[-1])], constant(7.0));
    // Negative paddings cut off.
    check(13, "Pad", &[], &[Arg::Run(x.clone()), list(&[0, -1, 0, 0])], columns(&[1, 2]));
    refused(13, "Pad", &[text("mode", "other")], &[Arg::Run(x), list(&[0, 1, 0, 1])], "the padding mode `other`");
}

#[test]
fn depth_and_space() {
    let x = counted(&[1, 8, 2, 3]);
    let dcr = tabulate(&[1, 2, 4, 6], |i| at(&x, &[0, (i[2] % 2 * 2 + i[3] % 2) * 2 + i[1], i[2] / 2, i[3] / 2]));
    check(13, "DepthToSpace", &[int("blocksize", 2)], &[Arg::Run(x.clone())], dcr.clone());
    let crd = tabulate(&[1, 2, 4, 6], |i| at(&x, &[0, i[1] * 4 + i[2] % 2 * 2 + i[3] % 2, i[2] / 2, i[3] / 2]));
    check(13, "DepthToSpace", &[int("blocksize", 2), text("mode", "CRD")], &[Arg::Run(x.clone())], crd);
    check(13, "SpaceToDepth", &[int("blocksize", 2)], &[Arg::Run(dcr)], x);
}

#[test]
fn arithmetic_of_shapes() {
    let x = || Arg::Run(counted(&[2, 3, 4]));
    check(13, "Shape", &[], &[x()], tensor(&[3], &[2.0, 3.0, 4.0]));
    check(15, "Shape", &[int("start", -2)], &[x()], tensor(&[2], &[3.0, 4.0]));
    check(15, "Shape", &[int("start", 1), int("end", -1)], &[x()], tensor(&[1], &[3.0]));
    check(13, "Size", &[], &[x()], tensor(&[], &[24.0]));
    let scalar = |v: i64| Arg::Ints(vec![], vec![v]);
    check(11, "Range", &[], &[scalar(10), scalar(3), scalar(-3)], tensor(&[3], &[10.0, 7.0, 4.0]));
    check(11, "Range", &[], &[number(0.0), number(1.0), number(0.25)], tensor(&[4], &[0.0, 0.25, 0.5, 0.75]));
    check(13, "ConstantOfShape", &[], &[list(&[2, 2])], tensor(&[2, 2], &[0.0; 4]));
    let value = AttributeProto {
        name: "value".into(),
        t: Some(constant("", &tensor(&[1], &[2.5]))),
        r#type: AttributeType::Tensor as i32,
        ..Default::default()
    };
    check(13, "ConstantOfShape", std::slice::from_ref(&value), &[list(&[3])], tensor(&[3], &[2.5; 3]));
    check(13, "Constant", &[value], &[], tensor(&[1], &[2.5]));
    check(13, "Constant", &[ints("value_ints", &[4, 5])], &[], tensor(&[2], &[4.0, 5.0]));
    check(13, "Constant", &[float("value_float", 0.5)], &[], tensor(&[], &[0.5]));
    check(13, "Mod", &[], &[list(&[7, -7]), list(&[3])], tensor(&[2], &[1.0, 2.0]));
    check(13, "Mod", &[int("fmod", 1)], &[list(&[7, -7]), list(&[3])], tensor(&[2], &[1.0, -1.0]));
    check(13, "Div", &[], &[list(&[7, -7]), list(&[2])], tensor(&[2], &[3.0, -3.0]));
    refused(13, "Div", &[], &[list(&[7]), list(&[0])], "a division of integers by zero");
    check(13, "ReduceProd", &[int("keepdims", 0)], &[list(&[2, 3, 4])], tensor(&[], &[24.0]));
    check(11, "Equal", &[], &[list(&[1, 2]), list(&[1, 3])], tensor(&[2], &[1.0, 0.0]));
    refused(13, "ConstantOfShape", &[], &[list(&[1 << 20, 1 << 20])], "the shape");
    refused(11, "Range", &[], &[scalar(0), scalar(i64::MAX), scalar(1)], "a range of");
}
