//! Rungs, and their fit into a time limit.
//!
//! A search is a list of rungs: at each rung the members are trained to so many epochs and tuned to so many trials, and the
//! best one in η goes on. Without a time limit the rungs follow from the policy alone. With one, the sample and the epochs
//! of a finalist shrink together until the predicted training fits what the limit leaves beside tuning.
//!
//! Predictions rest on one number, the pace: seconds per unit of work, where an epoch's work is a fixed share (data loading,
//! small operators) plus a share proportional to the candidate's operation count.

use crate::candidate::CandidateId;
use crate::policy::{Algorithm, Policy};
use crate::state::State;
use serde::{Deserialize, Serialize};

/// What a search does, as far as it can be said before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// From the whole sample to the finalists.
    pub rungs: Vec<Rung>,
    /// Predicted seconds of all rungs together, if there is a time limit.
    pub seconds: Option<f64>,
}

/// One step of selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Members, without the baseline.
    pub size: usize,
    /// Epochs that each member gets.
    pub epochs: usize,
    /// Trials that each member's kernels get; nothing if members are not timed at all.
    pub trials: Option<usize>,
    /// What members are ranked on beside accuracy.
    pub price: Price,
    /// Seconds after which tuning ends in this rung, if there is a time limit.
    pub tuning_seconds: Option<f64>,
}

/// What a candidate costs whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Price {
    /// Measured time of an inference.
    Latency,
    /// Number of operations.
    Flops,
}

/// Share of an epoch of the mean candidate that does not depend on operation counts.
const FIXED_SHARE: f64 = 0.3;
/// Share of the time limit that plans count with: predictions err.
const PLANNED_SHARE: f64 = 0.95;
/// By how much the sample or the epochs shrink at a time while a plan does not fit.
const SHRINK: f64 = 0.9;

/// The rungs of an algorithm with `n` candidates in the sample and `epochs` for a finalist.
pub fn rungs(policy: &Policy, n: usize, epochs: usize) -> Vec<Rung> {
    let eta = policy.eta.max(2);
    let (n, epochs) = (n.max(1), epochs.max(1));
    let count = 1 + n.ilog(eta).min(epochs.ilog(eta)) as usize;
    let grown = |last: usize, rung: usize| {
        let divisor = (eta as f64).powi((count - 1 - rung) as i32);
        ((last as f64 / divisor).round() as usize).max(1)
    };
    let full = |size| Rung { size, epochs, trials: Some(policy.trials), price: Price::Latency, tuning_seconds: None };
    let mut size = n;
    let mut halving = Vec::with_capacity(count);
    for rung in 0..count {
        let last = rung + 1 == count;
        let mut step = full(size);
        if policy.algorithm != Algorithm::StopTuningOnly {
            step.epochs = grown(epochs, rung);
        }
        match policy.algorithm {
            Algorithm::Sequential if !last => (step.trials, step.price) = (None, Price::Flops),
            Algorithm::UntunedLatency if !last => step.trials = Some(0),
            Algorithm::Sonar | Algorithm::StopTuningOnly => step.trials = Some(grown(policy.trials, rung)),
            _ => {}
        }
        halving.push(step);
        size = size.div_ceil(eta);
    }
    match policy.algorithm {
        Algorithm::BruteForce => vec![full(n)],
        Algorithm::Random if policy.seconds.is_some() => vec![full(n)],
        Algorithm::Random => vec![full(halving.last().map_or(n, |r| r.size))],
        _ => halving,
    }
}

