//! How to rewrite.

use crate::cost::{Cost, roofline};
use crate::rules::{Limits, RULES, Rule};

/// How to rewrite.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The rules to use: those of [`RULES`], or some of them, and what a user adds.
    pub rules: &'a [Rule],
    /// What a kernel costs.
    pub cost: &'a Cost<'a>,
    /// Bounds on each e-graph, and on the time of all.
    pub limits: Limits,
    /// How many distinct graphs to return at most.
    pub candidates: usize,
    /// How often extraction starts again from perturbed costs.
    pub restarts: usize,
    /// Seeds the perturbations: equal seeds give equal results, as long as no time limit is reached.
    pub seed: u64,
    /// Whether [`Report::views`] and [`Report::saved`] are wanted. The latter rewrites once more for each rule that fired.
    pub dump: bool,
    /// Whether [`Report::proof`] is wanted. Every step of it is checked: applied by itself in a fresh e-graph, and compared on
    /// random values. A proof that fails is an error.
    pub explain: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            rules: RULES,
            cost: &roofline,
            limits: Limits::default(),
            candidates: 4,
            restarts: 4,
            seed: 0,
            dump: false,
            explain: false,
        }
    }
}
