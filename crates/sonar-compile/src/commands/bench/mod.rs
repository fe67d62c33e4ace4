//! `bench`: times compiled models, compared with each other, as a whole or kernel by kernel.

mod page;
mod print;
mod profile;
mod serve;
mod trace;

use crate::args::{BenchArgs, ModelArgs};
use crate::exit::{Exit, Failure, fail};
use crate::model::compiled::{Prepared, Ready, prepare, runnable_target};
use crate::roofline::Roofline;
use crate::terminal::output::save;
use profile::KernelTime;
use sonar_measure::{Summary, stats};
use std::time::Instant;

/// Models take turns at most this often. The runs within a turn follow each other directly, as in a program with one model.
const ROUNDS: usize = 20;

/// A loaded model with its data.
struct Subject {
    prepared: Prepared,
    ready: Ready,
}

/// The timings of one model.
struct Timed {
    name: String,
    inputs: Vec<Vec<usize>>,
    compile_seconds: f64,
    ready_seconds: f64,
    flops: u64,
    /// Nanoseconds of each run.
    samples: Vec<f64>,
    summary: Summary,
    /// For all models except the first: the ratio of its time to that of the first model, by round.
    ratio: Option<Summary>,
    kernels: Vec<KernelTime>,
}

/// Runs the subcommand.
pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let target = runnable_target(&args.target)?;
    let files = [&args.data.weights, &args.html, &args.trace];
    let data = [&args.data.input, &args.output].iter().any(|files| !files.is_empty());
    if !args.others.is_empty() && (args.serve || data || files.iter().any(|file| file.is_some())) {
        return Err(fail(Exit::Usage, "--serve, --input, --output, --weights, --html and --trace are for one model"));
    }
    if args.serve && (args.html.is_some() || args.trace.is_some()) {
        return Err(fail(Exit::Usage, "--serve writes no --html and no --trace"));
    }
    if args.runs == 0 {
        return Err(fail(Exit::Usage, "--runs must be at least 1"));
    }
    let mut subjects = Vec::new();
    for path in [&args.model.model].into_iter().chain(&args.others) {
        let model = ModelArgs { model: path.clone(), ..args.model.clone() };
        let mut prepared = prepare(&model, &args.target)?;
        let mut ready = prepared.load(0, &args.data.input, args.data.weights.as_deref())?;
        ready.run()?;
        prepared.save(&args.output, &ready.outputs)?;
        if args.serve {
            return serve::serve(&mut Subject { prepared, ready });
        }
        subjects.push(Subject { prepared, ready });
    }

    let profiled = args.profile || args.html.is_some();
    let roofline = Roofline::new(&target, args.target.threads)?;
    let rounds = time(&mut subjects, args.warmup, args.runs)?;
    let mut results = Vec::new();
    for (subject, own) in subjects.iter_mut().zip(&rounds) {
        let kernels = if profiled { profile::profile(subject, args.runs, &roofline)? } else { Vec::new() };
        let ratio = if results.is_empty() { None } else { ratio(own, &rounds[0]) };
        results.push(timed(&subject.prepared, own.concat(), ratio, kernels)?);
    }
    if let (Some(path), Some(subject)) = (&args.trace, subjects.first_mut()) {
        save(path, trace::trace(subject, args.runs, args.target.threads)?)?;
    }
    if let (Some(path), Some(subject), Some(result)) = (&args.html, subjects.first(), results.first()) {
        save(path, page::page(subject, &target, &roofline, result)?)?;
    }
    print::print(args, &target.key(), &roofline, &results)
}

/// Nanoseconds of each run, by model and round.
fn time(subjects: &mut [Subject], warmup: usize, runs: usize) -> Result<Vec<Vec<Vec<f64>>>, Failure> {
    for subject in subjects.iter_mut() {
        subject.time(warmup)?;
    }
    let several = subjects.len() > 1;
    let rounds = ROUNDS.min(runs);
    let mut samples = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..rounds {
        for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
            // The caches still hold the data of another model.
            subject.time(usize::from(several))?;
            samples.push(subject.time(runs / rounds + usize::from(round < runs % rounds))?);
        }
    }
    Ok(samples)
}

/// The ratio of the round medians of one model to those of another.
fn ratio(own: &[Vec<f64>], first: &[Vec<f64>]) -> Option<Summary> {
    let ratios: Vec<f64> = own.iter().zip(first).map(|(a, b)| stats::median(a) / stats::median(b)).collect();
    Summary::of(&ratios)
}

fn timed(prepared: &Prepared, samples: Vec<f64>, ratio: Option<Summary>, kernels: Vec<KernelTime>) -> Result<Timed, Failure> {
    let lowered = &prepared.compiled.lowered;
    let Some(summary) = Summary::of(&samples) else { return Err(fail(Exit::Internal, "there are no samples")) };
    Ok(Timed {
        name: lowered.graph.name.clone(),
        inputs: lowered.graph.inputs().into_iter().filter_map(|id| lowered.graph.ty(id).extents()).collect(),
        compile_seconds: prepared.compiled.seconds(),
        ready_seconds: prepared.seconds(),
        flops: lowered.tasks.kernels.iter().map(|k| lowered.tasks.tasks[k.task].flops).sum(),
        samples,
        summary,
        ratio,
        kernels,
    })
}

impl Subject {
    /// Nanoseconds of each of `runs` runs.
    fn time(&mut self, runs: usize) -> Result<Vec<f64>, Failure> {
        let mut samples = Vec::with_capacity(runs);
        for _ in 0..runs {
            let start = Instant::now();
            self.ready.run()?;
            samples.push(start.elapsed().as_nanos() as f64);
        }
        Ok(samples)
    }
}

impl Timed {
    /// Number of runs that took more than one and a half times the median.
    fn outliers(&self) -> usize {
        self.samples.iter().filter(|&&s| s > 1.5 * self.summary.median).count()
    }

    /// The time in microseconds below which this share of the runs is.
    fn quantile_us(&self, share: f64) -> f64 {
        stats::quantile(&self.samples, share) / 1e3
    }

    /// Mean and standard deviation, in microseconds.
    fn mean_us(&self) -> (f64, f64) {
        let count = self.samples.len() as f64;
        let mean = self.samples.iter().sum::<f64>() / count;
        let variance = self.samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        (mean / 1e3, variance.sqrt() / 1e3)
    }

    /// GFLOP/s of the median run.
    fn gflops(&self) -> f64 {
        self.flops as f64 / self.summary.median
    }
}