/// The plan for a sampled state; under a time limit the state must have been probed.
pub fn plan(policy: &Policy, state: &State) -> Plan {
    let drawn = state.candidates.len() - usize::from(state.baseline.is_some());
    let wanted = policy.candidates.min(drawn).max(1);
    let (Some(limit), Some((_, probe)), Some(pace)) = (policy.seconds, state.probe, pace(state)) else {
        return Plan { rungs: rungs(policy, wanted, policy.epochs), seconds: None };
    };
    let left = (limit - state.cost.total()).max(0.0) * PLANNED_SHARE;
    let tuning = left * policy.tuning_share;
    let epoch = pace.mean_epoch();
    let baseline_epoch = state.baseline.map_or(0.0, |id| pace.epoch(state, id));
    let training = |rungs: &[Rung]| {
        let mut before = 0;
        let mut seconds = 0.0;
        for rung in rungs {
            seconds += rung.size as f64 * rung.epochs.saturating_sub(before) as f64 * epoch;
            before = rung.epochs;
        }
        seconds + before as f64 * baseline_epoch
    };
    let first_latencies = |rungs: &[Rung]| {
        let timed = rungs.iter().find(|r| r.trials.is_some()).map_or(0, |r| r.size);
        (timed + 1) as f64 * probe.latency
    };
    let measuring = |rungs: &[Rung]| rungs.last().map_or(0.0, |r| (r.size + 1) as f64 * probe.latency);
    let predicted = |rungs: &[Rung]| training(rungs) + first_latencies(rungs) + measuring(rungs) + tuning;

    let fewest = (2 * policy.eta).min(wanted);
    let mut n = wanted as f64;
    let mut epochs = policy.epochs as f64;
    let mut fitting = rungs(policy, wanted, policy.epochs);
    while predicted(&fitting) > left && (n > fewest as f64 || epochs > 1.0) {
        let by_candidates = n / wanted as f64 >= epochs / policy.epochs as f64;
        if n > fewest as f64 && (by_candidates || epochs <= 1.0) {
            n = (n * SHRINK).max(fewest as f64);
        } else {
            epochs = (epochs * SHRINK).max(1.0);
        }
        fitting = rungs(policy, n.round() as usize, epochs.round() as usize);
    }
    let seconds = Some(predicted(&fitting));
    share_tuning(&mut fitting, tuning, probe.latency);
    Plan { rungs: fitting, seconds }
}

/// Gives each rung its part of the seconds for tuning, in proportion to the trials it adds, and beside it what the first
/// latency of each member takes where members are timed first.
fn share_tuning(rungs: &mut [Rung], seconds: f64, first_latency: f64) {
    let mut before = None;
    let weights: Vec<f64> = rungs
        .iter()
        .map(|rung| {
            let weight = rung.size as f64 * rung.trials.unwrap_or(0).saturating_sub(before.unwrap_or(0)) as f64;
            before = rung.trials.or(before);
            weight
        })
        .collect();
    let all: f64 = weights.iter().sum();
    let mut timed = false;
    for (rung, weight) in rungs.iter_mut().zip(weights) {
        let share = if all > 0.0 { seconds * weight / all } else { 0.0 };
        let first = if rung.trials.is_some() && !timed { rung.size as f64 * first_latency } else { 0.0 };
        timed |= rung.trials.is_some();
        rung.tuning_seconds = Some(share + first);
    }
}

/// Predicted seconds until the end if the last `cut` members of the current rung that have not begun it leave; nothing if
/// too little is known. Without a time limit, tuning is predicted from what it took so far.
pub fn remaining(policy: &Policy, state: &State, cut: usize) -> Option<f64> {
    let rung = state.current()?;
    let pace = pace(state)?;
    let leaving = &unbegun(state)[..];
    let leaving = &leaving[leaving.len().saturating_sub(cut)..];
    let staying: Vec<CandidateId> = state.alive().into_iter().filter(|id| !leaving.contains(id)).collect();
    let to_train = |id: CandidateId, to: usize| to.saturating_sub(state.trace(id).epochs()) as f64 * pace.epoch(state, id);

    let mut seconds = 0.0;
    if !state.closed {
        seconds += staying.iter().map(|&id| to_train(id, rung.epochs)).sum::<f64>();
    }
    let trial = seconds_per_trial(state).unwrap_or(0.0);
    seconds += match (rung.tuning_seconds, rung.trials) {
        (Some(budget), _) => (budget - state.rung_tuning).max(0.0),
        (None, Some(to)) => staying.iter().map(|&id| trial * missing(state.trace(id).trials(), to) as f64).sum::<f64>(),
        (None, None) => 0.0,
    };
    let contenders = staying.iter().filter(|&&id| Some(id) != state.baseline).count();
    let next = if state.is_last_rung() { contenders } else { contenders.div_ceil(policy.eta.max(2)) };
    Some(seconds + following(policy, state, next, pace.mean_epoch())?)
}

