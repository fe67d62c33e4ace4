//! Calls of a program's function on buffers.

use crate::memory::buffer::aligned;
use crate::module::ProgramEntry;
use crate::run::pool::Pool;
use crate::run::timeline::Share;
use sonar_ir::entity::Entity;
use sonar_ir::loops::{BufId, BufferKind, Program};

/// The number of pieces for each thread that a parallel loop is cut into, if it has enough iterations.
const PIECES_PER_THREAD: usize = 4;

/// A compiled program with the addresses of its buffers.
pub(crate) struct Launch {
    entry: ProgramEntry,
    /// Number of iterations that threads may share.
    extent: Option<usize>,
    /// Addresses of all buffers, for each thread that takes part.
    tables: Vec<Vec<*mut f32>>,
}

// SAFETY: the addresses point to buffers that the owner of the launch owns, or are set before each run.
unsafe impl Send for Launch {}
// SAFETY: threads only read the tables, and each writes its own part of the buffers.
unsafe impl Sync for Launch {}

impl Launch {
    /// A launch on `threads` threads (one, unless the function is a parallel loop), with `buffers` addresses,
    /// all null.
    pub(crate) fn new(entry: ProgramEntry, extent: Option<usize>, buffers: usize, threads: usize) -> Launch {
        let threads = if extent.is_some_and(|extent| extent > 1) { threads.max(1) } else { 1 };
        Launch { entry, extent, tables: vec![vec![std::ptr::null_mut(); buffers]; threads] }
    }

    /// How many threads may take part.
    pub(crate) fn threads(&self) -> usize {
        self.tables.len()
    }

    /// Sets the address of a buffer for every thread.
    pub(crate) fn set(&mut self, buffer: BufId, address: *mut f32) {
        for table in &mut self.tables {
            table[buffer.index()] = address;
        }
    }

    /// Sets the address of a buffer for one thread.
    pub(crate) fn set_for(&mut self, thread: usize, buffer: BufId, address: *mut f32) {
        self.tables[thread][buffer.index()] = address;
    }

    /// Runs the program.
    ///
    /// # Safety
    /// Every address points to a buffer of the length that the program states. Written buffers do not overlap others, and
    /// nothing else uses the buffers during the run. The code is alive. The pool has no more threads than this launch, unless this
    /// launch has one.
    pub(crate) unsafe fn run(&self, pool: &mut Pool) {
        // SAFETY: by the contract of this function.
        unsafe { self.run_around(pool, &|_, work| work()) }
    }

    /// Runs the program, and records in the share of each thread when its pieces began and ended. There is one share for each thread.
    ///
    /// # Safety
    /// As for [`Launch::run`].
    pub(crate) unsafe fn run_timed(&self, pool: &mut Pool, shares: &[Share]) {
        // SAFETY: by the contract of this function.
        unsafe { self.run_around(pool, &|thread, work| shares[thread].time(work)) }
    }

    /// Runs the program; each piece of it is run inside a call of `around`, which is given the number of the thread.
    ///
    /// # Safety
    /// As for [`Launch::run`].
    #[inline(always)]
    unsafe fn run_around(&self, pool: &mut Pool, around: &(impl Fn(usize, &dyn Fn()) + Sync)) {
        let extent = self.extent.unwrap_or(1);
        if self.tables.len() == 1 {
            // SAFETY: by the contract of this function.
            return around(0, &|| unsafe { (self.entry)(self.tables[0].as_ptr(), 0, extent as i64) });
        }
        // More pieces than threads, so that a delayed thread does not delay the others.
        let pieces = extent.min(PIECES_PER_THREAD * self.tables.len());
        pool.run(pieces as u32, &|thread, piece| {
            let bound = |i: usize| (extent * i / pieces) as i64;
            // SAFETY: by the contract of this function; the iterations of a parallel loop are independent, and each
            // thread has its own temporaries.
            around(thread, &|| unsafe { (self.entry)(self.tables[thread].as_ptr(), bound(piece), bound(piece + 1)) });
        });
    }
}

/// Offsets of the buffers of one kind, laid end to end at multiples of a cache line, and the total number of elements.
pub(crate) fn layout(program: &Program, kind: BufferKind) -> (Vec<(BufId, usize)>, usize) {
    let mut offsets = Vec::new();
    let mut end = 0;
    for (id, buffer) in program.buffers.entries().filter(|(_, buffer)| buffer.kind == kind) {
        offsets.push((id, end));
        end += aligned(buffer.len);
    }
    (offsets, end)
}

/// The buffers that the caller passes.
pub(crate) fn arguments(program: &Program) -> impl Iterator<Item = BufId> + '_ {
    let passed = |kind| matches!(kind, BufferKind::Input | BufferKind::Output);
    program.buffers.entries().filter(move |(_, buffer)| passed(buffer.kind)).map(|(id, _)| id)
}
