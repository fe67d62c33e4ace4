//! The part of ONNX's protocol definition (`onnx.proto`) that import reads, with its names and field numbers.
//!
//! The decoder skips all other fields, as protocol buffers prescribe: documentation, training information, quantisation
//! annotations.

use bytes::Bytes;

/// Decoding and encoding of the messages.
pub use prost::Message;

/// A whole file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelProto {
    /// Version of the file format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Which program wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// The function that the model computes.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Which version of each set of operators the graph uses.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Operators that the file defines itself.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

/// The version of a set of operators.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSetIdProto {
    /// Name of the set; ONNX's own is the empty one.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Its version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// An operator that the file defines itself. Import only checks whether there are any.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionProto {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Nodes in topological order, with weights.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GraphProto {
    /// Operator applications; each one comes after those whose results it reads.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constants by name.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Values given at every run; initializers may be listed again.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// The results of the graph.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types of intermediate values, where the file declares them.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// Sparse constants, by the names of their values.
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensorProto>,
}

/// An operator applied to values; an empty name is an omitted argument.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeProto {
    /// Names of the arguments.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the results.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node, if it has one.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Name of the operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Attributes of the operator.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// The operator set that the operator belongs to.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A named attribute; `type` says which field holds its value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttributeProto {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(float, tag = "2")]
    pub f: f32,
    /// An integer.
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// A text.
    #[prost(bytes = "bytes", tag = "4")]
    pub s: Bytes,
    /// A tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// Numbers.
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    /// Integers.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// Texts.
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    /// A sparse tensor.
    #[prost(message, optional, tag = "22")]
    pub sparse_tensor: Option<SparseTensorProto>,
    /// Which field holds the value: an [`AttributeType`].
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
}

/// The kind of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// Not given, as in files of the first format version.
    Undefined = 0,
    /// A number.
    Float = 1,
    /// An integer.
    Int = 2,
    /// A text.
    String = 3,
    /// A tensor.
    Tensor = 4,
    /// A graph, the body of a loop or a branch.
    Graph = 5,
    /// Numbers.
    Floats = 6,
    /// Integers.
    Ints = 7,
    /// Texts.
    Strings = 8,
    /// A sparse tensor.
    SparseTensor = 11,
}

/// A constant tensor. Its elements are in `raw_data`, in the field of its type, or in another file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Extents.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Element type: a [`DataType`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Elements of type `float`.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Elements of types of up to 32 bits that are not `float`; 16-bit floating point numbers as their bits.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Elements of type `int64`.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Name of the value.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements as little-endian bytes.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// Elements of type `double`.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Elements of types `uint32` and `uint64`.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// The place of the elements in another file: `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// 0 if the elements are in this file, 1 if they are in another.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// A sparse constant: only elements that may differ from 0 are listed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorProto {
    /// The listed elements, of shape `[count]`, with the name of the whole tensor.
    #[prost(message, optional, tag = "1")]
    pub values: Option<TensorProto>,
    /// Their positions, as `int64`: in the flat tensor, of shape `[count]`, or one index for each axis, of shape `[count, rank]`.
    #[prost(message, optional, tag = "2")]
    pub indices: Option<TensorProto>,
    /// Extents of the whole tensor.
    #[prost(int64, repeated, tag = "3")]
    pub dims: Vec<i64>,
}

/// Element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// Not given.
    Undefined = 0,
    /// 32-bit floating point.
    Float = 1,
    /// Unsigned 8-bit.
    Uint8 = 2,
    /// Signed 8-bit.
    Int8 = 3,
    /// Unsigned 16-bit.
    Uint16 = 4,
    /// Signed 16-bit.
    Int16 = 5,
    /// Signed 32-bit.
    Int32 = 6,
    /// Signed 64-bit.
    Int64 = 7,
    /// Text.
    String = 8,
    /// Truth value.
    Bool = 9,
    /// IEEE 754 half precision.
    Float16 = 10,
    /// 64-bit floating point.
    Double = 11,
    /// Unsigned 32-bit.
    Uint32 = 12,
    /// Unsigned 64-bit.
    Uint64 = 13,
    /// Pair of 32-bit floating point.
    Complex64 = 14,
    /// Pair of 64-bit floating point.
    Complex128 = 15,
    /// The upper half of 32-bit floating point.
    Bfloat16 = 16,
    /// 8-bit floating point with 4 bits of exponent, no infinities.
    Float8e4m3fn = 17,
    /// The same with one zero and another bias.
    Float8e4m3fnuz = 18,
    /// 8-bit floating point with 5 bits of exponent.
    Float8e5m2 = 19,
    /// The same with one zero, no infinities and another bias.
    Float8e5m2fnuz = 20,
    /// Unsigned 4-bit.
    Uint4 = 21,
    /// Signed 4-bit.
    Int4 = 22,
}

/// A name and a text.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StringStringEntryProto {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The text.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The type of a named value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfoProto {
    /// Name of the value.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// A type; only tensor types are read here.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// The type of a tensor, unless the value is a sequence, a map, or optional.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

/// The type of a tensor (`TypeProto.Tensor`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorTypeProto {
    /// Element type: a [`DataType`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Extents, if the rank is known.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// Extents of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// One for each axis.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

/// Extent of one axis (`TensorShapeProto.Dimension`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct DimensionProto {
    /// A number or a name; `None` if nothing is known.
    #[prost(oneof = "Dimension", tags = "1, 2")]
    pub value: Option<Dimension>,
}

/// An extent: a number, or a name that stands for one.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Dimension {
    /// A number.
    #[prost(int64, tag = "1")]
    DimValue(i64),
    /// A name.
    #[prost(string, tag = "2")]
    DimParam(String),
}
