//! Output of `bench`.

use super::profile::{Bound, KernelTime};
use super::{Roofline, Timed};
use crate::args::{BenchArgs, BenchFormat};
use crate::exit::{Exit, Failure, OrExit};
use crate::terminal::output::{out, outln};
use crate::terminal::stderr;
use crate::terminal::table::{Align, csv, markdown, render};
use serde_json::{Value, json};
use sonar_measure::{Summary, stats::Warning};

/// Prints the results. Warnings about them go to standard error.
pub fn print(args: &BenchArgs, target: &str, roofline: &Roofline, results: &[Timed]) -> Result<(), Failure> {
    match args.format {
        BenchFormat::Json => {
            let document = document(args, target, roofline, results);
            outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?);
        }
        BenchFormat::Csv if args.profile => out!("{}", csv(&KERNEL_NAMES, &kernel_values(roofline, results))),
        BenchFormat::Csv => out!("{}", csv(&MODEL_NAMES, &model_values(roofline, results))),
        BenchFormat::Markdown => {
            out!("{}", markdown(&MODEL_COLUMNS, &results.iter().map(|r| model_cells(roofline, r)).collect::<Vec<_>>()));
            for result in results.iter().filter(|r| !r.kernels.is_empty()) {
                out!("\n{}\n\n{}", result.name, markdown(&KERNEL_COLUMNS, &kernel_cells(roofline, &result.kernels)));
            }
        }
        BenchFormat::Text => results.iter().for_each(|result| text(args, target, roofline, result, &results[0])),
    }
    for result in results {
        for warning in &result.summary.warnings {
            stderr::warn(format_args!("{}: {}", result.name, explain(*warning, result)));
        }
    }
    Ok(())
}

/// Explains a warning to the user.
fn explain(warning: Warning, result: &Timed) -> String {
    match warning {
        Warning::FewSamples => "too few runs for a 95% interval; it is their whole range".to_string(),
        Warning::WideInterval => "the interval is wider than a tenth of the median: more --runs may help".to_string(),
        Warning::Outliers => format!(
            "{} of {} runs took more than one and a half times the median: other programs may be running",
            result.outliers(),
            result.samples.len()
        ),
        Warning::Drift => {
            "the first and the second half of the runs differ by more than a tenth: the machine changed meanwhile, \
                           or needs more --warmup"
                .to_string()
        }
    }
}

/// Inputs whose shapes are printed: the first ones. A training step has all weights as inputs.
const SHAPES: usize = 4;

fn text(args: &BenchArgs, target: &str, roofline: &Roofline, r: &Timed, first: &Timed) {
    let ((low, high), (mean, deviation)) = (us(r.summary.interval), r.mean_us());
    let more = r.inputs.len().saturating_sub(SHAPES);
    let shapes = r.inputs.iter().take(SHAPES).map(|shape| format!("{shape:?}"));
    let shapes: Vec<String> = shapes.chain((more > 0).then(|| format!("{more} more"))).collect();
    outln!("{}, input {}, {} thread(s), {target}", r.name, shapes.join(", "), roofline.threads);
    outln!("  median {:.1} µs  [{low:.1}, {high:.1}] 95% interval", r.summary.median / 1e3);
    outln!(
        "  min {:.1}  p90 {:.1}  p95 {:.1}  p99 {:.1}  max {:.1}  mean {mean:.1} ± {deviation:.1}  ({} runs, {} outliers)",
        r.summary.min / 1e3,
        r.quantile_us(0.9),
        r.quantile_us(0.95),
        r.quantile_us(0.99),
        r.summary.max / 1e3,
        r.summary.count,
        r.outliers()
    );
    let (count, what) = if args.target.batch > 1 { (args.target.batch, "images") } else { (1, "runs") };
    outln!(
        "  {:.1} MFLOP, {:.0} GFLOP/s, {:.0}% of the FMA peak of {:.0}; {:.0} {what} a second; ready in {:.1} ms",
        r.flops as f64 / 1e6,
        r.gflops(),
        100.0 * r.gflops() / roofline.peak,
        roofline.peak,
        count as f64 * 1e9 / r.summary.median,
        1e3 * r.ready_seconds
    );
    if let Some(ratio) = &r.ratio {
        let (low, high) = ratio.interval;
        outln!("  takes {:.3} [{low:.3}, {high:.3}] times as long as {}", ratio.median, first.name);
    }
    if !r.kernels.is_empty() {
        let (seconds, floor) = together(&r.kernels);
        out!("\n{}", render(&KERNEL_COLUMNS, &kernel_cells(roofline, &r.kernels)));
        outln!("all kernels {:.1} µs, by the roofline {:.1} µs ({:.0}%)\n", 1e6 * seconds, 1e6 * floor, 100.0 * floor / seconds);
    }
}

