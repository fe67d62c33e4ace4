//! Tuning of a whole network, from its graph to the graph and the schedules that run fastest.
//!
//! ```text
//! graphs:       rewrite with measured costs of kernels ─▶ the graphs run against one another ─▶ the fastest few
//! schedules:    search the schedules of their kernels
//! confirmation: these graphs run against one another again ─▶ contenders of each kernel are timed inside the fastest
//! report:       the tuned network runs against the untuned one
//! ```
//!
//! Each part has a share of the time. The clock is the tuner's. The tuner's measurer times kernels, and a [`ModelMeasurer`] times
//! networks; tests inject their own. Results are recorded, so the same call continues an interrupted one.

use super::candidates::candidates;
use super::compare::{Ranked, fastest};
use super::confirm::in_network;
use super::latency::ModelMeasurer;
use crate::compile::{CompileOptions, Lowered, lower, plan};
use crate::error::TuneError;
use crate::recorded;
use crate::schedules::{Failures, Limits, Progress, StopReason, Tuner, TunerTaskId};
use sonar_ir::Graph;
use sonar_measure::Budget;
use sonar_schedule::Task;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// At most one part in this many of the time goes to timing kernels of the graphs that the network could be rewritten to.
const CANDIDATES_SHARE: u32 = 5;
/// The same for the comparison of these graphs with one another.
const COMPARISON_SHARE: u32 = 10;
/// The same for everything after the search of schedules, unless compiling the network takes longer.
const CONFIRMATION_SHARE: u32 = 8;
/// About how often the network is compiled after the search.
const COMPILATIONS: u32 = 8;
/// Shares of the time after the search: for comparing graphs, and for comparing kernels inside the network. The rest is for timing the
/// untuned and the tuned network.
const COMPARISON: f64 = 0.2;
const INSIDE: f64 = 0.7;
/// Graphs whose kernels are tuned.
const FINALISTS: usize = 2;
/// Samples of the last comparison, and its seconds for each of the two networks, at most.
const REPORT: Budget = Budget { samples: 60, seconds: 1.0 };

/// How to tune a network.
#[derive(Clone, Copy)]
pub struct NetworkOptions<'a> {
    /// How it is compiled. `schedules` and `networks` are ignored: the tuner knows them.
    pub compile: CompileOptions<'a>,
    /// Time for the whole call, on the tuner's clock. It takes longer only if compiling takes longer.
    pub time: Duration,
    /// Trials of each kernel, those on record included.
    pub trials: usize,
    /// As [`Limits::patience`].
    pub patience: Option<usize>,
}

/// What happens while a network is tuned.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkEvent<'a> {
    /// A stage begins.
    Stage(Stage),
    /// A schedule was tried, or the best one of a task was confirmed.
    Trial(&'a Progress),
    /// Networks are being timed. The event is repeated, so that the observer can interrupt.
    Timing,
}

/// A part of tuning a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Rewriting with measured costs of kernels.
    Graphs,
    /// The graphs run against one another.
    Comparison,
    /// The search of schedules.
    Search,
    /// The graphs run against one another again, and contenders of each kernel inside the fastest.
    Confirmation,
}

/// Receives the events and decides whether to continue. After it has returned [`ControlFlow::Break`] once, it must always return it.
pub type NetworkObserver<'a> = dyn FnMut(&NetworkEvent<'_>) -> ControlFlow<()> + 'a;

/// A network that was tuned.
#[derive(Clone, Debug)]
pub struct TunedNetwork {
    /// The fastest graph, lowered.
    pub lowered: Lowered,
    /// The tuner's ids of its [`tasks`](sonar_schedule::Tasks::tasks), in their order.
    pub tasks: Vec<TunerTaskId>,
    /// How many graphs the network could be rewritten to.
    pub graphs: usize,
    /// Why the search of schedules ended.
    pub stop: StopReason,
    /// The limits of the search of schedules.
    pub limits: Limits,
    /// Why trials of the search failed.
    pub failures: Failures,
    /// Time that the search took, without measuring.
    pub beside: Duration,
    /// Number of kernels whose schedule inside the network differs from the one that was fastest alone.
    pub replaced: usize,
    /// Nanoseconds of one run with the graph of least estimated cost and analytic schedules, in order of measurement.
    pub untuned: Vec<f64>,
    /// The same of the tuned network. Both were timed in turns.
    pub tuned: Vec<f64>,
}

