//! `bench`: time of a compiled model, as a whole or by kernel.

use crate::args::{BenchArgs, Format};
use crate::compiled::{Arguments, Prepared, prepare, runnable_target, write_f32};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::output::{out, outln};
use crate::table::{Align, render};
use serde_json::json;
use sonar_measure::{Summary, stats};
use std::io::{BufRead, Write};
use std::time::Instant;

/// Runs the subcommand.
pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let target = runnable_target(&args.target.target)?;
    let mut prepared = prepare(&args.model, &args.target)?;
    let (_, mut arguments) = prepared.load(0, args.input.as_deref(), args.weights.as_deref())?;
    prepared.run(&mut arguments)?;
    if let Some(path) = &args.output {
        write_f32(path, &arguments.outputs)?;
    }
    if args.serve {
        return serve(&mut prepared, &mut arguments);
    }
    if args.runs == 0 {
        return Err(fail(Exit::Usage, "--runs must be at least 1"));
    }
    let samples = time(&mut prepared, &mut arguments, args.warmup, args.runs)?;
    let Some(summary) = Summary::of(&samples) else { return Err(fail(Exit::Internal, "there are no samples")) };
    let flops: u64 =
        prepared.compiled.lowered.tasks.kernels.iter().map(|k| prepared.compiled.lowered.tasks.tasks[k.task].flops).sum();
    let peak = sonar_codegen::peak_gflops(&target).or_exit(Exit::Internal)? * args.target.threads as f64;
    let kernels = if args.profile { profile(&mut prepared, &mut arguments, args.runs)? } else { Vec::new() };
    let us = |ns: f64| ns / 1e3;
    let p = |q: f64| us(stats::quantile(&samples, q));
    match args.format {
        Format::Json => {
            let kernels: Vec<_> = kernels
                .iter()
                .map(|k| json!({ "kernel": k.name, "calls": k.calls, "microseconds": 1e6 * k.seconds, "gflops": k.gflops(), "peak_share": k.gflops() / peak }))
                .collect();
            let document = json!({
                "schema": 1, "model": prepared.described.graph.name, "target": target.key(), "threads": args.target.threads, "batch": args.target.batch,
                "compile_seconds": prepared.seconds(), "flops": flops, "peak_gflops": peak,
                "median_us": us(summary.median), "interval_us": [us(summary.interval.0), us(summary.interval.1)],
                "min_us": us(summary.min), "p90_us": p(0.9), "p99_us": p(0.99), "max_us": us(summary.max),
                "warnings": summary.warnings, "kernels": kernels, "samples_ns": samples,
            });
            outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?);
        }
        Format::Text => {
            outln!(
                "{}, batch {}, {} thread(s), {}",
                prepared.described.graph.name,
                args.target.batch,
                args.target.threads,
                target.key()
            );
            outln!(
                "  median {:.1} µs  [{:.1}, {:.1}] 95% interval   min {:.1}  p90 {:.1}  p99 {:.1}  ({} runs)",
                us(summary.median),
                us(summary.interval.0),
                us(summary.interval.1),
                us(summary.min),
                p(0.9),
                p(0.99),
                summary.count
            );
            let rate = flops as f64 / summary.median;
            outln!(
                "  {:.1} MFLOP, {rate:.0} GFLOP/s, {:.0}% of the FMA peak of {peak:.0}",
                flops as f64 / 1e6,
                100.0 * rate / peak
            );
            for warning in &summary.warnings {
                eprintln!(
                    "warning: {}",
                    serde_json::to_value(warning).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default()
                );
            }
            if !kernels.is_empty() {
                let rows: Vec<Vec<String>> = kernels
                    .iter()
                    .map(|k| {
                        let share = format!("{:.0}%", 100.0 * k.gflops() / peak);
                        vec![
                            k.name.clone(),
                            k.calls.to_string(),
                            format!("{:.1}", 1e6 * k.seconds),
                            format!("{:.1}", k.gflops()),
                            share,
                        ]
                    })
                    .collect();
                let columns = [
                    ("kernel", Align::Left),
                    ("calls", Align::Right),
                    ("µs", Align::Right),
                    ("GFLOP/s", Align::Right),
                    ("of peak", Align::Right),
                ];
                out!("\n{}", render(&columns, &rows));
            }
        }
    }
    Ok(())
}

/// Nanoseconds of each run.
fn time(prepared: &mut Prepared, arguments: &mut Arguments, warmup: usize, runs: usize) -> Result<Vec<f64>, Failure> {
    for _ in 0..warmup {
        prepared.run(arguments)?;
    }
    let mut samples = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        prepared.run(arguments)?;
        samples.push(start.elapsed().as_nanos() as f64);
    }
    Ok(samples)
}

/// All calls of one kernel together.
struct KernelTime {
    name: String,
    calls: usize,
    seconds: f64,
    flops: u64,
}

impl KernelTime {
    fn gflops(&self) -> f64 {
        self.flops as f64 / self.seconds / 1e9
    }
}

/// Time of each kernel, the longest first.
fn profile(prepared: &mut Prepared, arguments: &mut Arguments, runs: usize) -> Result<Vec<KernelTime>, Failure> {
    let inputs: Vec<&[f32]> = arguments.inputs.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<&mut [f32]> = arguments.outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let calls = prepared.compiled.profile(&inputs, &mut outputs, runs.min(100)).map_err(crate::compiled::tune_failure)?;
    let tasks = &prepared.compiled.lowered.tasks;
    let mut kernels: Vec<Option<KernelTime>> = tasks.tasks.iter().map(|_| None).collect();
    for (call, kernel) in calls.iter().zip(&tasks.kernels) {
        let new = || KernelTime { name: format!("{} #{}", call.kernel, kernel.task), calls: 0, seconds: 0.0, flops: 0 };
        let total = kernels[kernel.task].get_or_insert_with(new);
        total.calls += 1;
        total.seconds += call.seconds;
        total.flops += tasks.tasks[kernel.task].flops;
    }
    let mut kernels: Vec<KernelTime> = kernels.into_iter().flatten().collect();
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(kernels)
}

/// Answers each line `W N` with the nanoseconds of N runs after W that do not count.
fn serve(prepared: &mut Prepared, arguments: &mut Arguments) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let mut say = |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).or_exit(Exit::Internal);
    say(json!({ "compile_s": prepared.seconds() }).to_string())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.or_exit(Exit::BadInput)?;
        let numbers: Vec<usize> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
        let [warmup, runs] = numbers[..] else {
            return Err(fail(Exit::Usage, format!("expected two numbers, warm-up and timed runs; found `{line}`")));
        };
        let samples: Vec<u64> = time(prepared, arguments, warmup, runs)?.into_iter().map(|ns| ns as u64).collect();
        say(json!(samples).to_string())?;
    }
    Ok(())
}
