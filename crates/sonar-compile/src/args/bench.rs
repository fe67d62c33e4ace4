//! Options of `bench`.

use super::values::parse_count;
use super::{DataArgs, ModelArgs, TargetArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How timings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BenchFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document, with every sample.
    Json,
    /// One line for each model, or with --profile for each kernel.
    Csv,
    /// Tables for a page.
    Markdown,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// More models, timed in turns with the first and compared with it
    #[arg(value_name = "OTHERS")]
    pub others: Vec<PathBuf>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Runs before the first timed one
    #[arg(long, default_value_t = 20)]
    pub warmup: usize,
    /// Number of timed runs
    #[arg(long, default_value_t = 200, value_parser = parse_count)]
    pub runs: usize,
    /// Time each kernel, too, and compare it with what the measured arithmetic and bandwidth of the machine allow
    #[arg(long)]
    pub profile: bool,
    /// Write a page about the kernels: their time, rooflines, schedules, loops and code, in one HTML file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write when each thread ran which kernel in the fastest of the runs, as a trace for Perfetto or Chrome
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// For other programs: for each line `W N` on standard input, run W times, then N times, and print these N times in nanoseconds
    #[arg(long)]
    pub serve: bool,
    #[command(flatten)]
    pub data: DataArgs,
    /// Where to write outputs: FILE, or NAME=FILE for one of several (repeatable) [default: not written]
    ///
    /// A `.npy` file takes one output, a `.npz` file all of them by name. Any other file is raw, in the form of raw inputs.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub output: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: BenchFormat,
}
