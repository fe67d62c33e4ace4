//! `tune`: searches schedules for the kernels of one model, and records them.

use crate::args::{Format, TuneArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::{runnable_target, tune_failure};
use crate::model::load::{self, Described};
use crate::model::records::open_records;
use crate::terminal::interrupt;
use crate::terminal::output::{out, outln};
use crate::terminal::stderr;
use crate::terminal::table::{Align, render};
use serde_json::{Value, json};
use sonar_ir::graph::init;
use sonar_measure::worker::Overheads;
use sonar_measure::{Clock, Measurer, Planted, Summary, SystemClock, WorkerMeasurer, WorkerOptions, stats};
use sonar_schedule::Task;
use sonar_tune::networks::{NativeModels, NetworkEvent, Stage};
use sonar_tune::{CompileOptions, NetworkOptions, Target, TunedNetwork, Tuner, TunerOptions, TunerTaskId, tune_network};
use std::ops::ControlFlow;

/// Runs the subcommand.
pub fn tune(args: &TuneArgs, quiet: bool) -> Result<(), Failure> {
    let target = runnable_target(&args.target)?;
    let Described { graph, weights, .. } = load::model(&args.model, args.target.batch)?;
    let Some(records) = open_records(args.target.records.as_deref(), true)? else {
        return Err(fail(Exit::Internal, "the records were not created"));
    };
    let rules = load::rules(&args.target)?;
    let machine = machine::of_target(&target)?;
    let compile = CompileOptions {
        machine,
        rules: &rules,
        threads: args.target.threads,
        batch: args.target.batch,
        rewrite: args.target.level(),
        max_rounding: args.target.max_rounding,
        ..CompileOptions::new(&target)
    };
    let options = NetworkOptions {
        compile,
        time: args.time,
        trials: args.trials as usize,
        patience: args.patience.map(|trials| trials as usize),
    };
    let worker = WorkerMeasurer::new(WorkerOptions::current_executable(args.target.threads).or_exit(Exit::Internal)?);
    let overheads = worker.overheads();
    let faults: Vec<_> = args.plant.iter().map(|planting| planting.0).collect();
    let measurer: Box<dyn Measurer> = if faults.is_empty() { Box::new(worker) } else { Box::new(Planted::new(worker, faults)) };
    let tuner_options = TunerOptions {
        machine,
        threads: args.target.threads,
        seed: args.seed,
        max_rounding: args.target.max_rounding,
        cache: args.cache,
        ..TunerOptions::new(target.clone())
    };
    let clock = SystemClock::default();
    let mut tuner = Tuner::new(tuner_options.overlapping(), measurer, records, Box::new(clock));
    let bound = graph.specialise(args.target.batch);
    let params = weights.unwrap_or_else(|| init::randomise(&bound, args.seed));
    let mut models = NativeModels::new(params, args.seed);
    interrupt::saves();
    let mut watch = Watch { clock, args, live: !quiet, trials: 0, overheads, before: 0 };
    let tuned = tune_network(&graph, &mut tuner, &mut models, &options, &mut |event| watch.tell(event)).map_err(tune_failure)?;
    let report = Report { args, name: &graph.name, target: &target, tuner: &tuner, tuned: &tuned, watch: &watch };
    report.print()
}

/// Reports the progress, and collects data for the end.
struct Watch<'a> {
    clock: SystemClock,
    args: &'a TuneArgs,
    live: bool,
    trials: usize,
    overheads: Overheads,
    /// Number of overheads that were recorded before the schedule search.
    before: usize,
}

impl Watch<'_> {
    fn tell(&mut self, event: &NetworkEvent<'_>) -> ControlFlow<()> {
        let left = self.args.time.saturating_sub(self.clock.now()).as_secs();
        match event {
            NetworkEvent::Stage(stage) => {
                if *stage == Stage::Search {
                    self.before = self.overheads.seconds().len();
                }
                let doing = match stage {
                    Stage::Graphs => "rewriting, with the kernels that could win timed",
                    Stage::Comparison => "the graphs run against one another",
                    Stage::Search => "searching schedules",
                    Stage::Confirmation => "timing the best inside the network",
                };
                self.show(&format!("{doing}, {left} s left"));
            }
            NetworkEvent::Trial(progress) => {
                self.trials += 1;
                let best = progress.best.map_or("–".into(), |best| format!("{:.2} µs", best / 1e3));
                self.show(&format!("{} trials, kernel {} at {best}, {left} s left", self.trials, progress.task));
            }
            NetworkEvent::Timing => {}
        }
        interrupt::flow()
    }

    fn show(&self, text: &str) {
        if self.live {
            stderr::show(text);
        }
    }
}

/// Milliseconds of a trial of the search, without running its kernel.
struct Overhead {
    /// The mean, including the search itself.
    mean: f64,
    median: f64,
    /// 95% of the trials take at most this long.
    most: f64,
}

