//! `doctor`: what this machine is, and whether its timings can be trusted.

use crate::args::{DoctorArgs, Format};
use crate::exit::{Exit, Failure, OrExit};
use crate::output::outln;
use serde::Serialize;
use sonar_codegen::{Target, peak_gflops};
use std::time::Instant;

/// What was found out about the machine.
#[derive(Serialize)]
struct Findings {
    target: String,
    lanes: usize,
    cores: usize,
    peak_gflops: f64,
    peak_gflops_by_target: Vec<(String, f64)>,
    timer_resolution_ns: f64,
    /// Slowest over fastest of a hundred equal pieces of work.
    jitter: f64,
    /// Share of processor time that the host took away since boot.
    steal: Option<f64>,
    load: Option<f64>,
    warnings: Vec<String>,
}

/// Runs the subcommand.
pub fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let findings = examine()?;
    match args.format {
        Format::Json => outln!("{}", serde_json::to_string_pretty(&findings).or_exit(Exit::Internal)?),
        Format::Text => print(&findings),
    }
    Ok(())
}

fn examine() -> Result<Findings, Failure> {
    let native = Target::native().or_exit(Exit::BadInput)?;
    let mut peaks = Vec::new();
    for name in ["x86-64-v2", "x86-64-v3", "x86-64-v4"] {
        let target = Target::parse(name).or_exit(Exit::Internal)?;
        if target.runs_here() {
            peaks.push((name.to_string(), peak_gflops(&target).or_exit(Exit::Internal)?));
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (timer_resolution_ns, jitter, steal, load) = (timer_resolution(), jitter(), steal(), load());
    let mut warnings = Vec::new();
    if jitter > 1.5 {
        warnings.push(format!("equal pieces of work differ in time by a factor of {jitter:.1}: other programs are running, or the clock frequency changes"));
    }
    if steal.is_some_and(|s| s > 0.02) {
        warnings.push("the host takes processor time away: timings are those of a shared machine".to_string());
    }
    if load.is_some_and(|l| l > cores as f64 * 0.75) {
        warnings.push("the machine is busy: tuning will be misled".to_string());
    }
    if timer_resolution_ns > 1000.0 {
        warnings.push(format!("the timer moves in steps of {timer_resolution_ns:.0} ns"));
    }
    Ok(Findings {
        target: native.key(),
        lanes: native.lanes(),
        cores,
        peak_gflops: peak_gflops(&native).or_exit(Exit::Internal)?,
        peak_gflops_by_target: peaks,
        timer_resolution_ns,
        jitter,
        steal,
        load,
        warnings,
    })
}

/// The smallest step of the clock that was seen, in nanoseconds.
fn timer_resolution() -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..1000 {
        let start = Instant::now();
        let mut step = start.elapsed();
        while step.is_zero() {
            step = start.elapsed();
        }
        least = least.min(step.as_secs_f64() * 1e9);
    }
    least
}

/// Slowest over fastest of a hundred equal pieces of work.
fn jitter() -> f64 {
    let mut times: Vec<f64> = Vec::with_capacity(100);
    for _ in 0..100 {
        let start = Instant::now();
        let mut x = 1u64;
        for _ in 0..200_000 {
            x = std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1));
        }
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[95] / times[0]
}

/// Share of processor time since boot that went to other guests of the host.
fn steal() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    Some(ticks.get(7)? / ticks.iter().take(8).sum::<f64>())
}

/// Mean number of running processes over the last minute.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn print(f: &Findings) {
    outln!("processor          {}", f.target);
    outln!("cores              {}", f.cores);
    outln!("vector width       {} × f32", f.lanes);
    outln!("FMA peak, one core {:.0} GFLOP/s", f.peak_gflops);
    for (name, peak) in &f.peak_gflops_by_target {
        outln!("  {name:<17}{peak:.0} GFLOP/s");
    }
    outln!("timer step         {:.0} ns", f.timer_resolution_ns);
    outln!("jitter             {:.2}×", f.jitter);
    if let Some(steal) = f.steal {
        outln!("stolen by host     {:.1}%", 100.0 * steal);
    }
    if f.warnings.is_empty() {
        outln!("ready to measure");
    }
    for warning in &f.warnings {
        outln!("warning: {warning}");
    }
}
