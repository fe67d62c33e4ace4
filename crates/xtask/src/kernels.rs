//! Kernels of the zoo that are below the arithmetic peak, and their bottlenecks.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Kernels below this share of the arithmetic peak are explained.
const EXPLAINED: f64 = 0.7;
/// Minimum share of a network's time of a kernel that is listed.
const WORTH: f64 = 0.01;

/// The part of the output of `bench --profile` that is used here.
#[derive(Deserialize)]
struct Profile {
    kernels: Vec<Kernel>,
}

/// All calls of one kernel.
#[derive(Deserialize)]
struct Kernel {
    kernel: String,
    calls: usize,
    microseconds: f64,
    share: f64,
    peak_share: f64,
    gb_per_s: f64,
    roofline_share: f64,
    bound: String,
}

/// The head of a table of [`lines`].
pub const HEAD: &str = "| model | kernel | calls | µs | share of time | of FMA peak | GB/s | of roofline | bound |\n\
                        |---|---|---:|---:|---:|---:|---:|---:|---|\n";

/// One table line for each kernel of a model that is below the peak and takes a relevant share of the time, with its bound by
/// the measured roofline.
pub fn lines(program: &Path, model: &str, file: &Path, records: &Path) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("bench").arg(file).args(["--profile", "--runs", "20", "--format", "json"]).arg("--records").arg(records);
    let output = command.output().context("the program cannot be run")?;
    if !output.status.success() {
        bail!("{model} cannot be profiled: {}", String::from_utf8_lossy(&output.stderr));
    }
    let Profile { kernels } = serde_json::from_slice(&output.stdout).with_context(|| format!("the profile of {model}"))?;
    let mut lines = String::new();
    for k in kernels.iter().filter(|k| k.peak_share < EXPLAINED && k.share >= WORTH) {
        let [share, peak, roofline] = [k.share, k.peak_share, k.roofline_share].map(|part| format!("{:.0}%", 100.0 * part));
        let (name, calls, us, rate, bound) = (&k.kernel, k.calls, k.microseconds, k.gb_per_s, &k.bound);
        let _ = writeln!(lines, "| {model} | {name} | {calls} | {us:.1} | {share} | {peak} | {rate:.0} | {roofline} | {bound} |");
    }
    Ok(lines)
}
