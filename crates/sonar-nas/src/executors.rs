//! The boundary to training and tuning.
//!
//! The search knows architectures only through an [`Evaluator`]. The evaluator keeps what belongs to it — checkpoints, the
//! records of measured kernels — where it survives the process, and reports progress in small steps through a callback,
//! each with the seconds that it took. What was reported is never asked for again.

pub mod fake;
pub mod real;
pub mod training;
pub mod tuning;

use crate::candidates::draw::Architectures;
use crate::candidates::measured::{Cost, Epoch, Latency, Probe};
use crate::candidates::{Candidate, CandidateId};
use crate::error::EvaluateError;
use std::ops::ControlFlow;

/// Says whether to go on.
pub type Watch<'a> = dyn Fn() -> ControlFlow<()> + 'a;

/// Training asked for.
#[derive(Clone, Copy, Debug)]
pub struct TrainJob<'a> {
    /// Which architecture.
    pub candidate: &'a Candidate,
    /// Epochs it has behind it, from which to resume.
    pub from: usize,
    /// Epochs it shall have.
    pub to: usize,
    /// Epochs of a full training: the length of the learning-rate schedule.
    pub horizon: usize,
}

/// Tuning asked for.
#[derive(Clone, Debug)]
pub struct TuneJob<'a> {
    /// The architectures, the most promising first, each with its trials so far, or nothing if it was never timed.
    pub candidates: Vec<(&'a Candidate, Option<usize>)>,
    /// Trials that every kernel of every candidate shall have; 0 asks for default schedules.
    pub to: usize,
    /// Seconds after which to stop, once every candidate has a latency.
    pub seconds: Option<f64>,
}

/// A step of progress in tuning, or a confirmation of latencies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timed {
    /// New latencies.
    pub latencies: Vec<(CandidateId, Latency)>,
    /// Candidates that cannot be compiled or timed, each with the reason.
    pub failures: Vec<(CandidateId, String)>,
    /// What the step took.
    pub cost: Cost,
}

/// Trains, tunes and measures candidates of one space.
pub trait Evaluator: Architectures {
    /// Finds out how long things take. Nothing of it counts as training or tuning of the candidate.
    fn probe(&mut self, candidate: &Candidate) -> Result<(Probe, Cost), EvaluateError>;

    /// Trains from `from` to `to` epochs and reports each. The state after an epoch is on disk before the epoch is reported,
    /// the one before stays until the callback has returned: it may be the one to resume from. Stops at
    /// [`ControlFlow::Break`].
    ///
    /// `watch` is asked every few milliseconds or so. When it says [`ControlFlow::Break`], training returns at once, without the
    /// epoch that it is in.
    fn train(
        &mut self,
        job: &TrainJob<'_>,
        watch: &Watch<'_>,
        report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError>;

    /// Tunes until all kernels have `to` trials, or the time is over and every candidate has a latency; kernels that
    /// candidates share are tuned once. Each report holds the candidates whose latency is news. On return every candidate
    /// without a failure has been reported with `to` trials, unless the time was over or the callback said
    /// [`ControlFlow::Break`].
    fn tune(&mut self, job: &TuneJob<'_>, report: &mut dyn FnMut(Timed) -> ControlFlow<()>) -> Result<(), EvaluateError>;

    /// Times whole models with the best schedules known, the candidates taking turns so that a slow minute of the machine
    /// hits all of them, as far as they fit into memory together. Each comes with its trials so far.
    fn measure(&mut self, candidates: &[(&Candidate, Option<usize>)]) -> Result<Timed, EvaluateError>;

    /// Says that a candidate will not be trained or timed any more, after a training of `horizon` epochs or a part of it.
    fn forget(&mut self, candidate: CandidateId, horizon: usize);
}
