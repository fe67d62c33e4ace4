//! The plan of a search: a list of rungs.

use serde::{Deserialize, Serialize};

/// The plan of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// From the whole sample to the finalists.
    pub rungs: Vec<Rung>,
    /// Predicted seconds of all rungs together, if there is a time limit.
    pub seconds: Option<f64>,
}

/// One step of selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Number of members, without the baseline.
    pub size: usize,
    /// Epochs that each member gets.
    pub epochs: usize,
    /// Trials that each member's kernels get, or `None` if members are not timed.
    pub trials: Option<usize>,
    /// The cost by which members are ranked, together with accuracy.
    pub cost_metric: CostMetric,
    /// Seconds after which tuning ends in this rung, if there is a time limit.
    pub tuning_seconds: Option<f64>,
}

/// The cost of using a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostMetric {
    /// Measured time of an inference.
    Latency,
    /// Number of operations.
    Flops,
}
