//! Options of `run`.

use super::values::parse_error;
use super::{DataArgs, Format, ModelArgs, TargetArgs};
use clap::Args;
use std::path::PathBuf;

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
    /// Compare with the reference interpreter. If an output differs by more than this share of its largest number, the exit code is 5.
    /// That is another number than --tolerance
    #[arg(long = "check", value_name = "TOLERANCE", num_args = 0..=1, default_missing_value = "1e-4", value_parser = parse_error)]
    pub check_tolerance: Option<f64>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
