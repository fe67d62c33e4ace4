//! The schedule search.
//!
//! A [`Tuner`] holds the state of every task it was ever given, whichever graphs the task occurs in: trials of one model help all
//! others that share a kernel with it. [`Tuner::tune`] spends trials where they promise most, and times the finalists of each task
//! in turns before one of them becomes the best: so the best schedule of a task is never worse than the analytic default, but for
//! the noise of one comparison.
//!
//! Everything that was measured is recorded, and what is recorded is not measured again: a search that was interrupted goes on where
//! it was, and ends like one that was not interrupted if times are the same.

use crate::descent::{Descent, Point, TIE};
use crate::error::TuneError;
use crate::recorded;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_measure::{Budget, Cause, Clock, Job, Key, Measurer, Outcome, Records, Trial, records};
use sonar_schedule::{ScheduleSpace, Task};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// Points that the analytic model ranks for the first trials.
const SEED_SAMPLE: usize = 32;
/// First trials beside the analytic default.
const SEEDS: usize = 3;
/// Trials of one task before the choice of the task is made anew.
const BATCH: usize = 4;
/// Schedules of a task that are timed in turns in the end.
const FINALISTS: usize = 4;
/// The share that the recent gain of a task has in its expected gain; the rest is that of the optimistic gain.
const RECENT_SHARE: f64 = 0.2;
/// Trials over which a gain is recent.
const RECENT: usize = 16;

/// How to tune.
#[derive(Clone, Debug)]
pub struct TunerOptions {
    /// For which machine.
    pub target: Target,
    /// On how many threads a kernel runs.
    pub threads: usize,
    /// Seed of the search and of the arguments of kernels.
    pub seed: u64,
    /// How long to time one candidate.
    pub budget: Budget,
    /// What rounding may cost: see [`sonar_schedule::Options::tolerance`].
    pub rounding: f64,
    /// Largest accepted error of a kernel's output over the largest output.
    pub tolerance: f64,
}

/// When to stop; whichever limit is reached first. Without any, a search ends when no task has an untried schedule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Trials in this call, over all tasks.
    pub trials: Option<usize>,
    /// Trials of each task, those of earlier calls and of the records included.
    pub trials_each: Option<usize>,
    /// Time in this call. Timing the finalists comes on top.
    pub time: Option<Duration>,
}

/// Index of a task of a [`Tuner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub usize);

/// What happened last: one trial, or the confirmation of the best of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Of which task.
    pub task: TaskId,
    /// Trials of the task so far.
    pub trials: usize,
    /// Time of its best schedule in nanoseconds, if there is one.
    pub best: Option<f64>,
    /// Seconds of measuring spent on the task by this tuner.
    pub seconds: f64,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All tasks have their trials, or no schedule is left to try.
    Finished,
    /// [`Limits::trials`] is reached.
    Trials,
    /// [`Limits::time`] is reached.
    Time,
    /// The callback said so.
    Interrupted,
}

/// A schedule search over many tasks.
pub struct Tuner {
    options: TunerOptions,
    measurer: Box<dyn Measurer>,
    records: Records,
    clock: Box<dyn Clock>,
    states: Vec<State>,
    by_key: HashMap<String, TaskId>,
}

/// What is known of a task.
struct State {
    task: Task,
    key: Key,
    space: ScheduleSpace,
    /// Made when the first trial is due.
    descent: Option<Descent>,
    /// Outcome of every schedule that was tried, by its text.
    tried: HashMap<String, Outcome>,
    best: Option<Best>,
    /// Whether there are trials that the choice of `best` did not see.
    unconfirmed: bool,
    exhausted: bool,
    seconds: f64,
    curve: Vec<Progress>,
}

#[derive(Clone, Debug)]
struct Best {
    schedule: String,
    nanoseconds: f64,
    /// Whether it won against others that were timed in turns with it: only such a comparison replaces it then.
    confirmed: bool,
}

impl TunerOptions {
    /// One thread, seed 0, and the default budget.
    pub fn new(target: Target) -> Self {
        TunerOptions { target, threads: 1, seed: 0, budget: Budget::default(), rounding: 1e-4, tolerance: 1e-4 }
    }

    /// For what schedules are made.
    fn goal(&self) -> sonar_schedule::Options {
        sonar_schedule::Options { lanes: self.target.lanes(), threads: self.threads, tolerance: self.rounding }
    }
}

