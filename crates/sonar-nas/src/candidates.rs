//! Candidates: architectures of a space, their descriptions and their measurements.

pub mod describe;
pub mod draw;
pub mod measured;
pub mod order;

use serde::{Deserialize, Serialize};
use sonar_ir::space::Assignment;
use std::fmt;

/// Number of a candidate within its search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CandidateId(pub u32);

/// What is known about an architecture without training or timing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Equal for two architectures that compute the same function.
    pub key: String,
    /// Number of trained parameters.
    pub parameters: u64,
    /// Floating-point operations of one inference. A multiply-add counts as two.
    pub flops: u64,
    /// The choice made for each decision, with the name of the decision, in the order of the space.
    pub decisions: Vec<(String, String)>,
}

/// One architecture of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its number.
    pub id: CandidateId,
    /// Its point in the space.
    pub assignment: Assignment,
    /// What is known without training or timing.
    pub description: Description,
}

impl CandidateId {
    /// Position in a list of all candidates.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}
