//! A measurer whose candidates misbehave on purpose.

use crate::error::MeasureError;
use crate::records::digest;
use crate::timing::job::{Job, Measurer, Outcome};
use sonar_codegen::Fault;

/// Injects faults into candidates before another measurer gets them. The fault depends only on the schedule, so a search is
/// repeatable. Candidates in comparisons stay unchanged, because they were correct when they were measured.
#[derive(Clone, Debug)]
pub struct Planted<M> {
    inner: M,
    /// `None` means a correct candidate.
    faults: Vec<Option<Fault>>,
}

impl<M> Planted<M> {
    /// A measurer that gives each candidate one of `faults`. `None` leaves it correct.
    pub fn new(inner: M, faults: Vec<Option<Fault>>) -> Self {
        Planted { inner, faults }
    }
}

impl<M: Measurer> Measurer for Planted<M> {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        let number = u64::from_str_radix(&digest(&job.schedule.to_string())[..8], 16).unwrap_or(0) as usize;
        let fault = self.faults.get(number % self.faults.len().max(1)).copied().flatten();
        self.inner.measure(&Job { fault, ..job.clone() })
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        self.inner.compare(jobs)
    }
}
