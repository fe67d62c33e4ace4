//! Errors of ONNX files.

use sonar_files::ReadError;
use sonar_ir::graph::infer::TypeError;
use std::error::Error;
use std::fmt;
use thiserror::Error;

/// Why a file cannot be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The model's file cannot be read, or is too large.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {0}")]
    Malformed(String),
    /// The file does not say which version of ONNX's operators it uses.
    #[error("the file does not say which version of ONNX's operators it uses: it may be cut off; get it again")]
    NoOpset,
    /// The operators are of a version that is not supported.
    #[error("the model uses version {found} of ONNX's operators; {} to {} are supported", crate::OPSETS.start(), crate::OPSETS.end())]
    Opset {
        /// The version.
        found: i64,
    },
    /// The options do not fit the model.
    #[error("{0}")]
    Options(String),
    /// The graph is refused, with all reasons that were found.
    #[error(transparent)]
    Problems(Problems),
}

/// All reasons why a graph cannot be imported.
#[derive(Clone, Debug, PartialEq)]
pub struct Problems {
    /// The causes: first those of the graph as a whole, then those of its inputs, nodes and outputs in their order.
    pub causes: Vec<Problem>,
    /// The number of further nodes that were not checked, because they depend on something refused.
    pub behind: usize,
}

/// One reason why a graph cannot be imported.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The input, output, initializer or node, by its name.
    pub place: String,
    /// The operator, if the place is a node.
    pub op: Option<String>,
    /// Why it is refused.
    pub reason: Refusal,
}

/// Why a node, an input, an output or an initializer is refused.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Refusal {
    /// Valid ONNX that Sonar does not support.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// ONNX does not allow it.
    #[error("invalid: {0}")]
    Invalid(String),
}

impl Refusal {
    /// A refusal of valid ONNX.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Refusal::Unsupported(what.into())
    }

    /// A refusal of invalid ONNX.
    pub fn invalid(what: impl Into<String>) -> Self {
        Refusal::Invalid(what.into())
    }
}

impl From<TypeError> for Refusal {
    fn from(error: TypeError) -> Self {
        Refusal::Invalid(error.0)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.op {
            Some(op) => write!(f, "{op} `{}`: {}", self.place, self.reason),
            None => write!(f, "`{}`: {}", self.place, self.reason),
        }
    }
}

impl Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.causes.len() {
            1 => f.write_str("1 problem stands in the way:")?,
            count => write!(f, "{count} problems stand in the way:")?,
        }
        self.causes.iter().try_for_each(|problem| write!(f, "\n  {problem}"))?;
        match self.behind {
            0 => Ok(()),
            1 => f.write_str("\n  1 more node depends on these and was not looked at"),
            count => write!(f, "\n  {count} more nodes depend on these and were not looked at"),
        }
    }
}
