//! The schedule search.
//!
//! A [`Tuner`] holds the state of every task it was ever given, whichever graphs the task occurs in: trials of one model help all
//! others that share a kernel with it. [`Tuner::tune`] spends trials where they promise most, and times the finalists of each task
//! in turns before one of them becomes the best: so the best schedule of a task is never worse than the analytic default, but for
//! the noise of one comparison.
//!
//! Everything that was measured is recorded, and what is recorded is not measured again: a search that was interrupted goes on where
//! it was, and ends like one that was not interrupted if times are the same.
//!
//! While one candidate is measured, the next is prepared on another thread. Which one that is was decided before, from the
//! results of all candidates before the one that is measured: a search on one thread makes the same trials in the same order.

use crate::error::TuneError;
use crate::recorded;
use crate::schedules::failures::Failures;
pub use crate::schedules::limits::{Limits, StopReason, TaskStop};
use crate::schedules::propose::{Proposal, Proposals};
use sonar_codegen::Target;
use sonar_ir::loops::Program;
use sonar_ir::machine::{Machine, is_gain};
use sonar_ir::schedule::Schedule;
use sonar_measure::race::{SAMPLE_NANOSECONDS, Verdict, verdict};
use sonar_measure::{Budget, Cache, Clock, Job, Key, Measurer, Outcome, Records, Trial, records, stats};
use sonar_schedule::Task;
use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

/// Trials without a single success after which a search gives up.
const HOPELESS: usize = 32;
/// Schedules of a task that are timed in turns in the end.
const FINALISTS: usize = 4;
/// Seconds beside running it that a finalist takes, about.
const PREPARATION: f64 = 0.005;
/// The share that the recent gain of a task has in its expected gain; the rest is that of the optimistic gain.
const RECENT_SHARE: f64 = 0.2;
/// Trials over which a gain is recent.
const RECENT: usize = 16;

/// How to tune.
#[derive(Clone, Debug)]
pub struct TunerOptions {
    /// For which processor.
    pub target: Target,
    /// What estimates of time assume of the machine.
    pub machine: &'static Machine,
    /// On how many threads a kernel runs.
    pub threads: usize,
    /// Seed of the search and of the arguments of kernels.
    pub seed: u64,
    /// How long to time one candidate.
    pub budget: Budget,
    /// Where kernels find their data when they are timed.
    pub cache: Cache,
    /// What rounding may cost: see [`sonar_schedule::Options::max_rounding`].
    pub max_rounding: f64,
    /// Largest accepted error of a kernel's output over the largest output.
    pub check_tolerance: f64,
    /// Whether the next candidate is prepared while one is measured: worth it if the machine has a processor for it beside those
    /// that kernels run on. Trials are the same and come in the same order.
    pub overlap: bool,
}

