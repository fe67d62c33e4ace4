//! `bench --profile`: the time of each kernel, and its lower bound by the roofline model.

use super::Subject;
use crate::exit::Failure;
use crate::roofline::Roofline;
use serde::Serialize;
use sonar_ir::entity::EntityVec;
use sonar_schedule::TaskId;

/// Most runs. The fastest run of each kernel counts.
const RUNS: usize = 100;

/// All calls of one kernel together.
pub struct KernelTime {
    /// Its name with its number.
    pub name: String,
    /// Its number.
    pub number: TaskId,
    /// How often it is called in one inference.
    pub calls: usize,
    /// The time in the fastest run, the sum of all calls.
    pub seconds: f64,
    /// Floating-point operations of the graph. An algorithm that needs fewer operations, such as Winograd's, can exceed the
    /// peak.
    pub flops: u64,
    /// Bytes of its arguments.
    pub bytes: u64,
    /// Minimum seconds of the arithmetic: of the operations in the graph or in the code, whichever are fewer.
    pub compute: f64,
    /// Minimum seconds of the memory traffic.
    pub memory: f64,
}

/// The bottleneck of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Memory traffic.
    Memory,
}

impl KernelTime {
    /// GFLOP/s.
    pub fn gflops(&self) -> f64 {
        self.flops as f64 / self.seconds / 1e9
    }

    /// GB/s.
    pub fn gigabytes(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e9
    }

    /// The minimum time on this machine, in seconds.
    pub fn floor(&self) -> f64 {
        self.compute.max(self.memory)
    }

    /// The larger of the two lower bounds.
    pub fn bound(&self) -> Bound {
        if self.compute >= self.memory { Bound::Compute } else { Bound::Memory }
    }
}

/// Time of each kernel, the longest first.
pub fn profile(subject: &mut Subject, runs: usize, roofline: &Roofline) -> Result<Vec<KernelTime>, Failure> {
    let calls = subject.ready.profile(runs.min(RUNS))?;
    let compiled = &subject.prepared.compiled;
    let tasks = &compiled.lowered.tasks;
    let mut kernels: EntityVec<TaskId, Option<KernelTime>> = tasks.tasks.map(|_| None);
    for ((call, planned), kernel) in calls.iter().zip(&compiled.plan.calls).zip(&tasks.kernels) {
        let task = &tasks.tasks[kernel.task];
        let total = kernels[kernel.task].get_or_insert_with(|| KernelTime {
            name: format!("{} {}", call.kernel, kernel.task),
            number: kernel.task,
            calls: 0,
            seconds: 0.0,
            flops: 0,
            bytes: 0,
            compute: 0.0,
            memory: 0.0,
        });
        total.calls += 1;
        total.seconds += call.seconds;
        total.flops += task.flops;
        total.bytes += task.bytes;
        total.compute += roofline.compute_of(task, &compiled.plan.kernels[planned.kernel]);
        total.memory += roofline.memory(task.bytes);
    }
    let mut kernels: Vec<KernelTime> = kernels.into_iter().flatten().collect();
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(kernels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_floor_bounds() {
        let kernel = |compute, memory| KernelTime {
            name: "k".to_string(),
            number: TaskId(0),
            calls: 1,
            seconds: 4e-6,
            flops: 200_000,
            bytes: 2000,
            compute,
            memory,
        };
        assert_eq!(kernel(1e-6, 2e-6).bound(), Bound::Memory);
        assert_eq!(kernel(2e-6, 1e-6).bound(), Bound::Compute);
        assert_eq!(kernel(1e-6, 2e-6).floor(), 2e-6);
        assert_eq!((kernel(0.0, 0.0).gflops(), kernel(0.0, 0.0).gigabytes()), (50.0, 0.5));
    }
}
