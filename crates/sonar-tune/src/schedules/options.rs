//! How schedules are searched, and under which conditions kernels are timed.

use sonar_codegen::Target;
use sonar_ir::machine::Machine;
use sonar_measure::{Budget, Cache};

/// How to tune.
#[derive(Clone, Debug)]
pub struct TunerOptions {
    /// For which processor.
    pub target: Target,
    /// What estimates of time assume of the machine.
    pub machine: &'static Machine,
    /// On how many threads a kernel runs.
    pub threads: usize,
    /// Seed of the search and of the arguments of kernels.
    pub seed: u64,
    /// How long to time one candidate.
    pub budget: Budget,
    /// Where kernels find their data when they are timed.
    pub cache: Cache,
    /// What rounding may cost: see [`sonar_schedule::Options::max_rounding`].
    pub max_rounding: f64,
    /// Largest accepted error of a kernel's output over the largest output.
    pub check_tolerance: f64,
    /// Whether the next candidate is prepared while one is measured: worth it if the machine has a processor for it beside those
    /// that kernels run on. Trials are the same and come in the same order.
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

    /// With candidates prepared while others are measured, if there is a processor for it.
    pub fn overlapping(self) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        TunerOptions { overlap: processors > self.threads, ..self }
    }

    /// For what schedules are made.
    pub(super) fn goal(&self) -> sonar_schedule::Options {
        sonar_schedule::Options {
            lanes: self.target.lanes(),
            machine: self.machine,
            threads: self.threads,
            footprint: 0,
            max_rounding: self.max_rounding,
        }
    }
}
