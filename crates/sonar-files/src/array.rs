//! An array as NumPy saves it.

use std::fmt;
use thiserror::Error;

/// The largest integer up to which all integers are exact in 32-bit floating point.
const MAX_EXACT: u128 = 1 << f32::MANTISSA_DIGITS;

/// Why a file of arrays cannot be used.
#[derive(Debug, Error)]
pub enum ArrayError {
    /// It does not begin like a `.npy` file.
    #[error("it is not a .npy file: it does not begin with `\\x93NUMPY`")]
    NotNpy,
    /// The version of the format is unknown.
    #[error("it has version {0}.{1} of the .npy format; versions 1.0 to 3.0 are known")]
    Version(u8, u8),
    /// The header cannot be read.
    #[error("its header {0}")]
    Header(String),
    /// Elements of a type that is not supported.
    #[error("its elements have the type {0}; numbers of 8 to 64 bits and truth values are supported")]
    Type(String),
    /// The number of bytes does not fit the header.
    #[error("it has {found} bytes of elements where its shape {shape:?} takes {expected}")]
    Length {
        /// The shape that the header gives.
        shape: Vec<usize>,
        /// Bytes that the shape takes.
        expected: u128,
        /// Bytes in the file.
        found: u64,
    },
    /// An element has no equal value in the requested type.
    #[error("element {index} is {value}, which is not exact in {wanted}")]
    Inexact {
        /// Index of the element in C order, from 0.
        index: usize,
        /// Its value.
        value: String,
        /// The requested type.
        wanted: &'static str,
    },
    /// The archive of a `.npz` file is damaged, or the file is not an archive.
    #[error("it is not a readable .npz file: {0}")]
    Archive(String),
    /// The header of a `.safetensors` file cannot be read.
    #[error("it is not a readable .safetensors file: {0}")]
    Safetensors(String),
    /// The length of a `.safetensors` file contradicts its header.
    #[error("its {found} bytes do not fit its header: it is cut off, or no .safetensors file")]
    SafetensorsLength {
        /// Bytes in the file.
        found: u64,
    },
    /// An array of an archive cannot be used.
    #[error("its array `{name}`: {error}")]
    Entry {
        /// The name of the array.
        name: String,
        /// What is wrong with it.
        error: Box<ArrayError>,
    },
}

/// Types of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Truth value, in one byte.
    Bool,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// 16-bit floating point.
    F16,
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
}

impl Element {
    /// Kind and size as NumPy writes them, such as `f4`.
    pub fn code(self) -> &'static str {
        use Element::*;
        match self {
            Bool => "b1",
            I8 => "i1",
            I16 => "i2",
            I32 => "i4",
            I64 => "i8",
            U8 => "u1",
            U16 => "u2",
            U32 => "u4",
            U64 => "u8",
            F16 => "f2",
            F32 => "f4",
            F64 => "f8",
        }
    }

    /// The type with this code.
    pub fn from_code(code: &str) -> Option<Element> {
        use Element::*;
        [Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64].into_iter().find(|e| e.code() == code)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        use Element::*;
        match self {
            Bool | I8 | U8 => 1,
            I16 | U16 | F16 => 2,
            I32 | U32 | F32 => 4,
            I64 | U64 | F64 => 8,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An array: elements in C order (the last axis fastest), each little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents.
    pub shape: Vec<usize>,
    /// The type of the elements.
    pub element: Element,
    /// The elements.
    pub bytes: Vec<u8>,
}

impl Array {
    /// An array of 32-bit floating point.
    pub fn from_f32(shape: Vec<usize>, data: &[f32]) -> Array {
        Array { shape, element: Element::F32, bytes: data.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements as 32-bit floating point. 64-bit floating point is rounded. Fails for integers that are not exact, and
    /// for numbers that are too large.
    pub fn to_f32(&self) -> Result<Vec<f32>, ArrayError> {
        const WANTED: &str = "32-bit floating point";
        if self.element == Element::F32 {
            return Ok(chunks(&self.bytes).map(f32::from_le_bytes).collect());
        }
        if let Some(integers) = self.integers() {
            let exact = |(index, v): (usize, i128)| match v {
                v if v.unsigned_abs() <= MAX_EXACT => Ok(v as f32),
                v => Err(ArrayError::Inexact { index, value: v.to_string(), wanted: WANTED }),
            };
            return integers.enumerate().map(exact).collect();
        }
        if self.element == Element::F16 {
            return Ok(chunks(&self.bytes).map(|b| half(u16::from_le_bytes(b))).collect());
        }
        let rounded = |(index, v): (usize, f64)| match v as f32 {
            narrow if narrow.is_infinite() && v.is_finite() => {
                Err(ArrayError::Inexact { index, value: format!("{v:e}"), wanted: WANTED })
            }
            narrow => Ok(narrow),
        };
        chunks(&self.bytes).map(f64::from_le_bytes).enumerate().map(rounded).collect()
    }

    /// The elements as 64-bit integers. Fails for floating-point numbers that are not integers.
    pub fn to_i64(&self) -> Result<Vec<i64>, ArrayError> {
        const WANTED: &str = "64-bit integers";
        let inexact = |index, value: String| ArrayError::Inexact { index, value, wanted: WANTED };
        if let Some(integers) = self.integers() {
            let fits = |(index, v): (usize, i128)| i64::try_from(v).map_err(|_| inexact(index, v.to_string()));
            return integers.enumerate().map(fits).collect();
        }
        let floats: Vec<f64> = match self.element {
            Element::F64 => chunks(&self.bytes).map(f64::from_le_bytes).collect(),
            _ => self.to_f32()?.into_iter().map(f64::from).collect(),
        };
        // 2⁶³ fits 64-bit floating point, but not a 64-bit integer.
        let fits = |v: f64| v.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(63)).contains(&v);
        let whole = |(index, v): (usize, f64)| if fits(v) { Ok(v as i64) } else { Err(inexact(index, v.to_string())) };
        floats.into_iter().enumerate().map(whole).collect()
    }

    /// The elements, if they are integers or booleans.
    fn integers(&self) -> Option<Box<dyn Iterator<Item = i128> + '_>> {
        let bytes = &self.bytes;
        Some(match self.element {
            Element::Bool => Box::new(bytes.iter().map(|&b| i128::from(b != 0))),
            Element::I8 => Box::new(chunks(bytes).map(|b| i8::from_le_bytes(b).into())),
            Element::I16 => Box::new(chunks(bytes).map(|b| i16::from_le_bytes(b).into())),
            Element::I32 => Box::new(chunks(bytes).map(|b| i32::from_le_bytes(b).into())),
            Element::I64 => Box::new(chunks(bytes).map(|b| i64::from_le_bytes(b).into())),
            Element::U8 => Box::new(bytes.iter().map(|&b| b.into())),
            Element::U16 => Box::new(chunks(bytes).map(|b| u16::from_le_bytes(b).into())),
            Element::U32 => Box::new(chunks(bytes).map(|b| u32::from_le_bytes(b).into())),
            Element::U64 => Box::new(chunks(bytes).map(|b| u64::from_le_bytes(b).into())),
            Element::F16 | Element::F32 | Element::F64 => return None,
        })
    }
}

fn chunks<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + '_ {
    bytes.as_chunks::<SIZE>().0.iter().copied()
}

