//! Small ONNX files, made of the messages of the format.

use sonar_onnx::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionProto, GraphProto, Message, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// A file with one graph `net` of ONNX's operators, of version 17.
pub fn file(nodes: Vec<NodeProto>, inputs: Vec<ValueInfoProto>, output: &str, initializer: Vec<TensorProto>) -> Vec<u8> {
    let output = vec![ValueInfoProto { name: output.to_string(), r#type: Some(TypeProto::default()) }];
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

/// An input of numbers; an extent of 0 is left open.
pub fn input(name: &str, extents: &[i64]) -> ValueInfoProto {
    let open = |extent: i64| if extent == 0 { Dimension::DimParam("open".to_string()) } else { Dimension::DimValue(extent) };
    let dim = extents.iter().map(|&extent| DimensionProto { value: Some(open(extent)) }).collect();
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
