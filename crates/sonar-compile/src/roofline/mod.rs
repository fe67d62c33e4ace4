//! What the machine allows, by the roofline model (Williams, Waterman, Patterson, 2009): nothing is faster than its arithmetic at the
//! peak, nor than its data at the bandwidth of the memory that they fit in.

pub mod annotate;

use crate::exit::{Exit, Failure, OrExit};
use sonar_codegen::{Bandwidth, Target};
use sonar_ir::loops::Program;
use sonar_schedule::{LoopCost, Task, executed_flops};

/// What the machine can do with all threads.
pub struct Machine {
    /// Multiply-adds, in 10⁹ floating-point operations a second.
    pub peak: f64,
    /// How many threads.
    pub threads: usize,
    /// Of one core; empty unless it is asked for.
    pub bandwidth: Vec<Bandwidth>,
}

impl Machine {
    /// Measures the peak, and if asked for the bandwidth.
    pub fn measure(target: &Target, threads: usize, bandwidth: bool) -> Result<Machine, Failure> {
        let bandwidth = if bandwidth { sonar_codegen::bandwidth(target).or_exit(Exit::Internal)? } else { Vec::new() };
        let peak = sonar_codegen::peak_gflops(target).or_exit(Exit::Internal)? * threads as f64;
        Ok(Machine { peak, threads, bandwidth })
    }

    /// Seconds that arithmetic takes at the least.
    pub fn compute(&self, flops: f64) -> f64 {
        flops / self.peak / 1e9
    }

    /// Seconds that data take at the least, each thread having its part of them.
    pub fn memory(&self, bytes: u64) -> f64 {
        let part = bytes / self.threads as u64;
        self.bandwidth_of(part).map_or(0.0, |gigabytes| part as f64 / gigabytes / 1e9)
    }

    /// 10⁹ bytes a second that one core moves, if its data are so many bytes.
    pub fn bandwidth_of(&self, bytes: u64) -> Option<f64> {
        let level = self.bandwidth.iter().find(|level| level.bytes as u64 >= bytes).or(self.bandwidth.last());
        level.map(|level| level.gigabytes_per_second)
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
    pub fn floor_of_level(&self, level: &LoopCost) -> f64 {
        let data = self.bandwidth_of(level.bytes).map_or(0.0, |gigabytes| level.bytes as f64 / gigabytes / 1e9);
        self.compute(level.runs * level.flops).max(level.runs * data / self.threads as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roofline_is_that_of_the_level_that_holds_the_data() {
        let level = |bytes, gigabytes_per_second| Bandwidth { bytes, gigabytes_per_second };
        let machine = Machine { peak: 200.0, threads: 2, bandwidth: vec![level(1000, 400.0), level(100_000, 50.0)] };
        assert_eq!(machine.compute(200_000.0), 1e-6);
        // Two threads with a thousand bytes each, at 400 bytes a nanosecond.
        assert!((machine.memory(2000) - 2.5e-9).abs() < 1e-18);
        assert!((machine.memory(2002) - 20.02e-9).abs() < 1e-18);
        // What no level holds moves as from the last one.
        assert!((machine.memory(1_000_000) - 1e-5).abs() < 1e-15);
        // Ten iterations on two threads, each of which moves a thousand bytes, or computes.
        let iterations = |flops| machine.floor_of_level(&LoopCost { runs: 10.0, flops, bytes: 1000 });
        assert!((iterations(0.0) - 12.5e-9).abs() < 1e-18);
        assert!((iterations(2000.0) - 100e-9).abs() < 1e-18);
    }
}
