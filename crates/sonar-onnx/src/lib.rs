//! ONNX files become graphs of the IR, and graphs ONNX files.
//!
//! | module | what it does |
//! |---|---|
//! | `proto` | ONNX's protocol definition, as far as import reads it |
//! | `weights` | elements of a file's tensors, from wherever they are |
//! | `known` | tensors known at import, and arithmetic with them |
//! | `layout` | in which order the IR holds the axes of a file's tensor |
//! | `build` | the graph under construction: primitives on values, known or not |
//! | `call` | one node of the file: arguments and attributes |
//! | `ops` | the operators of ONNX, made of primitives |
//! | `import` | from a file to a graph, node by node |
//! | `export` | from a graph to a file |
//!
//! The arithmetic of shapes is gone afterwards, every extent is a number, and images are held with channels last: inputs and
//! outputs of the graph keep the file's order of axes, weights are transposed at import, and what is between moves no data
//! but where the file itself makes two orders meet.

mod build;
mod call;
mod error;
mod export;
mod import;
mod known;
mod layout;
mod ops;
pub mod proto;
mod weights;

pub use error::{Fault, ImportError, Problem};
pub use export::{ExportError, export, export_model};
pub use import::{ImportOptions, Imported, import, import_model, read_model, read_tensor};
pub use weights::values;

/// The versions of ONNX's operators that are supported.
pub const OPSETS: std::ops::RangeInclusive<i64> = 9..=23;
