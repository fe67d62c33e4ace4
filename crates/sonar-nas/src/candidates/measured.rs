//! What is measured of candidates: learning curves, latencies, and the seconds that measuring takes.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Mul};

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

/// What a first look at one candidate says of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Seconds of one epoch, validation included.
    pub epoch: f64,
    /// Seconds from the description to a latency, as [`Evaluator::measure`] takes them for one candidate.
    pub latency: f64,
}
