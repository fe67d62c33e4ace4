//! Reads ONNX files as graphs of the IR, and writes graphs as ONNX files.
//!
//! | module | what it does |
//! |---|---|
//! | `file` | reads files: ONNX's protocol definition, tensors and the places of their elements |
//! | `import` | from a decoded file to a graph, node by node |
//! | `ops` | the operators of ONNX, made of primitives |
//! | `build` | the graph under construction: primitives on values, the order of their axes, and tensors known at import |
//! | `export` | from a graph to a file |
//!
//! After import every extent is a number, and no arithmetic of shapes is left. Images are held with channels last. Inputs
//! and outputs of the graph keep the file's order of axes, and weights are transposed at import. Other data is moved
//! only where the file itself combines two orders.

mod build;
mod error;
mod export;
mod file;
mod import;
mod ops;

pub use error::{ImportError, Problem, Problems, Refusal};
pub use export::{ExportError, export, export_model};
pub use file::proto;
pub use file::tensor::values;
pub use file::{read_model, read_tensor};
pub use import::{ImportOptions, Imported, import, import_model};

/// The versions of ONNX's operators that are supported.
pub const OPSETS: std::ops::RangeInclusive<i64> = 9..=23;