impl Tuner {
    /// A tuner without tasks.
    pub fn new(options: TunerOptions, measurer: Box<dyn Measurer>, records: Records, clock: Box<dyn Clock>) -> Self {
        Tuner { options, measurer, records, clock, states: Vec::new(), by_key: HashMap::new() }
    }

    /// Takes up a task, with all that the records know of it. A task that is known already keeps its id.
    pub fn add(&mut self, task: &Task) -> Result<TaskId, TuneError> {
        if let Some(&id) = self.by_key.get(&task.key) {
            return Ok(id);
        }
        let key = recorded::key(task, &self.options.target, self.options.threads);
        let mut tried = HashMap::new();
        let allowed = |schedule: &str| {
            schedule.parse().is_ok_and(|schedule: Schedule| sonar_schedule::allows(&schedule, self.options.rounding))
        };
        for trial in self.records.trials(&key)?.into_iter().filter(|trial| !trial.confirmed && allowed(&trial.schedule)) {
            tried.entry(trial.schedule).or_insert(trial.outcome);
        }
        let best = self.records.best(&key)?;
        let best = best.filter(|trial| allowed(&trial.schedule)).and_then(|trial| {
            Some(Best { nanoseconds: trial.outcome.time()?, schedule: trial.schedule, confirmed: trial.confirmed })
        });
        let id = TaskId(self.states.len());
        self.states.push(State {
            task: task.clone(),
            key,
            space: sonar_schedule::space(task, &self.options.goal()),
            descent: None,
            tried,
            best,
            unconfirmed: false,
            exhausted: false,
            seconds: 0.0,
            curve: Vec::new(),
        });
        self.by_key.insert(task.key.clone(), id);
        Ok(id)
    }

    /// Searches until a limit is reached. `weights` are the tasks that count, each with how often a model runs it, or how much a
    /// nanosecond less is worth. `report` is called after every trial and every confirmation.
    pub fn tune(
        &mut self,
        weights: &[(TaskId, f64)],
        limits: Limits,
        report: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<StopReason, TuneError> {
        let start = self.clock.now();
        let mut trials = 0;
        let reason = 'search: loop {
            let open = |id: TaskId| {
                let state = &self.states[id.0];
                !state.exhausted && limits.trials_each.is_none_or(|limit| state.tried.len() < limit)
            };
            let promising = weights.iter().filter(|(id, _)| open(*id));
            let promising = promising.max_by(|a, b| self.promise(a).total_cmp(&self.promise(b)).then(b.0.cmp(&a.0)));
            let Some(&(id, _)) = promising else { break StopReason::Finished };
            for _ in 0..BATCH {
                if limits.trials.is_some_and(|limit| trials >= limit) {
                    break 'search StopReason::Trials;
                }
                if limits.time.is_some_and(|limit| self.clock.now().saturating_sub(start) >= limit) {
                    break 'search StopReason::Time;
                }
                let full = limits.trials_each.is_some_and(|limit| self.states[id.0].tried.len() >= limit);
                if full || !self.try_next(id)? {
                    break;
                }
                trials += 1;
                if report(&self.progress(id)).is_break() {
                    break 'search StopReason::Interrupted;
                }
            }
        };
        if reason != StopReason::Interrupted {
            for &(id, _) in weights {
                if self.states[id.0].unconfirmed {
                    self.confirm(id)?;
                    if report(&self.progress(id)).is_break() {
                        return Ok(StopReason::Interrupted);
                    }
                }
            }
        }
        Ok(reason)
    }

    /// The best schedule known of a task with its time in nanoseconds.
    pub fn best(&self, id: TaskId) -> Option<(Schedule, f64)> {
        let best = self.states[id.0].best.as_ref()?;
        Some((best.schedule.parse().ok()?, best.nanoseconds))
    }

    /// The best schedule known of a task: what [`CompileOptions::schedules`](crate::CompileOptions::schedules) asks for.
    pub fn schedule(&self, task: &Task) -> Option<Schedule> {
        self.best(*self.by_key.get(&task.key)?).map(|(schedule, _)| schedule)
    }

    /// The best time known of a task, in nanoseconds.
    pub fn time(&self, task: &Task) -> Option<f64> {
        self.states[self.by_key.get(&task.key)?.0].best.as_ref().map(|best| best.nanoseconds)
    }