/// Predicted seconds from the end of the current rung to the end of the search if `entering` candidates, whose epochs take
/// `epoch` seconds each, go on. In the last rung, those who were in it go on to the confirmation of their latencies.
fn following(policy: &Policy, state: &State, entering: usize, epoch: f64) -> Option<f64> {
    let rungs = &state.plan.as_ref()?.rungs;
    let latency = state.probe.map_or(0.0, |(_, probe)| probe.latency);
    let trial = seconds_per_trial(state).unwrap_or(0.0);
    let mut seconds = 0.0;
    let mut size = entering;
    for (at, rung) in rungs.iter().enumerate().skip(state.rung + 1) {
        let before = &rungs[at - 1];
        seconds += size as f64 * rung.epochs.saturating_sub(before.epochs) as f64 * epoch;
        seconds += match (rung.tuning_seconds, rung.trials) {
            (Some(budget), _) => budget,
            (None, Some(to)) => size as f64 * trial * missing(before.trials, to) as f64,
            (None, None) => 0.0,
        };
        if at + 1 < rungs.len() {
            size = size.div_ceil(policy.eta.max(2));
        }
    }
    if let (Some(baseline), Some(last)) = (state.baseline.filter(|_| !state.is_last_rung()), rungs.last()) {
        seconds +=
            last.epochs.saturating_sub(state.trace(baseline).epochs()) as f64 * pace(state)?.epoch(state, baseline) + latency;
    }
    if !state.measured {
        seconds += (size + usize::from(state.baseline.is_some())) as f64 * latency;
    }
    Some(seconds)
}

/// How many of the contenders, ranked the best first, go on from a rung that is not the last: one in η, and under a time
/// limit as many more as there are seconds left for.
pub fn survivors(policy: &Policy, state: &State, ranked: &[CandidateId], left: Option<f64>) -> usize {
    let least = ranked.len().div_ceil(policy.eta.max(2));
    let (Some(left), Some(pace)) = (left, pace(state)) else { return least };
    let fits = |keep: usize| {
        let epochs = ranked[..keep].iter().map(|&id| pace.epoch(state, id)).sum::<f64>();
        following(policy, state, keep, epochs / keep as f64).is_some_and(|seconds| seconds <= left * PLANNED_SHARE)
    };
    (least..=ranked.len()).take_while(|&keep| keep == least || fits(keep)).last().unwrap_or(least)
}

/// Members of the current rung, without the baseline, that have had no epoch in it but are to have some.
pub fn unbegun(state: &State) -> Vec<CandidateId> {
    let Some(plan) = &state.plan else { return Vec::new() };
    let before = if state.rung == 0 { 0 } else { plan.rungs[state.rung - 1].epochs };
    let to = plan.rungs[state.rung].epochs;
    let waits = |id: &CandidateId| {
        let epochs = state.trace(*id).epochs();
        epochs <= before && epochs < to
    };
    state.contenders().into_iter().filter(waits).collect()
}

/// Seconds that must be left when training ends: half the last rung's tuning, and a compilation of each finalist.
pub fn closing_seconds(state: &State) -> f64 {
    let Some(last) = state.plan.as_ref().and_then(|p| p.rungs.last()) else { return 0.0 };
    let latency = state.probe.map_or(0.0, |(_, probe)| probe.latency);
    last.tuning_seconds.unwrap_or(0.0) / 2.0 + measuring_seconds(state) + (last.size + 1) as f64 * latency
}

/// Seconds that must be left when tuning ends: a timing of each finalist.
pub fn measuring_seconds(state: &State) -> f64 {
    let Some(last) = state.plan.as_ref().and_then(|p| p.rungs.last()) else { return 0.0 };
    let latency = state.probe.map_or(0.0, |(_, probe)| probe.latency);
    (last.size + 1) as f64 * latency
}

/// Predicted seconds of an epoch of a candidate; nothing before the first epoch of any.
pub fn epoch_seconds(state: &State, id: CandidateId) -> Option<f64> {
    Some(pace(state)?.epoch(state, id))
}

/// How long epochs take.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Seconds of one unit of work.
    seconds: f64,
    /// Operation count of the mean candidate.
    mean_flops: f64,
}

impl Pace {
    fn epoch(&self, state: &State, id: CandidateId) -> f64 {
        self.seconds * work(state, id, self.mean_flops)
    }

