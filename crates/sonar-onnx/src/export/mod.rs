//! Writes graphs as ONNX files.
//!
//! Images are `[N, H, W, C]` in the IR and `[N, C, H, W]` in ONNX. So every value of rank 4 has up to two names in the file,
//! one for each order. A transposition is written only if a value is needed in an order that it does not have. Inputs and
//! outputs have the IR's order, and convolutions and poolings have ONNX's order. Other operators use the order that exists.

mod ops;
mod writer;

use crate::file::proto::*;
use prost::Message;
use sonar_ir::verify::{self, VerifyError};
use sonar_ir::{Dim, Graph, NodeId, Op, TensorType, Values};
use thiserror::Error;
use writer::{Order, Writer};

/// Version of ONNX's operators in exported files.
const OPSET: i64 = 17;

/// Version of the file format, from the same release as the operators.
const FORMAT: i64 = 8;

/// Name of the symbolic batch in exported files.
const BATCH: &str = "N";

/// Why a graph cannot be exported.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ExportError {
    /// The graph is not well-formed.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// A parameter has no value, or one of another shape.
    #[error("no value of the right shape is given for the parameter `{0}`")]
    Weight(String),
    /// ONNX has no operators for it, or only operators with another result.
    #[error("{node}: {what} cannot be written as ONNX")]
    Unsupported {
        /// The value.
        node: NodeId,
        /// Its description.
        what: String,
    },
    /// The file would be larger than the format allows.
    #[error("the file would have {0} bytes; an ONNX file has at most {limit}", limit = crate::file::MAX_FILE)]
    TooLarge(usize),
}

/// Writes a graph with the values of its parameters as the bytes of an ONNX file.
///
/// Inputs, outputs and parameters keep their order of axes. Inputs and parameters keep their names. A symbolic batch stays symbolic.
///
/// ```
/// use sonar_ir::{Graph, Op, TensorType, UnaryOp, Values};
///
/// let mut graph = Graph::new("f");
/// let x = graph.input("x", TensorType::fixed(&[3]));
/// let y = graph.push(Op::Unary(UnaryOp::Tanh), &[x])?;
/// graph.outputs.push(y);
/// let bytes = sonar_onnx::export(&graph, &Values::new())?;
/// assert!(!bytes.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export(graph: &Graph, weights: &Values) -> Result<Vec<u8>, ExportError> {
    let model = export_model(graph, weights)?;
    match model.encoded_len() {
        size if size as u64 > crate::file::MAX_FILE => Err(ExportError::TooLarge(size)),
        _ => Ok(model.encode_to_vec()),
    }
}

/// A graph with the values of its parameters as an ONNX model.
pub fn export_model(graph: &Graph, weights: &Values) -> Result<ModelProto, ExportError> {
    verify::graph(graph)?;
    let graph = graph.without_dead_nodes();
    let mut writer = Writer::new(&graph, weights);
    for (id, node) in graph.iter() {
        ops::write(&mut writer, id, node)?;
    }
    let mut outputs = Vec::new();
    for &id in &graph.outputs {
        let value = writer.value(id, Order::Ours)?;
        // Every output has its own name, even if it is also an input or another output.
        let name = writer.unique(&format!("output{}", outputs.len()));
        writer.node("Identity", vec![], &[value], &name);
        outputs.push(info(&name, graph.ty(id)));
    }
    let inputs = graph.inputs();
    let input = inputs.iter().map(|&id| info(graph.node(id).name.as_deref().unwrap_or_default(), graph.ty(id))).collect();
    let (node, initializer) = writer.finish();
    let graph = GraphProto { name: graph.name.clone(), node, initializer, input, output: outputs, ..GraphProto::default() };
    Ok(ModelProto {
        ir_version: FORMAT,
        producer_name: "sonar".to_string(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        functions: vec![],
    })
}

/// The declaration of an input or an output.
fn info(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dim = |dim: &Dim| match dim {
        Dim::Batch => Dimension::DimParam(BATCH.to_string()),
        Dim::Fixed(extent) => Dimension::DimValue(*extent as i64),
    };
    let dims = ty.shape.iter().map(|d| DimensionProto { value: Some(dim(d)) }).collect();
    let tensor = TensorTypeProto { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim: dims }) };
    ValueInfoProto { name: name.to_string(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// What cannot be exported.
fn unsupported(node: NodeId, what: impl Into<String>) -> ExportError {
    ExportError::Unsupported { node, what: what.into() }
}

/// Whether an operator only declares a value.
fn declares(op: &Op) -> bool {
    matches!(op, Op::Input | Op::Param(_) | Op::Splat(..))
}
