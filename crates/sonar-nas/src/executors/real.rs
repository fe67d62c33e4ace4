//! The evaluator that really trains and tunes networks.

use crate::candidates::describe::{describe, instantiate, sketch};
use crate::candidates::draw::{Architectures, Sketch};
use crate::candidates::measured::{Cost, Epoch, Probe};
use crate::candidates::{Candidate, CandidateId, Description};
use crate::error::EvaluateError;
use crate::executors::training::{Training, forget};
use crate::executors::tuning::Tuning;
use crate::executors::{Evaluator, Timed, TrainJob, TuneJob, Watch};
use sonar_ir::space::{Assignment, Space};
use sonar_train::Backend;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Graphs come from a space, accuracies from training on a data set, latencies from this machine. Between two calls, only the
/// lowered forms of a limited number of candidates stay in memory.
pub struct RealEvaluator {
    /// Where architectures come from.
    pub space: Space,
    /// How they are trained.
    pub training: Training,
    /// What runs training steps.
    pub backend: Box<dyn Backend>,
    /// How they are tuned.
    pub tuning: Tuning,
    /// On how many threads architectures are described.
    pub threads: usize,
}

impl Architectures for RealEvaluator {
    fn choices(&self) -> Vec<usize> {
        self.space.decisions().iter().map(|decision| decision.choices.len()).collect()
    }

    fn baseline(&self) -> Option<Assignment> {
        self.space.baseline().cloned()
    }

    fn sketch(&self, assignments: &[Assignment]) -> Vec<Result<Sketch, EvaluateError>> {
        let space = &self.space;
        in_parallel(assignments, self.threads, |assignment| sketch(space, assignment))
    }

    fn describe(&self, sketches: &[Sketch]) -> Vec<Result<Description, EvaluateError>> {
        let space = &self.space;
        in_parallel(sketches, self.threads, |sketch| describe(space, sketch))
    }
}

impl Evaluator for RealEvaluator {
    fn probe(&mut self, candidate: &Candidate) -> Result<(Probe, Cost), EvaluateError> {
        let graph = instantiate(&self.space, &candidate.assignment)?;
        let (epoch, training, compiling) = self.training.probe(&graph, self.backend.as_ref())?;
        let (latency, mut cost) = self.tuning.probe(candidate, &graph)?;
        cost.training += training;
        cost.compiling += compiling;
        Ok((Probe { epoch, latency }, cost))
    }

    fn train(
        &mut self,
        job: &TrainJob<'_>,
        watch: &Watch<'_>,
        report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let graph = instantiate(&self.space, &job.candidate.assignment)?;
        self.training.train(&graph, self.backend.as_ref(), job, watch, report)
    }

    fn tune(&mut self, job: &TuneJob<'_>, report: &mut dyn FnMut(Timed) -> ControlFlow<()>) -> Result<(), EvaluateError> {
        let space = &self.space;
        self.tuning.tune(job, &|candidate| instantiate(space, &candidate.assignment), report)
    }

    fn measure(&mut self, candidates: &[(&Candidate, Option<usize>)]) -> Result<Timed, EvaluateError> {
        let space = &self.space;
        self.tuning.measure(candidates, &|candidate| instantiate(space, &candidate.assignment))
    }

    fn forget(&mut self, candidate: CandidateId, horizon: usize) {
        self.tuning.lowered.remove(candidate);
        // A checkpoint that cannot be deleted wastes disk space but does no other harm.
        let _ = forget(&self.training.checkpoints, candidate, horizon);
    }
}

/// Applies a function to all items on several threads. Results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], threads: usize, function: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = threads.min(items.len()).max(1);
    if threads == 1 {
        return items.iter().map(function).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, item)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?))) {
            done.push((index, function(item)));
        }
        done
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let finished = workers.into_iter().map(|worker| worker.join());
        finished.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