/// The output at the end.
struct Report<'a> {
    args: &'a TuneArgs,
    name: &'a str,
    target: &'a Target,
    tuner: &'a Tuner,
    tuned: &'a TunedNetwork,
    watch: &'a Watch<'a>,
}

/// A kernel of the tuned network.
struct Row<'a> {
    name: &'a str,
    flops: f64,
    calls: usize,
    /// Nanoseconds of one call.
    best: Option<f64>,
    schedule: Option<String>,
    trials: usize,
    stop: String,
}

impl Report<'_> {
    fn print(&self) -> Result<(), Failure> {
        let (Some(before), Some(after)) = (Summary::of(&self.tuned.untuned), Summary::of(&self.tuned.tuned)) else {
            return Err(fail(Exit::NoCandidate, "the model could not be timed"));
        };
        match self.args.format {
            Format::Json => {
                outln!("{}", serde_json::to_string_pretty(&self.json(&before, &after)).or_exit(Exit::Internal)?);
            }
            Format::Text => self.text(&before, &after),
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let tuner = self.tuner;
        let TunedNetwork { lowered, tasks, limits, .. } = self.tuned;
        let row = |((number, task), &id)| {
            let (task, id): (&Task, TunerTaskId) = (task, id);
            let (schedule, best) = tuner.best(id).unzip();
            Row {
                name: &task.program.name,
                flops: task.flops as f64,
                calls: lowered.tasks.kernels.iter().filter(|kernel| kernel.task == number).count(),
                best,
                schedule: schedule.map(|schedule| schedule.to_string()),
                trials: tuner.trials(id),
                stop: tuner.task_stop(id, limits).map_or("–".to_owned(), |stop| stop.to_string()),
            }
        };
        lowered.tasks.tasks.entries().zip(tasks).map(row).collect()
    }

    fn overhead(&self) -> Option<Overhead> {
        let seconds = self.watch.overheads.seconds().split_off(self.watch.before);
        let each: Vec<f64> = seconds.iter().map(|seconds| 1e3 * seconds).collect();
        let mean = (each.iter().sum::<f64>() + 1e3 * self.tuned.beside.as_secs_f64()) / each.len() as f64;
        (!each.is_empty()).then(|| Overhead { mean, median: stats::median(&each), most: stats::quantile(&each, 0.95) })
    }

    fn json(&self, before: &Summary, after: &Summary) -> Value {
        let kernel = |(i, row): (usize, Row<'_>)| {
            json!({
                "kernel": i, "name": row.name, "calls": row.calls, "gflops": row.best.map(|best| row.flops / best),
                "best_us": row.best.map(|best| best / 1e3), "trials": row.trials, "stop": row.stop, "schedule": row.schedule,
            })
        };
        let kernels: Vec<Value> = self.rows().into_iter().enumerate().map(kernel).collect();
        let overhead = self.overhead();
        json!({
            "schema": 1, "model": self.name, "target": self.target.key(), "trials": self.watch.trials,
            "extractions": self.tuned.graphs, "stop": self.tuned.stop.to_string(),
            "seconds": self.watch.clock.now().as_secs_f64(), "untuned_us": before.median / 1e3, "tuned_us": after.median / 1e3,
            "tuned_interval_us": [after.interval.0 / 1e3, after.interval.1 / 1e3], "replaced_in_network": self.tuned.replaced,
            "kernels": kernels, "cache": self.args.cache, "failures": self.tuned.failures,
            "overhead_ms": overhead.as_ref().map(|overhead| overhead.mean),
            "trial_overhead_ms": overhead.map(|overhead| json!({ "median": overhead.median, "q95": overhead.most })),
        })
    }

    fn text(&self, before: &Summary, after: &Summary) {
        let cells = |(i, row): (usize, Row<'_>)| {
            let time = row.best.map_or("–".into(), |best| format!("{:.2}", best / 1e3));
            let rate = row.best.map_or("–".into(), |best| format!("{:.0}", row.flops / best));
            vec![i.to_string(), row.name.to_owned(), row.calls.to_string(), time, rate, row.trials.to_string(), row.stop]
        };
        let cells: Vec<Vec<String>> = self.rows().into_iter().enumerate().map(cells).collect();
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
        let [before, after] = [before.median / 1e3, after.median / 1e3];
        let (name, stop) = (self.name, self.tuned.stop);
        outln!(
            "\n{name}: {before:.1} µs untuned, {after:.1} µs tuned ({:.2}×); the search stopped because {stop}",
            before / after
        );
        if self.tuned.replaced > 0 {
            outln!(
                "{} kernels have another schedule inside the network than the one that was fastest alone",
                self.tuned.replaced
            );
        }
        if !self.tuned.failures.is_empty() {
            outln!("failed trials: {}", self.tuned.failures);
        }
        if let Some(Overhead { mean, median, most }) = self.overhead() {
            outln!("a trial took {median:.1} ms beside running its kernel, and {most:.1} ms or less in 19 of 20 cases");
            outln!("with the search itself, {mean:.1} ms on average");
        }
    }
}
