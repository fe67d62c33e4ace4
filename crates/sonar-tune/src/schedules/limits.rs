//! The limits of a schedule search, and why a search ended.

use std::fmt;
use std::time::Duration;

/// The limits of a search. The first one reached ends it. Without limits, a search ends when no task has an untried schedule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Most trials in this call, over all tasks.
    pub trials: Option<usize>,
    /// Most trials of each task, including earlier calls and the records.
    pub trials_each: Option<usize>,
    /// Time limit of this call, including the timing of finalists.
    pub time: Option<Duration>,
    /// A task ends after this many trials in a row without a schedule that is faster by more than 1%. Trials in the records
    /// count.
    pub patience: Option<usize>,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Every task has ended, with its own [`TaskStop`].
    Finished,
    /// [`Limits::trials`] is reached.
    Trials,
    /// [`Limits::time`] is reached.
    Time,
    /// Many candidates were tried, and none could be timed.
    Failing,
    /// The callback asked to stop.
    Interrupted,
}

/// Why no more schedules of a task are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStop {
    /// [`Limits::trials_each`] is reached.
    Trials,
    /// [`Limits::patience`] is reached.
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
