//! Reads files.
//!
//! | module | what it holds |
//! |---|---|
//! | `proto` | ONNX's protocol definition, as far as import reads it |
//! | `tensor` | the elements of a file's tensors, in every way in which ONNX writes them |

pub mod proto;
pub mod tensor;

use crate::error::ImportError;
use prost::Message;
use proto::{ModelProto, TensorProto};
use std::path::Path;

/// The largest file, in bytes. A protocol buffer has at most two gibibytes; larger models keep their weights in other files.
pub const MAX_FILE: u64 = 1 << 31;

/// Reads a model without its files of weights.
pub fn read_model(path: &Path) -> Result<ModelProto, ImportError> {
    let bytes = read(path)?;
    ModelProto::decode(bytes).map_err(|e| ImportError::Malformed(e.to_string()))
}

/// Reads a file that holds a single tensor, as the test data that comes with ONNX does.
pub fn read_tensor(path: &Path) -> Result<TensorProto, ImportError> {
    TensorProto::decode(read(path)?).map_err(|e| ImportError::Malformed(e.to_string()))
}

fn read(path: &Path) -> Result<bytes::Bytes, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_path_buf(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(ImportError::TooLarge { path: path.to_path_buf(), size, limit: MAX_FILE });
    }
    Ok(std::fs::read(path).map_err(failed)?.into())
}
