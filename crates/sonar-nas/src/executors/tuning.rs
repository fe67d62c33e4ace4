//! Candidates compiled, tuned and timed.
//!
//! All candidates share one [`Tuner`], and so the trials of every kernel that they have in common. A candidate's latency is
//! always that of the whole model with the best schedules known at the time, with random weights.
//!
//! While candidates are many, the graph of each is the one of the least estimated cost. For the last candidates,
//! [`tune_network`] decides the graph and the schedules inside the network, as it does for the command `tune`.

use crate::candidates::measured::{Cost, Latency};
use crate::candidates::{Candidate, CandidateId};
use crate::error::EvaluateError;
use crate::executors::{Timed, TuneJob};
use sonar_ir::Graph;
use sonar_ir::graph::init;
use sonar_ir::machine::Machine;
use sonar_measure::{Budget, Summary};
use sonar_tune::networks::NativeModels;
use sonar_tune::{
    CompileOptions, Context, Limits, Lowered, NetworkOptions, Pass, StopReason, Target, TuneError, Tuner, TunerTaskId, generate,
    lower, measure_models, plan, tune_network,
};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Timing of one model while candidates are still many.
const QUICK: Budget = Budget { samples: 30, seconds: 0.1 };
/// Timing of one model in the end.
const THOROUGH: Budget = Budget { samples: 200, seconds: 0.6 };
/// Seconds of tuning between two reports.
const REPORT_SECONDS: f64 = 0.5;
/// Number of models that are in memory at once, to be timed in turns.
pub const TOGETHER: usize = 32;

/// How all candidates are tuned and timed.
pub struct Tuning {
    /// The schedule search that all share.
    pub tuner: Tuner,
    /// Candidates that are lowered already.
    pub lowered: LoweredCandidates,
    /// For which processor.
    pub target: Target,
    /// What estimates of time assume of the machine.
    pub machine: &'static Machine,
    /// On how many threads an inference runs.
    pub threads: usize,
    /// Time to decide the graph and the schedules of one of the last candidates, once its kernels are tuned.
    pub settling: Duration,
    /// Seed of weights and inputs.
    pub seed: u64,
}

/// Number of networks whose lowered form is kept: more than a search works on at once.
pub const KEPT: usize = 256;

/// The lowered forms of candidates, kept because rewriting takes time. When there is no more room, the least recently used is removed.
pub struct LoweredCandidates {
    room: usize,
    /// Each with the time of its last use, counted in uses.
    kept: HashMap<CandidateId, (u64, Rc<Lowered>)>,
    uses: u64,
}

impl LoweredCandidates {
    /// No candidates, and room for so many.
    pub fn new(room: usize) -> Self {
        LoweredCandidates { room, kept: HashMap::new(), uses: 0 }
    }

    /// Removes a candidate that is not needed any more.
    pub fn remove(&mut self, id: CandidateId) {
        self.kept.remove(&id);
    }

    fn get(&mut self, id: CandidateId) -> Option<Rc<Lowered>> {
        self.uses += 1;
        let (used, lowered) = self.kept.get_mut(&id)?;
        *used = self.uses;
        Some(Rc::clone(lowered))
    }

    fn insert(&mut self, id: CandidateId, lowered: Lowered) -> Rc<Lowered> {
        let lowered = Rc::new(lowered);
        if self.kept.len() >= self.room
            && !self.kept.contains_key(&id)
            && let Some(oldest) = self.kept.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id)
        {
            self.kept.remove(&oldest);
        }
        if self.room > 0 {
            self.kept.insert(id, (self.uses, Rc::clone(&lowered)));
        }
        lowered
    }
}

/// Makes the graph of a candidate.
pub type Graphs<'a> = dyn Fn(&Candidate) -> Result<Graph, EvaluateError> + 'a;

/// A candidate as kernels.
struct Kernels<'a> {
    candidate: &'a Candidate,
    /// Each kernel with how often the model runs it.
    weights: Vec<(TunerTaskId, f64)>,
}

