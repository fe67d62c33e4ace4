//! Options of `tune`.

use super::values::parse_duration;
use super::{Format, ModelArgs, TargetArgs};
use clap::Args;
use sonar_codegen::Fault;
use sonar_measure::Cache;
use std::time::Duration;

/// Options of `tune`.
#[derive(Debug, Args)]
pub struct TuneArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Wall-clock limit, such as 30s or 5m
    #[arg(long, value_parser = parse_duration, default_value = "60s")]
    pub time: Duration,
    /// Trials for each kernel
    #[arg(long, default_value_t = 200)]
    pub trials: u32,
    /// Trials of a kernel without a gain of more than 1% after which its search ends [default: no such end]
    #[arg(long)]
    pub patience: Option<u32>,
    /// Seed of the search
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where kernels find their data when they are timed: `warm`, as the call before left them, or `cold`, outside the caches of a core
    #[arg(long, default_value_t = Cache::default())]
    pub cache: Cache,
    /// Faults to plant into candidates, for tests of the search; `none` leaves some of them sound
    #[arg(long, hide = true, value_parser = parse_fault, value_delimiter = ',')]
    pub plant: Vec<Planting>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What is planted into a candidate: a fault, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Planting(pub Option<Fault>);

/// Reads the name of a fault, or `none`.
fn parse_fault(name: &str) -> Result<Planting, String> {
    if name == "none" { Ok(Planting(None)) } else { name.parse().map(|fault| Planting(Some(fault))) }
}
