//! The pure function from a state to the next action.
//!
//! An algorithm is a table of rungs (see [`rungs`]), and this function walks through it. The driver asks again after every
//! event, and a running action continues while it is still the answer. So training can end after any epoch when time runs
//! short, and a search that was killed continues its last action.

pub mod forecast;
pub mod rungs;

use crate::candidates::CandidateId;
use crate::pareto::{Point, rank, rank_within};
use crate::policy::{Objective, Policy};
use crate::state::State;
use crate::state::event::StopReason;
use crate::state::history::Status;
use crate::state::plan::{CostMetric, Plan};
use forecast::{closing_seconds, epoch_seconds, measuring_seconds, remaining, unbegun};

/// The next action.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Draw candidates until there are this many.
    Sample {
        /// How many, not counting the baseline.
        candidates: usize,
    },
    /// Measure how long training and timing take.
    Probe {
        /// The candidate to probe.
        candidate: CandidateId,
    },
    /// Start the rungs.
    Begin {
        /// The plan.
        plan: Plan,
    },
    /// Train a candidate.
    Train {
        /// The candidate.
        candidate: CandidateId,
        /// Train up to this many epochs.
        to: usize,
        /// Epochs of a full training.
        horizon: usize,
    },
    /// Tune the kernels of candidates.
    Tune {
        /// The candidates, the most promising first.
        candidates: Vec<CandidateId>,
        /// Tune up to this many trials.
        to: usize,
        /// Seconds after which to stop, once every candidate has a latency.
        seconds: Option<f64>,
    },
    /// Remove candidates from the rung, because there is not enough time for them.
    Cut {
        /// The candidates.
        candidates: Vec<CandidateId>,
    },
    /// End the rung.
    Promote {
        /// The candidates that continue, the best first.
        survivors: Vec<CandidateId>,
        /// The candidates that are dropped, the best first.
        dropped: Vec<CandidateId>,
    },
    /// End all training, because the time left is only enough for the finalists' latencies.
    Close {
        /// The candidates that continue, the best first.
        survivors: Vec<CandidateId>,
        /// The candidates that are dropped.
        dropped: Vec<CandidateId>,
    },
    /// Confirm the latencies of the finalists.
    Measure {
        /// The candidates.
        candidates: Vec<CandidateId>,
    },
    /// End the search.
    Finish {
        /// The reason.
        reason: StopReason,
    },
}

/// Share of a time limit that is distributed. The rest is a reserve for work that cannot stop at once.
const GIVEN_OUT: f64 = 0.98;

/// The next action, or `None` if the search is over.
pub fn next(policy: &Policy, state: &State) -> Option<Action> {
    if state.stop.is_some() {
        return None;
    }
    if state.drawing_end.is_none() {
        return Some(Action::Sample { candidates: policy.candidates });
    }
    if policy.seconds.is_some() && state.probe.is_none() {
        let alive = |id: &CandidateId| state.history(*id).status == Status::Alive;
        let mut candidates = state.baseline.into_iter().chain(state.candidates.iter().map(|t| t.candidate.id));
        return Some(match candidates.find(alive) {
            Some(candidate) => Action::Probe { candidate },
            None => Action::Finish { reason: StopReason::NoCandidate },
        });
    }
    if state.plan.is_none() {
        return Some(Action::Begin { plan: rungs::plan(policy, state) });
    }
    if state.contenders().is_empty() {
        return Some(Action::Finish { reason: StopReason::NoCandidate });
    }
    let action = train(policy, state).or_else(|| tune(policy, state)).or_else(|| promote(policy, state));
    action.or_else(|| measure(state)).or_else(|| {
        let reason = if state.cut || state.closed { StopReason::TimeLimit } else { StopReason::Completed };
        Some(Action::Finish { reason })
    })
}

/// The time at which the current training must end because of the time limit, in seconds of the whole search.
pub fn training_end(policy: &Policy, state: &State) -> Option<f64> {
    // The rest is for two latencies of each finalist: a first one and a confirmed one.
    Some(policy.seconds? * GIVEN_OUT - 2.0 * measuring_seconds(state))
}

/// Seconds of the time limit that are left.
fn left(policy: &Policy, state: &State) -> Option<f64> {
    Some(policy.seconds? * GIVEN_OUT - state.cost.total())
}

/// The next training of the current rung.
fn train(policy: &Policy, state: &State) -> Option<Action> {
    let rung = state.current()?;
    let horizon = state.plan.as_ref()?.rungs.last()?.epochs;
    if state.closed {
        return None;
    }
    let candidate = state.alive().into_iter().find(|&id| state.history(id).epochs() < rung.epochs)?;
    if let Some(left) = left(policy, state) {
        if left < closing_seconds(state) + epoch_seconds(state, candidate).unwrap_or(0.0) {
            return Some(close(policy, state));
        }
        let cut = to_cut(policy, state, left);
        if !cut.is_empty() {
            return Some(Action::Cut { candidates: cut });
        }
    }
    Some(Action::Train { candidate, to: rung.epochs, horizon })
}

