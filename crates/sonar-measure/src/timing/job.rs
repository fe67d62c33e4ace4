//! What is asked of a measurement, and what comes of it.

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
    /// Key of the task; jobs with the same key have the same `reference`.
    pub task: String,
    /// The schedule that made `candidate` from `reference`.
    pub schedule: Schedule,
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
    pub check_tolerance: f64,
    /// Time of the best known candidate in nanoseconds: one that is clearly slower is dropped early.
    pub incumbent: Option<f64>,
    /// How long to time.
    pub budget: Budget,
    /// Where the candidate finds its data.
    #[serde(default)]
    pub cache: Cache,
    /// What the candidate is made to do wrong: for tests of what has to survive bad code.
    #[serde(default)]
    pub fault: Option<Fault>,
}

/// Where a kernel finds its data when it is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// Where the call before left them.
    #[default]
    Warm,
    /// Not in the caches of any core: other data went through these before each call, as when a network runs other kernels. They
    /// may be in the cache that cores share.
    Cold,
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
    /// The worker died in another way than the next ones; holds how.
    #[error("the worker died: {0}")]
    Crash(String),
    /// Memory was used that is not there.
    #[error("segmentation fault")]
    Segfault,
    /// An instruction was executed that the processor does not have.
    #[error("illegal instruction")]
    IllegalInstruction,
    /// The stack was too small.
    #[error("stack overflow")]
    StackOverflow,
    /// More memory was asked for than a worker may have.
    #[error("out of memory")]
    OutOfMemory,
    /// Something beside a buffer was written.
    #[error("a write out of bounds")]
    OutOfBounds,
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

impl Cause {
    /// What kind of failure it is, in few words: what is counted in a summary.
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
    /// The name by which it is parsed.
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
    /// A candidate that is not dropped has at least this many samples.
    pub const MIN_SAMPLES: usize = 3;
    /// A candidate that is timed in turns with others has at least this many samples: as many as a
    /// [comparison](crate::timing::race::difference) takes.
    pub const MIN_TURNS: usize = 8;
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
