//! The interface to training and tuning.
//!
//! The search reaches architectures only through an [`Evaluator`]. The evaluator stores its own data (checkpoints and records
//! of measured kernels) where it survives the process. It reports progress in small steps through a callback, each step with
//! the seconds that it took. A reported step is never requested again.

pub mod fake;
pub mod real;
pub mod training;
pub mod tuning;

use crate::candidates::draw::Architectures;
use crate::candidates::measured::{Cost, Epoch, Latency, Probe};
use crate::candidates::{Candidate, CandidateId};
use crate::error::EvaluateError;
use std::ops::ControlFlow;

/// Says whether to continue.
pub type Watch<'a> = dyn Fn() -> ControlFlow<()> + 'a;

/// A training job.
#[derive(Clone, Copy, Debug)]
pub struct TrainJob<'a> {
    /// The architecture to train.
    pub candidate: &'a Candidate,
    /// Epochs done so far. Training continues from there.
    pub from: usize,
    /// Total number of epochs after this job.
    pub to: usize,
    /// Epochs of a full training: the length of the learning-rate schedule.
    pub horizon: usize,
}

/// A tuning job.
#[derive(Clone, Debug)]
pub struct TuneJob<'a> {
    /// The architectures, the most promising first, each with its trials so far, or `None` if it was never timed.
    pub candidates: Vec<(&'a Candidate, Option<usize>)>,
    /// Trials that every kernel of every candidate has after this job. 0 means default schedules.
    pub to: usize,
    /// Seconds after which to stop, once every candidate has a latency.
    pub seconds: Option<f64>,
}

/// A step of tuning, or a confirmation of latencies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timed {
    /// New latencies.
    pub latencies: Vec<(CandidateId, Latency)>,
    /// Candidates that cannot be compiled or timed, with the reason.
    pub failures: Vec<(CandidateId, String)>,
    /// The time that the step took.
    pub cost: Cost,
}

/// Trains, tunes and measures candidates of one space.
pub trait Evaluator: Architectures {
    /// Estimates how long one epoch and one latency take. This does not count as training or tuning of the candidate.
    fn probe(&mut self, candidate: &Candidate) -> Result<(Probe, Cost), EvaluateError>;

    /// Trains from `from` to `to` epochs and reports each epoch. The state after an epoch is on disk before the epoch is
    /// reported. The state before it is kept until the callback has returned, because the search may resume from it. Stops at
    /// [`ControlFlow::Break`].
    ///
    /// `watch` is called every few milliseconds. If it returns [`ControlFlow::Break`], training returns at once and the current
    /// epoch is lost.
    fn train(
        &mut self,
        job: &TrainJob<'_>,
        watch: &Watch<'_>,
        report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError>;

    /// Tunes until all kernels have `to` trials, or until the time is over and every candidate has a latency. A kernel that
    /// several candidates share is tuned once. Each report holds the candidates with a new latency. On return, every candidate
    /// without a failure has been reported with `to` trials, unless the time was over or the callback returned
    /// [`ControlFlow::Break`].
    fn tune(&mut self, job: &TuneJob<'_>, report: &mut dyn FnMut(Timed) -> ControlFlow<()>) -> Result<(), EvaluateError>;

    /// Times whole models with the best schedules known. The candidates take turns, as many as fit into memory together, so
    /// that a slow minute of the machine affects all of them. Each candidate comes with its trials so far.
    fn measure(&mut self, candidates: &[(&Candidate, Option<usize>)]) -> Result<Timed, EvaluateError>;

    /// Tells the evaluator that a candidate will not be trained or timed any more. Its training had `horizon` epochs or a part
    /// of them.
    fn forget(&mut self, candidate: CandidateId, horizon: usize);
}
