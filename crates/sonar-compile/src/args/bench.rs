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
    /// One line for each model, or for each kernel with --profile.
    Csv,
    /// Markdown tables.
    Markdown,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// More models, timed in turns with the first model and compared with it
    #[arg(value_name = "OTHERS")]
    pub others: Vec<PathBuf>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Untimed runs before the first timed one
    #[arg(long, default_value_t = 20)]
    pub warmup: usize,
    /// Number of timed runs
    #[arg(long, default_value_t = 200, value_parser = parse_count)]
    pub runs: usize,
    /// Also time each kernel, and compare it with the limits of the machine's measured arithmetic and bandwidth
    #[arg(long)]
    pub profile: bool,
    /// Write one HTML page about the kernels: their time, rooflines, schedules, loops and code
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a trace of the fastest run for Perfetto or Chrome: which thread ran which kernel, and when
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// For other programs: for each line `W N` on standard input, run W times untimed, then N times, and print these N times in
    /// nanoseconds
    #[arg(long)]
    pub serve: bool,
    #[command(flatten)]
    pub data: DataArgs,
    /// Where to write outputs: FILE, or NAME=FILE for one of several (repeatable) [default: not written]
    ///
    /// A `.npy` file takes one output. A `.npz` or `.safetensors` file takes all outputs by name. Any other file is raw, in
    /// the same format as raw inputs.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub output: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: BenchFormat,
}
