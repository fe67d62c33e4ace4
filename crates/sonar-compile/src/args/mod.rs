//! The command line.

mod bench;
mod compile;
pub mod config_file;
mod db;
mod inspect;
mod model;
mod run;
mod search;
mod train;
mod tune;
mod values;

pub use bench::{BenchArgs, BenchFormat};
pub use compile::{CompileArgs, Emit, ExportArgs};
pub use db::{DbAction, DbArgs, RecordsArg, TopArgs};
pub use inspect::{InspectArgs, Pick, Stage};
pub use model::{DataArgs, ModelArgs, TargetArgs};
pub use run::RunArgs;
pub use search::{ReportArgs, ResumeArgs, SearchArgs, SearchOptions};
pub use train::{Rule, TrainArgs};
pub use tune::TuneArgs;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use values::parse_count;

/// Finds the neural networks with the best trade-off between accuracy and measured latency on this machine.
#[derive(Debug, Parser)]
#[command(name = "sonar-compile", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success, 1 internal error, 2 wrong command line, 3 bad input or not supported, 4 no valid \n\
    candidate, 5 outputs differ, 6 out of time without a result, 130 interrupted, results so far are saved."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print more details; use it twice for all details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Machine parameters for time estimates: a JSON file in the format of `doctor --format json`, or `usual` for a common
    /// processor [default: this machine, measured once; for another target, `usual`]
    #[arg(long, global = true, value_name = "FILE", env = "SONAR_MACHINE", hide_env_values = true)]
    pub machine: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line of the process, or exits with a message.
    pub fn read() -> Cli {
        let matches = with_negative_numbers(Cli::command()).get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Lets the options of a command take negative values such as `-1`. Then the error message says that the value is out of range,
/// and not that there is no such option.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let negative = |arg: clap::Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    command.mut_args(negative).mut_subcommands(with_negative_numbers)
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Search a space for the best networks, or continue an earlier run of the same search
    Search(SearchArgs),
    /// Continue a run with its own settings
    Resume(ResumeArgs),
    /// Train a classifier on labelled images, or fine-tune an ONNX file
    Train(TrainArgs),
    /// Make a model faster: search the schedules of its kernels and record them
    Tune(TuneArgs),
    /// Compile a model and print a summary, or write it to files for other programs
    Compile(CompileArgs),
    /// Run a model once, on given or random inputs
    Run(RunArgs),
    /// Time compiled models
    Bench(BenchArgs),
    /// Print an intermediate stage of a model, or count the networks of a space
    Inspect(InspectArgs),
    /// Check a model or a space for errors without compiling it
    Check(ModelArgs),
    /// Write a model as an ONNX file
    Export(ExportArgs),
    /// Write the report of a run: one HTML file, and its pictures as SVG files
    Report(ReportArgs),
    /// Print, merge, prune, export, import, check or recover tuning records
    Db(DbArgs),
    /// Print a description of this machine and whether its timings are reliable
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
    /// Compare a kernel with itself this many times, and print how often a difference is reported
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "50", value_parser = parse_count)]
    pub aa: Option<usize>,
    /// Measure the machine parameters for time estimates again, and store them
    #[arg(long, conflicts_with = "machine")]
    pub measure: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        with_negative_numbers(Cli::command()).debug_assert();
    }
}
