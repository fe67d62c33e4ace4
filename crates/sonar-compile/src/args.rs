//! What can be said on the command line.

mod bench;
mod inspect;

pub use bench::{BenchArgs, BenchFormat};
pub use inspect::{InspectArgs, Pick, Stage};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Deserializer};
use sonar_codegen::Fault;
use sonar_measure::Cache;
use sonar_train::TrainConfig;
use sonar_tune::Level;
use std::path::PathBuf;
use std::time::Duration;

/// Finds the neural networks that are best on accuracy and on measured latency after tuning, on this machine.
#[derive(Debug, Parser)]
#[command(name = "sonar-compile", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 ok, 1 internal error, 2 usage, 3 bad input or unsupported, 4 no valid candidate,\n\
    5 output mismatch, 6 budget ended without a result, 130 interrupted after saving.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No progress on stderr.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Search a space of architectures and their schedules together; going on where an earlier run was stopped
    Search(SearchArgs),
    /// Go on with a run, with the settings it was started with
    Resume(ResumeArgs),
    /// Search the schedules of one model's kernels
    Tune(TuneArgs),
    /// Compile a model and say what came of it
    Compile(CompileArgs),
    /// Run a model once on given or random input
    Run(RunArgs),
    /// Time a compiled model
    Bench(BenchArgs),
    /// Print any stage of a model between its text and its machine code, or count a search space
    Inspect(InspectArgs),
    /// Check a model or space for errors, without compiling it
    Check(ModelArgs),
    /// Write a model as an ONNX file
    Export(ExportArgs),
    /// Write the report of a run: one HTML file, and its pictures as SVG files
    Report(ReportArgs),
    /// Look at the tuning records, bring files of them together, keep them small, or save a damaged one
    Db(DbArgs),
    /// Say what this machine is and whether it measures well
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Serve measurements over standard input and output
    #[command(hide = true)]
    Worker,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

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

/// Which model: a description, possibly one architecture of a space, or an ONNX file.
#[derive(Debug, Args, Clone)]
pub struct ModelArgs {
    /// A `.sonar` model or space, or an ONNX file
    pub model: PathBuf,
    /// The shape of an input of an ONNX file that leaves it open, such as image=1,3,224,224 (repeatable)
    #[arg(long = "shape", value_name = "NAME=EXTENTS", value_parser = parse_shape)]
    pub shapes: Vec<(String, Vec<usize>)>,
    /// The architecture, if MODEL is a space: `baseline`, or decisions such as "e0=skip e1=none"
    #[arg(long)]
    pub arch: Option<String>,
    /// A parameter of the space, such as c=16 (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// What to compile for.
#[derive(Debug, Args, Clone)]
pub struct TargetArgs {
    /// What to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4, or a triple such as aarch64-unknown-linux-gnu
    #[arg(long, default_value = "native", env = "SONAR_TARGET")]
    pub target: String,
    /// Processor of that architecture: x86-64-v2, x86-64-v3, x86-64-v4, generic, rv64gc, rv64gcv [default: the least one]
    #[arg(long)]
    pub cpu: Option<String>,
    /// Threads that one inference uses
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Images in one inference, where the model leaves it open
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// How far the graph is rewritten
    #[arg(long, value_enum, default_value_t)]
    pub rewrite: Rewrite,
    /// The same as --rewrite written
    #[arg(long, hide = true, conflicts_with = "rewrite")]
    no_rewrite: bool,
    /// Rewrite rules beside the built-in ones, in a text file: `rule @name exact: relu(neg(%x)) => …`; each is checked first
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Largest error that rounding may cause, over the largest output; `exact` forbids algorithms that round more than sums do
    #[arg(long, value_parser = parse_tolerance, default_value = "1e-4")]
    pub tolerance: f64,
    /// Tuning records [default: one database for this machine]
    #[arg(long, env = "SONAR_RECORDS")]
    pub records: Option<PathBuf>,
}

/// How far a graph is rewritten before it is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Rewrite {
    /// Not at all, and every operator is a kernel of its own.
    Unfused,
    /// Not at all; elementwise operators join the kernels of their neighbours.
    Written,
    /// Only what folds elementwise operators and constants into their neighbours.
    Fusion,
    /// By equality saturation with all rules.
    #[default]
    Full,
}

