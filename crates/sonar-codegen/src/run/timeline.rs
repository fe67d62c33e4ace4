//! When each thread worked on what, in one run of a model.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One call of a kernel in a run; times are in seconds since the run began.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedCall {
    /// Name of the kernel.
    pub kernel: String,
    /// When the thread that runs the model came to the call.
    pub start: f64,
    /// When every thread had done its part.
    pub end: f64,
    /// What each thread did that took part, by the number of the thread.
    pub parts: Vec<TracedPart>,
}

/// What one thread did of a call, from its first piece to its last.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedPart {
    /// Number of the thread; the one that runs the model is 0.
    pub thread: usize,
    /// When its first piece began.
    pub start: f64,
    /// When its last piece ended.
    pub end: f64,
    /// How many pieces it took.
    pub pieces: usize,
}

/// Where a thread notes the pieces that it does of one call.
#[derive(Default)]
pub(crate) struct Share(Mutex<Option<(Instant, Instant, usize)>>);

impl Share {
    /// Does a piece of work and notes when.
    pub(crate) fn time(&self, work: &dyn Fn()) {
        let start = Instant::now();
        work();
        let end = Instant::now();
        // Only one thread writes here, and nobody reads before it is done: the lock is always free.
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = Some(noted.map_or((start, end, 1), |(first, _, pieces)| (first, end, pieces + 1)));
    }

    /// What was noted, in seconds since `origin`, and nothing from now on.
    pub(crate) fn take(&self, thread: usize, origin: Instant) -> Option<TracedPart> {
        let (start, end, pieces) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let since = |time: Instant| time.duration_since(origin).as_secs_f64();
        Some(TracedPart { thread, start: since(start), end: since(end), pieces })
    }
}
