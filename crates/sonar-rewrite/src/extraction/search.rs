//! Extraction: which e-node of each class to compute, so that the total cost of the kernels is least.
//!
//! A shared kernel is paid for once, which makes the optimum hard to find. There are five steps:
//! 1. a greedy choice that knows the set of kernels below each class;
//! 2. a hill-climb that flips one choice at a time under the exact cost;
//! 3. both again, from shared costs and from randomly perturbed costs;
//! 4. for each kernel that could have several users: a climb from the best choice while this kernel is free, and then under true
//!    costs;
//! 5. branch and bound (`exact`), which proves the optimum of small problems.
//!
//! All steps except the first are bounded in work and in time. No recursion is as deep as the graph, unless the graph is small.

use super::branch_and_bound;
use super::problem::Problem;
use super::selection::Selection;
use super::weights::smallest_weights;
use crate::cost::Cost;
use crate::language::EGraph;
use egg::Id;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Instant;

/// Which steps to run; each depth includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Greedy choices.
    Greedy,
    /// Hill-climbing from them.
    Climb,
    /// Also climbing with free kernels, and proving small optima.
    Prove,
}

/// The effort of a search.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The last step to run.
    pub depth: Depth,
    /// Number of restarts from perturbed costs.
    pub restarts: usize,
    /// Seeds the perturbations.
    pub seed: u64,
    /// The time at which the search for better choices stops.
    pub until: Option<Instant>,
}

/// Distinct selections that compute `roots`, cheapest first; there is at least one.
/// Hill-climbing also starts from each of `starts`, which may come from an earlier state of the e-graph.
pub fn extract(egraph: &EGraph, roots: &[Id], cost: &Cost<'_>, starts: &[Selection], effort: Effort) -> Vec<Selection> {
    let mut problem = Problem::new(egraph, roots, cost);
    problem.prune();
    problem.until = effort.until;
    let found = choices(&problem, effort, |greedy| starts.iter().map(|start| problem.adopt(egraph, start, greedy)).collect());
    let weights = smallest_weights(egraph, roots);
    found.iter().map(|(_, choice)| problem.selection(egraph, choice, &weights)).collect()
}

/// Distinct choices with their costs, cheapest first; there is at least one. `starts` is called with the greedy choice.
pub fn choices(problem: &Problem, effort: Effort, starts: impl FnOnce(&[u32]) -> Vec<Vec<u32>>) -> Vec<(f64, Vec<u32>)> {
    let costs = problem.costs();
    let greedy = problem.greedy(&costs);
    let mut found: Vec<(f64, Vec<u32>)> = Vec::new();
    let mut keep = |mut choice: Vec<u32>| {
        let total = if effort.depth >= Depth::Climb { problem.climb(&mut choice, &[]) } else { problem.total(&choice) };
        let Some(total) = total else { return };
        let needed = problem.needed(&choice);
        if !found.iter().any(|(_, other)| needed.iter().all(|&c| other[c as usize] == choice[c as usize])) {
            found.push((total, choice));
        }
    };
    for start in starts(&greedy) {
        keep(start);
    }
    keep(greedy);
    keep(problem.greedy(&problem.divided(&costs)));
    let mut rng = StdRng::seed_from_u64(effort.seed);
    for _ in 0..effort.restarts {
        if problem.is_exhausted(0) {
            break;
        }
        let perturbed: Vec<Vec<f64>> =
            costs.iter().map(|costs| costs.iter().map(|cost| cost * rng.random_range(0.5..2.0)).collect()).collect();
        keep(problem.greedy(&perturbed));
    }
    if found.is_empty() {
        let choice = problem.by_tree_cost();
        found.push((problem.total(&choice).unwrap_or(f64::INFINITY), choice));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    if effort.depth == Depth::Prove {
        let shared = problem.shared();
        while let Some(better) = problem.with_one_for_free(&found[0], &shared) {
            found.insert(0, better);
        }
        if let Some(better) = branch_and_bound::search(problem, found[0].0) {
            found.insert(0, better);
        }
    }
    found
}
