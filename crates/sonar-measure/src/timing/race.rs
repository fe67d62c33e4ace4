//! Decides how long to time a candidate, independent of what is timed.

use crate::timing::job::{Budget, Outcome};
use crate::timing::stats;
use sonar_ir::machine::MIN_GAIN;
use std::ops::ControlFlow;

/// If the first sample is above this multiple of the incumbent, timing ends.
pub const FIRST_BOUND: f64 = 3.0;
/// If the minimum of [`Budget::MIN_SAMPLES`] samples is above this multiple of the incumbent, timing ends.
pub const EARLY_BOUND: f64 = 1.2;
/// A sample repeats the call until it takes about this many nanoseconds, far above the resolution of clocks.
pub const SAMPLE_NANOSECONDS: f64 = 20_000.0;

/// The confidence level for a difference.
pub const CONFIDENCE: f64 = 0.99;

/// The time of one candidate compared with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Its time is shorter.
    Faster,
    /// The difference is too small, or not certain.
    Same,
    /// Its time is longer.
    Slower,
}

/// Compares two candidates that were timed in turns. The ratio of the two times of each round tells which is faster, because a
/// slow moment of the machine affects both. They differ if the median ratio differs from 1 by more than [`MIN_GAIN`], and the
/// confidence interval of the median at level [`CONFIDENCE`] does not contain 1.
pub fn difference(candidate: &[f64], other: &[f64]) -> Difference {
    let ratios: Vec<f64> = candidate.iter().zip(other).map(|(a, b)| a / b).collect();
    let Some((low, high)) = stats::median_interval(&ratios, CONFIDENCE) else { return Difference::Same };
    match stats::median(&ratios) {
        ratio if ratio < 1.0 - MIN_GAIN && high < 1.0 => Difference::Faster,
        ratio if ratio > 1.0 + MIN_GAIN && low > 1.0 => Difference::Slower,
        _ => Difference::Same,
    }
}

/// Times one candidate. `call(n)` makes `n` calls and returns their total time in nanoseconds.
///
/// The first call is a warm-up. It also determines the number of calls per sample.
pub fn race(mut call: impl FnMut(usize) -> f64, incumbent: Option<f64>, budget: Budget) -> Outcome {
    let repeats = repeats(&mut call);
    let bound = incumbent.unwrap_or(f64::INFINITY);
    let mut samples = Vec::with_capacity(budget.samples);
    let mut spent = 0.0;
    loop {
        let nanoseconds = call(repeats);
        spent += nanoseconds;
        samples.push(nanoseconds / repeats as f64);

        let smallest = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let slow = match samples.len() {
            1 => smallest > FIRST_BOUND * bound,
            Budget::MIN_SAMPLES => smallest > EARLY_BOUND * bound,
            _ => false,
        };
        if slow {
            return Outcome::Dropped(samples);
        }
        if ended(&samples, spent, budget) {
            return Outcome::Ok(samples);
        }
    }
}

/// Times candidates in turns, one sample of each per round, at least [`Budget::MIN_TURNS`]. `budget` is the budget of each
/// candidate. `call(i, n)` makes `n` calls of the `i`-th candidate and returns their total time in nanoseconds. Returns one
/// list of samples per candidate.
pub fn take_turns(call: impl FnMut(usize, usize) -> f64, candidates: usize, budget: Budget) -> Vec<Vec<f64>> {
    take_turns_while(call, candidates, budget, &mut || ControlFlow::Continue(()))
}

