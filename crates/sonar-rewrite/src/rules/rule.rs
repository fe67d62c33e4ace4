//! A rewrite rule: its name, when it is used, in which arithmetic it holds, and what it does.

use super::matched::Match;
use super::user::matching;
use crate::language::EGraph;
use egg::Id;
use serde::Serialize;
use sonar_ir::graph::Op;
use sonar_ir::text::RuleText;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// One rewrite rule.
#[derive(Clone)]
pub struct Rule {
    /// Its name in reports.
    pub name: Cow<'static, str>,
    /// Which rules it belongs with.
    pub family: &'static str,
    /// When it is used.
    pub stage: Stage,
    /// In which arithmetic both sides are equal.
    pub class: Soundness,
    /// What it does and when it holds, for people.
    pub text: Cow<'static, str>,
    /// What it does.
    pub(crate) action: Action,
}

/// How a rule finds classes that equal an e-node.
#[derive(Clone)]
pub(crate) enum Action {
    /// By a function of this crate.
    Function(fn(&mut EGraph, &Match<'_>) -> Vec<Id>),
    /// As the text of a user says.
    Stated(Arc<RuleText>),
}

impl Rule {
    /// Classes equal to the matched e-node.
    pub(crate) fn apply(&self, egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
        match &self.action {
            Action::Function(function) => function(egraph, m),
            Action::Stated(text) => matching::apply(text, egraph, m),
        }
    }

    /// Whether it looks for an operator with another as its operand, so that a graph is not to be cut between the two.
    pub(crate) fn spans(&self, user: &Op, operand: &Op) -> bool {
        match &self.action {
            Action::Function(_) => false,
            Action::Stated(text) => matching::spans(&text.left, user, operand),
        }
    }
}

/// When a rule is used. Every stage uses the rules of the stages before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Stage {
    /// It makes the graph smaller, or moves what could vanish elsewhere without adding to it: used on whole graphs.
    Simplify,
    /// It folds elementwise neighbours into a kernel, as every compiler does. Others are compared to this.
    Fuse,
    /// It trades one set of kernels for another.
    Trade,
    /// It trades, too. It looks at all users of a value in the cheapest graph so far at once. It is used whenever the other rules find
    /// nothing more.
    Widen,
}

/// In which arithmetic both sides of a rule are equal. What each class may change is said in `docs/rewriting.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Soundness {
    /// Bit by bit, for every input: NaN, infinities, signed zeros, denormal and huge numbers included. Only the payload of a NaN may
    /// differ.
    Exact,
    /// In real arithmetic. Results differ by rounding, and where an intermediate value overflows or is no number.
    Real,
    /// In real arithmetic but for the constants of a formula, which are rounded, to five digits at least.
    Near,
}

impl Soundness {
    /// The largest error that rules of this class may cause, over the largest output of a network of usual depth.
    pub const fn rounding(self) -> f64 {
        match self {
            Soundness::Exact => 0.0,
            Soundness::Real => 2e-6,
            Soundness::Near => 2e-5,
        }
    }

    /// Whether rules of this class are used where rounding may cause an error of so much.
    pub fn is_allowed(self, max_rounding: f64) -> bool {
        self.rounding() <= max_rounding
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

impl fmt::Display for Soundness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Soundness::Exact => "exact",
            Soundness::Real => "real",
            Soundness::Near => "near",
        })
    }
}

/// A line of the table; the family is the module that the function is in.
macro_rules! rule {
    ($name:literal, $stage:ident, $class:ident, $text:literal, $family:ident :: $apply:ident) => {
        Rule {
            name: Cow::Borrowed($name),
            family: stringify!($family),
            stage: $stage,
            class: $class,
            text: Cow::Borrowed($text),
            action: Action::Function($family::$apply),
        }
    };
}

pub(crate) use rule;
