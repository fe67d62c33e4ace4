//! Small ONNX files, made of the messages of the format.

use sonar_onnx::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionProto, GraphProto, Message, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// A file with one graph `net` of ONNX's operators, of version 17.
pub fn file(nodes: Vec<NodeProto>, inputs: Vec<ValueInfoProto>, output: &str, initializer: Vec<TensorProto>) -> Vec<u8> {
    file_of(nodes, inputs, &[output], initializer)
}

/// The same with several outputs.
pub fn file_of(nodes: Vec<NodeProto>, inputs: Vec<ValueInfoProto>, outputs: &[&str], initializer: Vec<TensorProto>) -> Vec<u8> {
    let output = |name: &&str| ValueInfoProto { name: name.to_string(), r#type: Some(TypeProto::default()) };
    let output = outputs.iter().map(output).collect();
    let graph = GraphProto { node: nodes, name: "net".to_string(), initializer, input: inputs, output, ..GraphProto::default() };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..ModelProto::default() }.encode_to_vec()
}

/// An operator whose name is that of its result.
pub fn node(op: &str, arguments: &[&str], result: &str) -> NodeProto {
    NodeProto {
        input: arguments.iter().map(ToString::to_string).collect(),
        output: vec![result.to_string()],
        name: result.to_string(),
        op_type: op.to_string(),
        ..NodeProto::default()
    }
}

/// An attribute that is an integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_string(), i: value, r#type: AttributeType::Int as i32, ..AttributeProto::default() }
}

/// An input of numbers; an extent of 0 is left open, with a name of its own.
pub fn input(name: &str, extents: &[i64]) -> ValueInfoProto {
    let open = |axis: usize| Dimension::DimParam(format!("{name}_{axis}"));
    let extent = |(axis, &extent): (usize, &i64)| if extent == 0 { open(axis) } else { Dimension::DimValue(extent) };
    value(name, extents.iter().enumerate().map(extent))
}

/// An input of numbers whose leading axis has this name.
pub fn batched(name: &str, batch: &str, rest: &[i64]) -> ValueInfoProto {
    let rest = rest.iter().map(|&extent| Dimension::DimValue(extent));
    value(name, std::iter::once(Dimension::DimParam(batch.to_string())).chain(rest))
}

fn value(name: &str, extents: impl Iterator<Item = Dimension>) -> ValueInfoProto {
    let dim = extents.map(|extent| DimensionProto { value: Some(extent) }).collect();
    let tensor = TensorTypeProto { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_string(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// A weight.
pub fn weight(name: &str, extents: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: extents.to_vec(),
        data_type: DataType::Float as i32,
        float_data: values.to_vec(),
        name: name.to_string(),
        ..TensorProto::default()
    }
}