/// Index of a task of a [`Tuner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub usize);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

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
    proposals: Proposals,
    /// Outcome of every schedule that was tried, by its text.
    tried: HashMap<String, Outcome>,
    best: Option<Best>,
    /// Whether there are trials that the choice of `best` did not see.
    unconfirmed: bool,
    exhausted: bool,
    /// The fastest time of a trial, and how many trials came since one was faster by more than a hundredth.
    fastest: Option<f64>,
    without_gain: usize,
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
    /// Kernels on one thread, seed 0, and the default budget.
    pub fn new(target: Target) -> Self {
        TunerOptions {
            machine: Machine::usual(target.lanes()),
            target,
            threads: 1,
            seed: 0,
            budget: Budget::default(),
            cache: Cache::default(),
            max_rounding: 1e-4,
            check_tolerance: 1e-4,
            overlap: false,
        }
    }

    /// With candidates prepared while others are measured, if there is a processor for it.
    pub fn overlapping(self) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        TunerOptions { overlap: processors > self.threads, ..self }
    }

    /// For what schedules are made.
    fn goal(&self) -> sonar_schedule::Options {
        sonar_schedule::Options {
            lanes: self.target.lanes(),
            machine: self.machine,
            threads: self.threads,
            footprint: 0,
            max_rounding: self.max_rounding,
        }
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
        let key = recorded::key(task, &self.options.target, self.options.threads, self.options.cache);
        let allowed = |schedule: &str| {
            schedule.parse().is_ok_and(|schedule: Schedule| sonar_schedule::allows(&schedule, self.options.max_rounding))
        };
        let space = sonar_schedule::space(task, &self.options.goal());
        let mut state = State::new(task, &key, Proposals::new(space, self.options.seed));
        for trial in self.records.trials(&key)?.into_iter().filter(|trial| !trial.confirmed && allowed(&trial.schedule)) {
            if !state.tried.contains_key(&trial.schedule) {
                state.count(trial.outcome.time());
                state.tried.insert(trial.schedule, trial.outcome);
            }
        }
        let best = self.records.best(&key)?;
        state.best = best.filter(|trial| allowed(&trial.schedule)).and_then(|trial| {
            Some(Best { nanoseconds: trial.outcome.time()?, schedule: trial.schedule, confirmed: trial.confirmed })
        });
        let id = TaskId(self.states.len());
        self.states.push(state);
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
        let (mut trials, mut failures) = (0, 0);
        let mut prepared = None;
        let reason = loop {
            let Some((id, proposal)) = prepared.take().or_else(|| self.first(weights, &limits)) else {
                break StopReason::Finished;
            };
            let known = self.states[id.0].tried.get(&proposal.schedule).map(Outcome::time);
            let next = self.most_promising(weights, &limits, known.is_none().then_some(id));
            if let Some(time) = known {
                self.states[id.0].proposals.tell(&proposal.schedule, time);
                prepared = next.and_then(|next| self.prepare(next));
                continue;
            }
            let over = if limits.trials.is_some_and(|limit| trials >= limit) {
                Some(StopReason::Trials)
            } else if limits
                .time
                .is_some_and(|limit| self.clock.now().saturating_sub(start) + self.confirming(weights, limit) >= limit)
            {
                Some(StopReason::Time)
            } else {
                (trials == failures && failures >= HOPELESS).then_some(StopReason::Failing)
            };
            if let Some(reason) = over {
                self.states[id.0].proposals.give_back(proposal);
                break reason;
            }
            let (outcome, following) = self.measure(id, proposal, next)?;
            prepared = following;
            trials += 1;
            failures += usize::from(outcome.samples().is_none());
            if report(&self.progress(id)).is_break() {
                if let Some((next, proposal)) = prepared {
                    self.states[next.0].proposals.give_back(proposal);
                }
                return Ok(StopReason::Interrupted);
            }
        };
        for &(id, _) in weights {
            if self.states[id.0].unconfirmed {
                self.confirm(id)?;
                if report(&self.progress(id)).is_break() {
                    return Ok(StopReason::Interrupted);
                }
            }
        }
        Ok(reason)
    }

    /// Why no further schedule of a task would be tried under some limits, if that is so.
    pub fn task_stop(&self, id: TaskId, limits: &Limits) -> Option<TaskStop> {
        self.states[id.0].stop(limits, 0)
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

    /// The analytic default of a task and the schedules that were fastest alone, the best first: `most` in all.
    pub fn contenders(&self, id: TaskId, most: usize) -> Vec<Schedule> {
        let state = &self.states[id.0];
        let best = state.best.iter().map(|best| best.schedule.clone());
        let mut contenders = vec![state.default_schedule()];
        for text in best.chain(state.finalists()) {
            if contenders.len() < most && !contenders.contains(&text) {
                contenders.push(text);
            }
        }
        contenders.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Makes a schedule the best of its task, whatever it did alone: it won where the task is used, where its calls took so many
    /// nanoseconds. In the records, it is the only one that is confirmed from then on.
    pub fn settle(&mut self, id: TaskId, schedule: &Schedule, samples: &[f64]) -> Result<(), TuneError> {
        let state = &mut self.states[id.0];
        let text = schedule.to_string();
        for other in self.records.top(&state.key, usize::MAX >> 1)? {
            if other.confirmed && other.schedule != text {
                self.records.insert(&trial(&state.key, other.schedule, other.outcome, false, 0.0))?;
            }
        }
        self.records.insert(&trial(&state.key, text.clone(), Outcome::Ok(samples.to_vec()), true, 0.0))?;
        state.best = Some(Best { schedule: text, nanoseconds: stats::median(samples), confirmed: true });
        state.unconfirmed = false;
        Ok(())
    }

    /// The weighted sum of the best times of tasks, in nanoseconds: an estimate of a model's latency. Nothing if a task has no time yet.
    pub fn latency(&self, weights: &[(TaskId, f64)]) -> Option<f64> {
        weights.iter().map(|&(id, weight)| Some(weight * self.states[id.0].best.as_ref()?.nanoseconds)).sum()
    }

    /// How many schedules of a task were tried.
    pub fn trials(&self, id: TaskId) -> usize {
        self.states[id.0].tried.len()
    }

    /// Why trials of a task failed, and how many for each kind of cause.
    pub fn failures(&self, id: TaskId) -> Failures {
        let causes = self.states[id.0].tried.values().filter_map(|outcome| match outcome {
            Outcome::Failed(cause) => Some(cause),
            Outcome::Ok(_) | Outcome::Dropped(_) => None,
        });
        causes.collect()
    }

    /// The progress of a task by this tuner, in order.
    pub fn curve(&self, id: TaskId) -> &[Progress] {
        &self.states[id.0].curve
    }

    /// A task by its id.
    pub fn task(&self, id: TaskId) -> &Task {
        &self.states[id.0].task
    }

    /// The clock that limits are of.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The time of this clock.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Time that this tuner spent measuring, in all.
    pub fn measuring(&self) -> Duration {
        self.states.iter().map(|state| Duration::from_secs_f64(state.seconds)).sum()
    }

    /// The records that everything goes to.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The task of which a trial promises to save most, if one has a trial left. `flying` is the one of which a schedule is about to
    /// be measured.
    fn most_promising(&self, weights: &[(TaskId, f64)], limits: &Limits, flying: Option<TaskId>) -> Option<TaskId> {
        let pending = |id: TaskId| usize::from(flying == Some(id));
        let open = weights.iter().filter(|(id, _)| self.states[id.0].stop(limits, pending(*id)).is_none());
        let promises = open.map(|&(id, weight)| (weight * self.states[id.0].promise(pending(id)), id));
        promises.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).map(|promise| promise.1)
    }

    /// How long timing the finalists will take, about; half of a limit at most, so that there is something to confirm.
    fn confirming(&self, weights: &[(TaskId, f64)], limit: Duration) -> Duration {
        let budget = self.options.budget;
        let states = weights.iter().map(|(id, _)| &self.states[id.0]).filter(|state| state.unconfirmed && state.tried.len() > 1);
        let seconds = states.map(|state| {
            let sample = state.fastest.unwrap_or(0.0).max(SAMPLE_NANOSECONDS) / 1e9;
            let each = PREPARATION + (budget.samples as f64 * sample).min(budget.seconds);
            (FINALISTS + 1).min(state.tried.len()) as f64 * each
        });
        Duration::from_secs_f64(seconds.sum()).min(limit / 2)
    }

    /// A proposal of the most promising task that has one.
    fn first(&mut self, weights: &[(TaskId, f64)], limits: &Limits) -> Option<(TaskId, Proposal)> {
        loop {
            let id = self.most_promising(weights, limits, None)?;
            if let Some(prepared) = self.prepare(id) {
                return Some(prepared);
            }
        }
    }

    /// The next proposal of a task, if it has one.
    fn prepare(&mut self, id: TaskId) -> Option<(TaskId, Proposal)> {
        self.states[id.0].prepare().map(|proposal| (id, proposal))
    }

    fn progress(&self, id: TaskId) -> Progress {
        self.states[id.0].progress(id)
    }

    /// Measures a schedule, and prepares the next one of a task, meanwhile or afterwards.
    fn measure(
        &mut self,
        id: TaskId,
        Proposal { schedule, program }: Proposal,
        next: Option<TaskId>,
    ) -> Result<(Outcome, Option<(TaskId, Proposal)>), TuneError> {
        let state = &self.states[id.0];
        let job = state.job(&self.options, schedule.clone(), program, state.fastest);
        let Tuner { measurer, clock, states, options, .. } = self;
        let start = clock.now();
        let mut time = || (measurer.measure(&job), clock.now().saturating_sub(start).as_secs_f64());
        let mut prepare = || next.and_then(|next| Some((next, states[next.0].prepare()?)));
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

        let state = &mut self.states[id.0];
        self.records.insert(&trial(&state.key, schedule.clone(), outcome.clone(), false, seconds))?;
        state.proposals.tell(&schedule, outcome.time());
        state.take_time(&schedule, outcome.time());
        state.tried.insert(schedule, outcome.clone());
        state.advance(id, seconds);
        Ok((outcome, prepared))
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
        let lanes = options.target.lanes();
        let apply = |text: String| {
            let program = sonar_schedule::apply(&state.task.program, &text.parse().ok()?, lanes).ok()?;
            Some(state.job(options, text, program, None))
        };
        let jobs: Vec<Job> = finalists.into_iter().filter_map(apply).collect();

        let start = self.clock.now();
        let outcomes = self.measurer.compare(&jobs)?;
        let seconds = self.clock.now().saturating_sub(start).as_secs_f64();
        let share = seconds / jobs.len().max(1) as f64;
        let mut timed = Vec::with_capacity(jobs.len());
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let time = outcome.time();
            let samples = outcome.samples().map(<[f64]>::to_vec).unwrap_or_default();
            self.records.insert(&trial(&state.key, job.schedule.clone(), outcome, true, share))?;
            timed.extend(time.map(|nanoseconds| (Best { schedule: job.schedule, nanoseconds, confirmed: true }, samples)));
        }
        let so_far = state.best.as_ref().map(|best| best.schedule.clone());
        let incumbent = timed.iter().find(|(best, _)| Some(&best.schedule) == so_far.as_ref()).cloned();
        let fastest = timed.into_iter().min_by(|(a, _), (b, _)| a.nanoseconds.total_cmp(&b.nanoseconds));
        state.best = match (incumbent, fastest) {
            (Some(incumbent), Some(fastest)) if verdict(&fastest.1, &incumbent.1) != Verdict::Faster => Some(incumbent.0),
            (_, Some(fastest)) => Some(fastest.0),
            (_, None) => state.best.take(),
        };
        state.advance(id, seconds);
        Ok(())
    }
}

