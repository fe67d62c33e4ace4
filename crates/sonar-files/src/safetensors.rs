//! Arrays by name in a `.safetensors` file, the format of weights that PyTorch users exchange: the length of a header, the header
//! (JSON with the type, shape and place of each tensor), and the elements, little-endian and in C order.

use crate::array::{Array, ArrayError, Element};
use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};

/// The arrays in a file's bytes. Elements of the type `BF16` are widened to 32-bit floating point, which is exact.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, Array)>, ArrayError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| match error {
        SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength | SafeTensorError::MetadataIncompleteBuffer => {
            ArrayError::SafetensorsLength { found: bytes.len() as u64 }
        }
        error => ArrayError::Safetensors(error.to_string()),
    })?;
    file.iter().map(|(name, tensor)| Ok((name.to_string(), array(name, &tensor)?))).collect()
}

/// The bytes of a file with these arrays.
pub fn format<'a>(arrays: impl IntoIterator<Item = (&'a str, &'a Array)>) -> Result<Vec<u8>, ArrayError> {
    let failed = |error: SafeTensorError| ArrayError::Safetensors(error.to_string());
    let view = |(name, array): (&'a str, &'a Array)| {
        let tensor = TensorView::new(dtype(array.element), array.shape.clone(), &array.bytes);
        Ok((name, tensor.map_err(failed)?))
    };
    let views = arrays.into_iter().map(view).collect::<Result<Vec<_>, ArrayError>>()?;
    ::safetensors::serialize(views, None).map_err(failed)
}

fn array(name: &str, tensor: &TensorView<'_>) -> Result<Array, ArrayError> {
    let shape = tensor.shape().to_vec();
    if tensor.dtype() == Dtype::BF16 {
        let wide = tensor.data().as_chunks::<2>().0.iter().flat_map(|&[low, high]| [0, 0, low, high]);
        return Ok(Array { shape, element: Element::F32, bytes: wide.collect() });
    }
    let known = [
        Element::Bool,
        Element::I8,
        Element::I16,
        Element::I32,
        Element::I64,
        Element::U8,
        Element::U16,
        Element::U32,
        Element::U64,
        Element::F16,
        Element::F32,
        Element::F64,
    ];
    let element = known.into_iter().find(|&element| dtype(element) == tensor.dtype());
    let unknown =
        || ArrayError::Entry { name: name.to_string(), error: Box::new(ArrayError::Type(format!("{:?}", tensor.dtype()))) };
    Ok(Array { shape, element: element.ok_or_else(unknown)?, bytes: tensor.data().to_vec() })
}

/// The type as the format names it.
fn dtype(element: Element) -> Dtype {
    match element {
        Element::Bool => Dtype::BOOL,
        Element::I8 => Dtype::I8,
        Element::I16 => Dtype::I16,
        Element::I32 => Dtype::I32,
        Element::I64 => Dtype::I64,
        Element::U8 => Dtype::U8,
        Element::U16 => Dtype::U16,
        Element::U32 => Dtype::U32,
        Element::U64 => Dtype::U64,
        Element::F16 => Dtype::F16,
        Element::F32 => Dtype::F32,
        Element::F64 => Dtype::F64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with this header and these elements.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_come_back() {
        let (x, y) = (Array::from_f32(vec![2, 1], &[1.0, -2.0]), Array::from_f32(vec![], &[f32::NAN]));
        let bytes = Array { shape: vec![3], element: Element::U8, bytes: vec![1, 2, 3] };
        let written = format([("x", &x), ("a/b.c", &y), ("bytes", &bytes)]).unwrap();
        let mut back = parse(&written).unwrap();
        back.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(back.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a/b.c", "bytes", "x"]);
        assert_eq!((&back[0].1.bytes, &back[1].1, &back[2].1), (&y.bytes, &bytes, &x));
        assert_eq!(parse(&format([]).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_file_as_pytorch_writes_it() {
        let header = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
            "b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]},"h":{"dtype":"F16","shape":[1],"data_offsets":[12,14]}}"#;
        // 1.5 and -2 as bfloat16 are the upper halves of their 32-bit forms.
        let data = [1f32.to_le_bytes(), 2f32.to_le_bytes(), [0xc0, 0x3f, 0x00, 0xc0]].concat();
        let arrays = parse(&file(header, &[&data[..], &[0x00, 0x3c]].concat())).unwrap();
        let numbers = |name: &str| arrays.iter().find(|(found, _)| found == name).unwrap().1.to_f32().unwrap();
        assert_eq!((numbers("w"), numbers("b"), numbers("h")), (vec![1.0, 2.0], vec![1.5, -2.0], vec![1.0]));
    }

    #[test]
    fn damaged_files_are_refused() {
        let refused = |bytes: &[u8], part: &str| {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in `{error}`");
        };
        let whole = format([("x", &Array::from_f32(vec![2, 3], &[0.0; 6]))]).unwrap();
        for end in 0..whole.len() {
            refused(&whole[..end], &format!("{end} bytes"));
        }
        refused(&[&whole[..], &[0]].concat(), "cut off");
        refused(b"this is some text and not a file of tensors", "not a readable .safetensors file");
        refused(&file("{", &[]), "not a readable .safetensors file");
        refused(&file(r#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, &[0; 8]), "not a readable");
        refused(
            &file(r#"{"x":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}}"#, &[0]),
            "`x`: its elements have the type F8_E5M2",
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damaged_bytes_never_panic(place in 0usize..112, byte: u8) {
            let mut bytes = format([("x", &Array::from_f32(vec![2, 3], &[0.0; 6]))]).unwrap();
            let place = place % bytes.len();
            bytes[place] = byte;
            if let Ok(arrays) = parse(&bytes) {
                for (_, array) in arrays {
                    let _ = array.to_f32();
                }
            }
        }
    }
}
