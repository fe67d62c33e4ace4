//! Predictions: how long the rest of a search takes, and how much fits into the time left.
//!
//! All predictions are based on one number, the pace: seconds per unit of work. The work of an epoch has a fixed part (loading
//! data, small operators) and a part that is proportional to the operation count of the candidate.

use crate::candidates::CandidateId;
use crate::policy::Policy;
use crate::state::State;
use crate::state::event::StopReason;

/// Share of an epoch of the mean candidate that does not depend on operation counts.
const FIXED_SHARE: f64 = 0.3;
/// Safety factor for the predicted time of the shortest search.
const MARGIN: f64 = 1.25;
/// Share of the time limit that plans may use, because predictions are not exact.
pub const PLANNED_SHARE: f64 = 0.95;

/// Predicted seconds until the end, if the last `cut` members of the current rung that have not started it leave. `None` if too
/// little is known. Without a time limit, the time of tuning is predicted from the tuning so far.
pub fn remaining(policy: &Policy, state: &State, cut: usize) -> Option<f64> {
    let rung = state.current()?;
    let pace = pace(state)?;
    let leaving = &unbegun(state)[..];
    let leaving = &leaving[leaving.len().saturating_sub(cut)..];
    let staying: Vec<CandidateId> = state.alive().into_iter().filter(|id| !leaving.contains(id)).collect();
    let to_train = |id: CandidateId, to: usize| to.saturating_sub(state.history(id).epochs()) as f64 * pace.epoch(state, id);

    let mut seconds = 0.0;
    if !state.closed {
        seconds += staying.iter().map(|&id| to_train(id, rung.epochs)).sum::<f64>();
    }
    let trial = seconds_per_trial(state).unwrap_or(0.0);
    seconds += match (rung.tuning_seconds, rung.trials) {
        (Some(budget), _) => (budget - state.rung_tuning).max(0.0),
        (None, Some(to)) => staying.iter().map(|&id| trial * missing(state.history(id).trials(), to) as f64).sum::<f64>(),
        (None, None) => 0.0,
    };
    let contenders = staying.iter().filter(|&&id| Some(id) != state.baseline).count();
    let next = if state.is_last_rung() { contenders } else { contenders.div_ceil(policy.eta.max(2)) };
    Some(seconds + following(policy, state, next, pace.mean_epoch())?)
}

/// Predicted seconds from the end of the current rung to the end of the search, if `entering` candidates continue whose epochs
/// take `epoch` seconds each. In the last rung, all its members continue to the confirmation of their latencies.
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
            last.epochs.saturating_sub(state.history(baseline).epochs()) as f64 * pace(state)?.epoch(state, baseline) + latency;
    }
    if !state.measured {
        seconds += (size + usize::from(state.baseline.is_some())) as f64 * latency;
    }
    Some(seconds)
}

/// How many contenders, ranked with the best first, survive a rung that is not the last: one in η. Under a time limit, more
/// survive if there is time for them.
pub fn survivors(policy: &Policy, state: &State, ranked: &[CandidateId], left: Option<f64>) -> usize {
    let least = ranked.len().div_ceil(policy.eta.max(2));
    let (Some(left), Some(pace)) = (left, pace(state)) else { return least };
    let fits = |keep: usize| {
        let epochs = ranked[..keep].iter().map(|&id| pace.epoch(state, id)).sum::<f64>();
        following(policy, state, keep, epochs / keep as f64).is_some_and(|seconds| seconds <= left * PLANNED_SHARE)
    };
    (least..=ranked.len()).take_while(|&keep| keep == least || fits(keep)).last().unwrap_or(least)
}

/// Members of the current rung, without the baseline, that need epochs in it and have had none.
pub fn unbegun(state: &State) -> Vec<CandidateId> {
    let Some(plan) = &state.plan else { return Vec::new() };
    let before = if state.rung == 0 { 0 } else { plan.rungs[state.rung - 1].epochs };
    let to = plan.rungs[state.rung].epochs;
    let waits = |id: &CandidateId| {
        let epochs = state.history(*id).epochs();
        epochs <= before && epochs < to
    };
    state.contenders().into_iter().filter(waits).collect()
}

