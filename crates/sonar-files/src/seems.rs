//! Guesses the format of a file that is not the expected one.

use crate::{npy, npz};
use std::fmt;

/// The number of bytes at a file's start that are enough to recognise its format.
const HEAD: usize = 512;

/// The probable format of a file. It prints as the format and advice on what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seems {
    /// A file without bytes.
    Empty,
    /// A text that replaces a large file in a Git repository.
    GitLfs,
    /// A web page, such as an error or a login page that was saved instead of a download.
    Html,
    /// A message of a server that was saved instead of a download.
    Json,
    /// A text with the target of a link. Git writes it if links are not supported.
    LinkText,
    /// A model that `torch.save` wrote: a zip archive with `data.pkl`.
    PyTorch,
    /// A pickle, as written by old versions of PyTorch and by scikit-learn.
    Pickle,
    /// Arrays in a zip archive.
    Npz,
    /// Another zip archive.
    Zip,
    /// One array.
    Npy,
    /// A compressed file.
    Gzip,
    /// A model in ONNX Runtime's own format.
    Ort,
    /// A TensorFlow Lite model.
    TfLite,
    /// Weights without a model.
    Safetensors,
    /// Weights in llama.cpp's format.
    Gguf,
    /// Arrays in an HDF5 file, like old Keras models.
    Hdf5,
    /// A description of a model in Sonar's text format.
    Sonar,
}

/// Recognises the format of a file from its beginning; `None` if the format is unknown.
///
/// `size` is the size of the whole file in bytes.
pub fn seems(beginning: &[u8], size: u64) -> Option<Seems> {
    let head = &beginning[..beginning.len().min(HEAD)];
    let at = |place: usize, bytes: &[u8]| head.get(place..).is_some_and(|rest| rest.starts_with(bytes));
    let contains = |bytes: &[u8]| head.windows(bytes.len()).any(|window| window == bytes);
    if size == 0 {
        return Some(Seems::Empty);
    }
    if at(0, b"version https://git-lfs.github.com/spec/") {
        return Some(Seems::GitLfs);
    }
    if at(0, npz::MAGIC) {
        return Some(match () {
            () if contains(b"/data.pkl") => Seems::PyTorch,
            () if contains(b".npy") => Seems::Npz,
            () => Seems::Zip,
        });
    }
    if at(0, npy::MAGIC) {
        return Some(Seems::Npy);
    }
    if at(0, &[0x1f, 0x8b]) {
        return Some(Seems::Gzip);
    }
    // The identifier of a FlatBuffers file comes after the four bytes with the position of its root.
    if at(4, b"ORTM") {
        return Some(Seems::Ort);
    }
    if at(4, b"TFL3") {
        return Some(Seems::TfLite);
    }
    if at(0, b"\x89HDF\r\n\x1a\n") {
        return Some(Seems::Hdf5);
    }
    if at(0, b"GGUF") {
        return Some(Seems::Gguf);
    }
    // A JSON header after its length.
    if at(8, b"{\"") && head.first_chunk::<8>().is_some_and(|length| u64::from_le_bytes(*length) <= size) {
        return Some(Seems::Safetensors);
    }
    if matches!(head, [0x80, 2..=5, ..]) {
        return Some(Seems::Pickle);
    }
    text(head, size)
}

