//! Algorithms, objectives, and limits of a search.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a search decides what to spend time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Fully trains and tunes the first candidates drawn, as many as `sonar` would have finalists. Under a time limit, as many
    /// as fit.
    Random,
    /// Fully trains and tunes the whole sample.
    BruteForce,
    /// Architecture search first: successive halving on accuracy and operation count. Then tunes the survivors.
    Sequential,
    /// Successive halving on accuracy and latency. Both training and tuning grow from rung to rung.
    Sonar,
    /// Successive halving on accuracy and the latency of default schedules. Then tunes the survivors.
    UntunedLatency,
    /// Like `sonar`, but every candidate is fully tuned at once: only training stops early.
    StopTrainingOnly,
    /// Like `sonar`, but every candidate is fully trained at once: only tuning stops early.
    StopTuningOnly,
}

/// What makes one candidate better than another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Higher accuracy and lower latency, without weights.
    Pareto,
    /// Highest accuracy among candidates within this latency.
    LatencyLimit {
        /// In nanoseconds.
        ns: f64,
    },
}

/// The settings of a search. Together with the results of the evaluator they determine its course.
///
/// The serialised form has the names and units of the command line: `time` in seconds, `latency-limit` in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The objective.
    #[serde(rename = "latency-limit", with = "limit_in_microseconds")]
    pub objective: Objective,
    /// Wall-clock limit of the whole search, over all its sessions. Without a limit, everything below is done in full.
    #[serde(rename = "time")]
    pub seconds: Option<f64>,
    /// Seed of the sample.
    pub seed: u64,
    /// Largest number of candidates in the sample.
    pub candidates: usize,
    /// Share of the sample that differs from the baseline in one decision. The rest is drawn from the whole space.
    pub neighbours: f64,
    /// Most epochs of a finalist.
    pub epochs: usize,
    /// Most schedules tried for each kernel of a finalist.
    pub trials: usize,
    /// One of this many candidates survives a rung. At least 2.
    pub eta: usize,
    /// Share of a time limit that is planned for tuning.
    pub tuning_share: f64,
}

/// An objective, serialised as its limit in microseconds or as null.
mod limit_in_microseconds {
    use super::Objective;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(objective: &Objective, serializer: S) -> Result<S::Ok, S::Error> {
        match objective {
            Objective::Pareto => None,
            Objective::LatencyLimit { ns } => Some(ns / 1e3),
        }
        .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Objective, D::Error> {
        let limit = Option::<f64>::deserialize(deserializer)?;
        Ok(limit.map_or(Objective::Pareto, |us| Objective::LatencyLimit { ns: us * 1e3 }))
    }
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::Random,
        Algorithm::BruteForce,
        Algorithm::Sequential,
        Algorithm::Sonar,
        Algorithm::UntunedLatency,
        Algorithm::StopTrainingOnly,
        Algorithm::StopTuningOnly,
    ];
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            algorithm: Algorithm::Sonar,
            objective: Objective::Pareto,
            seconds: Some(360.0),
            seed: 0,
            candidates: 96,
            neighbours: 0.25,
            epochs: 9,
            trials: 64,
            eta: 3,
            tuning_share: 0.06,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Random => "random",
            Algorithm::BruteForce => "brute-force",
            Algorithm::Sequential => "sequential",
            Algorithm::Sonar => "sonar",
            Algorithm::UntunedLatency => "untuned-latency",
            Algorithm::StopTrainingOnly => "stop-training-only",
            Algorithm::StopTuningOnly => "stop-tuning-only",
        })
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Algorithm::ALL.into_iter().find(|a| a.to_string() == text).ok_or_else(|| {
            let names: Vec<String> = Algorithm::ALL.iter().map(Algorithm::to_string).collect();
            format!("unknown algorithm `{text}`; expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_algorithms_read_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.to_string());
        }
        assert!("annealing".parse::<Algorithm>().unwrap_err().contains("sonar"));
    }
}
