//! Options of `inspect`.

use super::{Format, ModelArgs, TargetArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// A stage between text and machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The graph as read.
    Graph,
    /// The saturated e-graph: classes, nodes, costs.
    Egraph,
    /// The graph after equality saturation.
    Rewritten,
    /// The schedule space of each kernel: knobs, their choices, and the number of legal points.
    Space,
    /// The scheduled loop programs.
    Loops,
    /// The schedules.
    Schedule,
    /// The Cranelift IR of the loop nests.
    Clif,
    /// The machine code.
    Asm,
}

/// A choice among the schedules of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The best schedule of the analytic model.
    Default,
    /// The best record.
    Best,
    /// The record of this rank, counted from 1.
    Rank(usize),
}

impl FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Pick, String> {
        match text {
            "default" => Ok(Pick::Default),
            "best" => Ok(Pick::Best),
            _ => match text.parse() {
                Ok(rank) if rank > 0 => Ok(Pick::Rank(rank)),
                _ => Err("expected `default`, `best`, or the rank of a record, counted from 1".to_string()),
            },
        }
    }
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// What to print
    #[arg(long, value_enum, default_value = "graph")]
    pub stage: Stage,
    /// With the stages `egraph` and `rewritten`: print a checked proof that the rewritten graph equals the original
    #[arg(long)]
    pub explain: bool,
    /// Instead, print the number of candidates of a space, and the number of distinct ones
    #[arg(long)]
    pub count: bool,
    /// Only the kernel with this number
    #[arg(long)]
    pub kernel: Option<usize>,
    /// Also draw the stage `graph`, `egraph` or `rewritten` to this SVG file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// With the stages `schedule`, `loops`, `clif` and `asm`: show the kernel with this schedule, given as a file or as steps
    /// separated by `;`
    #[arg(long, value_name = "FILE|STEPS", requires = "kernel", conflicts_with_all = ["record", "diff"])]
    pub schedule: Option<String>,
    /// Show the kernel with a recorded schedule: `best`, or the rank of a record (1 is the best); or `default` for the schedule
    /// without records
    #[arg(long, value_name = "RECORD", requires = "kernel", conflicts_with = "diff")]
    pub record: Option<Pick>,
    /// Show the kernel in two columns, each `default`, `best`, or the rank of a record
    #[arg(long, num_args = 2, value_names = ["A", "B"], requires = "kernel")]
    pub diff: Option<Vec<Pick>>,
    /// How to print a count
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks() {
        assert_eq!(["default", "best", "7"].map(str::parse), [Ok(Pick::Default), Ok(Pick::Best), Ok(Pick::Rank(7))]);
        for bad in ["", "0", "-1", "worst", "1.5", "99999999999999999999999"] {
            assert!(bad.parse::<Pick>().is_err(), "{bad} was accepted");
        }
    }
}
