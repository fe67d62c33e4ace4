//! Arrays by name in a `.npz` file: a zip archive with a `.npy` file for each.

use crate::array::{Array, ArrayError};
use crate::npy;
use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The first bytes of a zip archive with entries.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// The most bytes of one array after unpacking. A small archive can unpack to more than fits any memory.
const MAX_ARRAY: u64 = 16 << 30;

/// The arrays in a file's bytes, in the order of the file.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, Array)>, ArrayError> {
    let damaged = |error: &dyn std::fmt::Display| ArrayError::Archive(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(&e))?;
    let mut arrays = Vec::with_capacity(archive.len().min(1 << 16));
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|e| damaged(&e))?;
        let name = entry.name().strip_suffix(".npy").map(str::to_string);
        let name = name.ok_or_else(|| damaged(&format_args!("its entry `{}` is not a .npy file", entry.name())))?;
        let mut unpacked = Vec::new();
        entry.take(MAX_ARRAY + 1).read_to_end(&mut unpacked).map_err(|e| damaged(&format_args!("`{name}`: {e}")))?;
        if unpacked.len() as u64 > MAX_ARRAY {
            return Err(damaged(&format_args!("`{name}` unpacks to more than {MAX_ARRAY} bytes")));
        }
        let array = npy::parse(&unpacked);
        let array = array.map_err(|error| ArrayError::Entry { name: name.clone(), error: Box::new(error) })?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

/// The bytes of a file with these arrays, not compressed, as `numpy.savez` writes it.
pub fn format<'a>(arrays: impl IntoIterator<Item = (&'a str, &'a Array)>) -> Result<Vec<u8>, ArrayError> {
    let failed = |error: &dyn std::fmt::Display| ArrayError::Archive(error.to_string());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        // Entries of 4 GiB or more need another header.
        let large = array.bytes.len() >= (1 << 32) - (1 << 16);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        archive.start_file(format!("{name}.npy"), options).map_err(|e| failed(&e))?;
        archive.write_all(&npy::format(array)).map_err(|e| failed(&e))?;
    }
    Ok(archive.finish().map_err(|e| failed(&e))?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (Array, Array) {
        (Array::from_f32(vec![2], &[1.0, -2.0]), Array::from_f32(vec![], &[f32::NAN]))
    }

    #[test]
    fn arrays_come_back() {
        let (x, y) = two();
        let file = format([("x", &x), ("a/b.c", &y)]).unwrap();
        let back = parse(&file).unwrap();
        assert_eq!(back.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x", "a/b.c"]);
        assert_eq!((&back[0].1, &back[1].1.bytes), (&x, &y.bytes));
        assert_eq!(parse(&format([]).unwrap()).unwrap(), []);
    }

    #[test]
    fn compressed_archives_are_read() {
        let (x, _) = two();
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file("x.npy", options).unwrap();
        archive.write_all(&npy::format(&x)).unwrap();
        assert_eq!(parse(&archive.finish().unwrap().into_inner()).unwrap(), [("x".to_string(), x)]);
    }

    #[test]
    fn damaged_archives_are_refused() {
        let (x, y) = two();
        let whole = format([("x", &x), ("y", &y)]).unwrap();
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "cut at {end}");
        }
        // A flipped bit in the elements does not agree with the checksum.
        let mut flipped = whole.clone();
        let place = flipped.windows(4).position(|w| w == 1f32.to_le_bytes()).unwrap();
        flipped[place] ^= 1;
        assert!(parse(&flipped).unwrap_err().to_string().contains("`x`"));
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("data.pkl", SimpleFileOptions::default()).unwrap();
        let other = archive.finish().unwrap().into_inner();
        assert!(parse(&other).unwrap_err().to_string().contains("`data.pkl` is not a .npy file"));
    }
}