/// A number of IEEE 754 half precision: 1 bit of sign, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15), u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match (exponent, fraction) {
        (0, fraction) => fraction as f32 * 2f32.powi(-24),
        (31, fraction) => f32::from_bits(0x7f80_0000 | fraction << 13),
        (exponent, fraction) => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(element: Element, bytes: &[u8]) -> Array {
        Array { shape: vec![bytes.len() / element.size()], element, bytes: bytes.to_vec() }
    }

    #[test]
    fn numbers_of_every_type() {
        assert_eq!(array(Element::Bool, &[0, 1, 7]).to_f32().unwrap(), [0.0, 1.0, 1.0]);
        assert_eq!(array(Element::I8, &[255, 3]).to_i64().unwrap(), [-1, 3]);
        assert_eq!(array(Element::U8, &[255, 3]).to_f32().unwrap(), [255.0, 3.0]);
        assert_eq!(array(Element::I16, &[0xfe, 0xff]).to_f32().unwrap(), [-2.0]);
        assert_eq!(array(Element::U16, &[0xfe, 0xff]).to_f32().unwrap(), [65534.0]);
        assert_eq!(array(Element::I32, &(-5i32).to_le_bytes()).to_i64().unwrap(), [-5]);
        assert_eq!(array(Element::U32, &u32::MAX.to_le_bytes()).to_i64().unwrap(), [i64::from(u32::MAX)]);
        assert_eq!(array(Element::F64, &0.1f64.to_le_bytes()).to_f32().unwrap(), [0.1]);
        // 1, -2, the smallest, the largest, and infinity.
        let halves = [0x3c00u16, 0xc000, 1, 0x7bff, 0x7c00].map(u16::to_le_bytes).concat();
        assert_eq!(array(Element::F16, &halves).to_f32().unwrap(), [1.0, -2.0, 5.960_464_5e-8, 65504.0, f32::INFINITY]);
        assert!(array(Element::F16, &[1, 0x7c]).to_f32().unwrap()[0].is_nan());
    }

    #[test]
    fn numbers_that_do_not_fit() {
        let refused = |array: Array, part: &str| {
            let error = array.to_f32().unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in `{error}`");
        };
        assert_eq!(array(Element::I64, &(1i64 << 24).to_le_bytes()).to_f32().unwrap(), [16_777_216.0]);
        refused(array(Element::I64, &[0i64.to_le_bytes(), 16_777_217i64.to_le_bytes()].concat()), "element 1 is 16777217");
        refused(array(Element::U64, &u64::MAX.to_le_bytes()), "element 0 is 18446744073709551615");
        refused(array(Element::F64, &1e39f64.to_le_bytes()), "element 0 is 1e39");
        assert!(array(Element::F64, &f64::INFINITY.to_le_bytes()).to_f32().unwrap()[0].is_infinite());
        assert!(array(Element::F32, &1.5f32.to_le_bytes()).to_i64().is_err());
        assert!(array(Element::F64, &2f64.powi(63).to_le_bytes()).to_i64().is_err());
        assert!(array(Element::U64, &u64::MAX.to_le_bytes()).to_i64().is_err());
        assert_eq!(array(Element::F32, &7f32.to_le_bytes()).to_i64().unwrap(), [7]);
    }
}