impl TargetArgs {
    /// How far the graph is rewritten.
    pub fn level(&self) -> Level {
        match self.rewrite {
            _ if self.no_rewrite => Level::Written,
            Rewrite::Unfused => Level::Unfused,
            Rewrite::Written => Level::Written,
            Rewrite::Fusion => Level::Fusion,
            Rewrite::Full => Level::Full,
        }
    }
}

/// Options of `tune`.
#[derive(Debug, Args)]
pub struct TuneArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Wall-clock limit, such as 30s or 5m
    #[arg(long, value_parser = parse_duration, default_value = "60s")]
    pub time: Duration,
    /// Trials for each kernel
    #[arg(long, default_value_t = 200)]
    pub trials: u32,
    /// Trials of a kernel without a gain of more than 1% after which its search ends [default: no such end]
    #[arg(long)]
    pub patience: Option<u32>,
    /// Seed of the search
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where kernels find their data when they are timed: `warm`, as the call before left them, or `cold`, outside the caches of a core
    #[arg(long, default_value_t = Cache::default())]
    pub cache: Cache,
    /// Faults to plant into candidates, for tests of the search; `none` leaves some of them sound
    #[arg(long, hide = true, value_parser = parse_fault, value_delimiter = ',')]
    pub plant: Vec<Planting>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What is planted into a candidate: a fault, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Planting(pub Option<Fault>);

/// Reads the name of a fault, or `none`.
fn parse_fault(name: &str) -> Result<Planting, String> {
    if name == "none" { Ok(Planting(None)) } else { name.parse().map(|fault| Planting(Some(fault))) }
}

/// A file that `compile` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// An object file, STEM.o, with code and weights.
    Object,
    /// The object in an archive, STEM.a.
    StaticLib,
    /// A shared library, STEM.so, linked by the system's C compiler.
    SharedLib,
    /// A header for C and C++, STEM.h.
    Header,
    /// A description for programs, STEM.json.
    Manifest,
}

/// Options of `compile`.
#[derive(Debug, Args)]
pub struct CompileArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Files to write, for programs without Sonar (repeatable)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub emit: Vec<Emit>,
    /// Where to write them: DIR/STEM, to which endings are added [default: the model's name]
    #[arg(short, long, value_name = "DIR/STEM")]
    pub out: Option<PathBuf>,
    /// What the functions' names begin with [default: the model's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Weights, as one raw little-endian f32 file in the order of the parameters [default: those of an ONNX file, or random]
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Seed of random weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The ONNX file to write
    #[arg(short, long)]
    pub output: PathBuf,
    /// Bind the batch N to this [default: left open, 1 where an ONNX file leaves it open]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Weights, as one raw little-endian f32 file in the order of the parameters [default: those of an ONNX file, or random]
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Seed of random weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// What a model is run on.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Raw little-endian f32 input [default: random]
    #[arg(long)]
    pub input: Option<PathBuf>,
    /// Weights, as one raw little-endian f32 file in the order of the parameters [default: those of an ONNX file, or random]
    #[arg(long)]
    pub weights: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub data: DataArgs,
    /// Where to write the raw little-endian f32 output [default: printed]
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Seed of random weights and input
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Compare with the reference interpreter; exit 5 if the relative error is above this
    #[arg(long, value_name = "TOLERANCE", num_args = 0..=1, default_missing_value = "1e-4")]
    pub check: Option<f64>,
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

/// Options of `db`.
#[derive(Debug, Args)]
pub struct DbArgs {
    #[command(subcommand)]
    pub action: DbAction,
}

