//! Shapes of inputs: symbols stand for one extent in all inputs.

use super::support::*;
use sonar_onnx::proto::*;
use sonar_onnx::{ImportOptions, import_model};
use std::path::Path;

/// An input whose extents are numbers or symbols.
fn declared(name: &str, extents: &[&str]) -> ValueInfoProto {
    let value = |text: &&str| match text.parse() {
        Ok(extent) => Dimension::DimValue(extent),
        Err(_) => Dimension::DimParam(text.to_string()),
    };
    let mut declared = info(name, None);
    let dim = extents.iter().map(|e| DimensionProto { value: Some(value(e)) }).collect();
    declared.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape = Some(TensorShapeProto { dim });
    declared
}

/// A model that returns its inputs.
fn identities(inputs: &[(&str, &[&str])]) -> ModelProto {
    let nodes = inputs.iter().map(|(name, _)| node("Neg", &[], &[name], &[&format!("{name}_out")])).collect();
    let mut model = model(17, &[], vec![], nodes, &[]);
    let graph = model.graph.as_mut().unwrap();
    graph.input = inputs.iter().map(|(name, extents)| declared(name, extents)).collect();
    graph.output = inputs.iter().map(|(name, _)| info(&format!("{name}_out"), None)).collect();
    model
}

fn options(shapes: &[(&str, &[usize])], batch: usize) -> ImportOptions {
    ImportOptions { shapes: shapes.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect(), batch }
}

#[track_caller]
fn shapes(model: &ModelProto, options: &ImportOptions) -> Vec<Vec<usize>> {
    let imported = import_model(model, Path::new(""), options).unwrap();
    imported.graph.inputs().into_iter().map(|id| imported.graph.ty(id).extents().unwrap()).collect()
}

#[track_caller]
fn refused(model: &ModelProto, options: &ImportOptions, parts: &[&str]) {
    let message = import_model(model, Path::new(""), options).unwrap_err().to_string();
    parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in `{message}`"));
}

#[test]
fn a_symbol_is_bound_for_all_inputs() {
    let two = identities(&[("x", &["N", "3"]), ("z", &["N", "3"])]);
    assert_eq!(shapes(&two, &options(&[("x", &[4, 3])], 1)), [[4, 3], [4, 3]]);
    assert_eq!(shapes(&two, &options(&[("z", &[4, 3])], 1)), [[4, 3], [4, 3]]);
    assert_eq!(shapes(&two, &options(&[], 5)), [[5, 3], [5, 3]]);
    assert_eq!(shapes(&two, &options(&[("x", &[4, 3]), ("z", &[4, 3])], 1)), [[4, 3], [4, 3]]);
    // Wherever it stands, and several of them.
    let crossed = identities(&[("a", &["N", "T"]), ("b", &["T", "N", "2"]), ("c", &["M", "T"])]);
    assert_eq!(shapes(&crossed, &options(&[("b", &[7, 4, 2])], 3)), [vec![4, 7], vec![7, 4, 2], vec![3, 7]]);
    // A leading symbol is the batch, and then has that extent in the other input too.
    let inner = identities(&[("a", &["2", "N"]), ("b", &["N", "3"])]);
    assert_eq!(shapes(&inner, &options(&[], 6)), [[2, 6], [6, 3]]);
    // Axes without a name have nothing to do with each other.
    let mut open = identities(&[("a", &["N", "3"]), ("b", &["N", "3"])]);
    for input in &mut open.graph.as_mut().unwrap().input {
        input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap().dim[0].value =
            Some(Dimension::DimParam(String::new()));
    }
    assert_eq!(shapes(&open, &options(&[("a", &[4, 3])], 2)), [[4, 3], [2, 3]]);
}

#[test]
fn contradictions_name_both_inputs() {
    let two = identities(&[("x", &["N", "3"]), ("z", &["N", "3"])]);
    refused(
        &two,
        &options(&[("x", &[4, 3]), ("z", &[5, 3])], 1),
        &["`z`: invalid: axis 0 is `N`, which the options make 5 here and 4 on axis 0 of `x`"],
    );
    let square = identities(&[("x", &["S", "S"])]);
    refused(&square, &options(&[("x", &[4, 5])], 1), &["axis 1 is `S`", "5 here and 4 on axis 0 of `x`"]);
    assert_eq!(shapes(&square, &options(&[("x", &[4, 4])], 1)), [[4, 4]]);
}

#[test]
fn open_axes_say_how_to_give_them() {
    let image = identities(&[("image", &["N", "3", "height", "width"])]);
    refused(
        &image,
        &options(&[], 1),
        &["axis 2 (`height`)", "its shape must be given, as in --shape image=N,3,height,width with numbers"],
    );
    // What is bound by another input is not open.
    let two = identities(&[("a", &["N", "T"]), ("b", &["N", "T", "8"])]);
    assert_eq!(shapes(&two, &options(&[("a", &[1, 9])], 1)), [vec![1, 9], vec![1, 9, 8]]);
}
