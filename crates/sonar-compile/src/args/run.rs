//! Options of `run`.

use super::values::parse_nonnegative;
use super::{DataArgs, Format, ModelArgs, TargetArgs};
use clap::Args;

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub data: DataArgs,
    /// Where to write outputs: FILE, or NAME=FILE for one of several (repeatable) [default: printed]
    ///
    /// A `.npy` file takes one output. A `.npz` or `.safetensors` file takes all outputs by name. Any other file is raw, in
    /// the same format as raw inputs.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub output: Vec<String>,
    /// Seed of random weights and input
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Compare with the reference interpreter. The exit code is 5 if an output has an error larger than this, relative to its
    /// largest number. This is not the same as --tolerance
    #[arg(long = "check", value_name = "TOLERANCE", num_args = 0..=1, default_missing_value = "1e-4", value_parser = parse_nonnegative)]
    pub check_tolerance: Option<f64>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
