//! Runs the schedule search: asks what to try next, measures it, and records the outcome.
//!
//! A [`Tuner`] holds the history of all its tasks. A task may occur in several graphs: trials for one model help all models
//! that share a kernel with it. [`Tuner::tune`] spends trials where it expects the largest gain. Before a schedule becomes the
//! best of a task, the finalists are compared in turns. So the best schedule is never worse than the analytic default, except
//! for the noise of one comparison.
//!
//! Every measurement is recorded, and nothing that is recorded is measured again. A search that was interrupted continues where
//! it stopped. With the same times it ends like a search without interruption.
//!
//! While one candidate is measured, another thread prepares the next one. The choice of the next one does not depend on the
//! running measurement, only on the results before it. So a search on one thread makes the same trials in the same order.

use super::budget::{self, Competitor};
use super::failures::Failures;
use super::history::{Event, History, Step};
use super::limits::{Limits, StopReason, TaskStop};
use super::options::TunerOptions;
use super::propose::{Proposal, Proposer};
use crate::error::TuneError;
use crate::recorded;
use sonar_ir::entity::{EntityVec, entity};
use sonar_ir::loops::Program;
use sonar_ir::schedule::Schedule;
use sonar_measure::race::{Difference, SAMPLE_NANOSECONDS, difference};
use sonar_measure::records::{Contender, Record, Setting, Verdict, unix_time};
use sonar_measure::{Clock, Job, Key, Measurer, Outcome, Records, Trial, stats};
use sonar_schedule::Task;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// A search gives up after this many trials without a success.
const HOPELESS: usize = 32;
/// Approximate seconds of preparing a finalist, besides running it.
const PREPARATION: f64 = 0.005;

entity! {
    /// A task of a [`Tuner`].
    TunerTaskId, "#"
}

/// The last event: one trial, or the confirmation of a task's best schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The task.
    pub task: TunerTaskId,
    /// Trials of the task so far.
    pub trials: usize,
    /// Time of its best schedule in nanoseconds, if there is one.
    pub best: Option<f64>,
    /// Seconds of measuring spent on the task by this tuner.
    pub seconds: f64,
}

/// A schedule search over many tasks.
pub struct Tuner {
    options: TunerOptions,
    measurer: Box<dyn Measurer>,
    records: Records,
    clock: Box<dyn Clock>,
    states: EntityVec<TunerTaskId, State>,
    by_key: HashMap<String, TunerTaskId>,
}

/// A task with its history and derived data.
struct State {
    task: Task,
    key: Key,
    history: History,
    proposer: Proposer,
    /// Whether the proposer has no more schedules.
    exhausted: bool,
    default: OnceCell<Schedule>,
    guess: OnceCell<f64>,
}

impl Tuner {
    /// A tuner without tasks.
    pub fn new(options: TunerOptions, measurer: Box<dyn Measurer>, records: Records, clock: Box<dyn Clock>) -> Self {
        Tuner { options, measurer, records, clock, states: EntityVec::new(), by_key: HashMap::new() }
    }

    /// Adds a task with its recorded history. A known task keeps its id.
    pub fn add(&mut self, task: &Task) -> Result<TunerTaskId, TuneError> {
        if let Some(&id) = self.by_key.get(&task.key) {
            return Ok(id);
        }
        let key = recorded::key(task, &self.options.target, self.options.threads, self.options.cache);
        let history = recorded::history(&self.records, &key, self.options.max_rounding)?;
        let space = sonar_schedule::space(task, &self.options.goal());
        let proposer = Proposer::new(space, self.options.seed);
        let id = self.states.push(State {
            task: task.clone(),
            key,
            history,
            proposer,
            exhausted: false,
            default: OnceCell::new(),
            guess: OnceCell::new(),
        });
        self.by_key.insert(task.key.clone(), id);
        Ok(id)
    }

