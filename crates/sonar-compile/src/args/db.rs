//! Options of `db`.

use super::values::parse_shape;
use super::{Format, TargetArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `db`.
#[derive(Debug, Args)]
pub struct DbArgs {
    #[command(subcommand)]
    pub action: DbAction,
}

/// The subcommands of `db`.
#[derive(Debug, Subcommand)]
pub enum DbAction {
    /// Print the best recorded schedules: of one task, of a model, or a list of all tasks
    Top(Box<TopArgs>),
    /// Add the trials of other record files; trials that exist already are not added again
    Merge {
        /// Record files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Remove all trials except the best ones, remove trials of other compiler versions, and shrink the file
    Prune {
        /// Schedules to keep for each task
        #[arg(long, default_value_t = 8)]
        keep: usize,
        /// Do not ask before removing all trials
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Write all trials as JSON, one per line
    Export {
        /// The file to write [default: standard output]
        #[arg(short, long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Add trials that were written by `export`
    Import {
        /// Files with one trial per line
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        records: RecordsArg,
    },
    /// Copy the readable part of a damaged file into a new one
    Recover {
        /// The damaged file; it is not changed
        file: PathBuf,
        /// The file to write; it must not exist
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Read everything and verify the checksums
    Check {
        #[command(flatten)]
        records: RecordsArg,
    },
}

/// The tuning records to use.
#[derive(Debug, Args, Clone)]
pub struct RecordsArg {
    /// Tuning records [default: one database for this machine]
    #[arg(long, env = "SONAR_RECORDS")]
    pub records: Option<PathBuf>,
}

/// Options of `db top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// A task, given by the beginning of its name in the records [default: all tasks]
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
    /// Schedules to print for each task
    #[arg(short = 'k', long, default_value_t = 5)]
    pub count: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
