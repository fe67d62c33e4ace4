//! A pool of threads for fork and join within microseconds.
//!
//! Work is cut into pieces. Every thread has a share of neighbouring pieces, which is the same for every job of as many pieces:
//! so the data that it reads is probably in its own cache from the job before. A thread that has finished its share takes pieces of the
//! others. The calling thread takes part. It never waits for a thread that the system has not scheduled yet: it takes all the
//! pieces itself. Waiting threads spin for a short while and then sleep. So they are awake for kernels in quick succession,
//! and an idle model uses no processor time.

use crate::error::CodegenError;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often a waiting thread looks for work before it sleeps.
const SPINS: u32 = 4000;

/// A fixed number of threads that do one job at a time.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let mut pool = sonar_codegen::Pool::new(2)?;
/// let sum = AtomicUsize::new(0);
/// pool.run(10, &|_thread, piece| {
///     sum.fetch_add(piece, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 45);
/// # Ok::<(), sonar_codegen::CodegenError>(())
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// The work of a job, given the index of the thread and that of the piece.
type Work<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// The state that all threads share.
struct Shared {
    /// For each thread, the number of the job and how many pieces of the thread's share are left: see [`Ticket`].
    tickets: Vec<Line>,
    /// Pieces of the job.
    pieces: AtomicUsize,
    /// The work of the job. It is valid while pieces are left to take or taken pieces are not finished.
    work: AtomicPtr<Work<'static>>,
    /// Pieces that are finished.
    finished: AtomicUsize,
    /// Whether a piece panicked.
    panicked: AtomicBool,
    /// Number of threads that sleep, or are about to.
    sleepers: AtomicUsize,
    /// Whether threads should end.
    stop: Mutex<bool>,
    /// Signalled when a job begins and when threads must end.
    wake: Condvar,
}

/// A number on its own cache line, to avoid false sharing.
#[repr(align(64))]
#[derive(Default)]
struct Line(AtomicU64);

/// The value of one of [`Shared::tickets`]. A thread takes a piece by lowering `left`; this fails if the job has changed meanwhile.
#[derive(Clone, Copy)]
struct Ticket {
    job: u32,
    left: u32,
}

impl Ticket {
    fn pack(self) -> u64 {
        u64::from(self.job) << 32 | u64::from(self.left)
    }

    fn unpack(bits: u64) -> Self {
        Ticket { job: (bits >> 32) as u32, left: bits as u32 }
    }
}

impl Pool {
    /// A pool of `threads` threads, including the caller's; at least one.
    pub fn new(threads: usize) -> Result<Pool, CodegenError> {
        let shared = Arc::new(Shared {
            tickets: (0..threads.max(1)).map(|_| Line::default()).collect(),
            pieces: AtomicUsize::new(0),
            work: AtomicPtr::new(std::ptr::null_mut()),
            finished: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            stop: Mutex::new(false),
            wake: Condvar::new(),
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

    /// Calls `work(thread, piece)` for every `piece` in `0..pieces`. `thread` is less than [`Pool::threads`], and no
    /// two calls for one thread run at the same time. Returns when all pieces are finished.
    ///
    /// # Panics
    /// If `work` panics on any thread; the other pieces are still finished.
    pub fn run(&mut self, pieces: u32, work: &(dyn Fn(usize, usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. A thread uses the work only for a piece that it has taken, and this function
        // returns only after every piece is finished.
        let mut work: Work<'static> = unsafe { std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        shared.work.store(&mut work, Ordering::Relaxed);
        shared.finished.store(0, Ordering::Relaxed);
        shared.pieces.store(pieces as usize, Ordering::Relaxed);
        let job = Ticket::unpack(shared.tickets[0].0.load(Ordering::Relaxed)).job.wrapping_add(1);
        // The share of the calling thread comes last, because this thread needs no waking.
        for thread in (0..shared.tickets.len()).rev() {
            let left = shared.share(thread, pieces as usize).len() as u32;
            shared.tickets[thread].0.store(Ticket { job, left }.pack(), Ordering::SeqCst);
        }
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            let _ordered = shared.lock();
            shared.wake.notify_all();
        }
        while shared.take_piece(0) {}
        let mut spins = 0u32;
        while shared.finished.load(Ordering::Acquire) < pieces as usize {
            spins = spins.saturating_add(1);
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("work of a thread pool panicked");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its work, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        // The flag is always valid, so a poisoned lock does not matter.
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> bool {
        self.tickets.iter().all(|ticket| Ticket::unpack(ticket.0.load(Ordering::SeqCst)).left == 0)
    }

    /// The pieces of a thread's own share.
    fn share(&self, thread: usize, pieces: usize) -> Range<usize> {
        let threads = self.tickets.len();
        pieces * thread / threads..pieces * (thread + 1) / threads
    }

    /// Takes a piece of the current job and runs it. It prefers the thread's own share. Returns whether there was a piece.
    fn take_piece(&self, thread: usize) -> bool {
        let threads = self.tickets.len();
        (0..threads).any(|i| self.take_piece_of(thread, (thread + i) % threads))
    }

    /// Takes a piece from the share of the thread `owner`.
    fn take_piece_of(&self, thread: usize, owner: usize) -> bool {
        let ticket_of_owner = &self.tickets[owner].0;
        let mut bits = ticket_of_owner.load(Ordering::Acquire);
        loop {
            let ticket = Ticket::unpack(bits);
            if ticket.left == 0 {
                return false;
            }
            let (work, pieces) = (self.work.load(Ordering::Relaxed), self.pieces.load(Ordering::Relaxed));
            let taken = Ticket { left: ticket.left - 1, ..ticket };
            match ticket_of_owner.compare_exchange_weak(bits, taken.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Err(now) => bits = now,
                Ok(_) => {
                    // SAFETY: pieces of this job were left until now, so `work` belongs to this job. It lives
                    // until the piece that was just taken is finished.
                    let work = unsafe { *work };
                    let piece = self.share(owner, pieces).start + taken.left as usize;
                    if catch_unwind(AssertUnwindSafe(|| work(thread, piece))).is_err() {
                        self.panicked.store(true, Ordering::Relaxed);
                    }
                    self.finished.fetch_add(1, Ordering::Release);
                    return true;
                }
            }
        }
    }

    /// The loop of a worker.
    fn serve(&self, thread: usize) {
        let mut spins = 0;
        loop {
            if self.take_piece(thread) {
                spins = 0;
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                let mut stop = self.lock();
                self.sleepers.fetch_add(1, Ordering::SeqCst);
                while self.idle() && !*stop {
                    stop = self.wake.wait(stop).unwrap_or_else(PoisonError::into_inner);
                }
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
                if *stop {
                    return;
                }
                spins = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        let mut pool = Pool::new(3).unwrap();
        for pieces in (0..2000).map(|i| i % 9) {
            let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            pool.run(pieces, &|thread, piece| {
                assert!(thread < 3);
                counts[piece].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn sleeping_threads_wake() {
        let mut pool = Pool::new(2).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        // Each piece waits for the other, so two threads must run them.
        let barrier = std::sync::Barrier::new(2);
        pool.run(2, &|_, _| {
            barrier.wait();
        });
    }

    #[test]
    fn panics_are_passed_on() {
        let mut pool = Pool::new(2).unwrap();
        let failed = catch_unwind(AssertUnwindSafe(|| pool.run(2, &|_, piece| assert!(piece == 0, "on purpose"))));
        assert!(failed.is_err());
        pool.run(2, &|_, _| {});
    }
}
