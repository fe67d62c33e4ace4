//! Options of `search`, `resume` and `report`.

use super::Format;
use super::values::{count, duration, parse_count, parse_duration, parse_positive, parse_threads, positive, threads};
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub options: SearchOptions,
    /// TOML file with any of the options above, by their long names without `--`; flags and environment variables take
    /// precedence
    #[arg(long, env = "SONAR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Delete an earlier run in the same directory, and start again
    #[arg(long)]
    pub fresh: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Settings of a search, on the command line or in a configuration file.
#[derive(Debug, Default, Clone, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SearchOptions {
    /// Search space: a `.sonar` file [default: the built-in NAS-Bench-201 space, reduced]
    pub space: Option<PathBuf>,
    /// Images: `fashion-mnist` (a built-in part of it), a folder of IDX files, or one of the binary batches of CIFAR-10 or
    /// CIFAR-100 [default: fashion-mnist]
    #[arg(long, env = "SONAR_DATA")]
    pub data: Option<String>,
    /// Search algorithm: sonar, random, brute-force, sequential [default: sonar]
    #[arg(long)]
    pub algorithm: Option<String>,
    /// Time limit, such as 90s, 10m or 2h [default: 6m]
    #[arg(long, value_parser = parse_duration)]
    #[serde(deserialize_with = "duration")]
    pub time: Option<Duration>,
    /// Seed of all random numbers [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads for training [default: all threads of the machine]
    #[arg(long, value_parser = parse_threads)]
    #[serde(deserialize_with = "threads")]
    pub threads: Option<usize>,
    /// Threads of one inference when its latency is measured [default: 1]
    #[arg(long, value_parser = parse_threads)]
    #[serde(deserialize_with = "threads")]
    pub latency_threads: Option<usize>,
    /// Processor to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4 [default: native]
    #[arg(long, env = "SONAR_TARGET")]
    pub target: Option<String>,
    /// Run directory [default: runs/SPACE]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Search for the most accurate network within this latency, instead of the whole front
    #[arg(long, value_name = "MICROSECONDS", value_parser = parse_positive)]
    #[serde(deserialize_with = "positive")]
    pub latency_limit: Option<f64>,
    /// Most architectures to draw from the space [default: 96]
    #[arg(long, value_parser = parse_count)]
    #[serde(deserialize_with = "count")]
    pub candidates: Option<usize>,
    /// Most epochs of training for the best architectures [default: 9]
    #[arg(long, value_parser = parse_count)]
    #[serde(deserialize_with = "count")]
    pub epochs: Option<usize>,
    /// Most schedules to time for each kernel of the best architectures [default: 64]
    #[arg(long)]
    pub trials: Option<usize>,
    /// Set a parameter of the space, such as channels=16 (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// The training configuration; only in a configuration file.
    #[arg(skip)]
    pub training: Option<toml::Table>,
}

impl SearchOptions {
    /// These options, completed by those of `other`.
    pub fn or(self, other: SearchOptions) -> SearchOptions {
        SearchOptions {
            space: self.space.or(other.space),
            data: self.data.or(other.data),
            algorithm: self.algorithm.or(other.algorithm),
            time: self.time.or(other.time),
            seed: self.seed.or(other.seed),
            threads: self.threads.or(other.threads),
            latency_threads: self.latency_threads.or(other.latency_threads),
            target: self.target.or(other.target),
            out: self.out.or(other.out),
            latency_limit: self.latency_limit.or(other.latency_limit),
            candidates: self.candidates.or(other.candidates),
            epochs: self.epochs.or(other.epochs),
            trials: self.trials.or(other.trials),
            // The last setting of a parameter wins.
            set: other.set.into_iter().chain(self.set).collect(),
            training: self.training.or(other.training),
        }
    }
}

/// Options of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Run directory
    pub run: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directory
    #[arg(default_value = "runs/nas-bench-201")]
    pub run: PathBuf,
    /// HTML file [default: report.html in the run directory; pictures beside it]
    #[arg(long)]
    pub out: Option<PathBuf>,
}
