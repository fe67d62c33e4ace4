//! Candidates: architectures of a space, and what is known and measured of them.

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

/// What is known of an architecture without training or timing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Equal for two architectures that are the same function.
    pub key: String,
    /// Learnt numbers.
    pub parameters: u64,
    /// Floating-point operations of one inference, a multiplication and an addition counting as two.
    pub flops: u64,
    /// Name of each decision with the choice made, in the order of the space.
    pub decisions: Vec<(String, String)>,
}

/// One architecture of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its number.
    pub id: CandidateId,
    /// Its place in the space.
    pub assignment: Assignment,
    /// What is known of it.
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