    /// Searches until a limit is reached. `weights` lists the tasks, each with how often a model runs it, or how much a saved
    /// nanosecond is worth. `report` is called after every trial and every comparison.
    pub fn tune(
        &mut self,
        weights: &[(TunerTaskId, f64)],
        limits: Limits,
        report: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<StopReason, TuneError> {
        let start = self.clock.now();
        let (mut trials, mut failures) = (0, 0);
        let mut prepared = None;
        let reason = loop {
            let Some((id, proposal)) = prepared.take().or_else(|| self.first(weights, &limits)) else {
                break StopReason::Finished;
            };
            if limits.trials.is_some_and(|limit| trials >= limit) {
                break StopReason::Trials;
            }
            let over = |limit| self.clock.now().saturating_sub(start) + self.comparing(weights, limit) >= limit;
            if limits.time.is_some_and(over) {
                break StopReason::Time;
            }
            if trials == failures && failures >= HOPELESS {
                break StopReason::Failing;
            }
            let next = self.next_task(weights, &limits, Some(id));
            let succeeded;
            (succeeded, prepared) = self.measure(id, proposal, next)?;
            trials += 1;
            failures += usize::from(!succeeded);
            if report(&self.progress(id)).is_break() {
                return Ok(StopReason::Interrupted);
            }
        };
        for &(id, _) in weights {
            if self.state(id).history.is_unjudged() {
                self.compare(id)?;
                if report(&self.progress(id)).is_break() {
                    return Ok(StopReason::Interrupted);
                }
            }
        }
        Ok(reason)
    }

    /// Why no more schedules of a task would be tried with these limits, if that is the case.
    pub fn task_stop(&self, id: TunerTaskId, limits: &Limits) -> Option<TaskStop> {
        let State { history, exhausted, .. } = self.state(id);
        budget::stop(history, *exhausted, limits, 0)
    }

    /// The best known schedule of a task with its time in nanoseconds.
    pub fn best(&self, id: TunerTaskId) -> Option<(Schedule, f64)> {
        self.state(id).history.best().map(|best| (best.schedule.clone(), best.nanoseconds))
    }

    /// The best known schedule of a task: for [`CompileOptions::schedules`](crate::CompileOptions::schedules).
    pub fn schedule(&self, task: &Task) -> Option<Schedule> {
        self.best(*self.by_key.get(&task.key)?).map(|(schedule, _)| schedule)
    }

    /// The best known time of a task, in nanoseconds.
    pub fn time(&self, task: &Task) -> Option<f64> {
        self.state(*self.by_key.get(&task.key)?).history.best().map(|best| best.nanoseconds)
    }

    /// `default` and the schedules that were fastest alone, best first. At most `most` in total. `default` is the analytic default
    /// of the task in its network, which may differ from the default of the task alone.
    pub fn contenders(&self, id: TunerTaskId, default: Schedule, most: usize) -> Vec<Schedule> {
        let state = self.state(id);
        let best = state.history.best().map(|best| best.schedule.clone());
        let mut contenders = vec![default];
        for schedule in best.into_iter().chain(state.history.finalists(state.default_schedule())) {
            if contenders.len() < most && !contenders.contains(&schedule) {
                contenders.push(schedule);
            }
        }
        contenders
    }

    /// Adds the verdict of a comparison inside a network, best schedule first. The first schedule becomes the best of its task,
    /// whatever its time alone. The samples are those of one call.
    pub fn settle(&mut self, id: TunerTaskId, contenders: Vec<Contender>, seconds: f64) -> Result<(), TuneError> {
        self.judge(id, Setting::Network, contenders, seconds)
    }

    /// The weighted sum of the best times of tasks, in nanoseconds: an estimate of a model's latency. `None` if a task has no
    /// time yet.
    pub fn latency(&self, weights: &[(TunerTaskId, f64)]) -> Option<f64> {
        weights.iter().map(|&(id, weight)| Some(weight * self.state(id).history.best()?.nanoseconds)).sum()
    }

    /// Number of schedules of a task that were tried.
    pub fn trials(&self, id: TunerTaskId) -> usize {
        self.state(id).history.trials()
    }

    /// Why trials of a task failed.
    pub fn failures(&self, id: TunerTaskId) -> Failures {
        self.state(id).history.failures()
    }

    /// The state of a task after each of its events, including recorded ones.
    pub fn curve(&self, id: TunerTaskId) -> &[Step] {
        self.state(id).history.curve()
    }

    /// A task by its id.
    pub fn task(&self, id: TunerTaskId) -> &Task {
        &self.state(id).task
    }

    /// The clock of the limits.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The time of this clock.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Total time of measuring all tasks, including recorded measurements.
    pub fn measuring(&self) -> Duration {
        self.states.iter().map(|state| Duration::from_secs_f64(state.history.now().seconds)).sum()
    }

    /// The records.
    pub fn records(&self) -> &Records {
        &self.records
    }

    fn state(&self, id: TunerTaskId) -> &State {
        &self.states[id]
    }

    /// The task with the largest expected gain of a trial, if one has a trial left, while a schedule of another task is in
    /// flight.
    fn next_task(&self, weights: &[(TunerTaskId, f64)], limits: &Limits, in_flight: Option<TunerTaskId>) -> Option<TunerTaskId> {
        let guesses: Vec<_> = weights.iter().map(|&(id, _)| move || self.state(id).guess()).collect();
        let competitors = weights.iter().zip(&guesses).map(|(&(id, weight), guess)| Competitor {
            id,
            weight,
            history: &self.state(id).history,
            exhausted: self.state(id).exhausted,
            in_flight: usize::from(in_flight == Some(id)),
            guess,
        });
        budget::next_task(competitors, limits)
    }

    /// A proposal for the most promising task that has one.
    fn first(&mut self, weights: &[(TunerTaskId, f64)], limits: &Limits) -> Option<(TunerTaskId, Proposal)> {
        loop {
            let id = self.next_task(weights, limits, None)?;
            if let Some(proposal) = self.states[id].propose(None) {
                return Some((id, proposal));
            }
        }
    }

    /// Approximate time of comparing the finalists, at most half of the limit, so that there is time to find finalists.
    fn comparing(&self, weights: &[(TunerTaskId, f64)], limit: Duration) -> Duration {
        let budget = self.options.budget;
        let histories = weights.iter().map(|&(id, _)| &self.state(id).history);
        let seconds = histories.filter(|history| history.is_unjudged() && history.trials() > 1).map(|history| {
            let sample = history.fastest().unwrap_or(0.0).max(SAMPLE_NANOSECONDS) / 1e9;
            let each = PREPARATION + (budget.samples as f64 * sample).min(budget.seconds);
            history.count_of_finalists() as f64 * each
        });
        Duration::from_secs_f64(seconds.sum()).min(limit / 2)
    }

    fn progress(&self, id: TunerTaskId) -> Progress {
        let Step { trials, best, seconds } = self.state(id).history.now();
        Progress { task: id, trials, best, seconds }
    }

    /// Measures a schedule, and prepares the next one of a task at the same time or afterwards. Returns whether it could be
    /// timed.
    fn measure(
        &mut self,
        id: TunerTaskId,
        Proposal { schedule, program }: Proposal,
        next: Option<TunerTaskId>,
    ) -> Result<(bool, Option<(TunerTaskId, Proposal)>), TuneError> {
        let state = self.state(id);
        let job = state.job(&self.options, schedule.clone(), program, state.history.fastest());
        let Tuner { measurer, clock, states, options, .. } = self;
        let start = clock.now();
        let mut time = || (measurer.measure(&job), clock.now().saturating_sub(start).as_secs_f64());
        let mut prepare = || {
            let next = next?;
            Some((next, states[next].propose((next == id).then_some(&schedule))?))
        };
        let ((outcome, seconds), prepared) = if options.overlap {
            std::thread::scope(|scope| {
                let preparing = scope.spawn(prepare);
                let timed = time();
                (timed, preparing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        } else {
            (time(), prepare())
        };
        let outcome = outcome?;
        let succeeded = outcome.samples().is_some();
        self.tried(id, schedule, outcome, seconds)?;
        Ok((succeeded, prepared))
    }

    /// Compares the finalists of a task in turns. The fastest becomes the best if it is clearly faster than the best so far.
    fn compare(&mut self, id: TunerTaskId) -> Result<(), TuneError> {
        let state = self.state(id);
        let finalists = state.history.finalists(state.default_schedule());
        if finalists.len() < 2 {
            return Ok(());
        }
        let lanes = self.options.target.lanes();
        let job = |schedule: Schedule| {
            let program = sonar_schedule::apply(&state.task.program, &schedule, lanes)?;
            Ok(state.job(&self.options, schedule, program, None))
        };
        let jobs = finalists.into_iter().map(job).collect::<Result<Vec<Job>, TuneError>>()?;

        let start = self.clock.now();
        let outcomes = self.measurer.compare(&jobs)?;
        let seconds = self.clock.now().saturating_sub(start).as_secs_f64();
        let so_far = self.state(id).history.best().map(|best| best.schedule.clone());
        let mut contenders = Vec::with_capacity(jobs.len());
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Ok(samples) if !samples.is_empty() => contenders.push(Contender { schedule: job.schedule, samples }),
                outcome => self.tried(id, job.schedule, outcome, 0.0)?,
            }
        }
        contenders.sort_by(|a, b| stats::median(&a.samples).total_cmp(&stats::median(&b.samples)));
        let incumbent = contenders.iter().position(|contender| Some(&contender.schedule) == so_far.as_ref());
        if let Some(incumbent) = incumbent
            && difference(&contenders[0].samples, &contenders[incumbent].samples) != Difference::Faster
        {
            let incumbent = contenders.remove(incumbent);
            contenders.insert(0, incumbent);
        }
        if contenders.is_empty() { Ok(()) } else { self.judge(id, Setting::Alone, contenders, seconds) }
    }

    /// Records a trial and adds it to the history.
    fn tried(&mut self, id: TunerTaskId, schedule: Schedule, outcome: Outcome, seconds: f64) -> Result<(), TuneError> {
        let state = &mut self.states[id];
        let trial = Trial { key: state.key.clone(), schedule, outcome, seconds, at: unix_time() };
        self.records.insert(&trial)?;
        let Trial { schedule, outcome, .. } = trial;
        state.history.apply(Event::Tried { schedule, outcome, seconds });
        Ok(())
    }

    /// Records a verdict and adds it to the history.
    fn judge(&mut self, id: TunerTaskId, setting: Setting, contenders: Vec<Contender>, seconds: f64) -> Result<(), TuneError> {
        let state = &mut self.states[id];
        let verdict = Verdict { key: state.key.clone(), setting, contenders: contenders.clone(), seconds, at: unix_time() };
        self.records.add(&Record::Verdict(verdict))?;
        state.history.apply(Event::Judged { setting, contenders, seconds });
        Ok(())
    }
}

impl State {
    /// The next proposal, if there is one.
    fn propose(&mut self, in_flight: Option<&Schedule>) -> Option<Proposal> {
        let proposal = self.proposer.next(&self.history, in_flight);
        self.exhausted = proposal.is_none();
        proposal
    }

    /// The measurement job for a schedule and its program.
    fn job(&self, options: &TunerOptions, schedule: Schedule, program: Program, incumbent: Option<f64>) -> Job {
        Job {
            task: self.key.task.clone(),
            schedule,
            reference: self.task.program.clone(),
            candidate: program,
            target: options.target.to_string(),
            threads: options.threads,
            seed: options.seed,
            check_tolerance: options.check_tolerance,
            incumbent,
            budget: options.budget,
            cache: options.cache,
            fault: None,
        }
    }

    fn default_schedule(&self) -> &Schedule {
        self.default.get_or_init(|| {
            let space = self.proposer.space();
            space.schedule(&sonar_schedule::default_point(space))
        })
    }

    /// Estimated nanoseconds of one call by the analytic model, if nothing could be timed.
    fn guess(&self) -> f64 {
        *self.guess.get_or_init(|| {
            let space = self.proposer.space();
            let (_, program) = space.scheduled(&sonar_schedule::default_point(space));
            1e9 * sonar_schedule::estimate_program(&program, space.options())
        })
    }
}
