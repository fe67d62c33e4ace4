//! Options of `compile` and `export`, which write a model to files.

use super::values::parse_count;
use super::{Format, ModelArgs, TargetArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

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
    /// Files to write, for use in programs without Sonar (repeatable)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub emit: Vec<Emit>,
    /// Where to write the files: DIR/STEM, without file extension [default: the name of MODEL without its extension, in this
    /// folder]
    #[arg(short, long, value_name = "DIR/STEM")]
    pub out: Option<PathBuf>,
    /// Prefix of the function names [default: STEM, with `_` instead of characters that a C name cannot contain]
    #[arg(long, value_name = "NAME", alias = "name")]
    pub symbol_prefix: Option<String>,
    /// Weights: a `.safetensors` or `.npz` file, or a raw f32 file in the order of the parameters [default: the weights of
    /// the ONNX file, or random]
    #[arg(long, value_name = "FILE")]
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
    /// Images in one inference [default: stays symbolic as N; 1 if an ONNX file has a symbolic batch]
    #[arg(long, value_parser = parse_count)]
    pub batch: Option<usize>,
    /// Weights: a `.safetensors` or `.npz` file, or a raw f32 file in the order of the parameters [default: the weights of
    /// the ONNX file, or random]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Seed of random weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}
