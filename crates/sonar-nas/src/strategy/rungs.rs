//! Rungs, and how a plan is fitted into a time limit.
//!
//! A search is a list of rungs. In each rung, the members are trained to a number of epochs and tuned to a number of trials.
//! Then the best one in η continues. Without a time limit, the policy alone determines the rungs. With a time limit, the share
//! of tuning is subtracted first. Then the number of candidates and the epochs of a finalist shrink together until the
//! predicted training fits.

use crate::policy::{Algorithm, Policy};
use crate::state::State;
use crate::state::plan::{CostMetric, Plan, Rung};
use crate::strategy::forecast::{PLANNED_SHARE, pace};

/// The factor by which the number of candidates or epochs shrinks while a plan does not fit.
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
    let full = |size| Rung { size, epochs, trials: Some(policy.trials), cost_metric: CostMetric::Latency, tuning_seconds: None };
    let mut size = n;
    let mut halving = Vec::with_capacity(count);
    for rung in 0..count {
        let last = rung + 1 == count;
        let mut step = full(size);
        if policy.algorithm != Algorithm::StopTuningOnly {
            step.epochs = grown(epochs, rung);
        }
        match policy.algorithm {
            Algorithm::Sequential if !last => (step.trials, step.cost_metric) = (None, CostMetric::Flops),
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

/// The plan for a state after drawing. Under a time limit, the state must have been probed.
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
        let mut seconds = -trained_before(state, rungs) * epoch;
        for rung in rungs {
            seconds += rung.size as f64 * rung.epochs.saturating_sub(before) as f64 * epoch;
            before = rung.epochs;
        }
        (seconds + before as f64 * baseline_epoch).max(0.0)
    };
    let first_latencies = |rungs: &[Rung]| {
        let timed = rungs.iter().find(|r| r.trials.is_some()).map_or(0, |r| r.size);
        (timed + 1) as f64 * probe.latency
    };
    let measuring = |rungs: &[Rung]| rungs.last().map_or(0.0, |r| (r.size + 1) as f64 * probe.latency);
    let predicted = |rungs: &[Rung]| training(rungs) + first_latencies(rungs) + measuring(rungs) + tuning;

    let fewest = fewest(policy).min(wanted);
    // An extended search does not train for fewer epochs than before.
    let shortest = state.horizon.clamp(1, policy.epochs) as f64;
    let mut n = wanted as f64;
    let mut epochs = policy.epochs as f64;
    let mut fitting = rungs(policy, wanted, policy.epochs);
    while predicted(&fitting) > left && (n > fewest as f64 || epochs > shortest) {
        let by_candidates = n / wanted as f64 >= epochs / policy.epochs as f64;
        if n > fewest as f64 && (by_candidates || epochs <= shortest) {
            n = (n * SHRINK).max(fewest as f64);
        } else {
            epochs = (epochs * SHRINK).max(shortest);
        }
        fitting = rungs(policy, n.round() as usize, epochs.round() as usize);
    }
    let seconds = Some(predicted(&fitting));
    share_tuning(&mut fitting, tuning, probe.latency);
    Plan { rungs: fitting, seconds }
}

/// The smallest number of candidates under a time limit.
pub fn fewest(policy: &Policy) -> usize {
    2 * policy.eta
}

/// Epochs that candidates already have, if they belong to a training of the same length.
fn trained_before(state: &State, rungs: &[Rung]) -> f64 {
    if rungs.last().is_none_or(|last| last.epochs != state.horizon) {
        return 0.0;
    }
    state.candidates.iter().map(|history| history.epochs()).sum::<usize>() as f64
}

/// Distributes the seconds for tuning over the rungs, in proportion to the trials that each rung adds. In the first rung whose
/// members are timed, it adds the seconds of the first latency of each member.
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
