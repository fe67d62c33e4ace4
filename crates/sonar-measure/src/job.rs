//! What is asked of a measurement, and what comes of it.

use crate::error::MeasureError;
use crate::stats;
use serde::{Deserialize, Serialize};
use sonar_ir::loops::Program;

/// One candidate kernel to check and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Key of the task; jobs with the same key have the same `reference`.
    pub task: String,
    /// Text of the schedule that made `candidate` from `reference`.
    pub schedule: String,
    /// The unscheduled program: what the candidate must compute.
    pub reference: Program,
    /// The scheduled program.
    pub candidate: Program,
    /// Name of the target, as the code generator parses it.
    pub target: String,
    /// How many threads the candidate may use.
    pub threads: usize,
    /// Seed of the arguments.
    pub seed: u64,
    /// Largest accepted [relative error](sonar_ir::Tensor::relative_error) of any output.
    pub tolerance: f64,
    /// Time of the best known candidate in nanoseconds: one that is clearly slower is dropped early.
    pub incumbent: Option<f64>,
    /// How long to time.
    pub budget: Budget,
}

/// How long to time one candidate; whichever bound is reached first ends it, but not before [`Budget::MIN_SAMPLES`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Number of samples.
    pub samples: usize,
    /// Seconds of timing.
    pub seconds: f64,
}

/// What came of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The output is right; times of one call in nanoseconds, in order of measurement.
    Ok(Vec<f64>),
    /// The output is right, but the candidate is so much slower than the incumbent that timing ended early.
    Dropped(Vec<f64>),
    /// There is no time to speak of.
    Failed(Cause),
}

/// Why a measurement failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The worker died; holds how.
    #[error("the worker died: {0}")]
    Crash(String),
    /// The worker did not answer in time.
    #[error("the time limit was reached")]
    Timeout,
    /// The output differs from the reference by this relative error.
    #[error("the output is wrong by a relative error of {0:e}")]
    WrongOutput(f64),
    /// The candidate could not be compiled; holds why.
    #[error("it does not compile: {0}")]
    Illegal(String),
}

/// Something that measures candidates.
pub trait Measurer {
    /// Checks and times one candidate. An error is trouble with the measuring itself, and says nothing of the candidate.
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError>;

    /// Checks candidates and times them in turns, so that a change of the machine's speed meets all of them alike;
    /// nothing is dropped. One outcome for each job, in order.
    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError>;
}

impl Budget {
    /// A candidate that is not dropped has at least this many samples.
    pub const MIN_SAMPLES: usize = 3;
}

impl Default for Budget {
    fn default() -> Self {
        Budget { samples: 20, seconds: 0.1 }
    }
}

impl Outcome {
    /// The samples, of a candidate whose output is right.
    pub fn samples(&self) -> Option<&[f64]> {
        match self {
            Outcome::Ok(samples) | Outcome::Dropped(samples) => Some(samples),
            Outcome::Failed(_) => None,
        }
    }

    /// Median time in nanoseconds, of a candidate that was timed to the end.
    pub fn time(&self) -> Option<f64> {
        match self {
            Outcome::Ok(samples) if !samples.is_empty() => Some(stats::median(samples)),
            _ => None,
        }
    }
}

impl<M: Measurer + ?Sized> Measurer for Box<M> {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        (**self).measure(job)
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        (**self).compare(jobs)
    }
}