/// The formats that are text.
fn text(head: &[u8], size: u64) -> Option<Seems> {
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        // The beginning may end in the middle of a character.
        Err(error) if error.error_len().is_none() => str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let lower = start.to_ascii_lowercase();
    if ["<!doctype html", "<html", "<head", "<?xml"].iter().any(|tag| lower.starts_with(tag)) {
        return Some(Seems::Html);
    }
    if start.starts_with("{\"") {
        return Some(Seems::Json);
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    if lines.next().is_some_and(|line| line.starts_with("graph @") || line.starts_with("let $")) {
        return Some(Seems::Sonar);
    }
    let path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    let one_path = size <= HEAD as u64 && !text.is_empty() && text.chars().all(path) && text.contains(['/', '.']);
    one_path.then_some(Seems::LinkText)
}

impl fmt::Display for Seems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Seems::Empty => "the file is empty: the download or the copy may have failed; get it again",
            Seems::GitLfs => "this looks like a Git-LFS pointer, not the file itself: run `git lfs pull` in its repository",
            Seems::Html => "this looks like a web page, such as an error or login page: download the file itself",
            Seems::Json => "this looks like JSON, such as a server's error message: download the file itself",
            Seems::LinkText => "this looks like a link that Git wrote as text: copy the file that it names here",
            Seems::PyTorch => "this looks like a PyTorch file: export the model with `torch.onnx.export`",
            Seems::Pickle => "this looks like a Python pickle: load it in Python and export the model to ONNX",
            Seems::Npz => "this looks like a .npz file of arrays",
            Seems::Zip => "this looks like a zip archive: unpack it first",
            Seems::Npy => "this looks like a .npy file with one array",
            Seems::Gzip => "this looks like a gzip file: unpack it first with `gunzip`",
            Seems::Ort => "this looks like an .ort file of ONNX Runtime: use the .onnx file that it was made from",
            Seems::TfLite => "this looks like a TensorFlow Lite model: convert it to ONNX with `tf2onnx`",
            Seems::Safetensors => {
                "this looks like a safetensors file, which holds weights and no model: export the model to ONNX"
            }
            Seems::Gguf => "this looks like a GGUF file, which holds weights and no graph: export the model to ONNX",
            Seems::Hdf5 => "this looks like an HDF5 file, such as a Keras model: convert it to ONNX with `tf2onnx`",
            Seems::Sonar => "this looks like a description in Sonar's text: give it the ending `.sonar`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;

    fn of(bytes: &[u8]) -> Option<Seems> {
        seems(bytes, bytes.len() as u64)
    }

    #[test]
    fn known_formats() {
        let array = Array::from_f32(vec![1], &[1.0]);
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let safetensors = [&20u64.to_le_bytes()[..], b"{\"__metadata__\":{}}", &[0; 8]].concat();
        let cases: [(&[u8], Seems); 19] = [
            (b"", Seems::Empty),
            (pointer, Seems::GitLfs),
            (b"<!DOCTYPE html>\n<html lang=\"en\">", Seems::Html),
            (b"\n <html><body>404</body></html>", Seems::Html),
            (b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code>", Seems::Html),
            (b"{\"error\": \"not found\"}", Seems::Json),
            (b"../../blobs/0a1b2c", Seems::LinkText),
            (b"blob.bin", Seems::LinkText),
            (b"PK\x03\x04\0\0\0\0archive/data.pkl", Seems::PyTorch),
            (b"PK\x03\x04\0\0\0\0readme.txt", Seems::Zip),
            (b"\x1f\x8b\x08\0", Seems::Gzip),
            (b"\x30\0\0\0ORTM\0\0", Seems::Ort),
            (b"\x1c\0\0\0TFL3\0\0", Seems::TfLite),
            (b"\x89HDF\r\n\x1a\n\0", Seems::Hdf5),
            (b"GGUF\x03\0\0\0", Seems::Gguf),
            (&safetensors, Seems::Safetensors),
            (b"\x80\x02\x8a\nl\xfc\x9cF", Seems::Pickle),
            (b"// a model\ngraph @f(%x: f32[2]) { return %x }", Seems::Sonar),
            (&npy::format(&array), Seems::Npy),
        ];
        for (bytes, expected) in cases {
            assert_eq!(of(bytes), Some(expected), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(of(&npz::format([("x", &array)]).unwrap()), Some(Seems::Npz));
    }

    #[test]
    fn unknown_formats_are_not_guessed() {
        for bytes in [&b"\x08\x08\x12\x07pytorch"[..], b"not a model", &[0; 64], &[0xff; 64]] {
            assert_eq!(of(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
