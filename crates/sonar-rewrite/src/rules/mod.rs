//! The rewrite rules, one a line, and the loop that applies them.
//!
//! A rule is a function from one e-node to classes that equal it. Patterns cannot say "any term of a sum", so rules look
//! into operands by hand. No rule ever sees the class of a weight: rewriting weights only makes the e-graph grow.
//! A user adds rules as text: see [`load`].

pub(crate) mod families;
pub(crate) mod matched;
pub(crate) mod rule;
mod saturation;
mod table;
pub(crate) mod user;

pub(crate) use matched::Match;
pub use rule::{Rule, Soundness, Stage};
pub(crate) use saturation::{Application, Log, saturate_with_log};
pub use saturation::{Limits, Saturation, StopReason, saturate};
pub use table::RULES;
pub use user::trial::{RuleError, STATED, load};
