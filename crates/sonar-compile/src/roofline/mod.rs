//! The limits of the machine by the roofline model (Williams, Waterman, Patterson, 2009). A kernel takes at least as long as
//! its arithmetic at the peak, and as its data at the bandwidth of the memory that they fit in.

pub mod annotate;

use crate::exit::Failure;
use crate::machine;
use sonar_codegen::Target;
use sonar_ir::loops::Program;
use sonar_ir::machine::Machine;
use sonar_schedule::{LoopCost, Task, executed_flops};

/// The roofline of the machine with all threads.
pub struct Roofline {
    /// The parameters of one core.
    pub machine: &'static Machine,
    /// Peak of multiply-adds with all threads, in GFLOP/s.
    pub peak: f64,
    /// Number of threads.
    pub threads: usize,
}

impl Roofline {
    /// The roofline of this machine with the vector length of a target.
    pub fn new(target: &Target, threads: usize) -> Result<Roofline, Failure> {
        let machine = machine::this(target.lanes())?;
        Ok(Roofline { machine, peak: machine.peak(target.lanes()).gflops * threads as f64, threads })
    }

    /// Minimum seconds of this much arithmetic.
    pub fn compute(&self, flops: f64) -> f64 {
        flops / self.peak / 1e9
    }

    /// Minimum seconds of this much memory traffic, divided equally among the threads.
    pub fn memory(&self, bytes: u64) -> f64 {
        let part = bytes as f64 / self.threads as f64;
        part * self.machine.moved(part)
    }

    /// Bandwidth of one core in GB/s for data of this size.
    pub fn bandwidth_of(&self, bytes: u64) -> f64 {
        1e-9 / self.machine.moved(bytes as f64)
    }

    /// Minimum seconds of the arithmetic of a task: of the operations in the graph or in the code, whichever are fewer.
    pub fn compute_of(&self, task: &Task, program: &Program) -> f64 {
        self.compute(task.flops.min(executed_flops(program)) as f64)
    }

    /// Minimum seconds of a task.
    pub fn floor_of(&self, task: &Task, program: &Program) -> f64 {
        self.compute_of(task, program).max(self.memory(task.bytes))
    }

    /// Minimum seconds of all iterations of a loop, if each one finds its data in the closest memory level that can
    /// hold them.
    pub fn floor_of_loop(&self, cost: &LoopCost) -> f64 {
        let data = cost.bytes as f64 * self.machine.moved(cost.bytes as f64);
        self.compute(cost.runs * cost.flops).max(cost.runs * data / self.threads as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_ir::machine::Bandwidth;

    #[test]
    fn the_roofline_is_that_of_the_footprint() {
        let at = |bytes, read, copy| Bandwidth { bytes, read, write: 1.0, copy };
        let machine = Machine { bandwidths: vec![at(1000, 100.0, 400.0), at(100_000, 50.0, 20.0)], ..Machine::usual(16).clone() };
        let roofline = Roofline { machine: Box::leak(Box::new(machine)), peak: 200.0, threads: 2 };
        assert_eq!(roofline.compute(200_000.0), 1e-6);
        // Two threads with a thousand bytes each, at 400 bytes per nanosecond: copying moves more data than reading.
        assert!((roofline.memory(2000) - 2.5e-9).abs() < 1e-18);
        // Data larger than every cache move at the bandwidth of the largest measured size.
        assert!((roofline.memory(1_000_000) - 1e-5).abs() < 1e-15);
        assert!((roofline.bandwidth_of(100_000) - 50.0).abs() < 1e-9 && roofline.bandwidth_of(10_000) < 400.0);
        // Ten iterations on two threads. Each one moves a thousand bytes, or computes.
        let iterations = |flops| roofline.floor_of_loop(&LoopCost { runs: 10.0, flops, bytes: 1000 });
        assert!((iterations(0.0) - 12.5e-9).abs() < 1e-18);
        assert!((iterations(2000.0) - 100e-9).abs() < 1e-18);
    }
}
