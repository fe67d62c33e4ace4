//! The types that a file declares for its values, compared with the actual types.

use crate::build::{Value, known::Data};
use crate::error::Refusal;
use crate::file::proto::{DataType, Dimension, ValueInfoProto};
use std::fmt;

/// The type that a file declares for a value.
pub struct Declared<'a> {
    /// The type of its elements, if the file declares it.
    pub element: Option<DataType>,
    /// Its extents, if the file declares the rank.
    pub extents: Option<Vec<Extent<'a>>>,
}

/// The extent of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<'a> {
    /// A number.
    Fixed(usize),
    /// A name; it stands for the same number in the whole file.
    Symbol(&'a str),
    /// Not declared.
    Open,
}

impl fmt::Display for Extent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Fixed(extent) => write!(f, "{extent}"),
            Extent::Symbol(name) => f.write_str(name),
            Extent::Open => f.write_str("?"),
        }
    }
}

/// Reads a declaration; `None` if it does not declare a tensor.
pub fn declared(info: &ValueInfoProto) -> Option<Declared<'_>> {
    let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
    let element = DataType::try_from(tensor.elem_type).ok().filter(|&element| element != DataType::Undefined);
    let extent = |value: &'_ Option<Dimension>| match value {
        Some(Dimension::DimValue(extent)) => usize::try_from(*extent).map_or(Extent::Open, Extent::Fixed),
        _ => Extent::Open,
    };
    let extents = tensor.shape.as_ref().map(|shape| {
        let named = shape.dim.iter().map(|dim| match &dim.value {
            Some(Dimension::DimParam(name)) if !name.is_empty() => Extent::Symbol(name),
            value => extent(value),
        });
        named.collect()
    });
    Some(Declared { element, extents })
}

/// Extents as messages show them.
pub fn show(extents: &[Extent<'_>]) -> String {
    let extents: Vec<String> = extents.iter().map(ToString::to_string).collect();
    format!("[{}]", extents.join(","))
}

/// Refuses a declaration that contradicts the value. `element` is the type of the value's elements, if it is known.
///
/// Many exporters declare an extent of 0 if they know nothing, and symbols without a meaning. Both are ignored.
pub fn compare(info: &ValueInfoProto, value: &Value, element: Option<DataType>) -> Result<(), Refusal> {
    let Some(declared) = declared(info) else { return Ok(()) };
    let name = &info.name;
    if let (Some(told), Some(element)) = (declared.element, element)
        && told != element
    {
        return Err(Refusal::invalid(format!(
            "the file declares `{name}` with elements of type {told:?}, and they are of type {element:?}"
        )));
    }
    let integers = matches!(value, Value::Known(known) if matches!(known.data, Data::Int(_)));
    if let Some(told) = declared.element.filter(|&told| integers && floating(told)) {
        return Err(Refusal::invalid(format!(
            "the file declares `{name}` with elements of type {told:?}, and they are integers"
        )));
    }
    let Some(extents) = declared.extents else { return Ok(()) };
    let shape = value.shape();
    let differs = |(told, &found): (&Extent<'_>, &usize)| matches!(told, Extent::Fixed(told) if *told != 0 && *told != found);
    if extents.len() != shape.len() || extents.iter().zip(shape).any(differs) {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let told = show(&extents);
        return Err(Refusal::invalid(format!(
            "the file declares `{name}` with the shape {told}, and it has [{}]",
            shape.join(",")
        )));
    }
    Ok(())
}

/// Whether elements of a type are floating-point numbers that Sonar computes with.
pub fn floating(element: DataType) -> bool {
    matches!(element, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16)
}
