//! What the machine allows, by the roofline model (Williams, Waterman, Patterson, 2009): nothing is faster than its arithmetic at the
//! peak, nor than its data at the bandwidth of the memory that they fit in.

pub mod annotate;

use crate::exit::Failure;
use crate::machine;
use sonar_codegen::Target;
use sonar_ir::loops::Program;
use sonar_ir::machine::Machine;
use sonar_schedule::{LoopCost, Task, executed_flops};

/// What the machine can do with all threads.
pub struct Roofline {
    /// What one core can do.
    pub machine: &'static Machine,
    /// Multiply-adds of all threads, in 10⁹ floating-point operations a second.
    pub peak: f64,
    /// How many threads.
    pub threads: usize,
}

impl Roofline {
    /// The roofline of this machine with the vectors of a target.
    pub fn new(target: &Target, threads: usize) -> Result<Roofline, Failure> {
        let machine = machine::this(target.lanes())?;
        Ok(Roofline { machine, peak: machine.peak(target.lanes()).gflops * threads as f64, threads })
    }

    /// Seconds that arithmetic takes at the least.
    pub fn compute(&self, flops: f64) -> f64 {
        flops / self.peak / 1e9
    }

    /// Seconds that data take at the least, each thread having its part of them.
    pub fn memory(&self, bytes: u64) -> f64 {
        let part = bytes as f64 / self.threads as f64;
        part * self.machine.moved(part)
    }

    /// 10⁹ bytes a second that one core moves, if its data are so many bytes.
    pub fn bandwidth_of(&self, bytes: u64) -> f64 {
        1e-9 / self.machine.moved(bytes as f64)
    }

    /// Seconds that the arithmetic of a task takes at the least: what the graph asks for, or what the code executes, whichever is
    /// less.
    pub fn compute_of(&self, task: &Task, program: &Program) -> f64 {
        self.compute(task.flops.min(executed_flops(program)) as f64)
    }

    /// Seconds of a task at the least.
    pub fn floor_of(&self, task: &Task, program: &Program) -> f64 {
        self.compute_of(task, program).max(self.memory(task.bytes))
    }

    /// Seconds of all iterations of a loop, if each finds its data where so many bytes stay, and nothing of them any closer.
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
        // Two threads with a thousand bytes each, at 400 bytes a nanosecond: copying moves more than reading.
        assert!((roofline.memory(2000) - 2.5e-9).abs() < 1e-18);
        // What no cache holds moves as from the last footprint.
        assert!((roofline.memory(1_000_000) - 1e-5).abs() < 1e-15);
        assert!((roofline.bandwidth_of(100_000) - 50.0).abs() < 1e-9 && roofline.bandwidth_of(10_000) < 400.0);
        // Ten iterations on two threads, each of which moves a thousand bytes, or computes.
        let iterations = |flops| roofline.floor_of_loop(&LoopCost { runs: 10.0, flops, bytes: 1000 });
        assert!((iterations(0.0) - 12.5e-9).abs() < 1e-18);
        assert!((iterations(2000.0) - 100e-9).abs() < 1e-18);
    }
}