    /// The weighted sum of the best times of tasks, in nanoseconds: an estimate of a model's latency. Nothing if a task has no time yet.
    pub fn latency(&self, weights: &[(TaskId, f64)]) -> Option<f64> {
        weights.iter().map(|&(id, weight)| Some(weight * self.states[id.0].best.as_ref()?.nanoseconds)).sum()
    }

    /// How many schedules of a task were tried.
    pub fn trials(&self, id: TaskId) -> usize {
        self.states[id.0].tried.len()
    }

    /// The progress of a task by this tuner, in order.
    pub fn curve(&self, id: TaskId) -> &[Progress] {
        &self.states[id.0].curve
    }

    /// A task by its id.
    pub fn task(&self, id: TaskId) -> &Task {
        &self.states[id.0].task
    }

    /// The records that everything goes to.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// How much a trial of a task promises to save: its weight times a mix of what recent trials saved, and of what would be saved
    /// if the time went on falling like one over the number of trials. A task that was never tried comes first.
    ///
    /// This is the task gradient of Ansor (Zheng et al., 2020) without its similarity term.
    fn promise(&self, &(id, weight): &(TaskId, f64)) -> f64 {
        let state = &self.states[id.0];
        let Some(best) = &state.best else {
            return if state.tried.is_empty() { f64::INFINITY } else { 0.0 };
        };
        let window = &state.curve[state.curve.len().saturating_sub(RECENT + 1)..];
        let earlier = window.iter().find_map(|progress| Some((progress.trials, progress.best?)));
        let recent = earlier.map_or(0.0, |(trials, time)| (time - best.nanoseconds) / (state.tried.len() - trials).max(1) as f64);
        let optimistic = best.nanoseconds / state.tried.len().max(1) as f64;
        weight * (RECENT_SHARE * recent + (1.0 - RECENT_SHARE) * optimistic)
    }

    fn progress(&self, id: TaskId) -> Progress {
        self.states[id.0].progress(id)
    }

    /// Measures the next schedule of a task that was not tried yet. Returns whether there was one.
    fn try_next(&mut self, id: TaskId) -> Result<bool, TuneError> {
        let options = &self.options;
        let state = &mut self.states[id.0];
        let lanes = options.target.lanes();
        let (task, space) = (&state.task, &state.space);
        let estimate =
            |point: &[usize]| sonar_schedule::estimate(task, &space.schedule(&point.to_vec()), lanes, options.threads).ok();
        let descent = state.descent.get_or_insert_with(|| new_descent(space, options, &estimate));
        let (point, schedule, text) = loop {
            let Some(point) = descent.ask(&estimate) else {
                state.exhausted = true;
                return Ok(false);
            };
            let schedule = space.schedule(&point);
            let text = schedule.to_string();
            match state.tried.get(&text) {
                Some(outcome) => descent.tell(&point, outcome.time()),
                None => break (point, schedule, text),
            }
        };

        let start = self.clock.now();
        let incumbent = descent.best().map(|(_, time)| time);
        let outcome = match job(&state.task, &state.key, options, &schedule, incumbent) {
            Ok(job) => self.measurer.measure(&job)?,
            Err(cause) => Outcome::Failed(cause),
        };
        let seconds = self.clock.now().saturating_sub(start).as_secs_f64();
        self.records.insert(&trial(&state.key, text.clone(), outcome.clone(), false, seconds))?;

        let time = outcome.time();
        descent.tell(&point, time);
        state.take_time(&text, time);
        state.tried.insert(text, outcome);
        state.advance(id, seconds);
        Ok(true)
    }

