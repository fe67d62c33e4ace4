//! Measurement jobs and their outcomes.

use crate::error::MeasureError;
use crate::timing::stats;
use serde::{Deserialize, Serialize};
use sonar_codegen::Fault;
use sonar_ir::loops::Program;
use sonar_ir::schedule::Schedule;
use std::fmt;
use std::str::FromStr;

/// One candidate kernel to check and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Key of the task. Jobs with the same key have the same `reference`.
    pub task: String,
    /// The schedule that made `candidate` from `reference`.
    pub schedule: Schedule,
    /// The unscheduled program, which defines the correct output.
    pub reference: Program,
    /// The scheduled program.
    pub candidate: Program,
    /// Name of the target, as the code generator parses it.
    pub target: String,
    /// Number of threads that the candidate may use.
    pub threads: usize,
    /// Seed of the arguments.
    pub seed: u64,
    /// Largest accepted [relative error](sonar_ir::Tensor::relative_error) of any output.
    pub check_tolerance: f64,
    /// Time of the best known candidate in nanoseconds. A candidate that is clearly slower is dropped early.
    pub incumbent: Option<f64>,
    /// Limits of the timing.
    pub budget: Budget,
    /// Where the candidate finds its data.
    #[serde(default)]
    pub cache: Cache,
    /// The fault to inject into the candidate, for tests of the error handling.
    #[serde(default)]
    pub fault: Option<Fault>,
}

/// Where a timed kernel finds its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// Where the previous call left them.
    #[default]
    Warm,
    /// In no private cache of a core: before each call, other data are read through the caches, as when a network runs other
    /// kernels. The data may be in the shared cache.
    Cold,
}

/// How long to time one candidate. The first limit reached ends the timing, but not before [`Budget::MIN_SAMPLES`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Number of samples.
    pub samples: usize,
    /// Seconds of timing.
    pub seconds: f64,
}

/// The outcome of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The output is correct. Times of one call in nanoseconds, in order of measurement.
    Ok(Vec<f64>),
    /// The output is correct, but timing ended early because the candidate is much slower than the incumbent.
    Dropped(Vec<f64>),
    /// The measurement failed.
    Failed(Cause),
}

/// Why a measurement failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The worker died for another reason than the following ones; the text is a description.
    #[error("the worker died: {0}")]
    Crash(String),
    /// Access to invalid memory.
    #[error("segmentation fault")]
    Segfault,
    /// The processor does not support an instruction.
    #[error("illegal instruction")]
    IllegalInstruction,
    /// Stack overflow.
    #[error("stack overflow")]
    StackOverflow,
    /// The worker exceeded its memory limit.
    #[error("out of memory")]
    OutOfMemory,
    /// Memory outside of the buffers was written.
    #[error("a write out of bounds")]
    OutOfBounds,
    /// The worker did not answer within the time limit.
    #[error("the time limit was reached")]
    Timeout,
    /// The output differs from the reference by this relative error.
    #[error("the output is wrong by a relative error of {0:e}")]
    WrongOutput(f64),
    /// The candidate could not be compiled; the text is the reason.
    #[error("it does not compile: {0}")]
    Illegal(String),
}

/// Something that measures candidates.
pub trait Measurer {
    /// Checks and times one candidate. An error means that measuring failed, and says nothing about the candidate.
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError>;

    /// Checks candidates and times them in turns, so that a change of the machine's speed affects all of them alike. No
    /// candidate is dropped. Returns one outcome per job, in order.
    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError>;
}

impl Cause {
    /// The kind of failure in a few words, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Cause::Crash(_) => "crash",
            Cause::Segfault => "segmentation fault",
            Cause::IllegalInstruction => "illegal instruction",
            Cause::StackOverflow => "stack overflow",
            Cause::OutOfMemory => "out of memory",
            Cause::OutOfBounds => "write out of bounds",
            Cause::Timeout => "time limit",
            Cause::WrongOutput(_) => "wrong output",
            Cause::Illegal(_) => "does not compile",
        }
    }
}

impl Cache {
    /// The name that the parser accepts.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Warm => "warm",
            Cache::Cold => "cold",
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(name: &str) -> Result<Cache, String> {
        [Cache::Warm, Cache::Cold].into_iter().find(|cache| cache.name() == name).ok_or_else(|| "expected warm or cold".into())
    }
}

impl Budget {
    /// Minimum number of samples of a candidate that is not dropped.
    pub const MIN_SAMPLES: usize = 3;
    /// Minimum number of samples of a candidate that is timed in turns with others: as many as a
    /// [comparison](crate::timing::race::difference) needs.
    pub const MIN_TURNS: usize = 8;
}

impl Default for Budget {
    fn default() -> Self {
        Budget { samples: 20, seconds: 0.1 }
    }
}

impl Outcome {
    /// The samples, if the output is correct.
    pub fn samples(&self) -> Option<&[f64]> {
        match self {
            Outcome::Ok(samples) | Outcome::Dropped(samples) => Some(samples),
            Outcome::Failed(_) => None,
        }
    }

    /// Median time in nanoseconds, if the candidate was timed to the end.
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
