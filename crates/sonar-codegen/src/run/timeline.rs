//! Which thread worked on which call, and when, in one run of a model.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One call of a kernel in a run; times are in seconds since the run began.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedCall {
    /// Name of the kernel.
    pub kernel: String,
    /// When the thread that runs the model reached the call.
    pub start: f64,
    /// When every thread had finished its part.
    pub end: f64,
    /// The part of each thread that took part, by the index of the thread.
    pub parts: Vec<TracedPart>,
}

/// The part of a call that one thread ran, from its first piece to its last.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedPart {
    /// Index of the thread; the one that runs the model is 0.
    pub thread: usize,
    /// When its first piece began.
    pub start: f64,
    /// When its last piece ended.
    pub end: f64,
    /// How many pieces it took.
    pub pieces: usize,
}

/// The record of the pieces of one call that a thread runs.
#[derive(Default)]
pub(crate) struct Share(Mutex<Option<(Instant, Instant, usize)>>);

impl Share {
    /// Runs a piece of work and records when.
    pub(crate) fn time(&self, work: &dyn Fn()) {
        let start = Instant::now();
        work();
        let end = Instant::now();
        // Only one thread writes here, and it is read only after that thread is done: the lock is always free.
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = Some(noted.map_or((start, end, 1), |(first, _, pieces)| (first, end, pieces + 1)));
    }

    /// Returns the record, in seconds since `origin`, and clears it.
    pub(crate) fn take(&self, thread: usize, origin: Instant) -> Option<TracedPart> {
        let (start, end, pieces) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let since = |time: Instant| time.duration_since(origin).as_secs_f64();
        Some(TracedPart { thread, start: since(start), end: since(end), pieces })
    }
}
