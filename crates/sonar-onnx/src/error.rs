//! What can be wrong with an ONNX file.

use sonar_ir::infer::TypeError;
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Why a file cannot be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The model or one of its data files cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The model's file is too large.
    #[error("{} has {size} bytes; an ONNX file has at most {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// The bytes are not those of an ONNX model.
    #[error("not an ONNX model: {0}")]
    Malformed(String),
    /// The operators are of a version that is not supported.
    #[error("the model uses version {found} of ONNX's operators; {} to {} are supported", crate::OPSETS.start(), crate::OPSETS.end())]
    Opset {
        /// The version.
        found: i64,
    },
    /// The options do not fit the model.
    #[error("{0}")]
    Options(String),
    /// Everything that stands in the way of importing the graph, in its order.
    #[error("{} in the way:{}", Count(.0.len()), List(.0))]
    Problems(Vec<Problem>),
}

/// One thing that stands in the way of importing a graph.
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
    /// ONNX allows it, and Sonar cannot do it.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// ONNX does not allow it.
    #[error("invalid: {0}")]
    Invalid(String),
}

impl Refusal {
    /// A refusal of what ONNX allows.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Refusal::Unsupported(what.into())
    }

    /// A refusal of what ONNX does not allow.
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

/// A number of problems, with its noun and verb.
struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 problem stands"),
            n => write!(f, "{n} problems stand"),
        }
    }
}

/// Problems, one a line.
struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
