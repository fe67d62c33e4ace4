//! Options for the model, the target, and the input data.

use super::values::{parse_count, parse_max_rounding, parse_shape, parse_threads};
use clap::{Args, ValueEnum};
use sonar_tune::RewriteLevel;
use std::path::PathBuf;

/// The model: a description, possibly one architecture of a space, or an ONNX file.
#[derive(Debug, Args, Clone)]
pub struct ModelArgs {
    /// The model: an ONNX file, a `.sonar` file, or a `.sonar` file of a space with --arch
    pub model: PathBuf,
    /// The shape of an input that an ONNX file leaves open, such as image=1,3,224,224 (repeatable)
    #[arg(long = "shape", value_name = "NAME=EXTENTS", value_parser = parse_shape)]
    pub shapes: Vec<(String, Vec<usize>)>,
    /// The architecture in a space: `baseline`, or its decisions such as "e0=skip e1=none"
    #[arg(long)]
    pub arch: Option<String>,
    /// Set a parameter of a space, such as channels=16 (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Take the training step of the model in place of the model: forward, backward and update on a batch of --batch images.
    /// Its inputs are the images, one-hot labels, the learning rate and all weights; its outputs the loss, the logits and the
    /// new weights
    #[arg(long)]
    pub train: bool,
}

/// The compilation target.
#[derive(Debug, Args, Clone)]
pub struct TargetArgs {
    /// Processor to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4, or a target triple such as aarch64-unknown-linux-gnu
    #[arg(long, default_value = "native", env = "SONAR_TARGET")]
    pub target: String,
    /// With a target triple: x86-64-v2, x86-64-v3, x86-64-v4, generic, rv64gc or rv64gcv [default: the common features of all
    /// its processors]
    #[arg(long)]
    pub cpu: Option<String>,
    /// Threads of one inference
    #[arg(long, default_value_t = 1, value_parser = parse_threads)]
    pub threads: usize,
    /// Images in one inference, if the model has a symbolic batch
    #[arg(long, default_value_t = 1, value_parser = parse_count)]
    pub batch: usize,
    /// How much the graph is rewritten
    #[arg(long, value_enum, default_value_t)]
    pub rewrite: Rewrite,
    /// The same as --rewrite written
    #[arg(long, hide = true, conflicts_with = "rewrite")]
    no_rewrite: bool,
    /// A text file with additional rewrite rules: `rule @name exact: relu(neg(%x)) => …`; each rule is checked before use
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Largest rounding error that rewriting and algorithms may cause, relative to the largest output. `exact` keeps every
    /// value of the graph bit by bit, see docs/rewriting.md
    #[arg(long = "tolerance", value_name = "TOLERANCE", value_parser = parse_max_rounding, default_value = "1e-4")]
    pub max_rounding: f64,
    /// Tuning records [default: one database for this machine]
    #[arg(long, env = "SONAR_RECORDS")]
    pub records: Option<PathBuf>,
}

/// How much a graph is rewritten before it is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Rewrite {
    /// No rewriting, and every operator is a kernel of its own.
    Unfused,
    /// No rewriting. Elementwise operators are fused into the kernels of their neighbours.
    Written,
    /// Only rules that fold elementwise operators and constants into their neighbours.
    Fusion,
    /// Equality saturation with all rules.
    #[default]
    Full,
}

impl TargetArgs {
    /// How much the graph is rewritten.
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

/// The input data of a model.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Input: FILE, or NAME=FILE for one of several (repeatable) [default: random]
    ///
    /// A `.npy` file holds one input. A `.npz` or `.safetensors` file holds all inputs by name. Any other file is raw: 32-bit
    /// floating point, little-endian, the last axis fastest, without a header. It holds all inputs one after the other, or one
    /// input with NAME=. The order of the axes is the model's, such as NCHW for images of an ONNX file (`check` prints names and
    /// shapes). Arrays must have the model's shape. 64-bit floating point is rounded; integers must be exact in 32-bit floating point.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Weights: a `.safetensors` or `.npz` file, or a raw f32 file in the order of the parameters [default: the weights of
    /// the ONNX file, or random]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}
