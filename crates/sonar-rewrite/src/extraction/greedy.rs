//! Greedy choices: the cheapest way to compute each class separately.

use super::problem::{EPSILON, Problem};
use std::collections::HashSet;

impl Problem {
    /// The best choice per class under `costs`. The cost of a choice is the cost of the set of kernels below it.
    pub fn greedy(&self, costs: &[Vec<f64>]) -> Vec<u32> {
        let n = self.classes.len();
        let words = n.div_ceil(64);
        let parents = self.parents();
        let mut choice = vec![u32::MAX; n];
        let mut own = vec![0.0; n];
        let mut total = vec![0.0; n];
        let mut below: Vec<Vec<u64>> = vec![Vec::new(); n];
        let mut queue: std::collections::VecDeque<u32> = (0..n as u32).rev().collect();
        let mut queued = vec![true; n];
        let mut set = vec![0u64; words];
        while let Some(class) = queue.pop_front() {
            let c = class as usize;
            queued[c] = false;
            let mut improved = false;
            for (k, alternative) in self.alternatives[c].iter().enumerate() {
                if alternative.operands.iter().any(|&operand| choice[operand as usize] == u32::MAX) {
                    continue;
                }
                set.fill(0);
                for &operand in &alternative.operands {
                    for (word, other) in set.iter_mut().zip(&below[operand as usize]) {
                        *word |= other;
                    }
                }
                if set[c / 64] >> (c % 64) & 1 == 1 {
                    continue;
                }
                self.visits.set(self.visits.get() + words as u64);
                let sum = costs[c][k] + bits(&set).map(|member| own[member]).sum::<f64>();
                if sum < total[c] * (1.0 - 1e-9) || choice[c] == u32::MAX {
                    set[c / 64] |= 1 << (c % 64);
                    below[c].clone_from(&set);
                    (choice[c], own[c], total[c]) = (k as u32, costs[c][k], sum);
                    improved = true;
                }
            }
            if improved {
                for &parent in &parents[c] {
                    if !std::mem::replace(&mut queued[parent as usize], true) {
                        queue.push_back(parent);
                    }
                }
            }
        }
        choice.iter().map(|&k| if k == u32::MAX { 0 } else { k }).collect()
    }

    /// The best choice per class if every use is paid separately. It is never cyclic.
    pub fn by_tree_cost(&self) -> Vec<u32> {
        let n = self.classes.len();
        let mut choice = vec![u32::MAX; n];
        let mut total = vec![0.0; n];
        loop {
            let mut improved = false;
            for c in (0..n).rev() {
                for (k, alternative) in self.alternatives[c].iter().enumerate() {
                    if alternative.operands.iter().any(|&operand| choice[operand as usize] == u32::MAX) {
                        continue;
                    }
                    let sum = alternative.cost + alternative.operands.iter().map(|&operand| total[operand as usize]).sum::<f64>();
                    if choice[c] == u32::MAX || sum < total[c] * (1.0 - 1e-9) {
                        (choice[c], total[c]) = (k as u32, sum);
                        improved = true;
                    }
                }
            }
            if !improved {
                return choice.iter().map(|&k| if k == u32::MAX { 0 } else { k }).collect();
            }
        }
    }

    /// Shared costs: every user of a class that is itself free, such as a slice, carries an equal part of its cost. So a wide
    /// kernel is cheap for each of its users, regardless of how many must share it before it pays.
    pub fn divided(&self, costs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut takers: Vec<Vec<u32>> = vec![Vec::new(); self.classes.len()];
        for (class, mine) in self.alternatives.iter().enumerate() {
            for alternative in mine.iter().filter(|alternative| alternative.cost <= EPSILON) {
                alternative.operands.iter().for_each(|&operand| takers[operand as usize].push(class as u32));
            }
        }
        let count = |class: usize| {
            let mut seen: HashSet<u32> = HashSet::new();
            let mut stack = takers[class].clone();
            while let Some(taker) = stack.pop() {
                if seen.insert(taker) {
                    stack.extend(&takers[taker as usize]);
                }
            }
            seen.len().max(1) as f64
        };
        let parts = costs.iter().enumerate().map(|(class, mine)| {
            let count = count(class);
            mine.iter().map(|cost| cost / count).collect()
        });
        parts.collect()
    }
}

/// The members of a bit set, in order.
pub fn bits(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(w, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                w * 64 + bit
            })
        })
    })
}
