//! What a file declares of its values, against what they are.

use super::support::*;
use sonar_onnx::proto::*;

/// `y = relu(-x)` of shape `[2, 3]`.
fn two() -> ModelProto {
    let nodes = vec![node("Neg", &[], &["x"], &["a"]), node("Relu", &[], &["a"], &["y"])];
    model(17, &[("x", &[2, 3])], vec![], nodes, &["y"])
}

/// The declaration of a value of another type.
fn typed(name: &str, shape: &[usize], element: DataType) -> ValueInfoProto {
    let mut declared = info(name, Some(shape));
    declared.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = element as i32;
    declared
}

fn with_info(info: ValueInfoProto) -> ModelProto {
    let mut model = two();
    model.graph.as_mut().unwrap().value_info.push(info);
    model
}

fn with_output(info: ValueInfoProto) -> ModelProto {
    let mut model = two();
    model.graph.as_mut().unwrap().output[0] = info;
    model
}

#[test]
fn declarations_that_are_right_or_say_nothing() {
    let symbol = |name: &str| DimensionProto { value: Some(Dimension::DimParam(name.into())) };
    let mut open = info("a", Some(&[2, 3]));
    open.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape =
        Some(TensorShapeProto { dim: vec![symbol("unk__1"), DimensionProto { value: None }] });
    let untyped = typed("a", &[2, 3], DataType::Undefined);
    let nothing = ValueInfoProto { name: "a".into(), r#type: None };
    let elsewhere = info("optimised_away", Some(&[9, 9, 9]));
    for info in [info("a", Some(&[2, 3])), info("a", None), info("a", Some(&[0, 3])), open, untyped, nothing, elsewhere] {
        assert!(imported(&with_info(info.clone())).is_ok(), "{info:?}");
    }
    assert!(imported(&with_output(info("y", Some(&[2, 3])))).is_ok());
}

#[test]
fn shapes_that_contradict() {
    refused_model(
        &with_info(info("a", Some(&[2, 4]))),
        &["Neg `a`: invalid: the file declares `a` with the shape [2,4], and it has [2,3]"],
    );
    refused_model(&with_info(info("a", Some(&[3]))), &["`a` with the shape [3], and it has [2,3]"]);
    refused_model(&with_output(info("y", Some(&[2, 4]))), &["Relu `y`", "`y` with the shape [2,4], and it has [2,3]"]);
    refused_model(&with_output(info("y", Some(&[]))), &["`y` with the shape [], and it has [2,3]"]);
    refused_model(&with_output(info("y", Some(&[1, 2, 3]))), &["[1,2,3]", "[2,3]"]);
    // The second of two declarations, and a declaration of an input.
    let mut second = with_info(info("a", Some(&[2, 3])));
    second.graph.as_mut().unwrap().value_info.push(info("a", Some(&[3, 2])));
    refused_model(&second, &["[3,2]", "[2,3]"]);
    refused_model(&with_info(info("x", Some(&[3, 2]))), &["`x`: invalid: the file declares `x`", "[3,2]", "[2,3]"]);
}

#[test]
fn initializers_that_are_declared_as_inputs() {
    let add = |shape: &[usize]| {
        let weight = constant("w", &tensor(&[3], &[1.0, 2.0, 3.0]));
        model(9, &[("x", &[2, 3]), ("w", shape)], vec![weight], vec![node("Add", &[], &["x", "w"], &["y"])], &["y"])
    };
    assert_eq!(imported(&add(&[3])).unwrap().inputs, ["x"]);
    refused_model(&add(&[4]), &["`w`: invalid: the file declares `w` with the shape [4], and it has [3]"]);
}

#[test]
fn types_that_contradict() {
    refused_model(&with_info(typed("a", &[2, 3], DataType::Int64)), &["`a` with elements of type Int64", "of type Float"]);
    refused_model(&with_output(typed("y", &[2, 3], DataType::Double)), &["Double", "Float"]);
    let shape_of = |element| {
        let mut model = model(17, &[("x", &[2, 3])], vec![], vec![node("Shape", &[], &["x"], &["y"])], &["y"]);
        model.graph.as_mut().unwrap().output[0] = typed("y", &[2], element);
        model
    };
    assert!(imported(&shape_of(DataType::Int64)).is_ok());
    refused_model(&shape_of(DataType::Int32), &["Int32", "Int64"]);
    refused_model(&shape_of(DataType::Float), &["Float", "Int64"]);
    let cast = |to: DataType, element| {
        let nodes = vec![node("Cast", &[int("to", to as i64)], &["x"], &["y"])];
        let mut model = model(17, &[("x", &[2, 3])], vec![], nodes, &["y"]);
        model.graph.as_mut().unwrap().output[0] = typed("y", &[2, 3], element);
        model
    };
    assert!(imported(&cast(DataType::Float16, DataType::Float16)).is_ok());
    refused_model(&cast(DataType::Float16, DataType::Float), &["Float", "Float16"]);
    // A comparison gives truth values, and a choice has the type of what is chosen.
    let choice = |element| {
        let nodes = vec![node("Greater", &[], &["x", "z"], &["c"]), node("Where", &[], &["c", "x", "z"], &["y"])];
        let mut model = model(17, &[("x", &[3]), ("z", &[3])], vec![], nodes, &["y"]);
        let graph = model.graph.as_mut().unwrap();
        graph.output[0] = typed("y", &[3], DataType::Float);
        graph.value_info.push(typed("c", &[3], element));
        model
    };
    assert!(imported(&choice(DataType::Bool)).is_ok());
    refused_model(&choice(DataType::Float), &["`c` with elements of type Float", "of type Bool"]);
}
