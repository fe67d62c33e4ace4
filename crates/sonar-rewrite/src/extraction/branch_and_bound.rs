//! Extraction by branch and bound: the optimum of a small problem, or the best choice that a bounded search finds.
//!
//! A state has an alternative for some of the needed classes. Its bound is the cost of these alternatives, plus the cheapest
//! alternative of every other class that every solution needs.

use super::problem::Problem;

/// The most classes of a problem that is searched.
const MAX_CLASSES: usize = 512;

/// The most decisions of one search.
const MAX_DECISIONS: usize = 20_000;

/// A choice that costs less than `incumbent`, if the search finds one. It is optimal, unless the search ended early.
pub fn search(problem: &Problem, incumbent: f64) -> Option<(f64, Vec<u32>)> {
    let n = problem.alternatives.len();
    if n > MAX_CLASSES {
        return None;
    }
    let cheapest = problem.alternatives.iter().map(|mine| mine.iter().map(|a| a.cost).fold(f64::INFINITY, f64::min)).collect();
    let mut search = Search {
        problem,
        must: must(problem),
        cheapest,
        choice: vec![UNDECIDED; n],
        best: incumbent * (1.0 - 1e-9),
        found: None,
        decisions: 0,
    };
    let mut needed = vec![0u64; n.div_ceil(64)];
    let mut bound = 0.0;
    for &root in &problem.roots {
        bound += search.require(&mut needed, root);
    }
    search.descend(&needed, bound);
    search.found.map(|choice| (search.best, choice))
}

const UNDECIDED: u32 = u32::MAX;

struct Search<'a> {
    problem: &'a Problem,
    /// For each class, the classes that every way to compute it needs, including itself, as a bit set.
    must: Vec<Vec<u64>>,
    cheapest: Vec<f64>,
    choice: Vec<u32>,
    /// The next choice must cost less than this.
    best: f64,
    found: Option<Vec<u32>>,
    decisions: usize,
}

impl Search<'_> {
    /// Adds a class and all classes that it always needs to a set. Returns the cost of the cheapest alternatives of the new ones.
    fn require(&self, needed: &mut [u64], class: u32) -> f64 {
        let mut added = 0.0;
        for (w, (word, &must)) in needed.iter_mut().zip(&self.must[class as usize]).enumerate() {
            let mut new = must & !*word;
            *word |= must;
            while new != 0 {
                added += self.cheapest[w * 64 + new.trailing_zeros() as usize];
                new &= new - 1;
            }
        }
        added
    }

    /// Tries every choice for the undecided classes. The depth is at most the number of classes, which is bounded.
    fn descend(&mut self, needed: &[u64], bound: f64) {
        let undecided = super::greedy::bits(needed).filter(|&class| self.choice[class] == UNDECIDED);
        let Some(class) = undecided.min_by_key(|&class| self.problem.alternatives[class].len()) else {
            self.best = bound * (1.0 - 1e-9);
            self.found = Some(self.choice.iter().map(|&k| if k == UNDECIDED { 0 } else { k }).collect());
            return;
        };
        let problem = self.problem;
        let mut branches: Vec<(f64, u32, Vec<u64>)> = Vec::new();
        for (k, alternative) in problem.alternatives[class].iter().enumerate() {
            let mut needed = needed.to_vec();
            let mut bound = bound - self.cheapest[class] + alternative.cost;
            for &operand in &alternative.operands {
                bound += self.require(&mut needed, operand);
            }
            if bound < self.best && !self.reaches(&alternative.operands, class) {
                branches.push((bound, k as u32, needed));
            }
        }
        branches.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (bound, k, needed) in branches {
            self.decisions += 1;
            if bound >= self.best || self.decisions > MAX_DECISIONS || problem.is_exhausted(needed.len() as u64 * 8) {
                break;
            }
            self.choice[class] = k;
            self.descend(&needed, bound);
        }
        self.choice[class] = UNDECIDED;
    }

    /// Whether decided alternatives lead from one of `from` to a class. If so, this decision would close a cycle.
    fn reaches(&self, from: &[u32], class: usize) -> bool {
        let mut seen = vec![0u64; self.choice.len().div_ceil(64)];
        let mut stack = from.to_vec();
        while let Some(next) = stack.pop() {
            let next = next as usize;
            if next == class {
                return true;
            }
            if seen[next / 64] >> (next % 64) & 1 == 0 && self.choice[next] != UNDECIDED {
                stack.extend(&self.problem.alternatives[next][self.choice[next] as usize].operands);
            }
            seen[next / 64] |= 1 << (next % 64);
        }
        false
    }
}

/// The largest sets with `must(c) = {c} ∪ ⋂ over alternatives ⋃ over operands must(operand)`.
fn must(problem: &Problem) -> Vec<Vec<u64>> {
    let n = problem.alternatives.len();
    let words = n.div_ceil(64);
    let mut must = vec![vec![u64::MAX; words]; n];
    for set in &mut must {
        if !n.is_multiple_of(64) {
            set[words - 1] = (1 << (n % 64)) - 1;
        }
    }
    loop {
        let mut changed = false;
        for c in (0..n).rev() {
            let mut common = must[c].clone();
            for alternative in &problem.alternatives[c] {
                let mut union = vec![0u64; words];
                for &operand in &alternative.operands {
                    for (word, other) in union.iter_mut().zip(&must[operand as usize]) {
                        *word |= other;
                    }
                }
                for (word, other) in common.iter_mut().zip(&union) {
                    *word &= other;
                }
            }
            common[c / 64] |= 1 << (c % 64);
            if common != must[c] {
                must[c] = common;
                changed = true;
            }
        }
        if !changed {
            return must;
        }
    }
}
