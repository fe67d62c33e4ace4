//! Reads tensors of a file, in every way in which ONNX stores elements.

use crate::build::known::{Data, Int, Known};
use crate::error::Refusal;
use crate::file::external::{self, Folders};
use crate::file::proto::{DataType, TensorProto};
use half::{bf16, f16};
use sonar_ir::Tensor;
use sonar_ir::verify::MAX_ELEMENTS;
use std::path::Path;
use std::rc::Rc;

/// The elements of a tensor. `folders` are the model's folders, where its other files with elements must lie.
pub fn elements(tensor: &TensorProto, folders: &Folders) -> Result<Known, Refusal> {
    let (shape, count) = shape(&tensor.dims)?;
    let ty = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let raw = match tensor.data_location {
        0 => (!tensor.raw_data.is_empty()).then(|| tensor.raw_data.clone()),
        1 => Some(external::bytes(tensor, raw_bytes(ty, count)?, folders)?),
        other => return Err(Refusal::invalid(format!("elements in location {other}"))),
    };
    let mut known = match raw {
        Some(bytes) => from_bytes(ty, shape, count, &bytes)?,
        None => from_fields(ty, shape, count, tensor)?,
    };
    known.name = (!tensor.name.is_empty()).then(|| Rc::from(tensor.name.as_str()));
    Ok(known)
}

/// The elements of a tensor without external data, as 32-bit floating point, for any element type.
pub fn values(of: &TensorProto) -> Result<Tensor, Refusal> {
    if of.data_location != 0 {
        return Err(Refusal::unsupported("elements in another file"));
    }
    let known = elements(of, &Folders::only(Path::new("")))?;
    let data = match &known.data {
        Data::Float(data) => data.to_vec(),
        Data::Int(data) => data.iter().map(|&v| v as f32).collect(),
    };
    Ok(Tensor::new(known.shape, data))
}

/// Extents and their product.
pub fn shape(dims: &[i64]) -> Result<(Vec<usize>, usize), Refusal> {
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| Refusal::invalid(format!("the shape {dims:?}")))?;
    match crate::build::elements(&shape) {
        Some(count) => Ok((shape, count)),
        None => Err(Refusal::invalid(format!("the shape {dims:?} has more than {MAX_ELEMENTS} elements"))),
    }
}

/// Size of `count` elements in raw form, in bytes.
fn raw_bytes(ty: DataType, count: usize) -> Result<usize, Refusal> {
    use DataType::*;
    Ok(match ty {
        Uint4 | Int4 => count.div_ceil(2),
        Uint8 | Int8 | Bool | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz => count,
        Uint16 | Int16 | Float16 | Bfloat16 => 2 * count,
        Float | Int32 | Uint32 => 4 * count,
        Double | Int64 | Uint64 => 8 * count,
        Undefined | String | Complex64 | Complex128 => return Err(unsupported(ty)),
    })
}

fn unsupported(ty: DataType) -> Refusal {
    Refusal::unsupported(format!("elements of type {ty:?}"))
}

/// Elements from little-endian bytes.
fn from_bytes(ty: DataType, shape: Vec<usize>, count: usize, bytes: &[u8]) -> Result<Known, Refusal> {
    /// Elements of `SIZE` bytes.
    fn read<T, const SIZE: usize>(bytes: &[u8], element: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| element(chunk)).collect()
    }
    let expected = raw_bytes(ty, count)?;
    if bytes.len() != expected {
        return Err(Refusal::invalid(format!("{} bytes of elements where the shape {shape:?} has {expected}", bytes.len())));
    }
    use DataType::*;
    let ints = match ty {
        Float => return Ok(Known::floats(shape, read(bytes, f32::from_le_bytes))),
        Double => return Ok(Known::floats(shape, read(bytes, |b| f64::from_le_bytes(b) as f32))),
        Float16 => return Ok(Known::floats(shape, read(bytes, |b| f16::from_le_bytes(b).to_f32()))),
        Bfloat16 => return Ok(Known::floats(shape, read(bytes, |b| bf16::from_le_bytes(b).to_f32()))),
        Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz => {
            return Ok(Known::floats(shape, bytes.iter().map(|&bits| float8(ty, bits)).collect()));
        }
        Uint4 | Int4 => halves(bytes.iter().copied(), count),
        Int8 => read(bytes, |b| i8::from_le_bytes(b).into()),
        Uint8 | Bool => read(bytes, |b| u8::from_le_bytes(b).into()),
        Int16 => read(bytes, |b| i16::from_le_bytes(b).into()),
        Uint16 => read(bytes, |b| u16::from_le_bytes(b).into()),
        Int32 => read(bytes, |b| i32::from_le_bytes(b).into()),
        Uint32 => read(bytes, |b| u32::from_le_bytes(b).into()),
        Int64 | Uint64 => read(bytes, i64::from_le_bytes),
        Undefined | String | Complex64 | Complex128 => return Err(unsupported(ty)),
    };
    integers(ty, shape, ints)
}