impl State {
    fn new(task: &Task, key: &Key, proposals: Proposals) -> State {
        State {
            task: task.clone(),
            key: key.clone(),
            proposals,
            tried: HashMap::new(),
            best: None,
            unconfirmed: false,
            exhausted: false,
            fastest: None,
            without_gain: 0,
            seconds: 0.0,
            curve: Vec::new(),
        }
    }

    /// The next proposal, if there is one.
    fn prepare(&mut self) -> Option<Proposal> {
        let proposal = self.proposals.propose();
        self.exhausted |= proposal.is_none();
        proposal
    }

    /// Why no further schedule is tried, when some more are about to be.
    fn stop(&self, limits: &Limits, pending: usize) -> Option<TaskStop> {
        if limits.trials_each.is_some_and(|limit| self.tried.len() + pending >= limit) {
            Some(TaskStop::Trials)
        } else if limits.patience.is_some_and(|limit| self.without_gain >= limit) {
            Some(TaskStop::Patience)
        } else {
            self.exhausted.then_some(TaskStop::Exhausted)
        }
    }

    /// How many nanoseconds a trial promises to save: a mix of what recent trials saved, and of what would be saved if the time went on
    /// falling like one over the number of trials. A task that was never tried comes first.
    ///
    /// This is the task gradient of Ansor (Zheng et al., 2020) without its similarity term.
    fn promise(&self, pending: usize) -> f64 {
        let Some(best) = &self.best else {
            return if self.tried.is_empty() && pending == 0 { f64::INFINITY } else { 0.0 };
        };
        let window = &self.curve[self.curve.len().saturating_sub(RECENT + 1)..];
        let earlier = window.iter().find_map(|progress| Some((progress.trials, progress.best?)));
        let recent = earlier.map_or(0.0, |(trials, time)| (time - best.nanoseconds) / (self.tried.len() - trials).max(1) as f64);
        let optimistic = best.nanoseconds / (self.tried.len() + pending).max(1) as f64;
        RECENT_SHARE * recent + (1.0 - RECENT_SHARE) * optimistic
    }

