//! How to rewrite.

use crate::cost::{Cost, roofline};
use crate::rules::{Limits, RULES, Rule, Soundness, Stage};

/// How to rewrite.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The rules to use: all or some of [`RULES`], and the rules of a user.
    pub rules: &'a [Rule],
    /// The last stage whose rules are used. [`Stage::Fuse`] is what every compiler does.
    pub stage: Stage,
    /// The largest error that rounding may cause, relative to the largest output. It decides which classes of rules are used: see
    /// [`Soundness::rounding`]. If it is less than rules in real arithmetic need, every value stays the same bit by bit.
    pub max_rounding: f64,
    /// The cost of a kernel.
    pub cost: &'a Cost<'a>,
    /// Limits of each e-graph, and of the total time.
    pub limits: Limits,
    /// The most distinct graphs to return.
    pub candidates: usize,
    /// Number of restarts of extraction from perturbed costs.
    pub restarts: usize,
    /// Seed of the perturbations. Equal seeds give equal results, as long as no time limit is reached.
    pub seed: u64,
    /// Whether to fill [`Report::views`] and [`Report::saved`]. The latter needs one more rewriting for each rule that fired.
    pub dump: bool,
    /// Whether to fill [`Report::proof`]. Every step of it is checked: it is applied alone in a fresh e-graph, and compared on
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
    /// The rules up to this stage and the stage of the options whose rounding is allowed.
    pub(crate) fn rules_up_to(&self, stage: Stage) -> Vec<&'a Rule> {
        let stage = stage.min(self.stage);
        self.rules.iter().filter(|rule| rule.stage <= stage && rule.class.is_allowed(self.max_rounding)).collect()
    }

    /// Whether every value must stay the same bit by bit.
    pub(crate) fn exact(&self) -> bool {
        !Soundness::Real.is_allowed(self.max_rounding)
    }
}
