//! A pool of threads for fork and join within microseconds.
//!
//! Threads that wait for work spin for a short while and then sleep, so that kernels in quick succession find them awake
//! and an idle model costs nothing. The calling thread takes part in the work.

use crate::error::CodegenError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often a waiting thread looks for work before it sleeps.
const SPINS: u32 = 4000;

/// A fixed number of threads that run one piece of work at a time.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let mut pool = sonar_codegen::Pool::new(2)?;
/// let sum = AtomicUsize::new(0);
/// pool.run(&|thread| {
///     sum.fetch_add(thread + 1, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 3);
/// # Ok::<(), sonar_codegen::CodegenError>(())
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What every thread sees.
struct Shared {
    /// Counts pieces of work; a change tells the workers to begin.
    round: AtomicUsize,
    /// Workers that have not finished the current round.
    busy: AtomicUsize,
    /// Whether work panicked on a worker.
    panicked: AtomicBool,
    /// What to do in the current round.
    state: Mutex<State>,
    /// Signalled when a round begins.
    begin: Condvar,
}

/// The part of [`Shared`] under the lock.
struct State {
    work: Option<Work>,
    stop: bool,
}

/// A borrowed closure whose lifetime [`Pool::run`] guarantees.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: the closure is `Sync`, so calling it from another thread is sound while it lives; `Pool::run` does not return
// before every worker is done with it.
unsafe impl Send for Work {}

impl Pool {
    /// A pool of `threads` threads, the caller's among them; at least one.
    pub fn new(threads: usize) -> Result<Pool, CodegenError> {
        let state = Mutex::new(State { work: None, stop: false });
        let shared = Arc::new(Shared {
            round: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            state,
            begin: Condvar::new(),
        });
        let mut pool = Pool { shared, workers: Vec::new() };
        for thread in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new().name(format!("sonar-{thread}"));
            pool.workers.push(worker.spawn(move || shared.serve(thread))?);
        }
        Ok(pool)
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(i)` for every `i` in `0..threads`, each on its own thread, and returns when all are done.
    ///
    /// # Panics
    /// If `work` does, on any thread.
    pub fn run(&mut self, work: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return work(0);
        }
        // SAFETY: only the lifetime changes. `Wait` below outlasts every use by a worker, even if `work(0)` panics.
        let erased: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        self.shared.busy.store(self.workers.len(), Ordering::Relaxed);
        {
            let mut state = self.shared.lock();
            state.work = Some(Work(erased));
            self.shared.round.fetch_add(1, Ordering::Release);
        }
        self.shared.begin.notify_all();
        {
            let _wait = Wait(&self.shared);
            work(0);
        }
        if self.shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("work of a thread pool panicked");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stop = true;
            self.shared.round.fetch_add(1, Ordering::Release);
        }
        self.shared.begin.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its work, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

/// Waits on drop until every worker has finished the round.
struct Wait<'a>(&'a Shared);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut spins = 0u32;
        while self.0.busy.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two plain values, valid at any time, so a poisoned lock is as good as another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a worker.
    fn serve(&self, thread: usize) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            while self.round.load(Ordering::Acquire) == seen && spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            }
            let work = {
                let mut state = self.lock();
                while self.round.load(Ordering::Acquire) == seen {
                    state = self.begin.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.stop {
                    return;
                }
                state.work
            };
            seen = self.round.load(Ordering::Acquire);
            if let Some(Work(work)) = work {
                // SAFETY: `Pool::run` keeps the closure alive until `busy` is 0, which this worker decrements afterwards.
                let work = unsafe { &*work };
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(thread))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.busy.fetch_sub(1, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_every_round_once() {
        let mut pool = Pool::new(3).unwrap();
        let counts: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..1000 {
            pool.run(&|thread| {
                counts[thread].fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1000));
    }

    #[test]
    fn sleeping_threads_wake_and_panics_are_passed_on() {
        let mut pool = Pool::new(2).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(&|thread| assert!(thread == 0, "on purpose"));
        }));
        assert!(failed.is_err());
        pool.run(&|_| {});
    }
}
