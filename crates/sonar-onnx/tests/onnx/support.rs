//! How the tests write models, run them, and compute what should come out.

use sonar_ir::Tensor;
use sonar_ir::graph::interp;
use sonar_onnx::proto::*;
use sonar_onnx::{ImportError, ImportOptions, Imported, import_model};
use std::path::Path;

/// An argument of an operator.
#[derive(Clone, Debug)]
pub enum Arg {
    /// Given at every run.
    Run(Tensor),
    /// A constant of numbers.
    Known(Tensor),
    /// A constant of integers.
    Ints(Vec<usize>, Vec<i64>),
    /// A constant of truth values.
    Bools(Vec<usize>, Vec<bool>),
    /// Left out.
    Absent,
}

/// A tensor of this shape.
pub fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), data.to_vec())
}

/// A tensor with the elements 0.5, -1, 1.5, -2, …, which are exact in every arithmetic.
pub fn ramp(shape: &[usize]) -> Tensor {
    let element = |i: usize| (i + 1) as f32 * if i.is_multiple_of(2) { 0.5 } else { -0.5 };
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(element).collect())
}

pub fn run(shape: &[usize], data: &[f32]) -> Arg {
    Arg::Run(tensor(shape, data))
}

/// A vector of integers.
pub fn list(data: &[i64]) -> Arg {
    Arg::Ints(vec![data.len()], data.to_vec())
}

/// A single number.
pub fn number(value: f32) -> Arg {
    Arg::Known(tensor(&[], &[value]))
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: AttributeType::Int as i32, ..Default::default() }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: values.to_vec(), r#type: AttributeType::Ints as i32, ..Default::default() }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f: value, r#type: AttributeType::Float as i32, ..Default::default() }
}

pub fn text(name: &str, value: &str) -> AttributeProto {
    let s = value.as_bytes().to_vec().into();
    AttributeProto { name: name.into(), s, r#type: AttributeType::String as i32, ..Default::default() }
}

pub fn texts(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|v| v.as_bytes().to_vec().into()).collect();
    AttributeProto { name: name.into(), strings, r#type: AttributeType::Strings as i32, ..Default::default() }
}

/// A constant of numbers by name.
pub fn constant(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: tensor.shape.iter().map(|&d| d as i64).collect(),
        data_type: DataType::Float as i32,
        float_data: tensor.data.clone(),
        ..Default::default()
    }
}

