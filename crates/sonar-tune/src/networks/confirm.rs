//! Schedules where they are used: inside of a network.
//!
//! A kernel is tuned alone: caches hold only its arguments, and threads have nothing else to do. The fastest schedule there may not
//! be the fastest in a network. So the contenders of every kernel are timed in the network, call by call: one model has the
//! first contender of every kernel, the next model the second, and so on. A contender replaces the analytic default if its calls
//! are faster. All replacements are dropped if the network is not faster with them.

use super::latency::{GoOn, ModelMeasurer};
use crate::compile::{CompileOptions, Lowered, plan};
use crate::error::TuneError;
use crate::schedules::{Tuner, TunerTaskId};
use sonar_ir::entity::{Entity, EntityVec};
use sonar_ir::machine::is_gain;
use sonar_ir::schedule::Schedule;
use sonar_measure::records::Contender;
use sonar_measure::{Budget, stats};
use sonar_schedule::Task;
use std::ops::ControlFlow;
use std::time::Duration;

/// Contenders of a kernel at most, the analytic default being one.
const CONTENDERS: usize = 3;
/// Samples of each call.
const SAMPLES: usize = 15;
/// Samples of each call, however little time there is.
const FEW_SAMPLES: usize = 5;
/// A sample is the fastest of this many runs.
const RUNS: usize = 5;

/// The result of timing the contenders in a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmation {
    /// Nanoseconds of one run with the analytic defaults, in order of measurement.
    pub untuned: Vec<f64>,
    /// The same with the schedules that are the best now.
    pub tuned: Vec<f64>,
    /// Kernels whose best schedule another one replaced.
    pub replaced: usize,
}

/// One contender for each task of a network, by number.
type Selection = Vec<usize>;

/// Times the contenders of all kernels of a network inside it, makes those the best of their tasks that make the network fastest,
/// and records that. `ids` are the tasks of `lowered`, in their order. It takes about `time`, but at least a few runs.
pub fn in_network<M: ModelMeasurer>(
    tuner: &mut Tuner,
    lowered: &Lowered,
    ids: &[TunerTaskId],
    options: &CompileOptions<'_>,
    models: &mut M,
    time: Duration,
    go_on: &mut GoOn<'_>,
) -> Result<Confirmation, TuneError> {
    let start = tuner.now();
    let end = start + time;
    let tasks = &lowered.tasks;
    let goal = options.goal_within(tasks);
    let default = |task| sonar_schedule::default_program(task, &goal).0;
    let with_default = tasks.tasks.iter().zip(ids);
    let contenders: Vec<Vec<Schedule>> =
        with_default.map(|(task, &id)| tuner.contenders(id, default(task), CONTENDERS)).collect();
    let load = |models: &mut M, selection: &Selection| {
        let schedules = |task: &Task| {
            let index = tasks.tasks.iter().position(|other| other.key == task.key);
            Ok(index.and_then(|index| contenders[index].get(selection[index]).cloned()))
        };
        let options = CompileOptions { schedules: &schedules, ..*options };
        models.load(plan(lowered.clone(), &options)?, &options)
    };
    let versions = contenders.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let selections: Vec<Selection> =
        (0..versions).map(|version| contenders.iter().map(|c| version.min(c.len().saturating_sub(1))).collect()).collect();
    let mut loaded = selections.iter().map(|selection| load(models, selection)).collect::<Result<Vec<M::Model>, TuneError>>()?;

    let half = tuner.now() + end.saturating_sub(tuner.now()) / 2;
    let times = profile(models, &mut loaded, &selections, lowered, go_on, &|| tuner.now() >= half)?;
    let fastest: Selection = times.iter().map(|times| fastest(times)).collect();
    let mut candidates = vec![selections[0].clone()];
    loaded.truncate(1);
    for selection in [Some(&fastest), selections.get(1)].into_iter().flatten() {
        if !candidates.contains(selection) {
            loaded.push(load(models, selection)?);
            candidates.push(selection.clone());
        }
    }
    // Each sample is two runs.
    let left = end.saturating_sub(tuner.now()).as_secs_f64() / (2 * loaded.len()) as f64;
    let samples = models.compare(&mut loaded, Budget { samples: 100, seconds: left.min(1.0) }, go_on)?;
    if go_on().is_break() {
        return Err(TuneError::Interrupted);
    }
    let medians: Vec<f64> = samples.iter().map(|samples| stats::median(samples)).collect();
    let best = (0..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);

    let mut replaced = 0;
    let share = tuner.now().saturating_sub(start).as_secs_f64() / ids.len().max(1) as f64;
    for ((&id, contenders), (&chosen, times)) in ids.iter().zip(&contenders).zip(candidates[best].iter().zip(&times)) {
        let Some(schedule) = contenders.get(chosen).filter(|_| contenders.len() > 1) else { continue };
        replaced += usize::from(tuner.best(id).is_some_and(|(best, _)| best != *schedule));
        let numbered = contenders.iter().zip(times).enumerate();
        let others = numbered.filter(|(number, (_, samples))| *number != chosen && !samples.is_empty());
        let ranked = std::iter::once((schedule, &times[chosen])).chain(others.map(|(_, pair)| pair));
        let ranked = ranked.map(|(schedule, samples)| Contender { schedule: schedule.clone(), samples: samples.clone() });
        tuner.settle(id, ranked.collect(), share)?;
    }
    Ok(Confirmation { untuned: samples[0].clone(), tuned: samples[best].clone(), replaced })
}

/// The number of the contender with the lowest median; the first one unless another is clearly faster.
fn fastest(times: &[Vec<f64>]) -> usize {
    let medians: Vec<f64> = times.iter().map(|times| stats::median(times)).collect();
    let best = (0..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);
    if medians.first().is_some_and(|first| is_gain(medians[best], *first)) { best } else { 0 }
}

/// For each task, for each of its contenders: samples of the nanoseconds of one call inside the network. The models take turns.
/// There are fewer samples if the time is `over` before.
fn profile<M: ModelMeasurer>(
    models: &mut M,
    loaded: &mut [M::Model],
    selections: &[Selection],
    lowered: &Lowered,
    go_on: &mut GoOn<'_>,
    over: &dyn Fn() -> bool,
) -> Result<Vec<Vec<Vec<f64>>>, TuneError> {
    let kernels = &lowered.tasks.kernels;
    let count = lowered.tasks.tasks.len();
    let mut calls = EntityVec::filled(0.0, count);
    kernels.iter().for_each(|kernel| calls[kernel.task] += 1.0);
    let mut times: Vec<Vec<Vec<f64>>> =
        (0..count).map(|task| vec![vec![]; selections.iter().map(|s| s[task] + 1).max().unwrap_or(0)]).collect();
    for taken in 0..SAMPLES {
        if taken >= FEW_SAMPLES && over() {
            break;
        }
        for (model, selection) in loaded.iter_mut().zip(selections) {
            if go_on() == ControlFlow::Break(()) {
                return Err(TuneError::Interrupted);
            }
            let mut sums = EntityVec::filled(0.0, count);
            for (time, kernel) in models.profile(model, RUNS)?.iter().zip(kernels) {
                sums[kernel.task] += time;
            }
            for ((task, sum), times) in sums.entries().zip(&mut times) {
                times[selection[task.index()]].push(sum / calls[task]);
            }
        }
    }
    Ok(times)
}
