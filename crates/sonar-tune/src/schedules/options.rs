//! Options of the schedule search, and the conditions under which kernels are timed.

use sonar_codegen::Target;
use sonar_ir::machine::Machine;
use sonar_measure::{Budget, Cache};

/// How to tune.
#[derive(Clone, Debug)]
pub struct TunerOptions {
    /// The target processor.
    pub target: Target,
    /// The machine parameters for time estimates.
    pub machine: &'static Machine,
    /// Number of threads that a kernel uses.
    pub threads: usize,
    /// Seed of the search and of the arguments of kernels.
    pub seed: u64,
    /// How long to time one candidate.
    pub budget: Budget,
    /// Where kernels find their data when they are timed.
    pub cache: Cache,
    /// The largest rounding error: see [`sonar_schedule::Options::max_rounding`].
    pub max_rounding: f64,
    /// Largest accepted error of a kernel's output, relative to the largest output.
    pub check_tolerance: f64,
    /// Whether to prepare the next candidate while one is measured. It is useful if the machine has a free processor besides
    /// those that run kernels. It does not change the trials or their order.
    pub overlap: bool,
}

impl TunerOptions {
    /// Kernels on one thread, seed 0, and the default budget.
    pub fn new(target: Target) -> Self {
        TunerOptions {
            machine: Machine::usual(target.lanes()),
            target,
            threads: 1,
            seed: 0,
            budget: Budget::default(),
            cache: Cache::default(),
            max_rounding: 1e-4,
            check_tolerance: 1e-4,
            overlap: false,
        }
    }

    /// Prepares candidates while others are measured, if there is a free processor.
    pub fn overlapping(self) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        TunerOptions { overlap: processors > self.threads, ..self }
    }

    /// The options for making schedules.
    pub(super) fn goal(&self) -> sonar_schedule::Options {
        let (machine, threads, max_rounding) = (self.machine, self.threads, self.max_rounding);
        sonar_schedule::Options { machine, threads, max_rounding, ..sonar_schedule::Options::new(self.target.lanes()) }
    }
}
