//! The schedule search: chooses which schedule of which task to try next.
//!
//! ```text
//! trials, verdicts ─▶ history (a fold) ─▶ budget: which task next ─▶ propose: which schedule ─▶ run: measured and recorded ─┐
//!                        ▲                                                                                               │
//!                        └───────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Only `run` measures, and a clock gives it the time. The other parts are functions of the history.

mod budget;
pub mod descent;
mod failures;
mod history;
mod limits;
mod options;
mod propose;
mod run;

pub use failures::Failures;
pub use history::{Best, Event, History, Step};
pub use limits::{Limits, StopReason, TaskStop};
pub use options::TunerOptions;
pub use propose::{Proposal, Proposer};
pub use run::{Progress, Tuner, TunerTaskId};