    /// Times the finalists of a task in turns, and makes the fastest of them the best; a tie keeps the one that is best so far.
    fn confirm(&mut self, id: TaskId) -> Result<(), TuneError> {
        let options = &self.options;
        let state = &mut self.states[id.0];
        state.unconfirmed = false;
        let finalists = state.finalists();
        if finalists.len() < 2 {
            return Ok(());
        }
        let parsed = finalists.iter().filter_map(|text| text.parse::<Schedule>().ok());
        let jobs: Vec<Job> = parsed.filter_map(|schedule| job(&state.task, &state.key, options, &schedule, None).ok()).collect();

        let start = self.clock.now();
        let outcomes = self.measurer.compare(&jobs)?;
        let seconds = self.clock.now().saturating_sub(start).as_secs_f64();
        let mut times = Vec::with_capacity(jobs.len());
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let time = outcome.time();
            self.records.insert(&trial(&state.key, job.schedule.clone(), outcome, true, seconds / finalists.len() as f64))?;
            times.extend(time.map(|nanoseconds| Best { schedule: job.schedule, nanoseconds, confirmed: true }));
        }
        let incumbent = times.iter().find(|time| state.best.as_ref().is_some_and(|best| best.schedule == time.schedule)).cloned();
        let fastest = times.into_iter().min_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        state.best = match (incumbent, fastest) {
            (Some(incumbent), Some(fastest)) if fastest.nanoseconds >= incumbent.nanoseconds * TIE => Some(incumbent),
            (_, Some(fastest)) => Some(fastest),
            (_, None) => state.best.take(),
        };
        state.advance(id, seconds);
        Ok(())
    }
}

impl State {
    fn progress(&self, id: TaskId) -> Progress {
        let best = self.best.as_ref().map(|best| best.nanoseconds);
        Progress { task: id, trials: self.tried.len(), best, seconds: self.seconds }
    }

    /// Accounts for time spent, and adds to the curve.
    fn advance(&mut self, id: TaskId, seconds: f64) {
        self.seconds += seconds;
        self.curve.push(self.progress(id));
    }

    /// Takes the time of a schedule that was timed alone. It becomes the best if there is none that was confirmed.
    fn take_time(&mut self, schedule: &str, time: Option<f64>) {
        let Some(nanoseconds) = time else { return };
        self.unconfirmed = true;
        if self.best.as_ref().is_none_or(|best| !best.confirmed && nanoseconds < best.nanoseconds * TIE) {
            self.best = Some(Best { schedule: schedule.to_owned(), nanoseconds, confirmed: false });
        }
    }

    /// The fastest of the schedules that were tried, the best so far, and the analytic default, if these could be timed.
    fn finalists(&self) -> Vec<String> {
        let timed = self.tried.iter().filter_map(|(schedule, outcome)| Some((outcome.time()?, schedule)));
        let mut timed: Vec<(f64, &String)> = timed.collect();
        timed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
        let mut finalists: Vec<String> = timed.iter().take(FINALISTS).map(|(_, schedule)| (*schedule).clone()).collect();

        let default = sonar_schedule::default_point(&self.space);
        let default = self.space.schedule(&default).to_string();
        let default = self.tried.get(&default).is_some_and(|outcome| outcome.samples().is_some()).then_some(default);
        for schedule in self.best.iter().map(|best| best.schedule.clone()).chain(default) {
            if !finalists.contains(&schedule) {
                finalists.push(schedule);
            }
        }
        finalists
    }
}

/// A search that begins with the analytic default and the most promising of a random sample.
fn new_descent(space: &ScheduleSpace, options: &TunerOptions, estimate: &dyn Fn(&[usize]) -> Option<f64>) -> Descent {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let sample = (0..SEED_SAMPLE).map(|_| space.point(rng.random_range(0..space.len().max(1))));
    let mut ranked: Vec<(f64, Point)> = sample.filter_map(|point| Some((estimate(&point)?, point))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.dedup();
    let default = sonar_schedule::default_point(space);
    let seeds = std::iter::once(default).chain(ranked.into_iter().take(SEEDS).map(|(_, point)| point));
    Descent::new(space.knobs().iter().map(|knob| knob.choices.len()).collect(), seeds, options.seed)
}

/// What to ask the measurer about a schedule; or why it cannot be asked.
fn job(task: &Task, key: &Key, options: &TunerOptions, schedule: &Schedule, incumbent: Option<f64>) -> Result<Job, Cause> {
    let candidate = sonar_schedule::apply(&task.program, schedule, options.target.lanes());
    Ok(Job {
        task: key.task.clone(),
        schedule: schedule.to_string(),
        reference: task.program.clone(),
        candidate: candidate.map_err(|error| Cause::Illegal(error.to_string()))?,
        target: options.target.to_string(),
        threads: options.threads,
        seed: options.seed,
        tolerance: options.tolerance,
        incumbent,
        budget: options.budget,
    })
}

fn trial(key: &Key, schedule: String, outcome: Outcome, confirmed: bool, seconds: f64) -> Trial {
    Trial { key: key.clone(), schedule, outcome, confirmed, seconds, at: records::unix_time() }
}
