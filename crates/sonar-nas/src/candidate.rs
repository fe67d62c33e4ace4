//! Candidates, and what is measured of them.

use serde::{Deserialize, Serialize};
use sonar_ir::space::Assignment;
use std::fmt;
use std::ops::{Add, AddAssign, Mul};

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

/// One point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// How many passes over the training set the model has behind it.
    pub epoch: usize,
    /// Mean loss over the last pass.
    pub train_loss: f64,
    /// Share of the validation set that is classified rightly, in `0..=1`.
    pub accuracy: f64,
    /// Wall-clock seconds of the last pass and its validation.
    pub seconds: f64,
}

/// How long one inference takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median in nanoseconds.
    pub median_ns: f64,
    /// Lower end of the confidence interval of the median.
    pub low_ns: f64,
    /// Upper end of the confidence interval of the median.
    pub high_ns: f64,
    /// How many schedules had been tried for each kernel of the model.
    pub trials: usize,
}

/// Wall-clock seconds by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Training and validation.
    pub training: f64,
    /// Timing kernels and models, and choosing what to time.
    pub tuning: f64,
    /// Lowering, machine code, memory planning.
    pub compiling: f64,
    /// Equality saturation.
    pub rewriting: f64,
    /// Everything else.
    pub other: f64,
}

impl Cost {
    /// All seconds.
    pub fn total(&self) -> f64 {
        self.training + self.tuning + self.compiling + self.rewriting + self.other
    }
}

impl Add for Cost {
    type Output = Cost;

    fn add(self, rhs: Cost) -> Cost {
        Cost {
            training: self.training + rhs.training,
            tuning: self.tuning + rhs.tuning,
            compiling: self.compiling + rhs.compiling,
            rewriting: self.rewriting + rhs.rewriting,
            other: self.other + rhs.other,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, rhs: Cost) {
        *self = *self + rhs;
    }
}

impl Mul<f64> for Cost {
    type Output = Cost;

    fn mul(self, factor: f64) -> Cost {
        Cost {
            training: self.training * factor,
            tuning: self.tuning * factor,
            compiling: self.compiling * factor,
            rewriting: self.rewriting * factor,
            other: self.other * factor,
        }
    }
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
