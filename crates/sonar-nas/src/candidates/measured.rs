//! Measurements of candidates: learning curves, latencies, and the time spent on measuring.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Mul};

/// One point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number of training epochs so far.
    pub epoch: usize,
    /// Mean loss over the last epoch.
    pub train_loss: f64,
    /// Accuracy on the validation set, in `0..=1`.
    pub accuracy: f64,
    /// Wall-clock seconds of the last epoch, including validation.
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
    /// Number of schedules tried so far for each kernel of the model.
    pub trials: usize,
}

/// Wall-clock seconds for each purpose.
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
    /// The total in seconds.
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

/// What probing one candidate says about all candidates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Seconds of one epoch, including validation.
    pub epoch: f64,
    /// Seconds from the description to a latency, for one candidate measured by [`Evaluator::measure`].
    pub latency: f64,
}