/// Total seconds and total minimum seconds of kernels.
fn together(kernels: &[KernelTime]) -> (f64, f64) {
    (kernels.iter().map(|k| k.seconds).sum(), kernels.iter().map(KernelTime::floor).sum())
}

fn document(args: &BenchArgs, target: &str, roofline: &Roofline, results: &[Timed]) -> Value {
    let mut models: Vec<Value> = results.iter().map(|r| model_document(roofline, r)).collect();
    let mut document = models.remove(0);
    let bandwidth = roofline.machine.bandwidths.iter().map(|b| json!({ "bytes": b.bytes, "gb_per_s": b.read.max(b.copy) }));
    let bandwidth: Vec<Value> = if args.profile { bandwidth.collect() } else { Vec::new() };
    let common = json!({
        "schema": 1, "target": target, "threads": roofline.threads, "batch": args.target.batch, "peak_gflops": roofline.peak,
        "bandwidth_one_core": bandwidth, "compared": models,
    });
    if let (Value::Object(document), Value::Object(common)) = (&mut document, common) {
        document.extend(common);
    }
    document
}

fn model_document(roofline: &Roofline, r: &Timed) -> Value {
    let kernels: Vec<Value> = r.kernels.iter().map(|k| kernel_document(roofline, k, together(&r.kernels).0)).collect();
    let ratio = |r: &Summary| json!({ "median": r.median, "interval": [r.interval.0, r.interval.1] });
    let ((low, high), (mean, deviation)) = (us(r.summary.interval), r.mean_us());
    json!({
        "model": r.name, "inputs": r.inputs, "compile_seconds": r.compile_seconds, "ready_seconds": r.ready_seconds, "flops": r.flops,
        "median_us": r.summary.median / 1e3, "interval_us": [low, high], "mean_us": mean, "deviation_us": deviation,
        "min_us": r.summary.min / 1e3, "p90_us": r.quantile_us(0.9), "p95_us": r.quantile_us(0.95), "p99_us": r.quantile_us(0.99),
        "max_us": r.summary.max / 1e3, "outliers": r.outliers(), "gflops": r.gflops(), "peak_share": r.gflops() / roofline.peak,
        "ratio": r.ratio.as_ref().map(ratio), "warnings": r.summary.warnings, "kernels": kernels, "samples_ns": r.samples,
    })
}

fn kernel_document(roofline: &Roofline, k: &KernelTime, all: f64) -> Value {
    json!({
        "kernel": k.name, "calls": k.calls, "microseconds": 1e6 * k.seconds, "share": k.seconds / all, "flops": k.flops,
        "bytes": k.bytes, "gflops": k.gflops(), "gb_per_s": k.gigabytes(), "peak_share": k.gflops() / roofline.peak,
        "floor_us": 1e6 * k.floor(), "roofline_share": k.floor() / k.seconds, "bound": k.bound(),
    })
}

const MODEL_COLUMNS: [(&str, Align); 9] = [
    ("model", Align::Left),
    ("median, µs", Align::Right),
    ("95% interval", Align::Right),
    ("min", Align::Right),
    ("p90", Align::Right),
    ("p99", Align::Right),
    ("GFLOP/s", Align::Right),
    ("of peak", Align::Right),
    ("ratio", Align::Right),
];

fn model_cells(roofline: &Roofline, r: &Timed) -> Vec<String> {
    let interval = |low: f64, high: f64, digits: usize| format!("{low:.digits$}–{high:.digits$}");
    let (low, high) = us(r.summary.interval);
    let ratio = |r: &Summary| format!("{:.3} ({})", r.median, interval(r.interval.0, r.interval.1, 3));
    vec![
        r.name.clone(),
        format!("{:.1}", r.summary.median / 1e3),
        interval(low, high, 1),
        format!("{:.1}", r.summary.min / 1e3),
        format!("{:.1}", r.quantile_us(0.9)),
        format!("{:.1}", r.quantile_us(0.99)),
        format!("{:.1}", r.gflops()),
        format!("{:.0}%", 100.0 * r.gflops() / roofline.peak),
        r.ratio.as_ref().map_or("1".to_string(), ratio),
    ]
}

