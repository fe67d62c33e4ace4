//! Everything known about one candidate.

use crate::candidates::Candidate;
use crate::candidates::measured::{Epoch, Latency};
use crate::pareto::Point;
use crate::state::plan::CostMetric;
use serde::{Deserialize, Serialize};

/// The status of a candidate in the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// Still in the search, or a finalist at its end.
    Alive,
    /// Others were better.
    Dropped,
    /// There was not enough time.
    Cut,
    /// It could not be evaluated.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// Everything known about one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateHistory {
    /// The candidate.
    pub candidate: Candidate,
    /// Its status in the search.
    pub status: Status,
    /// The last rung it entered.
    pub rung: usize,
    /// Learning curve: epoch `i + 1` is at index `i`.
    pub curve: Vec<Epoch>,
    /// Tuning curve, with growing numbers of trials.
    pub tuning: Vec<Latency>,
    /// The confirmed latency of a finalist.
    pub measured: Option<Latency>,
    /// Its result as a finalist before the search was extended.
    pub reached: Option<Reached>,
}

/// The result of a finalist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// Its accuracy.
    pub accuracy: f64,
    /// Number of training epochs.
    pub epochs: usize,
    /// Epochs of the full training that these belong to.
    pub horizon: usize,
    /// Its confirmed latency.
    pub latency: Latency,
}

impl CandidateHistory {
    /// Number of training epochs so far.
    pub fn epochs(&self) -> usize {
        self.curve.len()
    }

    /// Trials of its kernels so far, or `None` if it was never timed.
    pub fn trials(&self) -> Option<usize> {
        self.tuning.last().map(|l| l.trials)
    }

    /// The best estimate of its latency.
    pub fn latency(&self) -> Option<Latency> {
        self.measured.or(self.tuning.last().copied())
    }

    /// Its accuracy and cost, if both are known.
    pub fn point(&self, metric: CostMetric) -> Option<Point> {
        self.point_at(metric, usize::MAX)
    }

    /// Its accuracy after this many epochs (or after all its epochs, if it has fewer) and its cost, if both are known.
    pub fn point_at(&self, metric: CostMetric, epochs: usize) -> Option<Point> {
        let cost = match metric {
            CostMetric::Latency => self.latency()?.median_ns,
            CostMetric::Flops => self.candidate.description.flops as f64,
        };
        let last = self.curve.len().min(epochs.max(1)).checked_sub(1)?;
        Some(Point { accuracy: self.curve[last].accuracy, cost })
    }

    /// Its result. For a finalist, now or before an extension, the more accurate of the two. Otherwise its current result, if
    /// it is still in the search.
    pub fn reached(&self, horizon: usize) -> Option<Reached> {
        let latency = self.latency();
        let now = self.curve.last().zip(latency).map(|(epoch, latency)| Reached {
            accuracy: epoch.accuracy,
            epochs: self.epochs(),
            horizon,
            latency,
        });
        let now = now.filter(|_| self.status == Status::Alive);
        match (now, self.reached) {
            (Some(now), Some(before)) if self.measured.is_none() || before.accuracy > now.accuracy => Some(before),
            (now, before) => now.or(before),
        }
    }
}
