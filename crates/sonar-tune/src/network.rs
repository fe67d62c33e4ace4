//! Which of the graphs that a network can be rewritten to is the fastest, by native timing.
//!
//! 1. [`candidates`]: rewriting with measured costs. A kernel that was never timed is thought to be faster than it is likely to be;
//!    if it then is part of one of the best graphs it is timed, and rewriting is done again, until nothing unseen is among them.
//!    The best graphs by estimated costs are candidates, too: kernels run alone, from warm caches, and networks do not.
//! 2. [`fastest`]: the candidates run against one another, end to end; fusion alone is the one to beat.
//!
//! What was found is recorded as a trial of the network, of which the rewritten graph is the schedule; so
//! [`recorded::network`](crate::recorded::network) knows it at every later compilation.

use crate::compile::{CompileOptions, Level, Lowered, Passes, estimated_cost, lower_rewritten, rewrite, specialise};
use crate::costs::KernelCosts;
use crate::error::TuneError;
use crate::latency::measure_models;
use crate::recorded;
use crate::tuner::{Limits, Progress, StopReason, Tuner};
use sonar_ir::machine::is_gain;
use sonar_ir::{Graph, Values};
use sonar_measure::{Budget, Outcome, Records, Trial, records, stats};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Rounds of timing kernels and rewriting again.
const ROUNDS: usize = 8;
/// Timing of one comparison.
const BUDGET: Budget = Budget { samples: 40, seconds: 0.25 };

/// The graphs that a network may be rewritten to, lowered: what fusion alone gives first, then by their cost.
pub fn candidates(
    graph: &Graph,
    options: &CompileOptions<'_>,
    tuner: &mut Tuner,
    time: Duration,
    report: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Vec<Lowered>, TuneError> {
    let start = Instant::now();
    let graph = specialise(graph, options)?;
    let lower = |rewritten| lower_rewritten(graph.clone(), rewritten, None, Passes::default(), options);
    if options.rewrite < Level::Fusion {
        return Ok(vec![lower(graph.clone())?]);
    }
    let mut rounds = 0;
    loop {
        let (rewritten, unseen) = {
            let times = |task: &_| tuner.time(task).map(|nanoseconds| nanoseconds / 1e9);
            let costs = KernelCosts::new(options, &times);
            let rewritten = rewrite(&graph, &|kernel: &_| costs.seconds(kernel), options)?;
            let unseen: Vec<_> = rewritten.candidates.iter().flat_map(|candidate| costs.unseen(candidate)).collect();
            (rewritten, unseen)
        };
        rounds += 1;
        let left = time.saturating_sub(start.elapsed());
        let mut ended = unseen.is_empty() || rounds > ROUNDS || left.is_zero();
        if !ended {
            let ids = unseen.iter().map(|task| Ok((tuner.add(task)?, 1.0))).collect::<Result<Vec<_>, TuneError>>()?;
            let limits = Limits { trials_each: Some(1), time: Some(left), ..Limits::default() };
            ended = tuner.tune(&ids, limits, report)? == StopReason::Interrupted;
        }
        if ended {
            let mut candidates = rewritten.candidates;
            let fusion = candidates.remove(rewritten.fusion);
            let by_estimate = rewrite(&graph, &*estimated_cost(options), options)?.candidates;
            let mut distinct = vec![fusion];
            for candidate in by_estimate.into_iter().chain(candidates) {
                if !distinct.contains(&candidate) {
                    distinct.push(candidate);
                }
            }
            return distinct.into_iter().map(lower).collect();
        }
    }
}

/// Runs candidates of one network against one another, end to end, with the best schedules that the options know, and returns
/// them in the order of their speed. A candidate must be faster than an earlier one by more than noise to come before it. The
/// times are recorded if there are `records`. Candidates whose turn has not come after `time` are left out; the first one never is.
pub fn fastest(
    candidates: Vec<Lowered>,
    options: &CompileOptions<'_>,
    values: &Values,
    records: Option<&Records>,
    time: Duration,
    seed: u64,
) -> Result<Vec<Lowered>, TuneError> {
    let start = Instant::now();
    let mut candidates = candidates.into_iter();
    let Some(first) = candidates.next() else { return Ok(Vec::new()) };
    // Two models are in memory at a time.
    let mut running = first.ready(options, values)?;
    let mut best = Timed { lowered: first, ratio: 1.0, samples: Vec::new() };
    let mut others: Vec<Timed> = Vec::new();
    if candidates.len() == 0 {
        best.samples = measure_models(std::slice::from_mut(&mut running), BUDGET, seed)?.swap_remove(0);
    }
    for lowered in candidates {
        if start.elapsed() >= time && !best.samples.is_empty() {
            break;
        }
        let mut pair = [running, lowered.ready(options, values)?];
        let mut samples = measure_models(&mut pair, BUDGET, seed)?.into_iter();
        let [incumbent, challenger] = pair;
        (best.samples, running) = (samples.next().unwrap_or_default(), incumbent);
        let mut new = Timed { lowered, ratio: 1.0, samples: samples.next().unwrap_or_default() };
        new.ratio = stats::median(&new.samples) / stats::median(&best.samples);
        if is_gain(new.ratio, 1.0) {
            others.iter_mut().for_each(|other| other.ratio /= new.ratio);
            best.ratio = 1.0 / new.ratio;
            new.ratio = 1.0;
            others.push(std::mem::replace(&mut best, new));
            running = challenger;
        } else {
            others.push(new);
        }
    }
    others.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let order: Vec<Timed> = std::iter::once(best).chain(others).collect();
    if let Some(records) = records {
        for (rank, timed) in order.iter().enumerate() {
            let trial = Trial {
                key: recorded::network_key(&timed.lowered.graph, options),
                schedule: timed.lowered.rewritten.to_string(),
                outcome: Outcome::Ok(timed.samples.clone()),
                confirmed: rank == 0,
                seconds: timed.samples.iter().sum::<f64>() / 1e9,
                at: records::unix_time(),
            };
            records.insert(&trial)?;
        }
    }
    Ok(order.into_iter().map(|timed| timed.lowered).collect())
}

/// A candidate with its time over that of the best, and its latest samples.
struct Timed {
    lowered: Lowered,
    ratio: f64,
    samples: Vec<f64>,
}
