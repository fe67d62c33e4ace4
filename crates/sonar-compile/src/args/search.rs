//! Options of `search`, `resume` and `report`.

use super::Format;
use super::values::{duration, parse_duration};
use clap::Args;
use serde::Deserialize;
use sonar_train::TrainConfig;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub options: SearchOptions,
    /// TOML file with any of the options above, by their long names; flags and environment win over it
    #[arg(long, env = "SONAR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Forget an earlier run in the same directory
    #[arg(long)]
    pub fresh: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What a search can be told on the command line and in a configuration file.
#[derive(Debug, Default, Clone, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SearchOptions {
    /// Search space: a `.sonar` file [default: the built-in NAS-Bench-201 space, reduced]
    pub space: Option<PathBuf>,
    /// Data: `fashion-mnist` (a subset, built in), or a folder of IDX files or CIFAR-10 batches
    #[arg(long, env = "SONAR_DATA")]
    pub data: Option<String>,
    /// How to search: sonar, random, brute-force, sequential [default: sonar]
    #[arg(long)]
    pub algorithm: Option<String>,
    /// Wall-clock limit, such as 90s, 10m, 2h [default: 6m]
    #[arg(long, value_parser = parse_duration)]
    #[serde(deserialize_with = "duration")]
    pub time: Option<Duration>,
    /// Seed of everything random [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads for training [default: all]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Threads of one inference when its latency is measured [default: 1]
    #[arg(long)]
    pub latency_threads: Option<usize>,
    /// Processor to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4 [default: native]
    #[arg(long, env = "SONAR_TARGET")]
    pub target: Option<String>,
    /// Run directory [default: runs/SPACE]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Most accurate under this latency in microseconds, instead of the whole Pareto front
    #[arg(long, value_name = "MICROSECONDS")]
    pub latency_limit: Option<f64>,
    /// How many architectures to sample, at most [default: 96]
    #[arg(long)]
    pub candidates: Option<usize>,
    /// Epochs of full training, at most [default: 9]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Trials of full tuning for each kernel, at most [default: 64]
    #[arg(long)]
    pub trials: Option<usize>,
    /// A parameter of the space, such as channels=16 (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How candidates are trained; in a configuration file only.
    #[arg(skip)]
    pub training: Option<TrainConfig>,
}

impl SearchOptions {
    /// These options, and those of `other` where nothing is said here.
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
            // The last setting of a parameter counts.
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
