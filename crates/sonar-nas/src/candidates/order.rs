//! The order in which the assignments of a space are drawn.
//!
//! The order is random but follows from a seed, and it lists no assignment of the whole space twice. It takes constant memory
//! for spaces of any size.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sonar_ir::space::Assignment;

/// Rounds of the Feistel network.
const ROUNDS: u64 = 6;

/// All assignments of a space with these numbers of choices. Every beginning of the list contains a `share` of neighbours of
/// the baseline (one decision differs), as long as there are any. So a neighbour may be listed twice.
pub fn order(
    choices: &[usize],
    baseline: Option<&Assignment>,
    share: f64,
    seed: u64,
) -> Box<dyn Iterator<Item = Assignment> + Send> {
    let near = baseline.map_or_else(Vec::new, |baseline| neighbours(baseline, choices, seed));
    Box::new(mixed(near, whole_space(choices, seed), share))
}

/// The assignments that differ from the baseline in one decision, in random order.
fn neighbours(baseline: &Assignment, choices: &[usize], seed: u64) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (decision, &count) in choices.iter().enumerate() {
        for choice in (0..count).filter(|&choice| choice != baseline.0[decision]) {
            let mut neighbour = baseline.clone();
            neighbour.0[decision] = choice;
            all.push(neighbour);
        }
    }
    all.shuffle(&mut StdRng::seed_from_u64(seed));
    all
}

/// All assignments, each once. A space with more than 2⁶² assignments is sampled at random: repetitions do not occur there in
/// practice.
fn whole_space(choices: &[usize], seed: u64) -> Box<dyn Iterator<Item = Assignment> + Send> {
    let choices = choices.to_vec();
    let count = choices.iter().try_fold(1u64, |count, &arity| count.checked_mul(arity as u64)).filter(|&count| count < 1 << 62);
    match count {
        Some(count) => {
            let digits = move |mut index: u64| {
                let digit = |&arity: &usize| {
                    let choice = index % arity as u64;
                    index /= arity as u64;
                    choice as usize
                };
                Assignment(choices.iter().map(digit).collect())
            };
            Box::new((0..count).map(move |index| digits(permuted(index, count, seed))))
        }
        None => {
            let mut random = StdRng::seed_from_u64(seed);
            Box::new(std::iter::repeat_with(move || {
                Assignment(choices.iter().map(|&arity| random.random_range(0..arity)).collect())
            }))
        }
    }
}

/// A random permutation of `0..count`: a Feistel network over the next power of four, applied again until the value is in range
/// (cycle walking; Black and Rogaway, 2002).
fn permuted(index: u64, count: u64, seed: u64) -> u64 {
    let half = (64 - count.leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut value = index;
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mix(seed ^ mix(right ^ (round << 56))) & mask));
        }
        value = (left << half) | right;
        if value < count {
            return value;
        }
    }
}

/// The finaliser of SplitMix64: every bit of the result depends on every bit of the value.
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Mixes two sequences and keeps the order of each. Every beginning takes a `share` from the first one, as long as it has
/// elements.
fn mixed(first: Vec<Assignment>, second: impl Iterator<Item = Assignment>, share: f64) -> impl Iterator<Item = Assignment> {
    let (mut first, mut second) = (first.into_iter(), second);
    let mut due = 0.0;
    std::iter::from_fn(move || {
        due += share;
        if due >= 1.0 {
            due -= 1.0;
            if let Some(next) = first.next() {
                return Some(next);
            }
        }
        second.next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_assignment_comes_once_in_an_order_that_the_seed_decides() {
        for choices in [vec![1], vec![2], vec![3, 1, 5], vec![5; 4], vec![7, 2, 2, 9]] {
            let count = choices.iter().product::<usize>();
            let drawn: Vec<Assignment> = order(&choices, None, 0.25, 3).collect();
            assert_eq!(drawn.len(), count, "{choices:?}");
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), count, "{choices:?}");
            assert!(drawn.iter().all(|a| a.0.iter().zip(&choices).all(|(choice, count)| choice < count)));
        }
        let first = |seed| order(&[10; 6], None, 0.0, seed).take(20).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        assert!(!first(1).windows(2).all(|pair| pair[0] < pair[1]), "the order is not random");
    }

    #[test]
    fn a_space_too_large_to_count_can_be_drawn_from() {
        let drawn: HashSet<Assignment> = order(&[10; 60], None, 0.0, 3).take(1000).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn a_share_comes_from_the_neighbourhood_of_the_baseline() {
        let baseline = Assignment(vec![0; 6]);
        let drawn: Vec<Assignment> = order(&[10; 6], Some(&baseline), 0.5, 3).take(100).collect();
        let near = drawn.iter().filter(|a| a.0.iter().filter(|&&choice| choice != 0).count() == 1);
        assert_eq!(near.count(), 50);
    }
}