const MODEL_NAMES: [&str; 19] = [
    "model",
    "threads",
    "runs",
    "median_us",
    "low_us",
    "high_us",
    "mean_us",
    "deviation_us",
    "min_us",
    "p90_us",
    "p95_us",
    "p99_us",
    "max_us",
    "outliers",
    "gflops",
    "peak_share",
    "ratio",
    "ratio_low",
    "ratio_high",
];

fn model_values(roofline: &Roofline, results: &[Timed]) -> Vec<Vec<String>> {
    let values = |r: &Timed| {
        let ((low, high), (mean, deviation)) = (us(r.summary.interval), r.mean_us());
        let ratio = r.ratio.as_ref().map_or([1.0; 3], |r| [r.median, r.interval.0, r.interval.1]);
        let times = [r.summary.median / 1e3, low, high, mean, deviation, r.summary.min / 1e3];
        let quantiles = [r.quantile_us(0.9), r.quantile_us(0.95), r.quantile_us(0.99), r.summary.max / 1e3];
        let mut row = vec![r.name.clone(), roofline.threads.to_string(), r.summary.count.to_string()];
        row.extend(times.iter().chain(&quantiles).map(f64::to_string));
        row.push(r.outliers().to_string());
        row.extend([r.gflops(), r.gflops() / roofline.peak].iter().chain(&ratio).map(f64::to_string));
        row
    };
    results.iter().map(values).collect()
}

const KERNEL_COLUMNS: [(&str, Align); 9] = [
    ("kernel", Align::Left),
    ("calls", Align::Right),
    ("µs", Align::Right),
    ("share", Align::Right),
    ("GFLOP/s", Align::Right),
    ("of peak", Align::Right),
    ("GB/s", Align::Right),
    ("of roofline", Align::Right),
    ("bound", Align::Left),
];

fn kernel_cells(roofline: &Roofline, kernels: &[KernelTime]) -> Vec<Vec<String>> {
    let (all, _) = together(kernels);
    let percent = |share: f64| format!("{:.0}%", 100.0 * share);
    let cells = |k: &KernelTime| {
        vec![
            k.name.clone(),
            k.calls.to_string(),
            format!("{:.1}", 1e6 * k.seconds),
            percent(k.seconds / all),
            format!("{:.1}", k.gflops()),
            percent(k.gflops() / roofline.peak),
            format!("{:.1}", k.gigabytes()),
            percent(k.floor() / k.seconds),
            bound(k).to_string(),
        ]
    };
    kernels.iter().map(cells).collect()
}

const KERNEL_NAMES: [&str; 11] =
    ["model", "kernel", "calls", "us", "share", "gflops", "peak_share", "gb_per_s", "floor_us", "roofline_share", "bound"];

fn kernel_values(roofline: &Roofline, results: &[Timed]) -> Vec<Vec<String>> {
    let values = |r: &Timed, k: &KernelTime| {
        let numbers = [
            1e6 * k.seconds,
            k.seconds / together(&r.kernels).0,
            k.gflops(),
            k.gflops() / roofline.peak,
            k.gigabytes(),
            1e6 * k.floor(),
            k.floor() / k.seconds,
        ];
        let mut row = vec![r.name.clone(), k.name.clone(), k.calls.to_string()];
        row.extend(numbers.iter().map(f64::to_string));
        row.push(bound(k).to_string());
        row
    };
    results.iter().flat_map(|r| r.kernels.iter().map(move |k| values(r, k))).collect()
}

/// The bottleneck of a kernel, as one word.
pub fn bound(kernel: &KernelTime) -> &'static str {
    match kernel.bound() {
        Bound::Compute => "compute",
        Bound::Memory => "memory",
    }
}

/// Nanoseconds to microseconds.
fn us((low, high): (f64, f64)) -> (f64, f64) {
    (low / 1e3, high / 1e3)
}
