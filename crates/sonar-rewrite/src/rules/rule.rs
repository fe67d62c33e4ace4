//! A rewrite rule: its name, its stage, the arithmetic in which it holds, and its action.

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
    /// Its family.
    pub family: &'static str,
    /// When it is used.
    pub stage: Stage,
    /// The arithmetic in which both sides are equal.
    pub class: Soundness,
    /// A description with its conditions, for people.
    pub text: Cow<'static, str>,
    /// What it does.
    pub(crate) action: Action,
}

/// How a rule finds classes that equal an e-node.
#[derive(Clone)]
pub(crate) enum Action {
    /// By a function of this crate.
    Function(fn(&mut EGraph, &Match<'_>) -> Vec<Id>),
    /// By the text of a user.
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

    /// Whether it matches `user` with `operand` as its operand. Then a graph must not be cut between the two.
    pub(crate) fn spans(&self, user: &Op, operand: &Op) -> bool {
        match &self.action {
            Action::Function(_) => false,
            Action::Stated(text) => matching::spans(&text.left, user, operand),
        }
    }
}

/// When a rule is used. Every stage also uses the rules of the stages before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Stage {
    /// It makes the graph smaller, or moves an operator that may vanish elsewhere without adding to the graph. Used on whole graphs.
    Simplify,
    /// It folds elementwise neighbours into a kernel, as every compiler does. It is the baseline for the other stages.
    Fuse,
    /// It replaces one set of kernels by another.
    Trade,
    /// It also replaces kernels, but looks at all users of a value in the cheapest graph so far at once. It is used whenever the
    /// other rules find nothing more.
    Widen,
}

/// The arithmetic in which both sides of a rule are equal. `docs/rewriting.md` says what each class may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Soundness {
    /// Equal bit by bit for every input, including NaN, infinities, signed zeros, denormal and huge numbers. Only the payload of a NaN
    /// may differ.
    Exact,
    /// Equal in real arithmetic. Results differ by rounding, and if an intermediate value overflows or is NaN.
    Real,
    /// Equal in real arithmetic, except that constants of a formula are rounded to five digits or more.
    Near,
}

impl Soundness {
    /// The largest error that rules of this class may cause, relative to the largest output of a network of usual depth.
    pub const fn rounding(self) -> f64 {
        match self {
            Soundness::Exact => 0.0,
            Soundness::Real => 2e-6,
            Soundness::Near => 2e-5,
        }
    }

    /// Whether rules of this class are used if rounding may cause an error of `max_rounding`.
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

/// A line of the table; the family is the module of the function.
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
