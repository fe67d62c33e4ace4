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
    /// Time limit, such as 30s, 5m or 2h
    #[arg(long, value_parser = parse_duration, default_value = "60s")]
    pub time: Duration,
    /// Most schedules to time for each kernel
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub trials: u32,
    /// Stop tuning a kernel after this many schedules in a row without a gain of more than 1% [default: never]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub patience: Option<u32>,
    /// Seed of the search
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where a timed kernel finds its data: `warm`, where the previous run left them, or `cold`, outside the caches of a core
    #[arg(long, default_value_t = Cache::default())]
    pub cache: Cache,
    /// Faults to inject into candidates, for tests of the search; `none` leaves some candidates correct
    #[arg(long, hide = true, value_parser = parse_fault, value_delimiter = ',')]
    pub plant: Vec<Planting>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What to inject into a candidate: a fault, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Planting(pub Option<Fault>);

/// Reads the name of a fault, or `none`.
fn parse_fault(name: &str) -> Result<Planting, String> {
    if name == "none" { Ok(Planting(None)) } else { name.parse().map(|fault| Planting(Some(fault))) }
}
