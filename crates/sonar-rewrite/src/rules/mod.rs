//! The table of rewrite rules, and the loop that applies them.
//!
//! A rule is a function from one e-node to classes that equal it. Patterns cannot express "any term of a sum", so rules inspect
//! operands by code. Rules are not applied to the classes of weights: rewriting weights only makes the e-graph grow.
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
