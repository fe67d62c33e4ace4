//! What can be said on the command line.

mod bench;
mod compile;
pub mod config_file;
mod db;
mod inspect;
mod model;
mod run;
mod search;
mod tune;
mod values;

pub use bench::{BenchArgs, BenchFormat};
pub use compile::{CompileArgs, Emit, ExportArgs};
pub use db::{DbAction, DbArgs, RecordsArg, TopArgs};
pub use inspect::{InspectArgs, Pick, Stage};
pub use model::{DataArgs, ModelArgs, TargetArgs};
pub use run::RunArgs;
pub use search::{ReportArgs, ResumeArgs, SearchArgs, SearchOptions};
pub use tune::TuneArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// What estimates of time assume of the machine: a JSON file, as `doctor --format json` prints it, or `usual` for a common
    /// processor [default: this machine, measured once, or for another target the usual one]
    #[arg(long, global = true, value_name = "FILE", env = "SONAR_MACHINE", hide_env_values = true)]
    pub machine: Option<PathBuf>,
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

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Compare a kernel with itself so many times, and say how often a difference is found
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "50")]
    pub aa: Option<usize>,
    /// Measure anew what estimates of time assume of this machine, and keep that
    #[arg(long, conflicts_with = "machine")]
    pub measure: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
