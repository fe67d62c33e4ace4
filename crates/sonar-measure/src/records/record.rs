//! What is recorded: trials of schedules, verdicts on them, and graphs of networks.
//!
//! Schedules and graphs are values here. They are text in the file and in lines of JSON only.

use crate::timing::job::{Cache, Outcome};
use crate::timing::stats;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sonar_ir::Graph;
use sonar_ir::schedule::Schedule;
use std::time::{SystemTime, UNIX_EPOCH};

/// What decides whether two measurements are comparable.
///
/// Two conditions follow from `threads` and so are no part of it: a kernel of one thread is kept on one processor, and the target
/// names the processor whose caches a cold kernel does not find its data in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Which computation: the [`digest`] of a task's canonical program, or of a network's graph.
    pub task: String,
    /// For which instruction set, and on which processor: as `sonar_codegen::Target::key` tells.
    pub target: String,
    /// On how many threads.
    pub threads: usize,
    /// By which version of the code generator.
    pub compiler: String,
    /// Where the kernel found its data.
    #[serde(default)]
    pub cache: Cache,
}

/// One measurement of one schedule, alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was measured, and where.
    #[serde(flatten)]
    pub key: Key,
    /// The schedule.
    #[serde(with = "as_text")]
    pub schedule: Schedule,
    /// What came of it.
    pub outcome: Outcome,
    /// What the measurement cost, in seconds.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub at: f64,
}

/// The outcome of a comparison of schedules of one task: which one is the best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was measured, and where.
    #[serde(flatten)]
    pub key: Key,
    /// How they were compared.
    pub setting: Setting,
    /// The schedules, the best first.
    pub contenders: Vec<Contender>,
    /// What the comparison cost, in seconds.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub at: f64,
}

/// How schedules are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// The kernel alone, the schedules in turns.
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
    /// Which network, and where it was timed.
    #[serde(flatten)]
    pub key: Key,
    /// The rewritten graph.
    #[serde(with = "graph_as_text")]
    pub graph: Graph,
    /// Nanoseconds of one run, in order of measurement.
    pub samples: Vec<f64>,
    /// Whether it was the fastest of its comparison.
    pub won: bool,
    /// When the comparison ended, in seconds since 1970.
    pub at: f64,
}

/// Anything that is recorded.
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

/// A schedule on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The schedule.
    pub schedule: Schedule,
    /// Nanoseconds of one call, from its latest measurement.
    pub samples: Vec<f64>,
    /// Whether it was compared with others in turns, rather than timed alone.
    pub compared: bool,
}

impl Known {
    /// The median of its samples, in nanoseconds.
    pub fn time(&self) -> f64 {
        stats::median(&self.samples)
    }
}

impl Setting {
    /// The name by which it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Alone => "alone",
            Setting::Network => "network",
        }
    }

    /// The setting of a name.
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

/// A short name for a long text: 128 bits of its SHA-256, in hexadecimal.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Values that print and parse, as text.
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

/// Graphs as text.
mod graph_as_text {
    pub use super::as_text::serialize;
    use serde::{Deserialize, Deserializer, de::Error};
    use sonar_ir::Graph;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Graph, D::Error> {
        sonar_ir::text::parse_graph(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
