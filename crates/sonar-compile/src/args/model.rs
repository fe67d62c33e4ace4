//! Options that say which model is meant, what it is compiled for, and what it is run on.

use super::values::{parse_count, parse_max_rounding, parse_shape, parse_threads};
use clap::{Args, ValueEnum};
use sonar_tune::RewriteLevel;
use std::path::PathBuf;

/// Which model: a description, possibly one architecture of a space, or an ONNX file.
#[derive(Debug, Args, Clone)]
pub struct ModelArgs {
    /// The model: an ONNX file, a `.sonar` file, or a `.sonar` file of a space together with --arch
    pub model: PathBuf,
    /// The shape of an input, where an ONNX file leaves it open, such as image=1,3,224,224 (repeatable)
    #[arg(long = "shape", value_name = "NAME=EXTENTS", value_parser = parse_shape)]
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Which architecture of a space: `baseline`, or its decisions such as "e0=skip e1=none"
    #[arg(long)]
    pub arch: Option<String>,
    /// Set a parameter of a space, such as channels=16 (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// What to compile for.
#[derive(Debug, Args, Clone)]
pub struct TargetArgs {
    /// Processor to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4, or a target triple such as aarch64-unknown-linux-gnu
    #[arg(long, default_value = "native", env = "SONAR_TARGET")]
    pub target: String,
    /// With a target triple: x86-64-v2, x86-64-v3, x86-64-v4, generic, rv64gc or rv64gcv [default: what every processor of it has]
    #[arg(long)]
    pub cpu: Option<String>,
    /// Threads of one inference
    #[arg(long, default_value_t = 1, value_parser = parse_threads)]
    pub threads: usize,
    /// Images in one inference, where the model leaves their number open
    #[arg(long, default_value_t = 1, value_parser = parse_count)]
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
    /// How much rewriting and algorithms may round: the largest error, over the largest output. `exact` keeps every value of the graph
    /// bit by bit, see docs/rewriting.md
    #[arg(long = "tolerance", value_name = "TOLERANCE", value_parser = parse_max_rounding, default_value = "1e-4")]
    pub max_rounding: f64,
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
    pub fn level(&self) -> RewriteLevel {
        match self.rewrite {
            _ if self.no_rewrite => RewriteLevel::Written,
            Rewrite::Unfused => RewriteLevel::Unfused,
            Rewrite::Written => RewriteLevel::Written,
            Rewrite::Fusion => RewriteLevel::Fusion,
            Rewrite::Full => RewriteLevel::Full,
        }
    }
}

/// What a model is run on.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Input: FILE, or NAME=FILE for one of several (repeatable) [default: random]
    ///
    /// A `.npy` file holds one input, a `.npz` file all of them by name. Any other file is raw: 32-bit floating point,
    /// little-endian, the last axis fastest, without a header; all inputs one after the other, or one with NAME=. The order
    /// of the axes is the model's, such as NCHW for images of an ONNX file (`check` prints names and shapes). Arrays must
    /// have the model's shape. 64-bit floating point is rounded; integers must be exact in 32-bit floating point.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Weights: a raw f32 file in the order of the parameters, or a `.npz` file [default: those of an ONNX file, or random]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}
