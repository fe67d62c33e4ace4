//! The element types of results.
//!
//! Import computes with 32-bit floating point and with integers only. It follows the file's own types only to
//! compare them with the declared types.

use crate::file::proto::{AttributeProto, DataType, NodeProto};
use crate::ops::Elements;

/// The type of the elements of a node's first result, if it is known. `argument` gives the types of its arguments.
pub fn first_result(node: &NodeProto, elements: Elements, argument: impl Fn(usize) -> Option<DataType>) -> Option<DataType> {
    match elements {
        Elements::Like(index) => argument(index),
        Elements::Bool => Some(DataType::Bool),
        Elements::Int64 => Some(DataType::Int64),
        Elements::Told => told(node),
    }
}

/// The type in the attributes of a cast or a constant.
fn told(node: &NodeProto) -> Option<DataType> {
    let of = |ty: i32| DataType::try_from(ty).ok().filter(|&ty| ty != DataType::Undefined);
    let tensor = |attribute: &AttributeProto| of(attribute.t.as_ref()?.data_type);
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    match node.op_type.as_str() {
        "Cast" => of(i32::try_from(attribute("to")?.i).ok()?),
        "ConstantOfShape" => attribute("value").map_or(Some(DataType::Float), tensor),
        _ => node.attribute.iter().find_map(|attribute| match attribute.name.as_str() {
            "value" => tensor(attribute),
            "sparse_value" => of(attribute.sparse_tensor.as_ref()?.values.as_ref()?.data_type),
            "value_float" | "value_floats" => Some(DataType::Float),
            "value_int" | "value_ints" => Some(DataType::Int64),
            _ => None,
        }),
    }
}