/// Elements from the field of their type.
fn from_fields(ty: DataType, shape: Vec<usize>, count: usize, tensor: &TensorProto) -> Result<Known, Refusal> {
    use DataType::*;
    let narrow = &tensor.int32_data;
    let known = match ty {
        Float => Known::floats(shape, tensor.float_data.clone()),
        Double => Known::floats(shape, tensor.double_data.iter().map(|&v| v as f32).collect()),
        Float16 => Known::floats(shape, narrow.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect()),
        Bfloat16 => Known::floats(shape, narrow.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32()).collect()),
        Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz => {
            Known::floats(shape, narrow.iter().map(|&bits| float8(ty, bits as u8)).collect())
        }
        Int8 | Uint8 | Int16 | Uint16 | Int32 | Bool => integers(ty, shape, narrow.iter().map(|&v| v.into()).collect())?,
        Int4 | Uint4 => integers(ty, shape, halves(narrow.iter().map(|&v| v as u8), count))?,
        Int64 => integers(ty, shape, tensor.int64_data.clone())?,
        Uint32 | Uint64 => integers(ty, shape, tensor.uint64_data.iter().map(|&v| v as i64).collect())?,
        Undefined | String | Complex64 | Complex128 => return Err(unsupported(ty)),
    };
    match known.len() {
        found if found == count => Ok(known),
        found => Err(Refusal::invalid(format!("{found} elements where the shape {:?} has {count}", known.shape))),
    }
}

/// An 8-bit floating-point number in one of four formats. They differ in the width of the exponent, its bias, and the encoding of
/// infinities and NaN (Micikevicius et al., "FP8 formats for deep learning", 2022, and the variants with a single zero).
fn float8(ty: DataType, bits: u8) -> f32 {
    let (mantissa_bits, bias, single_zero) = match ty {
        DataType::Float8e4m3fn => (3, 7, false),
        DataType::Float8e4m3fnuz => (3, 8, true),
        DataType::Float8e5m2 => (2, 15, false),
        _ => (2, 16, true),
    };
    let (magnitude, mantissa) = (bits & 127, bits & ((1 << mantissa_bits) - 1));
    let exponent = i32::from(magnitude >> mantissa_bits);
    let sign = if bits > 127 { -1.0 } else { 1.0 };
    match (single_zero, mantissa_bits, magnitude) {
        (true, _, 0) if bits > 127 => return f32::NAN,
        (false, 3, 127) => return f32::NAN,
        (false, 2, 124) => return sign * f32::INFINITY,
        (false, 2, 125..) => return f32::NAN,
        _ => {}
    }
    let fraction = f32::from(mantissa) / f32::from(1u8 << mantissa_bits);
    let value = if exponent == 0 { fraction * 2f32.powi(1 - bias) } else { (1.0 + fraction) * 2f32.powi(exponent - bias) };
    sign * value
}

/// Elements of 4 bits. Each byte holds two, the first in the lower bits.
fn halves(bytes: impl Iterator<Item = u8>, count: usize) -> Vec<i64> {
    bytes.flat_map(|byte| [i64::from(byte & 15), i64::from(byte >> 4)]).take(count).collect()
}

/// A tensor of integers.
fn integers(ty: DataType, shape: Vec<usize>, data: Vec<i64>) -> Result<Known, Refusal> {
    let int = Int::of(ty).ok_or_else(|| unsupported(ty))?;
    if int == Int::U64 && data.iter().any(|&v| v < 0) {
        return Err(Refusal::unsupported("unsigned integers of more than 63 bits"));
    }
    Ok(Known::typed(int, shape, data))
}