/// The subcommands of `db`.
#[derive(Debug, Subcommand)]
pub enum DbAction {
    /// Print the best schedules on record: of one task, of a model, or a list of all tasks
    Top(Box<TopArgs>),
    /// Add the trials of other files of records; those that are known are not added again
    Merge {
        /// Files of records
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Remove all trials but the best, and all of other versions of the compiler; and make the file smaller
    Prune {
        /// How many schedules of each task are kept
        #[arg(long, default_value_t = 8)]
        keep: usize,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Write all trials, one line of JSON each
    Export {
        /// The file to write [default: printed]
        #[arg(short, long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Add trials that `export` wrote
    Import {
        /// Files with a trial on each line
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Save what can be read of a damaged file into a new one
    Recover {
        /// The damaged file; it is not changed
        file: PathBuf,
        /// The file to write, which must not exist
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Read everything and compare it with its checksums
    Check {
        #[command(flatten)]
        records: RecordsArg,
    },
}

/// Which records.
#[derive(Debug, Args, Clone)]
pub struct RecordsArg {
    /// Tuning records [default: one database for this machine]
    #[arg(long, env = "SONAR_RECORDS")]
    pub records: Option<PathBuf>,
}

/// Options of `db top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// A task, by the beginning of its name in the records [default: all]
    #[arg(conflicts_with = "model")]
    pub task: Option<String>,
    /// The tasks of a model: a `.sonar` model or space, or an ONNX file
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// As for `tune`
    #[arg(long = "shape", value_name = "NAME=EXTENTS", value_parser = parse_shape, requires = "model")]
    pub shapes: Vec<(String, Vec<usize>)>,
    /// As for `tune`
    #[arg(long, requires = "model")]
    pub arch: Option<String>,
    /// As for `tune`
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "model")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Schedules of each task
    #[arg(short = 'k', long, default_value_t = 5)]
    pub count: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Compare a kernel with itself so many times, and say how often a difference is found
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "50")]
    pub aa: Option<usize>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A number from 0 to 1, or `exact`, which is 0.
fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        _ if text == "exact" => Ok(0.0),
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1, such as 1e-4, or `exact`".to_string()),
    }
}

/// Reads `90s`, `10m`, `1.5h`, or a plain number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(i) => text.split_at(i),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}`: write a number followed by ms, s, m or h, such as 10m")),
    };
    let seconds =
        number.trim().parse::<f64>().map_err(|_| format!("`{number}` is not a number: write it like 90s, 10m or 1.5h"))? * scale;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| !d.is_zero() && d.as_secs_f64() < 1e8)
        .ok_or_else(|| format!("`{text}` is not a length of time above zero"))
}

/// Reads `NAME=EXTENTS`; the name may hold any character.
pub fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let form = || "expected NAME=EXTENTS, such as image=1,3,224,224".to_string();
    let (name, extents) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(form)?;
    let extents = extents.split(',').map(|e| e.trim().parse().ok().filter(|&e: &usize| e > 0));
    Ok((name.to_string(), extents.collect::<Option<_>>().ok_or_else(form)?))
}

/// [`parse_duration`] for configuration files.
fn duration<'de, D: Deserializer<'de>>(file: D) -> Result<Option<Duration>, D::Error> {
    parse_duration(&String::deserialize(file)?).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("image=1,3,224,224"), Ok(("image".to_string(), vec![1, 3, 224, 224])));
        assert_eq!(parse_shape("x=0:1=8"), Ok(("x=0:1".to_string(), vec![8])));
        for bad in ["", "image", "=1", "image=", "image=1,", "image=0", "image=-1", "image=a", "image=99999999999999999999"] {
            assert!(parse_shape(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("10m").unwrap().as_secs(), 600);
        assert_eq!(parse_duration("250ms").unwrap().as_millis(), 250);
        assert_eq!(parse_duration("7").unwrap().as_secs(), 7);
        for bad in ["", "m", "-3s", "5 parsecs", "0s", "NaN", "1e300h"] {
            assert!(parse_duration(bad).is_err(), "{bad} was accepted");
        }
    }
}
