//! What a search is going to do: a list of rungs.

use serde::{Deserialize, Serialize};

/// What a search does, as far as it can be said before.
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
    /// Members, without the baseline.
    pub size: usize,
    /// Epochs that each member gets.
    pub epochs: usize,
    /// Trials that each member's kernels get; nothing if members are not timed at all.
    pub trials: Option<usize>,
    /// What members are ranked on beside accuracy.
    pub cost_metric: CostMetric,
    /// Seconds after which tuning ends in this rung, if there is a time limit.
    pub tuning_seconds: Option<f64>,
}

/// What a candidate costs whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostMetric {
    /// Measured time of an inference.
    Latency,
    /// Number of operations.
    Flops,
}
