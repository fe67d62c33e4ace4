//! Reads files.
//!
//! | module | what it holds |
//! |---|---|
//! | `proto` | ONNX's protocol definition, as far as import reads it |
//! | `tensor` | the elements of a file's tensors, in every way in which ONNX writes them |
//! | `sparse` | sparse tensors, expanded |
//! | `external` | files with weights next to a model |

pub mod external;
pub mod proto;
pub mod sparse;
pub mod tensor;

use crate::error::ImportError;
use bytes::Bytes;
use prost::Message;
use proto::{ModelProto, TensorProto};
use std::path::Path;

/// The largest file, in bytes. A protocol buffer has at most two gibibytes; larger models keep their weights in other files.
pub const MAX_FILE: u64 = 1 << 31;

/// The first byte of nearly every model: the tag of the field with the version of the file format.
const VERSION_FIELD: u8 = 0x08;

/// Reads a model without its files of weights.
pub fn read_model(path: &Path) -> Result<ModelProto, ImportError> {
    let bytes = Bytes::from(sonar_files::read(path, MAX_FILE)?);
    let not_a_model = |why: String| match sonar_files::seems(&bytes, bytes.len() as u64) {
        Some(seems) => ImportError::Malformed(seems.to_string()),
        None if bytes.first() == Some(&VERSION_FIELD) => ImportError::Malformed(format!(
            "{why}: it begins as a model does, so it may be cut off or damaged; get the file again"
        )),
        None => ImportError::Malformed(why),
    };
    let model = ModelProto::decode(bytes.clone()).map_err(|e| not_a_model(e.to_string()))?;
    if model.graph.is_none() {
        return Err(not_a_model("it has no graph".to_string()));
    }
    Ok(model)
}

/// Reads a file with a single tensor, such as the test data that comes with ONNX.
pub fn read_tensor(path: &Path) -> Result<TensorProto, ImportError> {
    let bytes = Bytes::from(sonar_files::read(path, MAX_FILE)?);
    TensorProto::decode(bytes).map_err(|e| ImportError::Malformed(e.to_string()))
}
