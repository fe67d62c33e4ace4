//! When a schedule search ends, and why it did.

use std::fmt;
use std::time::Duration;

/// When to stop; whichever limit is reached first. Without any, a search ends when no task has an untried schedule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Trials in this call, over all tasks.
    pub trials: Option<usize>,
    /// Trials of each task, those of earlier calls and of the records included.
    pub trials_each: Option<usize>,
    /// Time in this call, timing the finalists included.
    pub time: Option<Duration>,
    /// Trials of a task in a row without a schedule that is faster by more than a hundredth, which end the task. Those of the
    /// records count.
    pub patience: Option<usize>,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Every task has ended: each for its own [`TaskStop`].
    Finished,
    /// [`Limits::trials`] is reached.
    Trials,
    /// [`Limits::time`] is reached.
    Time,
    /// No candidate of many could be timed.
    Failing,
    /// The callback said so.
    Interrupted,
}

/// Why no further schedule of a task is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStop {
    /// [`Limits::trials_each`] is reached.
    Trials,
    /// [`Limits::patience`] is.
    Patience,
    /// No untried schedule can be found.
    Exhausted,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Finished => "the search of every kernel ended",
            StopReason::Trials => "the trials are used up",
            StopReason::Time => "the time is over",
            StopReason::Failing => "no candidate could be timed",
            StopReason::Interrupted => "it was interrupted",
        })
    }
}

impl fmt::Display for TaskStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskStop::Trials => "trials",
            TaskStop::Patience => "no gain",
            TaskStop::Exhausted => "all tried",
        })
    }
}