/// Seconds that must be left when training ends: half of the last rung's tuning, and one compilation of each finalist.
pub fn closing_seconds(state: &State) -> f64 {
    let Some(last) = state.plan.as_ref().and_then(|p| p.rungs.last()) else { return 0.0 };
    let latency = state.probe.map_or(0.0, |(_, probe)| probe.latency);
    last.tuning_seconds.unwrap_or(0.0) / 2.0 + measuring_seconds(state) + (last.size + 1) as f64 * latency
}

/// Seconds that must be left when tuning ends: one timing of each finalist.
pub fn measuring_seconds(state: &State) -> f64 {
    let Some(last) = state.plan.as_ref().and_then(|p| p.rungs.last()) else { return 0.0 };
    let latency = state.probe.map_or(0.0, |(_, probe)| probe.latency);
    (last.size + 1) as f64 * latency
}

/// Approximate seconds of the shortest search that gives a result: drawing, a probe, one epoch, and the latencies. `None`
/// before the probe. A search with a shorter limit exceeds it.
pub fn least_seconds(policy: &Policy, state: &State) -> Option<f64> {
    let (_, probe) = state.probe?;
    let spent = state.cost.total() - state.baseline_cost.training;
    let epoch = pace(state)?.mean_epoch().max(probe.epoch);
    let tried = policy.seconds.filter(|_| state.stop == Some(StopReason::TimeTooShort)).unwrap_or(0.0);
    Some(MARGIN * (spent + epoch + closing_seconds(state)).max(tried))
}

/// Predicted seconds of an epoch of a candidate. `None` before the first epoch of any candidate.
pub fn epoch_seconds(state: &State, id: CandidateId) -> Option<f64> {
    Some(pace(state)?.epoch(state, id))
}

/// The speed of training.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Seconds of one unit of work.
    seconds: f64,
    /// Operation count of the mean candidate.
    mean_flops: f64,
}

impl Pace {
    /// Seconds of an epoch of a candidate.
    pub fn epoch(&self, state: &State, id: CandidateId) -> f64 {
        self.seconds * work(state, id, self.mean_flops)
    }

    /// Seconds of an epoch of the mean candidate.
    pub fn mean_epoch(&self) -> f64 {
        self.seconds * self.mean_flops
    }
}

/// The pace over the probe and all epochs so far. `None` before the first one.
pub fn pace(state: &State) -> Option<Pace> {
    let flops: f64 = state.candidates.iter().map(|t| t.candidate.description.flops as f64).sum();
    let mean_flops = (flops / state.candidates.len().max(1) as f64).max(1.0);
    let mut seconds = 0.0;
    let mut done = 0.0;
    if let Some((id, probe)) = state.probe {
        seconds += probe.epoch;
        done += work(state, id, mean_flops);
    }
    for history in state.candidates.iter().filter(|t| t.epochs() > 0) {
        seconds += history.curve.iter().map(|e| e.seconds).sum::<f64>();
        done += history.epochs() as f64 * work(state, history.candidate.id, mean_flops);
    }
    (done > 0.0).then(|| Pace { seconds: seconds / done, mean_flops })
}

/// Work of one epoch of a candidate, in operations of an inference.
fn work(state: &State, id: CandidateId, mean_flops: f64) -> f64 {
    FIXED_SHARE * mean_flops + (1.0 - FIXED_SHARE) * state.history(id).candidate.description.flops as f64
}

/// Seconds per trial of one candidate's kernels, over all tuning so far. A first latency counts as a trial.
fn seconds_per_trial(state: &State) -> Option<f64> {
    let cost = state.cost + state.baseline_cost;
    let trials: usize = state.candidates.iter().filter_map(|t| t.trials()).map(|trials| trials + 1).sum();
    (trials > 0).then(|| (cost.tuning + cost.compiling + cost.rewriting) / trials as f64)
}

/// Trials still to do. A first latency counts as one.
fn missing(trials: Option<usize>, to: usize) -> usize {
    match trials {
        Some(trials) => to.saturating_sub(trials),
        None => to + 1,
    }
}