impl Tuning {
    /// Times the candidates that were never timed. Then tunes all of them, until every kernel has as many trials as the job says or
    /// its time is over, and times them again. Candidates that already have these trials are left out.
    pub fn tune(
        &mut self,
        job: &TuneJob<'_>,
        graphs: &Graphs<'_>,
        report: &mut dyn FnMut(Timed) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let TuneJob { to, seconds, .. } = *job;
        let begun = Instant::now();
        let mut prepared = Vec::new();
        let mut unreported = Cost::default();
        // After an interruption, some candidates may have been timed again already.
        let open = job.candidates.iter().filter(|(_, trials)| to == 0 || trials.is_none_or(|trials| trials < to));
        for &(candidate, trials) in open {
            let mut timed = Timed { cost: std::mem::take(&mut unreported), ..Timed::default() };
            match self.prepare(candidate, graphs, trials.is_none().then_some(to), &mut timed) {
                Ok(kernels) if timed.failures.is_empty() => prepared.push(kernels),
                Ok(_) => {}
                Err(error) => timed.failures.push((candidate.id, blame(error)?)),
            }
            if timed.latencies.is_empty() && timed.failures.is_empty() {
                unreported = timed.cost;
            } else if report(timed).is_break() {
                return Ok(());
            }
        }
        if to == 0 || prepared.is_empty() {
            return Ok(());
        }

        // Compiling and timing the models once more must fit too.
        let elapsed = begun.elapsed().as_secs_f64();
        let after = elapsed + prepared.len() as f64 * QUICK.seconds;
        let left = seconds.map(|seconds| Duration::from_secs_f64((seconds - elapsed - after).max(0.0)));
        let limits = Limits { trials_each: Some(to), time: left, ..Limits::default() };
        let reason = self.search(&prepared, limits, unreported, report)?;
        if reason == StopReason::Interrupted {
            return Ok(());
        }
        for kernels in &prepared {
            let trials = if reason == StopReason::Finished { to } else { self.trials(kernels, to) };
            let id = kernels.candidate.id;
            let mut timed = Timed::default();
            let lowered = self.lower(kernels.candidate, graphs, &mut timed.cost);
            match lowered.and_then(|lowered| self.time(&lowered, trials, QUICK, &mut timed.cost)) {
                Ok(latency) => timed.add(id, latency),
                Err(error) => timed.failures.push((id, blame(error)?)),
            }
            if report(timed).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Decides the graph and the schedules of each candidate inside its network, and times the models in turns, up to [`TOGETHER`] of
    /// them at a time. New schedules are tried only for kernels that no candidate had before.
    pub fn measure(&mut self, candidates: &[(&Candidate, Option<usize>)], graphs: &Graphs<'_>) -> Result<Timed, EvaluateError> {
        let mut timed = Timed::default();
        for group in candidates.chunks(TOGETHER) {
            self.measure_group(group, graphs, &mut timed)?;
        }
        Ok(timed)
    }

    fn measure_group(
        &mut self,
        group: &[(&Candidate, Option<usize>)],
        graphs: &Graphs<'_>,
        timed: &mut Timed,
    ) -> Result<(), EvaluateError> {
        let mut models: Vec<Context> = Vec::new();
        let mut ready: Vec<(CandidateId, Option<usize>)> = Vec::new();
        for &(candidate, trials) in group {
            let lowered = self.settle(candidate, graphs, &mut timed.cost);
            match lowered.and_then(|lowered| self.load(&lowered, &mut timed.cost)) {
                Ok(model) => {
                    models.push(model);
                    ready.push((candidate.id, trials));
                }
                Err(error) => timed.failures.push((candidate.id, blame(error)?)),
            }
        }
        let begun = Instant::now();
        let samples = measure_models(&mut models, THOROUGH, self.seed).map_err(fatal)?;
        timed.cost.tuning += begun.elapsed().as_secs_f64();
        for ((id, trials), samples) in ready.into_iter().zip(samples) {
            timed.add(id, latency(&samples, trials.unwrap_or(0)));
        }
        Ok(())
    }

    /// Seconds that it takes to get the thoroughly measured latency of a graph.
    pub fn probe(&mut self, candidate: &Candidate, graph: &Graph) -> Result<(f64, Cost), EvaluateError> {
        let begun = Instant::now();
        let mut cost = Cost::default();
        let lowered = self.settle(candidate, &|_| Ok(graph.clone()), &mut cost);
        let timed = lowered.and_then(|lowered| self.time(&lowered, 0, THOROUGH, &mut cost));
        match timed {
            Ok(_) => Ok((begun.elapsed().as_secs_f64(), cost)),
            Err(error) => Err(EvaluateError::Candidate(blame(error)?)),
        }
    }

    /// Lowers a candidate, adds its kernels to the tuner, and times it if `first`, the trials that it may have, is given.
    fn prepare<'a>(
        &mut self,
        candidate: &'a Candidate,
        graphs: &Graphs<'_>,
        first: Option<usize>,
        timed: &mut Timed,
    ) -> Result<Kernels<'a>, Failure> {
        let lowered = self.lower(candidate, graphs, &mut timed.cost)?;
        let mut weights = Vec::with_capacity(lowered.tasks.tasks.len());
        for (id, task) in lowered.tasks.tasks.entries() {
            let runs = lowered.tasks.kernels.iter().filter(|kernel| kernel.task == id).count();
            weights.push((self.tuner.add(task)?, runs as f64));
        }
        let kernels = Kernels { candidate, weights };
        if let Some(to) = first {
            let trials = self.trials(&kernels, to);
            let latency = self.time(&lowered, trials, QUICK, &mut timed.cost)?;
            timed.add(candidate.id, latency);
        }
        Ok(kernels)
    }

