//! The kinds of records: trials of schedules, verdicts on them, and graphs of networks.
//!
//! Here schedules and graphs are values. Only the file and the lines of JSON store them as text.

use crate::timing::job::{Cache, Outcome};
use crate::timing::stats;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sonar_ir::Graph;
use sonar_ir::schedule::Schedule;
use std::time::{SystemTime, UNIX_EPOCH};

/// The key of a record. Measurements are comparable if their keys are equal.
///
/// Two conditions are not part of the key. Pinning follows from `threads`: a kernel with one thread is pinned to one processor.
/// Cache sizes follow from `target`, which includes the name of the processor: cold kernels start with its caches evicted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The computation: the [`digest`] of a task's canonical program, or of a network's graph.
    pub task: String,
    /// The instruction set and the processor, from `sonar_codegen::Target::key`.
    pub target: String,
    /// Number of threads.
    pub threads: usize,
    /// Version of the code generator.
    pub compiler: String,
    /// Where the kernel found its data.
    #[serde(default)]
    pub cache: Cache,
}

/// One measurement of one schedule alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was measured and under which conditions.
    #[serde(flatten)]
    pub key: Key,
    /// The schedule.
    #[serde(with = "as_text")]
    pub schedule: Schedule,
    /// The outcome.
    pub outcome: Outcome,
    /// Seconds that the measurement took.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub at: f64,
}

/// The result of a comparison of schedules of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was measured and under which conditions.
    #[serde(flatten)]
    pub key: Key,
    /// The setting of the comparison.
    pub setting: Setting,
    /// The schedules, the best first.
    pub contenders: Vec<Contender>,
    /// Seconds that the comparison took.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub at: f64,
}

/// How schedules are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Each kernel alone, the schedules in turns.
    Alone,
    /// Inside a network.
    Network,
}

/// A schedule in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// The schedule.
    #[serde(with = "as_text")]
    pub schedule: Schedule,
    /// Nanoseconds of one call, in order of measurement.
    pub samples: Vec<f64>,
}

/// A graph that a network can be rewritten to, with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// The network and the conditions.
    #[serde(flatten)]
    pub key: Key,
    /// The rewritten graph.
    #[serde(with = "graph_as_text")]
    pub graph: Graph,
    /// Nanoseconds of one run, in order of measurement.
    pub samples: Vec<f64>,
    /// Whether it was the fastest in its comparison.
    pub won: bool,
    /// When the comparison ended, in seconds since 1970.
    pub at: f64,
}

/// Any record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// A trial.
    Trial(Trial),
    /// A verdict.
    Verdict(Verdict),
    /// A graph of a network.
    Network(NetworkRecord),
}

/// A recorded schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The schedule.
    pub schedule: Schedule,
    /// Nanoseconds of one call, from its latest measurement.
    pub samples: Vec<f64>,
    /// Whether it was compared with others in turns. Otherwise it was timed alone.
    pub compared: bool,
}

impl Known {
    /// The median of its samples, in nanoseconds.
    pub fn time(&self) -> f64 {
        stats::median(&self.samples)
    }
}

impl Setting {
    /// The name under which it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Alone => "alone",
            Setting::Network => "network",
        }
    }

    /// The setting with a name.
    pub fn named(name: &str) -> Option<Setting> {
        [Setting::Alone, Setting::Network].into_iter().find(|setting| setting.name() == name)
    }
}

impl Record {
    /// Its key.
    pub fn key(&self) -> &Key {
        match self {
            Record::Trial(trial) => &trial.key,
            Record::Verdict(verdict) => &verdict.key,
            Record::Network(network) => &network.key,
        }
    }
}

/// A short id for a long text: the first 128 bits of its SHA-256, in hexadecimal.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Stores values with a text form as text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Stores graphs as text.
mod graph_as_text {
    pub use super::as_text::serialize;
    use serde::{Deserialize, Deserializer, de::Error};
    use sonar_ir::Graph;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Graph, D::Error> {
        sonar_ir::text::parse_graph(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