/// The same, but it ends when `go_on` breaks. `go_on` is called before each round.
pub fn take_turns_while(
    mut call: impl FnMut(usize, usize) -> f64,
    candidates: usize,
    budget: Budget,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Vec<Vec<f64>> {
    let repeats: Vec<usize> = (0..candidates).map(|i| repeats(&mut |n| call(i, n))).collect();
    let mut samples = vec![Vec::with_capacity(budget.samples); candidates];
    let mut spent = vec![0.0; candidates];
    let mut running = true;
    while running && go_on().is_continue() {
        running = false;
        for i in 0..candidates {
            if samples[i].len() < Budget::MIN_TURNS || !ended(&samples[i], spent[i], budget) {
                let nanoseconds = call(i, repeats[i]);
                spent[i] += nanoseconds;
                samples[i].push(nanoseconds / repeats[i] as f64);
                running = true;
            }
        }
    }
    samples
}

fn ended(samples: &[f64], spent: f64, budget: Budget) -> bool {
    let full = samples.len() >= budget.samples || spent >= budget.seconds * 1e9;
    full && samples.len() >= Budget::MIN_SAMPLES
}

fn repeats(call: &mut impl FnMut(usize) -> f64) -> usize {
    let once = call(1).max(1.0);
    (SAMPLE_NANOSECONDS / once).ceil().clamp(1.0, SAMPLE_NANOSECONDS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(nanoseconds: f64) -> impl FnMut(usize) -> f64 {
        move |n| nanoseconds * n as f64
    }

    const BUDGET: Budget = Budget { samples: 10, seconds: 1.0 };

    #[test]
    fn a_race_without_an_incumbent_uses_its_budget() {
        assert_eq!(race(steady(50.0), None, BUDGET), Outcome::Ok(vec![50.0; 10]));
    }

    #[test]
    fn seconds_bound_a_race_but_not_below_the_minimum() {
        let budget = Budget { samples: 1000, seconds: 1e-9 };
        assert_eq!(race(steady(5e6), None, budget), Outcome::Ok(vec![5e6; Budget::MIN_SAMPLES]));
    }

    #[test]
    fn slow_candidates_are_dropped_early() {
        assert_eq!(race(steady(301.0), Some(100.0), BUDGET), Outcome::Dropped(vec![301.0]));
        assert_eq!(race(steady(125.0), Some(100.0), BUDGET), Outcome::Dropped(vec![125.0; 3]));
        assert_eq!(race(steady(119.0), Some(100.0), BUDGET), Outcome::Ok(vec![119.0; 10]));
    }

    #[test]
    fn a_sample_is_long_enough_to_be_timed() {
        let mut shortest = f64::INFINITY;
        let mut calls = 0;
        race(
            |n| {
                calls += 1;
                if calls > 1 {
                    shortest = shortest.min(3.0 * n as f64);
                }
                3.0 * n as f64
            },
            None,
            BUDGET,
        );
        assert!(shortest >= SAMPLE_NANOSECONDS);
    }

    #[test]
    fn turns_alternate() {
        let mut order = Vec::new();
        let samples = take_turns(
            |i, n| {
                order.push(i);
                30_000.0 * (i + 1) as f64 * n as f64
            },
            2,
            Budget { samples: 9, seconds: 1.0 },
        );
        assert_eq!(samples, vec![vec![30_000.0; 9], vec![60_000.0; 9]]);
        assert_eq!(order, [0, 1].repeat(10));
    }

    #[test]
    fn turns_suffice_for_a_difference() {
        let times = [5e6, 4e6];
        let samples = take_turns(|i, n| times[i] * n as f64, 2, Budget { samples: 1, seconds: 0.0 });
        assert_eq!(difference(&samples[1], &samples[0]), Difference::Faster);
    }

    #[test]
    fn a_difference_is_one_that_is_large_and_sure() {
        let noisy = |base: f64, spread: f64| -> Vec<f64> { (0..20).map(|i| base + spread * f64::from(i * 7 % 20)).collect() };
        assert_eq!(difference(&noisy(100.0, 0.1), &noisy(110.0, 0.1)), Difference::Faster);
        assert_eq!(difference(&noisy(110.0, 0.1), &noisy(100.0, 0.1)), Difference::Slower);
        // Certain, but small.
        assert_eq!(difference(&[100.5; 20], &[100.0; 20]), Difference::Same);
        // Large, but not certain: the other rounds show the opposite.
        let turns = |a: f64, b: f64| -> Vec<f64> { (0..20).map(|i| if i % 5 < 3 { a } else { b }).collect() };
        assert_eq!(difference(&turns(100.0, 150.0), &turns(150.0, 100.0)), Difference::Same);
        // Too few rounds, or no rounds.
        assert_eq!(difference(&[1.0; 5], &[2.0; 5]), Difference::Same);
        assert_eq!(difference(&[], &[]), Difference::Same);
        // A slow moment that affects both.
        let both: Vec<f64> = (0..20).map(|i| if i < 8 { 300.0 } else { 100.0 }).collect();
        assert_eq!(difference(&both, &both), Difference::Same);
    }
}