    /// Tunes the kernels of all candidates, each weighted by the runs it has over all of them.
    fn search(
        &mut self,
        candidates: &[Kernels<'_>],
        limits: Limits,
        mut unreported: Cost,
        report: &mut dyn FnMut(Timed) -> ControlFlow<()>,
    ) -> Result<StopReason, EvaluateError> {
        let mut weights: Vec<(TunerTaskId, f64)> = candidates.iter().flat_map(|k| k.weights.iter().copied()).collect();
        weights.sort_by_key(|(id, _)| *id);
        weights.dedup_by(|(id, runs), (kept, sum)| {
            let same = id == kept;
            if same {
                *sum += *runs;
            }
            same
        });
        let mut mark = Instant::now();
        let mut take = |unreported: &mut Cost| {
            unreported.tuning += mark.elapsed().as_secs_f64();
            mark = Instant::now();
            Timed { cost: std::mem::take(unreported), ..Timed::default() }
        };
        let mut since = Instant::now();
        let reason = self.tuner.tune(&weights, limits, &mut |_| {
            if since.elapsed().as_secs_f64() < REPORT_SECONDS {
                return ControlFlow::Continue(());
            }
            since = Instant::now();
            report(take(&mut unreported))
        });
        let reason = reason.map_err(fatal)?;
        if reason == StopReason::Interrupted || report(take(&mut unreported)).is_break() {
            return Ok(StopReason::Interrupted);
        }
        Ok(reason)
    }

    /// Trials that the mean kernel of a candidate has, of `to` that it may have.
    fn trials(&self, candidate: &Kernels<'_>, to: usize) -> usize {
        let sum: usize = candidate.weights.iter().map(|&(id, _)| self.tuner.trials(id).min(to)).sum();
        sum / candidate.weights.len().max(1)
    }

    fn time(&self, lowered: &Lowered, trials: usize, budget: Budget, cost: &mut Cost) -> Result<Option<Latency>, Failure> {
        let model = self.load(lowered, cost)?;
        let begun = Instant::now();
        let samples = measure_models(&mut [model], budget, self.seed)?;
        cost.tuning += begun.elapsed().as_secs_f64();
        Ok(latency(samples.first().map_or(&[], Vec::as_slice), trials))
    }

    /// A candidate as kernels without schedules. It is rewritten and lowered the first time only.
    fn lower(&mut self, candidate: &Candidate, graphs: &Graphs<'_>, cost: &mut Cost) -> Result<Rc<Lowered>, Failure> {
        if let Some(lowered) = self.lowered.get(candidate.id) {
            return Ok(lowered);
        }
        let graph = graphs(candidate)?;
        let lowered = self.with_options(|options| lower(&graph, options))?;
        charge(&lowered.passes, cost);
        Ok(self.lowered.insert(candidate.id, lowered))
    }

    /// The fastest graph of a candidate as kernels. The tuner knows their best schedules afterwards.
    fn settle(&mut self, candidate: &Candidate, graphs: &Graphs<'_>, cost: &mut Cost) -> Result<Rc<Lowered>, Failure> {
        let begun = Instant::now();
        let graph = graphs(candidate)?;
        let mut models = NativeModels::new(init::params(&graph, self.seed), self.seed);
        let compile = CompileOptions { machine: self.machine, threads: self.threads, ..CompileOptions::new(&self.target) };
        let options = NetworkOptions { compile, time: self.settling, trials: 0, patience: None };
        let tuned = tune_network(&graph, &mut self.tuner, &mut models, &options, &mut |_| ControlFlow::Continue(()))?;
        cost.tuning += begun.elapsed().as_secs_f64();
        Ok(self.lowered.insert(candidate.id, tuned.lowered))
    }

    /// A model that runs, with the best schedules known.
    fn load(&self, lowered: &Lowered, cost: &mut Cost) -> Result<Context, Failure> {
        let before = lowered.passes.len();
        let compiled = self.with_options(|options| generate(plan(lowered.clone(), options)?, options))?;
        charge(&compiled.passes[before..], cost);
        let begun = Instant::now();
        let weights = init::params(&compiled.lowered.graph, self.seed);
        let context = compiled.load(&weights)?.context().map_err(TuneError::from)?;
        cost.compiling += begun.elapsed().as_secs_f64();
        Ok(context)
    }

    fn with_options<T>(&self, compile: impl FnOnce(&CompileOptions<'_>) -> T) -> T {
        let schedules = &|task: &_| Ok(self.tuner.schedule(task));
        compile(&CompileOptions { machine: self.machine, threads: self.threads, schedules, ..CompileOptions::new(&self.target) })
    }
}

impl Timed {
    fn add(&mut self, id: CandidateId, latency: Option<Latency>) {
        match latency {
            Some(latency) => self.latencies.push((id, latency)),
            None => self.failures.push((id, "the compiled model cannot be run".to_string())),
        }
    }
}

fn charge(passes: &[Pass], cost: &mut Cost) {
    for pass in passes {
        if pass.name == "rewrite" {
            cost.rewriting += pass.seconds;
        } else {
            cost.compiling += pass.seconds;
        }
    }
}

/// The latency of samples; `None` if the model did not run.
fn latency(samples: &[f64], trials: usize) -> Option<Latency> {
    let summary = Summary::of(samples).filter(|summary| summary.max.is_finite())?;
    let (low_ns, high_ns) = summary.interval;
    Some(Latency { median_ns: summary.median, low_ns, high_ns, trials })
}

/// Why a candidate has no latency.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Tune(#[from] TuneError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// The reason to give for a candidate, unless measuring itself failed.
fn blame(error: Failure) -> Result<String, EvaluateError> {
    match error {
        Failure::Tune(error @ TuneError::Measure(_)) => Err(fatal(error)),
        Failure::Evaluate(error @ EvaluateError::Fatal(_)) => Err(error),
        _ => Ok(error.to_string()),
    }
}

fn fatal(error: TuneError) -> EvaluateError {
    EvaluateError::Fatal(error.to_string())
}