    /// What to ask the measurer about a schedule and the program that it gives.
    fn job(&self, options: &TunerOptions, schedule: String, program: Program, incumbent: Option<f64>) -> Job {
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

    /// Counts a trial.
    fn count(&mut self, time: Option<f64>) {
        let gain = time.is_some_and(|time| self.fastest.is_none_or(|fastest| is_gain(time, fastest)));
        self.without_gain = if gain { 0 } else { self.without_gain + 1 };
        if gain {
            self.fastest = time;
        }
    }

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
        self.count(time);
        let Some(nanoseconds) = time else { return };
        self.unconfirmed = true;
        if self.best.as_ref().is_none_or(|best| !best.confirmed && is_gain(nanoseconds, best.nanoseconds)) {
            self.best = Some(Best { schedule: schedule.to_owned(), nanoseconds, confirmed: false });
        }
    }

    fn default_schedule(&self) -> String {
        let space = self.proposals.space();
        space.schedule(&sonar_schedule::default_point(space)).to_string()
    }

    /// The fastest of the schedules that were tried, the best so far, and the analytic default, if these could be timed.
    fn finalists(&self) -> Vec<String> {
        let timed = self.tried.iter().filter_map(|(schedule, outcome)| Some((outcome.time()?, schedule)));
        let mut timed: Vec<(f64, &String)> = timed.collect();
        timed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
        let mut finalists: Vec<String> = timed.iter().take(FINALISTS).map(|(_, schedule)| (*schedule).clone()).collect();

        let default = self.default_schedule();
        let default = self.tried.get(&default).is_some_and(|outcome| outcome.samples().is_some()).then_some(default);
        for schedule in self.best.iter().map(|best| best.schedule.clone()).chain(default) {
            if !finalists.contains(&schedule) {
                finalists.push(schedule);
            }
        }
        finalists
    }
}

fn trial(key: &Key, schedule: String, outcome: Outcome, confirmed: bool, seconds: f64) -> Trial {
    Trial { key: key.clone(), schedule, outcome, confirmed, seconds, at: records::unix_time() }
}
