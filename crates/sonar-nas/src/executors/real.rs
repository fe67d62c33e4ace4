//! The evaluator that really trains and tunes.

use crate::candidates::describe::describe;
use crate::candidates::measured::{Cost, Epoch, Probe};
use crate::candidates::{Candidate, CandidateId, Description};
use crate::error::EvaluateError;
use crate::executors::training::{Training, forget};
use crate::executors::tuning::Tuning;
use crate::executors::{Evaluator, Timed, TrainJob, TuneJob};
use sonar_ir::Graph;
use sonar_ir::space::{Assignment, Space};
use sonar_train::Backend;
use std::ops::ControlFlow;

/// Graphs come from a space, accuracies from training on a data set, latencies from this machine. Nothing of a candidate stays
/// in memory between two calls, and within one only what is being worked on.
pub struct RealEvaluator {
    /// Where architectures come from.
    pub space: Space,
    /// How they are trained.
    pub training: Training,
    /// What runs training steps.
    pub backend: Box<dyn Backend>,
    /// How they are tuned.
    pub tuning: Tuning,
}

fn graph(space: &Space, candidate: &Candidate) -> Result<Graph, EvaluateError> {
    Ok(describe(space, &candidate.assignment)?.0)
}

impl Evaluator for RealEvaluator {
    fn choices(&self) -> Vec<usize> {
        self.space.decisions().iter().map(|decision| decision.choices.len()).collect()
    }

    fn baseline(&self) -> Option<Assignment> {
        self.space.baseline().cloned()
    }

    fn describe(&mut self, assignment: &Assignment) -> Result<Description, EvaluateError> {
        Ok(describe(&self.space, assignment)?.1)
    }

    fn probe(&mut self, candidate: &Candidate) -> Result<(Probe, Cost), EvaluateError> {
        let graph = graph(&self.space, candidate)?;
        let (epoch, compiling) = self.training.probe(&graph, self.backend.as_ref())?;
        let (latency, mut cost) = self.tuning.probe(&graph)?;
        cost.training += epoch;
        cost.compiling += compiling;
        Ok((Probe { epoch, latency }, cost))
    }

    fn train(&mut self, job: &TrainJob<'_>, report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>) -> Result<(), EvaluateError> {
        let graph = graph(&self.space, job.candidate)?;
        self.training.train(&graph, self.backend.as_ref(), job, report)
    }

    fn tune(&mut self, job: &TuneJob<'_>, report: &mut dyn FnMut(Timed) -> ControlFlow<()>) -> Result<(), EvaluateError> {
        let space = &self.space;
        self.tuning.tune(job, &|candidate| graph(space, candidate), report)
    }

    fn measure(&mut self, candidates: &[(&Candidate, Option<usize>)]) -> Result<Timed, EvaluateError> {
        let space = &self.space;
        self.tuning.measure(candidates, &|candidate| graph(space, candidate))
    }

    fn forget(&mut self, candidate: CandidateId) {
        // What stays behind takes room and does no other harm.
        let _ = forget(&self.training.checkpoints, candidate);
    }
}