/// The smallest number of members to remove, the least promising first, so that the rest of the search fits. At least one
/// contender stays.
fn to_cut(policy: &Policy, state: &State, left: f64) -> Vec<CandidateId> {
    let waiting = unbegun(state);
    let most = waiting.len().min(state.contenders().len().saturating_sub(1));
    let fits = |cut: usize| remaining(policy, state, cut).is_none_or(|seconds| seconds <= left);
    // Fewer members take less time, so bisection finds the first number that fits.
    let (mut fewest, mut enough) = (0, most);
    while fewest < enough {
        let middle = (fewest + enough) / 2;
        if fits(middle) {
            enough = middle;
        } else {
            fewest = middle + 1;
        }
    }
    waiting[waiting.len() - enough..].to_vec()
}

/// The tuning of the current rung.
fn tune(policy: &Policy, state: &State) -> Option<Action> {
    let rung = state.current()?;
    let to = rung.trials?;
    let trained = |id: &CandidateId| state.history(*id).epochs() > 0;
    let group: Vec<CandidateId> = state.alive().into_iter().filter(trained).collect();
    let pending = |id: &&CandidateId| state.history(**id).trials().is_none_or(|trials| trials < to);
    group.iter().find(pending)?;
    let seconds = left(policy, state).map(|left| {
        let left = left - measuring_seconds(state);
        let budget = rung.tuning_seconds.unwrap_or(f64::INFINITY) - state.rung_tuning;
        // In the last rung, tuning may also use time that training left over.
        if state.is_last_rung() { left } else { budget.min(left) }.max(0.0)
    });
    let all_timed = group.iter().all(|&id| state.history(id).trials().is_some());
    if seconds == Some(0.0) && all_timed {
        return None;
    }
    Some(Action::Tune { candidates: group, to, seconds })
}

/// The selection at the end of a rung that is not the last.
fn promote(policy: &Policy, state: &State) -> Option<Action> {
    if state.is_last_rung() {
        return None;
    }
    let rung = state.current()?;
    let mut survivors = ranked(policy, state, &state.contenders(), (rung.cost_metric, rung.epochs));
    let keep = forecast::survivors(policy, state, &survivors, left(policy, state));
    let dropped = survivors.split_off(keep);
    Some(Action::Promote { survivors, dropped })
}

/// The end of training: as many finalists as planned, among the candidates that were trained.
fn close(policy: &Policy, state: &State) -> Action {
    let (trained, untrained): (Vec<_>, Vec<_>) = state.contenders().into_iter().partition(|&id| state.history(id).epochs() > 0);
    if trained.is_empty() {
        return Action::Finish { reason: StopReason::TimeTooShort };
    }
    let timed = trained.iter().all(|&id| state.history(id).latency().is_some());
    let cost = if timed { CostMetric::Latency } else { CostMetric::Flops };
    let keep = state.plan.as_ref().and_then(|p| p.rungs.last()).map_or(1, |r| r.size);
    let mut survivors = ranked(policy, state, &trained, (cost, usize::MAX));
    let mut dropped = survivors.split_off(keep.clamp(1, survivors.len()));
    dropped.extend(untrained);
    Action::Close { survivors, dropped }
}

/// The confirmation of the finalists' latencies.
fn measure(state: &State) -> Option<Action> {
    let timed = |id: &CandidateId| state.history(*id).latency().is_some();
    let candidates: Vec<CandidateId> = state.alive().into_iter().filter(timed).collect();
    (!state.measured && !candidates.is_empty()).then_some(Action::Measure { candidates })
}

/// Candidates ranked by this cost and by their accuracy after this many epochs, the best first. Candidates without both values
/// come last.
fn ranked(policy: &Policy, state: &State, candidates: &[CandidateId], (metric, epochs): (CostMetric, usize)) -> Vec<CandidateId> {
    let point = |id: &CandidateId| state.history(*id).point_at(metric, epochs);
    let (known, unknown): (Vec<_>, Vec<_>) = candidates.iter().copied().partition(|id| point(id).is_some());
    let points: Vec<Point> = known.iter().filter_map(point).collect();
    let order = match (policy.objective, metric) {
        (Objective::LatencyLimit { ns }, CostMetric::Latency) => rank_within(&points, ns),
        _ => rank(&points),
    };
    order.into_iter().map(|i| known[i]).chain(unknown).collect()
}
