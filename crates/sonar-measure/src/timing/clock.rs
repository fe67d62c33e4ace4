//! Injectable time. A search asks a [`Clock`], so tests run without waiting and give the same result every time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A monotonic clock with an arbitrary zero.
pub trait Clock {
    /// Time since the zero of the clock.
    fn now(&self) -> Duration;
}

/// The system clock. Its zero is the time of its creation.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

/// A clock that only moves when it is told to. Clones share one time.
#[derive(Clone, Debug, Default)]
pub struct FakeClock {
    nanoseconds: Arc<AtomicU64>,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl FakeClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.nanoseconds.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_fake_clock_agree() {
        let clock = FakeClock::default();
        let other = clock.clone();
        clock.advance(Duration::from_millis(3));
        assert_eq!(other.now(), Duration::from_millis(3));
    }
}
