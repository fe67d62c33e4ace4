//! Everything known of one candidate.

use crate::candidates::Candidate;
use crate::candidates::measured::{Epoch, Latency};
use crate::pareto::Point;
use crate::state::plan::CostMetric;
use serde::{Deserialize, Serialize};

/// Where a candidate is in the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// Still in it, or among the finalists at its end.
    Alive,
    /// Others were better.
    Dropped,
    /// Time did not suffice.
    Cut,
    /// It could not be evaluated.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Everything known of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateHistory {
    /// The candidate.
    pub candidate: Candidate,
    /// Where it is in the search.
    pub status: Status,
    /// The last rung it entered.
    pub rung: usize,
    /// Learning curve; epoch `i + 1` at index `i`.
    pub curve: Vec<Epoch>,
    /// Tuning curve, with growing numbers of trials.
    pub tuning: Vec<Latency>,
    /// The confirmed latency of a finalist.
    pub measured: Option<Latency>,
}

impl CandidateHistory {
    /// Epochs it has behind it.
    pub fn epochs(&self) -> usize {
        self.curve.len()
    }

    /// Trials its kernels have behind them, or nothing if it was never timed.
    pub fn trials(&self) -> Option<usize> {
        self.tuning.last().map(|l| l.trials)
    }

    /// The best knowledge of its latency.
    pub fn latency(&self) -> Option<Latency> {
        self.measured.or(self.tuning.last().copied())
    }

    /// Its accuracy and cost, if both are known.
    pub fn point(&self, cost: CostMetric) -> Option<Point> {
        let cost = match cost {
            CostMetric::Latency => self.latency()?.median_ns,
            CostMetric::Flops => self.candidate.description.flops as f64,
        };
        Some(Point { accuracy: self.curve.last()?.accuracy, cost })
    }
}
