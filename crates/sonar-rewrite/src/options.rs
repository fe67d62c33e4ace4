//! How to rewrite.

use crate::cost::{Cost, roofline};
use crate::rules::{Limits, RULES, Rule, Soundness, Stage};

/// How to rewrite.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The rules to use: those of [`RULES`], or some of them, and the rules of a user.
    pub rules: &'a [Rule],
    /// Up to which stage the rules are used: [`Stage::Fuse`] is what every compiler does.
    pub stage: Stage,
    /// The largest error that rounding may cause, over the largest output: it says which classes of rules are used, see
    /// [`Soundness::rounding`]. Where it is less than what real arithmetic needs, every value stays the same, bit by bit.
    pub max_rounding: f64,
    /// The cost of a kernel.
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
            stage: Stage::Widen,
            max_rounding: 1e-4,
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

impl<'a> Options<'a> {
    /// The rules that are used up to a stage, but not beyond that of the options, and that round no more than is allowed.
    pub(crate) fn rules_up_to(&self, stage: Stage) -> Vec<&'a Rule> {
        let stage = stage.min(self.stage);
        self.rules.iter().filter(|rule| rule.stage <= stage && rule.class.is_allowed(self.max_rounding)).collect()
    }

    /// Whether every value has to stay the same, bit by bit.
    pub(crate) fn exact(&self) -> bool {
        !Soundness::Real.is_allowed(self.max_rounding)
    }
}
