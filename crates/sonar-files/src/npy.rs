//! One array in a `.npy` file (NumPy Enhancement Proposal 1): a magic number, a version, a header, and the elements.
//!
//! The header is the text of a Python dictionary, such as `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.

use crate::array::{Array, ArrayError, Element};

/// The first bytes of a file.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// The elements of a file begin at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// The contents of a header.
struct Header {
    element: Element,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Parses the bytes of a file.
pub fn parse(bytes: &[u8]) -> Result<Array, ArrayError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(ArrayError::NotNpy)?;
    let cut = || ArrayError::Header("ends too soon: the file is cut off".to_string());
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (length, rest) = match *version {
        [1, 0] => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        [2 | 3, 0] => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        [major, minor] => return Err(ArrayError::Version(major, minor)),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = Header::parse(&String::from_utf8_lossy(header))?;
    let size = header.element.size();
    let count = header.shape.iter().try_fold(1u128, |count, &extent| count.checked_mul(extent as u128)).unwrap_or(u128::MAX);
    let expected = count.saturating_mul(size as u128);
    if expected != data.len() as u128 {
        return Err(ArrayError::Length { shape: header.shape, expected, found: data.len() as u64 });
    }
    let mut bytes = data.to_vec();
    if header.big_endian {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    if header.fortran_order {
        bytes = c_order(&bytes, &header.shape, size);
    }
    Ok(Array { shape: header.shape, element: header.element, bytes })
}

/// The bytes of a file with one array, in version 1.0.
pub fn format(array: &Array) -> Vec<u8> {
    let extents: Vec<String> = array.shape.iter().map(ToString::to_string).collect();
    let shape = match &extents[..] {
        [one] => format!("({one},)"),
        all => format!("({})", all.join(", ")),
    };
    // Elements of one byte have no byte order.
    let order = if array.element.size() == 1 { '|' } else { '<' };
    let mut header = format!("{{'descr': '{order}{}', 'fortran_order': False, 'shape': {shape}, }}", array.element);
    let before = MAGIC.len() + 4;
    let padded = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [MAGIC, &[1, 0], &length, header.as_bytes(), &array.bytes].concat()
}

impl Header {
    fn parse(text: &str) -> Result<Header, ArrayError> {
        let odd = |what: &str| ArrayError::Header(format!("{what}: {}", text.trim()));
        let value = |key: &str| {
            let found = [format!("'{key}':"), format!("\"{key}\":")].into_iter().find_map(|k| text.split_once(k.as_str()));
            found.map(|(_, after)| after.trim_start()).ok_or_else(|| odd(&format!("has no `{key}`")))
        };
        let descr = value("descr")?;
        if descr.starts_with('[') {
            return Err(ArrayError::Type("of a record".to_string()));
        }
        let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(|| odd("has an odd `descr`"))?;
        let descr = descr[1..].split(quote).next().unwrap_or_default();
        let (order, code) = descr.split_at_checked(1).ok_or_else(|| odd("has an odd `descr`"))?;
        let element = Element::from_code(code).ok_or_else(|| ArrayError::Type(format!("`{descr}`")))?;
        let big_endian = match order {
            ">" => true,
            "<" | "|" | "=" => false,
            _ => return Err(ArrayError::Type(format!("`{descr}`"))),
        };
        let fortran_order = match value("fortran_order")? {
            text if text.starts_with("True") => true,
            text if text.starts_with("False") => false,
            _ => return Err(odd("has an odd `fortran_order`")),
        };
        let shape = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (shape, _) = shape.ok_or_else(|| odd("has an odd `shape`"))?;
        let extents = shape.split(',').map(str::trim).filter(|extent| !extent.is_empty());
        // Python 2 wrote long integers as `3L`.
        let extents = extents.map(|extent| extent.trim_end_matches('L').parse());
        let shape = extents.collect::<Result<Vec<usize>, _>>().map_err(|_| odd("has an odd `shape`"))?;
        Ok(Header { element, big_endian, fortran_order, shape })
    }
}

/// Reorders elements into C order, for an array whose first axis is the fastest.
fn c_order(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut result = Vec::with_capacity(bytes.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..bytes.len() / size {
        let from: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        result.extend_from_slice(&bytes[from * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of version 1.0 with this header and these elements.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn floats(data: &[f32]) -> Vec<u8> {
        data.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn a_file_as_numpy_writes_it() {
        // The output of `numpy.save` for `numpy.array([[1, 2, 3]], dtype=numpy.float32)`.
        let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }".to_string();
        header.extend(std::iter::repeat_n(' ', 58));
        header.push('\n');
        let written = file(&header, &floats(&[1.0, 2.0, 3.0]));
        let array = Array::from_f32(vec![1, 3], &[1.0, 2.0, 3.0]);
        assert_eq!(parse(&written).unwrap(), array);
        assert_eq!(format(&array), written);
        assert_eq!(written.len() % 64, 12);
    }

    #[test]
    fn every_rank_comes_back() {
        for shape in [vec![], vec![4], vec![2, 0], vec![2, 3, 1, 2]] {
            let count: usize = shape.iter().product();
            let array = Array::from_f32(shape, &(0..count).map(|i| i as f32).collect::<Vec<_>>());
            assert_eq!(parse(&format(&array)).unwrap(), array);
        }
        let bytes = Array { shape: vec![3], element: Element::U8, bytes: vec![1, 2, 3] };
        assert_eq!(parse(&format(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn other_orders() {
        let fortran = file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", &floats(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        assert_eq!(parse(&fortran).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let big = file("{\"descr\": \">i2\", \"fortran_order\": False, \"shape\": (2L,)}", &[0, 1, 255, 255]);
        assert_eq!(parse(&big).unwrap().to_i64().unwrap(), [1, -1]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let refused = |bytes: &[u8], part: &str| {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in `{error}`");
        };
        refused(b"", "not a .npy file");
        refused(b"\x93NUMPY\x09\x00", "version 9.0");
        let whole = format(&Array::from_f32(vec![2, 3], &[0.0; 6]));
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "cut at {end}");
        }
        refused(&whole[..whole.len() - 4], "20 bytes of elements where its shape [2, 3] takes 24");
        refused(&file("{'fortran_order': False, 'shape': ()}", &[]), "no `descr`");
        refused(&file("{'descr': '<c8', 'fortran_order': False, 'shape': ()}", &[0; 8]), "`<c8`");
        refused(&file("{'descr': '|O', 'fortran_order': False, 'shape': ()}", &[]), "`|O`");
        refused(&file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", &[]), "a record");
        refused(&file("{'descr': '<f4', 'fortran_order': Maybe, 'shape': ()}", &[0; 4]), "`fortran_order`");
        refused(&file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", &[0; 4]), "`shape`");
        let absurd = "(18446744073709551615, 18446744073709551615, 18446744073709551615)";
        refused(&file(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {absurd}}}"), &[0; 4]), "4 bytes");
    }
}
