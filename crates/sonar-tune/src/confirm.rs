//! Schedules where they are used: inside of a network.
//!
//! A kernel is tuned alone, with caches that hold nothing but its arguments, and with threads that have nothing else to do. What is
//! fastest there need not be in a network. So the contenders of every kernel are timed in the network, call by call: one
//! model has the first contender of every kernel, the next one the second, and so on. A contender replaces the analytic
//! default if its calls are faster, and all of them together only if the network is.

use crate::compile::{CompileOptions, Lowered};
use crate::error::TuneError;
use crate::latency::{Arguments, measure_models};
use crate::tuner::{TaskId, Tuner};
use sonar_codegen::Context;
use sonar_ir::Values;
use sonar_ir::machine::is_gain;
use sonar_ir::schedule::Schedule;
use sonar_measure::{Budget, stats};
use sonar_schedule::Task;
use std::time::{Duration, Instant};

/// Contenders of a kernel at most, the analytic default being one.
const CONTENDERS: usize = 3;
/// Samples of each call.
const SAMPLES: usize = 15;
/// Samples of each call, however little time there is.
const FEW_SAMPLES: usize = 5;
/// Runs of which the fastest makes a sample.
const RUNS: usize = 5;

/// What came of timing a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmation {
    /// Nanoseconds of one run with the analytic defaults, in order of measurement.
    pub untuned: Vec<f64>,
    /// The same with the schedules that are the best now.
    pub tuned: Vec<f64>,
    /// Kernels whose best schedule another one replaced.
    pub replaced: usize,
}

/// A choice of contenders, one for each kernel, as numbers.
type Choice = Vec<usize>;

/// Times the contenders of all kernels of a network inside of it, makes those the best of their tasks that make the network
/// fastest, and records that. `ids` are the tasks of `lowered`, in their order. It takes about `time`, but at least a few runs.
pub fn in_network(
    tuner: &mut Tuner,
    lowered: &Lowered,
    ids: &[TaskId],
    options: &CompileOptions<'_>,
    params: &Values,
    time: Duration,
    seed: u64,
) -> Result<Confirmation, TuneError> {
    let start = Instant::now();
    let contenders: Vec<Vec<Schedule>> = ids.iter().map(|&id| tuner.contenders(id, CONTENDERS)).collect();
    let tasks = &lowered.tasks;
    let load = |choice: &Choice| -> Result<Context, TuneError> {
        let schedules = |task: &Task| {
            let index = tasks.tasks.iter().position(|other| other.key == task.key)?;
            contenders[index].get(choice[index]).cloned()
        };
        let options = CompileOptions { schedules: &schedules, ..*options };
        lowered.ready(&options, params)
    };
    let versions = contenders.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let choices: Vec<Choice> =
        (0..versions).map(|version| contenders.iter().map(|c| version.min(c.len().saturating_sub(1))).collect()).collect();
    let mut models = choices.iter().map(&load).collect::<Result<Vec<Context>, TuneError>>()?;

    let times = profile(&mut models, &choices, lowered, time.saturating_sub(start.elapsed()) / 2, seed)?;
    let fastest: Choice = times.iter().map(|times| fastest(times)).collect();
    let mut candidates = vec![choices[0].clone()];
    models.truncate(1);
    for choice in [Some(&fastest), choices.get(1)].into_iter().flatten() {
        if !candidates.contains(choice) {
            models.push(load(choice)?);
            candidates.push(choice.clone());
        }
    }
    // Each sample is two runs.
    let left = time.saturating_sub(start.elapsed()).as_secs_f64() / (2 * models.len()) as f64;
    let samples = measure_models(&mut models, Budget { samples: 100, seconds: left.min(1.0) }, seed)?;
    let medians: Vec<f64> = samples.iter().map(|samples| stats::median(samples)).collect();
    let best = (0..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);

    let mut replaced = 0;
    for ((&id, contenders), (&chosen, times)) in ids.iter().zip(&contenders).zip(candidates[best].iter().zip(&times)) {
        let Some(schedule) = contenders.get(chosen).filter(|_| contenders.len() > 1) else { continue };
        replaced += usize::from(tuner.best(id).is_some_and(|(best, _)| best != *schedule));
        tuner.settle(id, schedule, &times[chosen])?;
    }
    Ok(Confirmation { untuned: samples[0].clone(), tuned: samples[best].clone(), replaced })
}

/// The number of the contender with the lowest median; the first of them if it is not clearly slower.
fn fastest(times: &[Vec<f64>]) -> usize {
    let medians: Vec<f64> = times.iter().map(|times| stats::median(times)).collect();
    let best = (0..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);
    if medians.first().is_some_and(|first| is_gain(medians[best], *first)) { best } else { 0 }
}

/// For each kernel, for each of its contenders, samples of the nanoseconds of one call inside of the network. The models take turns;
/// there are fewer samples if `time` is over before.
fn profile(
    models: &mut [Context],
    choices: &[Choice],
    lowered: &Lowered,
    time: Duration,
    seed: u64,
) -> Result<Vec<Vec<Vec<f64>>>, TuneError> {
    let start = Instant::now();
    let kernels = &lowered.tasks.kernels;
    let count = lowered.tasks.tasks.len();
    let mut calls = vec![0.0; count];
    kernels.iter().for_each(|kernel| calls[kernel.task] += 1.0);
    let mut times: Vec<Vec<Vec<f64>>> =
        (0..count).map(|task| vec![vec![]; choices.iter().map(|c| c[task] + 1).max().unwrap_or(0)]).collect();
    let mut arguments: Vec<Arguments> = models.iter().map(|context| Arguments::random(context, seed)).collect();
    for taken in 0..SAMPLES {
        if taken >= FEW_SAMPLES && start.elapsed() >= time {
            break;
        }
        for ((model, arguments), choice) in models.iter_mut().zip(&mut arguments).zip(choices) {
            let mut sums = vec![0.0; count];
            for (time, kernel) in arguments.profile(model, RUNS)?.iter().zip(kernels) {
                sums[kernel.task] += time.seconds * 1e9;
            }
            for (task, sum) in sums.into_iter().enumerate() {
                times[task][choice[task]].push(sum / calls[task]);
            }
        }
    }
    Ok(times)
}
