//! The schedule search: which schedule of which task is tried next.

pub mod descent;
mod failures;
mod limits;
mod propose;
mod tuner;

pub use failures::Failures;
pub use limits::{Limits, StopReason, TaskStop};
pub use tuner::{Progress, TaskId, Tuner, TunerOptions};