    fn mean_epoch(&self) -> f64 {
        self.seconds * self.mean_flops
    }
}

/// The pace over the probe and all epochs so far; nothing before the first.
fn pace(state: &State) -> Option<Pace> {
    let flops: f64 = state.candidates.iter().map(|t| t.candidate.description.flops as f64).sum();
    let mean_flops = (flops / state.candidates.len().max(1) as f64).max(1.0);
    let mut seconds = 0.0;
    let mut done = 0.0;
    if let Some((id, probe)) = state.probe {
        seconds += probe.epoch;
        done += work(state, id, mean_flops);
    }
    for trace in state.candidates.iter().filter(|t| t.epochs() > 0) {
        seconds += trace.curve.iter().map(|e| e.seconds).sum::<f64>();
        done += trace.epochs() as f64 * work(state, trace.candidate.id, mean_flops);
    }
    (done > 0.0).then(|| Pace { seconds: seconds / done, mean_flops })
}

/// Work of one epoch of a candidate, in operations of an inference.
fn work(state: &State, id: CandidateId, mean_flops: f64) -> f64 {
    FIXED_SHARE * mean_flops + (1.0 - FIXED_SHARE) * state.trace(id).candidate.description.flops as f64
}

/// Seconds per trial of one candidate's kernels, over all tuning so far, a first latency counting as a trial.
fn seconds_per_trial(state: &State) -> Option<f64> {
    let cost = state.cost + state.baseline_cost;
    let trials: usize = state.candidates.iter().filter_map(|t| t.trials()).map(|trials| trials + 1).sum();
    (trials > 0).then(|| (cost.tuning + cost.compiling + cost.rewriting) / trials as f64)
}

/// Trials that are still to do, a first latency counting as one.
fn missing(trials: Option<usize>, to: usize) -> usize {
    match trials {
        Some(trials) => to.saturating_sub(trials),
        None => to + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(policy: &Policy) -> Vec<(usize, usize, Option<usize>)> {
        rungs(policy, policy.candidates, policy.epochs).iter().map(|r| (r.size, r.epochs, r.trials)).collect()
    }

    fn policy(algorithm: Algorithm) -> Policy {
        Policy { algorithm, seconds: None, candidates: 27, epochs: 9, trials: 18, eta: 3, ..Policy::default() }
    }

    #[test]
    fn rungs_of_each_algorithm() {
        let check = |algorithm, expected: &[(usize, usize, Option<usize>)]| {
            assert_eq!(sizes(&policy(algorithm)), expected, "{algorithm}");
        };
        check(Algorithm::Sonar, &[(27, 1, Some(2)), (9, 3, Some(6)), (3, 9, Some(18))]);
        check(Algorithm::Sequential, &[(27, 1, None), (9, 3, None), (3, 9, Some(18))]);
        check(Algorithm::UntunedLatency, &[(27, 1, Some(0)), (9, 3, Some(0)), (3, 9, Some(18))]);
        check(Algorithm::StopTrainingOnly, &[(27, 1, Some(18)), (9, 3, Some(18)), (3, 9, Some(18))]);
        check(Algorithm::StopTuningOnly, &[(27, 9, Some(2)), (9, 9, Some(6)), (3, 9, Some(18))]);
        check(Algorithm::BruteForce, &[(27, 9, Some(18))]);
        check(Algorithm::Random, &[(3, 9, Some(18))]);
    }

    #[test]
    fn a_small_sample_or_a_short_training_has_fewer_rungs() {
        let short = Policy { epochs: 2, ..policy(Algorithm::Sonar) };
        assert_eq!(sizes(&short), [(27, 2, Some(18))]);
        let small = Policy { candidates: 4, ..policy(Algorithm::Sonar) };
        assert_eq!(sizes(&small), [(4, 3, Some(6)), (2, 9, Some(18))]);
    }

    #[test]
    fn seconds_for_tuning_are_shared_out_entirely() {
        let mut rungs = rungs(&policy(Algorithm::Sonar), 27, 9);
        share_tuning(&mut rungs, 100.0, 0.5);
        let seconds: f64 = rungs.iter().filter_map(|r| r.tuning_seconds).sum();
        assert!((seconds - 100.0 - 27.0 * 0.5).abs() < 1e-9);
    }
}
