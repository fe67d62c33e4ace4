//! `tune`: searches the schedules of one model's kernels, and records what it finds.

use crate::args::{Format, TuneArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::{open_records, runnable_target, tune_failure};
use crate::model::load::{self, Described};
use crate::terminal::interrupt;
use crate::terminal::output::{out, outln};
use crate::terminal::stderr;
use crate::terminal::table::{Align, render};
use serde_json::json;
use sonar_ir::init;
use sonar_measure::process::{WorkerMeasurer, WorkerOptions};
use sonar_measure::{Budget, Measurer, Planted, Summary, SystemClock, stats};
use sonar_schedule::Task;
use sonar_tune::{CompileOptions, Limits, Progress, StopReason, TaskId, Tuner, TunerOptions};
use sonar_tune::{confirm, lower, measure_models, network};
use std::collections::BTreeMap;
use std::time::Instant;

/// The share of the time, at most, in which kernels of graphs that the model could be rewritten to are timed: one over this.
const CANDIDATES_SHARE: u32 = 5;
/// The same for the comparison of these graphs with one another.
const COMPARISON_SHARE: u32 = 10;
/// The same for the confirmation of what was found, unless compiling the model takes longer.
const CONFIRMATION_SHARE: u32 = 8;
/// How often the model is compiled after the search, about.
const COMPILATIONS: u32 = 8;
/// The shares of the time after the search in which the graphs are compared, and the kernels inside of the network; the rest is for
/// timing the model before and after.
const COMPARISON: f64 = 0.2;
const INSIDE: f64 = 0.7;
/// Graphs whose kernels are tuned.
const FINALISTS: usize = 2;

/// Runs the subcommand.
pub fn tune(args: &TuneArgs, quiet: bool) -> Result<(), Failure> {
    let target = runnable_target(&args.target)?;
    let Described { graph, weights: given, .. } = load::model(&args.model, args.target.batch)?;
    let Some(records) = open_records(args.target.records.as_deref(), true)? else {
        return Err(fail(Exit::Internal, "the records were not created"));
    };
    let rules = load::rules(&args.target)?;
    let machine = machine::of_target(&target)?;
    let options = CompileOptions {
        machine,
        rules: &rules,
        threads: args.target.threads,
        batch: args.target.batch,
        rewrite: args.target.level(),
        tolerance: args.target.tolerance,
        ..CompileOptions::new(&target)
    };
    let worker = WorkerMeasurer::new(WorkerOptions {
        pin: args.target.threads == 1,
        ..WorkerOptions::current_executable().or_exit(Exit::Internal)?
    });
    let overheads = worker.overheads();
    let faults: Vec<_> = args.plant.iter().map(|planting| planting.0).collect();
    let measurer: Box<dyn Measurer> = if faults.is_empty() { Box::new(worker) } else { Box::new(Planted::new(worker, faults)) };
    let tuner_options = TunerOptions {
        machine,
        threads: args.target.threads,
        seed: args.seed,
        rounding: args.target.tolerance,
        cache: args.cache,
        ..TunerOptions::new(target.clone())
    }
    .overlapping();
    let mut tuner = Tuner::new(tuner_options, measurer, records, Box::new(SystemClock::default()));
    let (start, live) = (Instant::now(), !quiet);
    interrupt::catch();
    let mut trials = 0;
    let mut report = |p: &Progress| {
        trials += 1;
        if live {
            let best = p.best.map_or("–".into(), |b| format!("{:.2} µs", b / 1e3));
            let left = args.time.saturating_sub(start.elapsed()).as_secs();
            stderr::show(&format!("{trials} trials, kernel {} at {best}, {left} s left", p.task.0));
        }
        interrupt::flow()
    };

    let candidates = network::candidates(&graph, &options, &mut tuner, args.time / CANDIDATES_SHARE, &mut report);
    let candidates = candidates.map_err(tune_failure)?;
    let extractions = candidates.len();
    let values = given.unwrap_or_else(|| init::randomise(&candidates[0].graph, args.seed));
    let schedules = |task: &Task| tuner.schedule(task);
    let known = CompileOptions { schedules: &schedules, ..options };
    let mut finalists =
        network::fastest(candidates, &known, &values, None, args.time / COMPARISON_SHARE, args.seed).map_err(tune_failure)?;
    finalists.truncate(FINALISTS);
    let mut weights: BTreeMap<TaskId, f64> = BTreeMap::new();
    for lowered in &finalists {
        for kernel in &lowered.tasks.kernels {
            let id = tuner.add(&lowered.tasks.tasks[kernel.task]).map_err(tune_failure)?;
            *weights.entry(id).or_default() += 1.0;
        }
    }
    let weights: Vec<(TaskId, f64)> = weights.into_iter().collect();
    let default = lower(&graph, &options).map_err(tune_failure)?;
    let loading = Instant::now();
    let untuned = default.ready(&options, &values).map_err(tune_failure)?;
    let confirmation = (args.time / CONFIRMATION_SHARE).max(COMPILATIONS * loading.elapsed()).min(args.time / 2);
    let left = args.time.saturating_sub(start.elapsed() + confirmation);
    let limits = Limits {
        trials_each: Some(args.trials as usize),
        time: Some(left),
        patience: args.patience.map(|trials| trials as usize),
        ..Limits::default()
    };
    let (searching, measured, earlier) = (Instant::now(), measuring(&tuner, &weights), overheads.seconds().len());
    let stop = tuner.tune(&weights, limits, &mut report).map_err(tune_failure)?;
    let beside = searching.elapsed().as_secs_f64() - (measuring(&tuner, &weights) - measured);
    stderr::leave();
    match stop {
        StopReason::Interrupted => {
            return Err(fail(Exit::Interrupted, "interrupted; the same command goes on from here"));
        }
        StopReason::Finished | StopReason::Trials | StopReason::Time | StopReason::Failing => {}
    }

    let failures = failures(&tuner, &weights);
    if weights.iter().all(|&(id, _)| tuner.best(id).is_none()) && !failures.is_empty() {
        return Err(fail(Exit::NoCandidate, format!("no schedule could be timed: {}", histogram(&failures))));
    }
    let overheads: Vec<f64> = overheads.seconds().split_off(earlier).iter().map(|seconds| 1e3 * seconds).collect();
    let mean = (overheads.iter().sum::<f64>() + 1e3 * beside) / overheads.len() as f64;
    let overhead = (!overheads.is_empty()).then(|| (mean, stats::median(&overheads), stats::quantile(&overheads, 0.95)));

    let schedules = |task: &Task| tuner.schedule(task);
    let known = CompileOptions { schedules: &schedules, ..options };
    let left = || args.time.saturating_sub(start.elapsed());
    let (comparison, inside) = (left().mul_f64(COMPARISON), left().mul_f64(INSIDE));
    let mut order =
        network::fastest(finalists, &known, &values, Some(tuner.records()), comparison, args.seed).map_err(tune_failure)?;
    let lowered = order.swap_remove(0);
    let ids: Vec<TaskId> =
        lowered.tasks.tasks.iter().map(|task| tuner.add(task)).collect::<Result<_, _>>().map_err(tune_failure)?;
    let inside = confirm::in_network(&mut tuner, &lowered, &ids, &options, &values, inside, args.seed).map_err(tune_failure)?;
    let schedules = |task: &Task| tuner.schedule(task);
    let known = CompileOptions { schedules: &schedules, ..options };
    let tuned = lowered.ready(&known, &values).map_err(tune_failure)?;
    // Each sample of both is two runs.
    let budget = Budget { samples: 60, seconds: (left().as_secs_f64() / 4.0).min(1.0) };
    let samples = measure_models(&mut [untuned, tuned], budget, args.seed).map_err(tune_failure)?;
    let (Some(before), Some(after)) = (Summary::of(&samples[0]), Summary::of(&samples[1])) else {
        return Err(fail(Exit::NoCandidate, "the model could not be timed"));
    };
    let ends = |i: usize| tuner.task_stop(ids[i], &limits).map_or("–".to_owned(), |stop| stop.to_string());
    let calls = |i: usize| lowered.tasks.kernels.iter().filter(|k| k.task == i).count() as f64;
    let row = |(i, &id)| (i, calls(i), tuner.best(id).map(|b| b.1), tuner.trials(id));
    let rows: Vec<(usize, f64, Option<f64>, usize)> = ids.iter().enumerate().map(row).collect();
    match args.format {
        Format::Json => {
            let kernels: Vec<_> = rows
                .iter()
                .map(|(i, calls, best, trials)| {
                    let task = &lowered.tasks.tasks[*i];
                    let gflops = best.map(|best| task.flops as f64 / best);
                    json!({ "kernel": i, "name": task.program.name, "calls": calls, "gflops": gflops, "best_us": best.map(|b| b / 1e3), "trials": trials, "stop": ends(*i),
                    "schedule": tuner.best(ids[*i]).map(|b| b.0.to_string()) })
                })
                .collect();
            let document = json!({
                "schema": 1, "model": graph.name, "target": target.key(), "trials": trials, "extractions": extractions, "stop": stop.to_string(), "seconds": start.elapsed().as_secs_f64(),
                "untuned_us": before.median / 1e3, "tuned_us": after.median / 1e3,
                "tuned_interval_us": [after.interval.0 / 1e3, after.interval.1 / 1e3], "replaced_in_network": inside.replaced, "kernels": kernels,
                "cache": args.cache, "failures": failures,
                "overhead_ms": overhead.map(|overhead| overhead.0),
                "trial_overhead_ms": overhead.map(|(_, median, most)| json!({ "median": median, "q95": most })),
            });
            outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?);
        }
        Format::Text => {
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|(i, calls, best, trials)| {
                    let task = &lowered.tasks.tasks[*i];
                    let (time, rate) = best.map_or(("–".into(), "–".into()), |b| {
                        (format!("{:.2}", b / 1e3), format!("{:.0}", task.flops as f64 / b))
                    });
                    vec![i.to_string(), task.program.name.clone(), format!("{calls}"), time, rate, trials.to_string(), ends(*i)]
                })
                .collect();
            let columns = [
                ("#", Align::Right),
                ("kernel", Align::Left),
                ("calls", Align::Right),
                ("µs", Align::Right),
                ("GFLOP/s", Align::Right),
                ("trials", Align::Right),
                ("ended", Align::Left),
            ];
            out!("{}", render(&columns, &cells));
            outln!(
                "\n{}: {:.1} µs untuned, {:.1} µs tuned ({:.2}×); the search stopped because {stop}",
                graph.name,
                before.median / 1e3,
                after.median / 1e3,
                before.median / after.median
            );
            if inside.replaced > 0 {
                outln!("{} kernels have another schedule inside of the network than what was fastest alone", inside.replaced);
            }
            if !failures.is_empty() {
                outln!("failed trials: {}", histogram(&failures));
            }
            if let Some((mean, median, most)) = overhead {
                outln!("a trial took {median:.1} ms beside running its kernel, and {most:.1} ms or less in 19 of 20 cases");
                outln!("with the search itself, {mean:.1} ms on average");
            }
        }
    }
    Ok(())
}

/// Seconds of measuring spent on tasks.
fn measuring(tuner: &Tuner, weights: &[(TaskId, f64)]) -> f64 {
    weights.iter().filter_map(|&(id, _)| Some(tuner.curve(id).last()?.seconds)).sum()
}

/// Why trials of tasks failed, and how many for each kind of cause.
fn failures(tuner: &Tuner, weights: &[(TaskId, f64)]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (kind, count) in weights.iter().flat_map(|&(id, _)| tuner.failures(id)) {
        *counts.entry(kind).or_default() += count;
    }
    counts
}

/// The causes, the most frequent first.
fn histogram(failures: &BTreeMap<&'static str, usize>) -> String {
    let mut causes: Vec<(&str, usize)> = failures.iter().map(|(&kind, &count)| (kind, count)).collect();
    causes.sort_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
    causes.iter().map(|(kind, count)| format!("{count} × {kind}")).collect::<Vec<_>>().join(", ")
}
