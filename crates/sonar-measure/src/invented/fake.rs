//! A measurer that invents its results, for tests of code that uses a measurer.

use crate::error::MeasureError;
use crate::records::digest;
use crate::timing::clock::FakeClock;
use crate::timing::job::{Budget, Job, Measurer, Outcome};
use sonar_ir::schedule::Schedule;
use std::time::Duration;

/// Invents the time of a candidate from a seed, its task and its schedule. The time is the same on every call and every
/// machine.
///
/// Each step of a schedule contributes its own share. So the best schedule has the best choice for every step, and a search
/// that improves one decision at a time can find it. Each measurement moves the clock by [`FakeMeasurer::COST`].
#[derive(Clone, Debug)]
pub struct FakeMeasurer {
    seed: u64,
    clock: FakeClock,
    /// Number of candidates measured so far.
    pub measured: usize,
}

impl FakeMeasurer {
    /// The time that one measurement takes on the clock.
    pub const COST: Duration = Duration::from_millis(10);

    /// A measurer that moves `clock`.
    pub fn new(seed: u64, clock: FakeClock) -> Self {
        FakeMeasurer { seed, clock, measured: 0 }
    }

    /// The time in nanoseconds that a schedule of a task takes.
    pub fn time(&self, task: &str, schedule: &Schedule) -> f64 {
        let steps = schedule.steps.iter();
        steps.map(|step| 1_000.0 * (0.1 + unit_hash(&format!("{} {task} {step}", self.seed)))).sum::<f64>() + 1_000.0
    }
}

impl Measurer for FakeMeasurer {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        self.clock.advance(Self::COST);
        self.measured += 1;
        let time = self.time(&job.task, &job.schedule);
        Ok(crate::timing::race::race(
            |n| time * n as f64,
            job.incumbent,
            Budget { samples: job.budget.samples.min(Budget::MIN_TURNS), ..job.budget },
        ))
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        jobs.iter().map(|job| self.measure(&Job { incumbent: None, ..job.clone() })).collect()
    }
}

/// A number in `0..1` that depends only on the text.
fn unit_hash(text: &str) -> f64 {
    let hex = &digest(text)[..13];
    u64::from_str_radix(hex, 16).unwrap_or(0) as f64 / (1u64 << 52) as f64
}