/// The declaration of a value; a tensor without extents where the shape is `None`.
pub fn info(name: &str, shape: Option<&[usize]>) -> ValueInfoProto {
    let dim = |&extent: &usize| DimensionProto { value: Some(Dimension::DimValue(extent as i64)) };
    let shape = shape.map(|shape| TensorShapeProto { dim: shape.iter().map(dim).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: DataType::Float as i32, shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}

pub fn node(op: &str, attribute: &[AttributeProto], input: &[&str], output: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        attribute: attribute.to_vec(),
        input: input.iter().map(ToString::to_string).collect(),
        output: output.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

/// A model of these nodes. Outputs are named, and their types left open.
pub fn model(
    opset: i64,
    inputs: &[(&str, &[usize])],
    constants: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
    outputs: &[&str],
) -> ModelProto {
    let graph = GraphProto {
        name: "test".into(),
        node: nodes,
        initializer: constants,
        input: inputs.iter().map(|(name, shape)| info(name, Some(shape))).collect(),
        output: outputs.iter().map(|name| ValueInfoProto { name: name.to_string(), r#type: None }).collect(),
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    ModelProto { ir_version: 8, producer_name: "test".into(), graph: Some(graph), opset_import, ..Default::default() }
}

/// A model of one operator, with values for its inputs.
pub fn single(opset: i64, op: &str, attributes: &[AttributeProto], args: &[Arg], outputs: usize) -> (ModelProto, Vec<Tensor>) {
    let (mut names, mut inputs, mut constants, mut given) = (vec![], vec![], vec![], vec![]);
    for (i, arg) in args.iter().enumerate() {
        let name = format!("arg{i}");
        let integers = |shape: &[usize], ty: DataType| TensorProto {
            name: name.clone(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: ty as i32,
            ..Default::default()
        };
        match arg {
            Arg::Absent => {
                names.push(String::new());
                continue;
            }
            Arg::Run(tensor) => {
                inputs.push((name.clone(), tensor.shape.clone()));
                given.push(tensor.clone());
            }
            Arg::Known(tensor) => constants.push(constant(&name, tensor)),
            Arg::Ints(shape, data) => {
                constants.push(TensorProto { int64_data: data.clone(), ..integers(shape, DataType::Int64) });
            }
            Arg::Bools(shape, data) => {
                let int32_data = data.iter().map(|&b| b.into()).collect();
                constants.push(TensorProto { int32_data, ..integers(shape, DataType::Bool) });
            }
        }
        names.push(name);
    }
    let results: Vec<String> = (0..outputs).map(|i| format!("result{i}")).collect();
    let results: Vec<&str> = results.iter().map(String::as_str).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let inputs: Vec<(&str, &[usize])> = inputs.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    (model(opset, &inputs, constants, vec![node(op, attributes, &names, &results)], &results), given)
}

/// Imports a model that has no other files.
pub fn imported(model: &ModelProto) -> Result<Imported, ImportError> {
    import_model(model, Path::new("/nonexistent"), &ImportOptions::default())
}

/// What an imported model computes on the interpreter.
pub fn outputs(imported: &Imported, given: &[Tensor]) -> Vec<Tensor> {
    let mut all = imported.weights.clone();
    for (id, tensor) in imported.graph.inputs().into_iter().zip(given) {
        all.insert(imported.graph.node(id).name.clone().expect("inputs have names"), tensor.clone());
    }
    interp::run(&imported.graph, &all).expect("an imported graph runs")
}

/// What one operator makes of its arguments.
pub fn apply(
    opset: i64,
    op: &str,
    attributes: &[AttributeProto],
    args: &[Arg],
    results: usize,
) -> Result<Vec<Tensor>, ImportError> {
    let (model, given) = single(opset, op, attributes, args, results);
    Ok(outputs(&imported(&model)?, &given))
}

/// Asserts what an operator makes of its arguments, given at every run and, where it can do that, known at import.
#[track_caller]
pub fn check_all(opset: i64, op: &str, attributes: &[AttributeProto], args: &[Arg], expected: &[Tensor]) {
    let found = apply(opset, op, attributes, args, expected.len()).unwrap_or_else(|e| panic!("{op}: {e}"));
    same(op, &found, expected);
    let known: Vec<Arg> = args.iter().map(|a| if let Arg::Run(t) = a { Arg::Known(t.clone()) } else { a.clone() }).collect();
    if let Ok(found) = apply(opset, op, attributes, &known, expected.len()) {
        same(&format!("{op} of constants"), &found, expected);
    }
}

/// The same for an operator of one result.
#[track_caller]
pub fn check(opset: i64, op: &str, attributes: &[AttributeProto], args: &[Arg], expected: Tensor) {
    check_all(opset, op, attributes, args, &[expected]);
}

/// Asserts that tensors agree but for rounding.
#[track_caller]
pub fn same(what: &str, found: &[Tensor], expected: &[Tensor]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of outputs");
    for (found, expected) in found.iter().zip(expected) {
        let error = found.relative_error(expected);
        assert!(error < 1e-5, "{what}: error {error}\nfound {found:?}\nexpected {expected:?}");
    }
}

/// Asserts that an operator is refused with a message that says this.
#[track_caller]
pub fn refused(opset: i64, op: &str, attributes: &[AttributeProto], args: &[Arg], says: &str) {
    match apply(opset, op, attributes, args, 1) {
        Ok(found) => panic!("{op} is not refused, and gives {found:?}"),
        Err(error) => assert!(error.to_string().contains(says), "{op}: `{says}` is not in `{error}`"),
    }
}

/// Every index into a shape, in order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product::<usize>()).map(|mut flat| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = flat % shape[axis];
            flat /= shape[axis];
        }
        index
    })
}

/// The element at an index.
pub fn at(tensor: &Tensor, index: &[usize]) -> f64 {
    f64::from(tensor.data[index.iter().zip(&tensor.shape).fold(0, |flat, (i, n)| flat * n + i)])
}

/// A tensor from a function of its indices.
pub fn tabulate(shape: &[usize], element: impl FnMut(&[usize]) -> f64) -> Tensor {
    let mut element = element;
    Tensor::new(shape.to_vec(), indices(shape).map(|index| element(&index) as f32).collect())
}

/// Asserts that a whole model is refused, and that each of the parts is in the message.
#[track_caller]
pub fn refused_model(model: &ModelProto, parts: &[&str]) {
    match imported(model) {
        Ok(_) => panic!("the model is not refused: {parts:?}"),
        Err(error) => {
            let message = error.to_string();
            parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in `{message}`"));
        }
    }
}