/// Tunes a network. The kernels belong to `tuner`, whose records are read and added to; it must tune for the target, threads and
/// rounding of the options. Fails with [`TuneError::Interrupted`] where the observer breaks, and with [`TuneError::NoSchedule`]
/// where no schedule of any kernel could be timed.
pub fn tune_network<M: ModelMeasurer>(
    graph: &Graph,
    tuner: &mut Tuner,
    models: &mut M,
    options: &NetworkOptions<'_>,
    observe: &mut NetworkObserver<'_>,
) -> Result<TunedNetwork, TuneError> {
    let NetworkOptions { compile, time, .. } = options;
    let start = tuner.now();

    stage(Stage::Graphs, observe)?;
    let graphs = candidates(graph, compile, tuner, *time / CANDIDATES_SHARE, &mut |p| observe(&NetworkEvent::Trial(p)))?;
    let count = graphs.len();

    stage(Stage::Comparison, observe)?;
    let mut finalists = ranked(graphs, tuner, models, compile, *time / COMPARISON_SHARE, observe)?;
    finalists.truncate(FINALISTS);
    let weights = weights(&finalists, tuner)?;
    let loading = tuner.now();
    let untuned = models.load(plan(lower(graph, compile)?, compile)?, compile)?;
    let loading = tuner.now().saturating_sub(loading);

    stage(Stage::Search, observe)?;
    let confirmation = (*time / CONFIRMATION_SHARE).max(COMPILATIONS * loading).min(*time / 2);
    let limits = Limits {
        trials_each: Some(options.trials),
        time: Some(time.saturating_sub(tuner.now().saturating_sub(start) + confirmation)),
        patience: options.patience,
        ..Limits::default()
    };
    let (searching, measured) = (tuner.now(), tuner.measuring());
    let stop = tuner.tune(&weights, limits, &mut |p| observe(&NetworkEvent::Trial(p)))?;
    let beside = tuner.now().saturating_sub(searching).saturating_sub(tuner.measuring().saturating_sub(measured));
    if stop == StopReason::Interrupted {
        return Err(TuneError::Interrupted);
    }
    let failures: Failures = weights.iter().map(|&(id, _)| tuner.failures(id)).sum();
    if !failures.is_empty() && weights.iter().all(|&(id, _)| tuner.best(id).is_none()) {
        return Err(TuneError::NoSchedule(failures));
    }

    stage(Stage::Confirmation, observe)?;
    let left = time.saturating_sub(tuner.now().saturating_sub(start));
    let finalists = finalists.into_iter().map(|ranked| ranked.lowered).collect();
    let mut order = ranked(finalists, tuner, models, compile, left.mul_f64(COMPARISON), observe)?;
    recorded::add_networks(tuner.records(), &order, compile)?;
    let lowered = order.swap_remove(0).lowered;
    let tasks: Vec<TunerTaskId> = lowered.tasks.tasks.iter().map(|task| tuner.add(task)).collect::<Result<_, _>>()?;
    let go_on = &mut || observe(&NetworkEvent::Timing);
    let inside = in_network(tuner, &lowered, &tasks, compile, models, left.mul_f64(INSIDE), go_on)?;

    let schedules = |task: &Task| Ok(tuner.schedule(task));
    let known = CompileOptions { schedules: &schedules, ..*compile };
    let tuned = models.load(plan(lowered.clone(), &known)?, &known)?;
    // Each sample of both is two runs.
    let left = time.saturating_sub(tuner.now().saturating_sub(start)).as_secs_f64() / 4.0;
    let mut pair = [untuned, tuned];
    let mut samples = models.compare(&mut pair, Budget { seconds: left.min(REPORT.seconds), ..REPORT }, go_on)?;
    if go_on().is_break() {
        return Err(TuneError::Interrupted);
    }
    let tuned = samples.pop().unwrap_or_default();
    let untuned = samples.pop().unwrap_or_default();
    let replaced = inside.replaced;
    Ok(TunedNetwork { lowered, tasks, graphs: count, stop, limits, failures, beside, replaced, untuned, tuned })
}

fn stage(stage: Stage, observe: &mut NetworkObserver<'_>) -> Result<(), TuneError> {
    match observe(&NetworkEvent::Stage(stage)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TuneError::Interrupted),
    }
}

/// Graphs in the order of their speed with the best schedules that the tuner knows.
fn ranked<M: ModelMeasurer>(
    graphs: Vec<Lowered>,
    tuner: &Tuner,
    models: &mut M,
    compile: &CompileOptions<'_>,
    time: Duration,
    observe: &mut NetworkObserver<'_>,
) -> Result<Vec<Ranked>, TuneError> {
    let schedules = |task: &Task| Ok(tuner.schedule(task));
    let known = CompileOptions { schedules: &schedules, ..*compile };
    fastest(graphs, &known, models, tuner.clock(), time, &mut || observe(&NetworkEvent::Timing))
}

/// The tasks of graphs, each with how many of their kernels it is.
fn weights(graphs: &[Ranked], tuner: &mut Tuner) -> Result<Vec<(TunerTaskId, f64)>, TuneError> {
    let mut weights: BTreeMap<TunerTaskId, f64> = BTreeMap::new();
    for Ranked { lowered, .. } in graphs {
        for kernel in &lowered.tasks.kernels {
            let id = tuner.add(&lowered.tasks.tasks[kernel.task])?;
            *weights.entry(id).or_default() += 1.0;
        }
    }
    Ok(weights.into_iter().collect())
}
