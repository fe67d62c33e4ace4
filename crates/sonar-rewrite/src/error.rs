//! The errors of rewriting.

use sonar_ir::graph::infer::TypeError;
use sonar_ir::verify::VerifyError;
use thiserror::Error;

/// Why a graph cannot be rewritten.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RewriteError {
    /// The graph is not well-formed.
    #[error("the graph is not well-formed: {0}")]
    Invalid(#[from] VerifyError),
    /// A rewritten graph is ill-typed. This is a bug in a rule.
    #[error("a rewritten graph is ill-typed: {0}")]
    IllTyped(#[from] TypeError),
    /// A requested proof does not hold. This is a bug in a rule or in the proof.
    #[error("the rewriting is not proven: {0}")]
    Unproven(String),
}
