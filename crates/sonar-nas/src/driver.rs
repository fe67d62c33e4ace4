//! The main loop of a search. It asks the strategy for the next action, lets the evaluator do it, records what happened, and
//! tells the observer.

use crate::candidates::draw::{Batch, Drawing, DrawingEnd, MOST};
use crate::candidates::measured::Cost;
use crate::candidates::{Candidate, CandidateId};
use crate::error::{EvaluateError, SearchError};
use crate::executors::{Evaluator, Timed, TrainJob, TuneJob, Watch};
use crate::policy::Policy;
use crate::state::State;
use crate::state::event::Event;
use crate::state::history::Status;
use crate::state::plan::CostMetric;
use crate::state::store::Store;
use crate::strategy::forecast::remaining;
use crate::strategy::rungs::fewest;
use crate::strategy::{Action, next, training_end};
use sonar_ir::space::Assignment;
use std::ops::ControlFlow;

/// The progress of a search, passed to the observer with every event.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Seconds spent so far, over all sessions.
    pub elapsed: f64,
    /// Predicted seconds until the end, if enough is known.
    pub left: Option<f64>,
    /// Index of the current rung and the number of rungs. `None` before there is a plan.
    pub rung: Option<(usize, usize)>,
    /// The candidate with the best accuracy so far, not counting the baseline.
    pub best: Option<Best>,
}

/// The best candidate so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// The candidate.
    pub candidate: CandidateId,
    /// Its accuracy.
    pub accuracy: f64,
    /// Its latency in nanoseconds, if it was timed.
    pub latency_ns: Option<f64>,
}

/// Called for every event after it is on disk, with the new state. [`ControlFlow::Break`] asks to stop.
pub type Observer<'a> = dyn FnMut(&Progress, &Event, &State) -> ControlFlow<()> + 'a;

/// Share of the remaining time that drawing candidates may take.
const DRAWING_SHARE: f64 = 0.2;

/// Runs a search to its end. It starts from `state`, which is the content of `store`. `clock` gives the seconds since this
/// session began. `watch` is called often, also during long steps, and says whether to continue.
pub fn run(
    policy: &Policy,
    evaluator: &mut dyn Evaluator,
    clock: &dyn Fn() -> f64,
    watch: &Watch<'_>,
    store: Store,
    state: State,
    observer: &mut Observer<'_>,
) -> Result<State, SearchError> {
    check(policy)?;
    let mut journal = Journal { policy, clock, watch, store, state, observer, mark: 0.0, fault: None };
    if journal.state.stop.is_none() {
        journal.keep(Event::Opened, Cost::default())?;
    }
    while let Some(action) = next(policy, &journal.state) {
        if watch().is_break() {
            return Err(SearchError::Interrupted);
        }
        perform(&action, evaluator, &mut journal)?;
    }
    Ok(journal.state)
}

/// Refuses a policy that is impossible.
pub fn check(policy: &Policy) -> Result<(), SearchError> {
    let wrong = |what: &str| Err(SearchError::Config(what.to_string()));
    if policy.candidates == 0 || policy.epochs == 0 {
        return wrong("`candidates` and `epochs` must be at least 1");
    }
    if policy.eta < 2 {
        return wrong("`eta` must be at least 2: one in so many candidates survives a rung");
    }
    if !(0.0..1.0).contains(&policy.tuning_share) {
        return wrong("`tuning-share` must be at least 0 and less than 1");
    }
    if !(0.0..=1.0).contains(&policy.neighbours) {
        return wrong("`neighbours` must be from 0 to 1");
    }
    if policy.seconds.is_some_and(|s| !s.is_finite() || s <= 0.0) {
        return wrong("`time` must be more than 0 seconds");
    }
    Ok(())
}

/// The state and its store, which always change together.
struct Journal<'a, 'o> {
    policy: &'a Policy,
    clock: &'a dyn Fn() -> f64,
    watch: &'a Watch<'a>,
    store: Store,
    state: State,
    observer: &'a mut Observer<'o>,
    /// When the last event was written.
    mark: f64,
    /// The error of a callback.
    fault: Option<SearchError>,
}

impl Journal<'_, '_> {
    /// Seconds of the whole search so far.
    fn elapsed(&self) -> f64 {
        self.state.cost.total() + (self.clock)() - self.mark
    }

    fn keep(&mut self, event: Event, cost: Cost) -> Result<(), SearchError> {
        self.keep_all(vec![(event, cost)])
    }

    /// Writes events, adds them to the state and tells the observer. Time since the last event that `events` do not account for
    /// is added to the last of them as other time.
    fn keep_all(&mut self, mut events: Vec<(Event, Cost)>) -> Result<(), SearchError> {
        let now = (self.clock)();
        let known: f64 = events.iter().map(|(_, cost)| cost.total()).sum();
        if let Some((_, cost)) = events.last_mut() {
            // Rounded to nanoseconds, because subtracting two large clock values is not exact.
            cost.other += ((now - self.mark - known) * 1e9).round().max(0.0) / 1e9;
        }
        self.store.append(&events)?;
        self.mark = now;
        for (event, cost) in &events {
            self.state.apply(event, cost).map_err(SearchError::Internal)?;
        }
        let progress = progress(self.policy, &self.state);
        for (event, _) in &events {
            if (self.observer)(&progress, event, &self.state).is_break() {
                return Err(SearchError::Interrupted);
            }
        }
        Ok(())
    }

    /// [`Journal::keep`] for callbacks. Continues if there was no error and `action` is still the next action.
    fn keep_during(&mut self, action: &Action, event: Event, cost: Cost) -> ControlFlow<()> {
        match self.keep(event, cost) {
            Err(fault) => {
                self.fault = Some(fault);
                ControlFlow::Break(())
            }
            Ok(()) if goes_on(action, next(self.policy, &self.state).as_ref()) => ControlFlow::Continue(()),
            Ok(()) => ControlFlow::Break(()),
        }
    }
}

/// Whether the running action is still the next one. The seconds left may differ.
fn goes_on(in_flight: &Action, now: Option<&Action>) -> bool {
    match (in_flight, now) {
        (Action::Tune { to, candidates, .. }, Some(Action::Tune { to: to_now, candidates: candidates_now, .. })) => {
            to == to_now && candidates_now.iter().all(|id| candidates.contains(id))
        }
        (in_flight, Some(now)) => in_flight == now,
        (_, None) => false,
    }
}

fn perform(action: &Action, evaluator: &mut dyn Evaluator, journal: &mut Journal<'_, '_>) -> Result<(), SearchError> {
    match action {
        Action::Sample { candidates } => draw(*candidates, evaluator, journal),
        Action::Probe { candidate } => match evaluator.probe(&journal.state.history(*candidate).candidate) {
            Ok((probe, cost)) => journal.keep(Event::Probed { candidate: *candidate, probe }, cost),
            Err(error) => fail(*candidate, error, journal),
        },
        Action::Begin { plan } => journal.keep(Event::Planned { plan: plan.clone() }, Cost::default()),
        Action::Train { candidate, to, horizon } => train(action, *candidate, (*to, *horizon), evaluator, journal),
        Action::Tune { candidates, to, seconds } => tune(action, candidates, (*to, *seconds), evaluator, journal),
        Action::Cut { candidates } => {
            forget(candidates, evaluator, &journal.state);
            journal.keep(Event::Cut { candidates: candidates.clone() }, Cost::default())
        }
        Action::Promote { survivors, dropped } => {
            let event = Event::Promoted { survivors: survivors.clone(), dropped: dropped.clone() };
            journal.keep(event, Cost::default())?;
            forget(dropped, evaluator, &journal.state);
            Ok(())
        }
        Action::Close { survivors, dropped } => {
            let event = Event::Closed { survivors: survivors.clone(), dropped: dropped.clone() };
            journal.keep(event, Cost::default())?;
            forget(dropped, evaluator, &journal.state);
            Ok(())
        }
        Action::Measure { candidates } => {
            let histories = candidates.iter().map(|&id| journal.state.history(id));
            let group: Vec<(&Candidate, Option<usize>)> = histories.map(|t| (&t.candidate, t.trials())).collect();
            let timed = evaluator.measure(&group).map_err(fatal)?;
            let Timed { latencies, failures, cost } = timed;
            journal.keep(Event::Measured { group: candidates.clone(), latencies, failures }, cost)
        }
        Action::Finish { reason } => journal.keep(Event::Finished { reason: *reason }, Cost::default()),
    }
}

/// Draws candidates: the baseline first, then others until there are `wanted`, or no more, or the time for drawing is over.
/// Each batch is written at once.
fn draw(wanted: usize, evaluator: &dyn Evaluator, journal: &mut Journal<'_, '_>) -> Result<(), SearchError> {
    if journal.state.candidates.is_empty()
        && let Some(assignment) = evaluator.baseline()
    {
        let candidate = baseline(assignment, evaluator)?;
        journal.keep(Event::Drawn { candidate, baseline: true }, Cost::default())?;
    }
    let Policy { neighbours, seed, seconds, .. } = *journal.policy;
    let end_of_drawing = seconds.map(|limit| {
        let spent = journal.state.cost.total();
        spent + DRAWING_SHARE * (limit - spent)
    });
    let known = journal.state.candidates.iter().map(|h| (&h.candidate.assignment, &h.candidate.description));
    let mut drawing = Drawing::new(evaluator, (neighbours, seed), journal.state.draws, &known.collect::<Vec<_>>());
    let fewest = fewest(journal.policy);
    let mut end = None;
    while end.is_none() {
        if (journal.watch)().is_break() {
            return Err(SearchError::Interrupted);
        }
        let drawn = journal.state.candidates.len() - usize::from(journal.state.baseline.is_some());
        let late = end_of_drawing.is_some_and(|end| journal.elapsed() >= end);
        let batch = if drawn >= wanted { Batch::default() } else { drawing.batch(evaluator, wanted - drawn).map_err(fatal)? };
        let first = journal.state.candidates.len();
        let numbered = batch.found.into_iter().enumerate();
        let mut events: Vec<(Event, Cost)> = numbered
            .map(|(i, (assignment, description))| {
                let candidate = Candidate { id: CandidateId((first + i) as u32), assignment, description };
                (Event::Drawn { candidate, baseline: false }, Cost::default())
            })
            .collect();
        let drawn = drawn + events.len();
        end = if drawn >= wanted {
            Some(DrawingEnd::Enough)
        } else if batch.exhausted {
            Some(DrawingEnd::Exhausted)
        } else if drawn >= MOST {
            Some(DrawingEnd::Most)
        } else {
            (late && drawn >= fewest).then_some(DrawingEnd::TimeLimit)
        };
        if end.is_some() && drawn == 0 {
            let why = match drawing.invalid() {
                (count, Some(reason)) => {
                    format!("none of {count} architectures of the space is valid, the first because of {reason}")
                }
                (_, None) => "the space has no architecture but the baseline".to_string(),
            };
            return Err(SearchError::NoCandidate(why));
        }
        events.push((Event::Sampled { draws: drawing.draws(), end }, Cost::default()));
        journal.keep_all(events)?;
    }
    Ok(())
}

/// The hand-made architecture of a space as the first candidate.
fn baseline(assignment: Assignment, evaluator: &dyn Evaluator) -> Result<Candidate, SearchError> {
    let wrong = |error: EvaluateError| match error {
        EvaluateError::Candidate(reason) => SearchError::NoCandidate(format!("the baseline of the space is not valid: {reason}")),
        error => fatal(error),
    };
    let sketches: Vec<_> =
        evaluator.sketch(std::slice::from_ref(&assignment)).into_iter().collect::<Result<_, _>>().map_err(wrong)?;
    let description = evaluator.describe(&sketches).into_iter().next();
    let description =
        description.ok_or_else(|| SearchError::Internal("the baseline was not described".into()))?.map_err(wrong)?;
    Ok(Candidate { id: CandidateId(0), assignment, description })
}

fn train(
    action: &Action,
    id: CandidateId,
    (to, horizon): (usize, usize),
    evaluator: &mut dyn Evaluator,
    journal: &mut Journal<'_, '_>,
) -> Result<(), SearchError> {
    let history = journal.state.history(id);
    let candidate = history.candidate.clone();
    let from = history.epochs();
    let job = TrainJob { candidate: &candidate, from, to, horizon };
    let end = training_end(journal.policy, &journal.state);
    let (clock, interrupted, earlier) = (journal.clock, journal.watch, journal.state.cost.total() - journal.mark);
    let late = || end.is_some_and(|end| earlier + clock() > end);
    let watch = || if late() { ControlFlow::Break(()) } else { interrupted() };
    let outcome = evaluator.train(&job, &watch, &mut |epoch, cost| {
        if epoch.train_loss.is_finite() && epoch.accuracy.is_finite() {
            journal.keep_during(action, Event::Trained { candidate: id, epoch }, cost)
        } else {
            let reason = format!("training diverged in epoch {}", epoch.epoch);
            journal.keep_during(action, Event::Failed { candidate: id, reason }, cost)
        }
    });
    if let Some(fault) = journal.fault.take() {
        return Err(fault);
    }
    let history = journal.state.history(id);
    if let Err(error) = outcome {
        fail(id, error, journal)?;
    } else if history.epochs() == from && history.status == Status::Alive {
        if interrupted().is_break() {
            return Err(SearchError::Interrupted);
        }
        if !late() {
            return Err(SearchError::Internal(format!("training {id} from epoch {from} to {to} did nothing")));
        }
        // The epoch took longer than predicted, and the time limit stopped it.
        journal.keep(Event::Cut { candidates: vec![id] }, Cost::default())?;
    }
    if journal.state.history(id).status != Status::Alive {
        forget(&[id], evaluator, &journal.state);
    }
    Ok(())
}

fn tune(
    action: &Action,
    group: &[CandidateId],
    (to, seconds): (usize, Option<f64>),
    evaluator: &mut dyn Evaluator,
    journal: &mut Journal<'_, '_>,
) -> Result<(), SearchError> {
    let candidates: Vec<(Candidate, Option<usize>)> =
        group.iter().map(|&id| journal.state.history(id)).map(|t| (t.candidate.clone(), t.trials())).collect();
    let job = TuneJob { candidates: candidates.iter().map(|(c, trials)| (c, *trials)).collect(), to, seconds };
    let mut reports = 0;
    let outcome = evaluator.tune(&job, &mut |Timed { latencies, failures, cost }| {
        reports += 1;
        journal.keep_during(action, Event::Tuned { group: group.to_vec(), latencies, failures }, cost)
    });
    if let Some(fault) = journal.fault.take() {
        return Err(fault);
    }
    outcome.map_err(fatal)?;
    if reports == 0 {
        return Err(SearchError::Internal(format!("tuning {} candidates to {to} trials did nothing", group.len())));
    }
    Ok(())
}

/// Ends a candidate or the search, depending on the error of the evaluator.
fn fail(candidate: CandidateId, error: EvaluateError, journal: &mut Journal<'_, '_>) -> Result<(), SearchError> {
    match error {
        EvaluateError::Candidate(reason) => journal.keep(Event::Failed { candidate, reason }, Cost::default()),
        EvaluateError::Fatal(_) => Err(fatal(error)),
    }
}

fn fatal(error: EvaluateError) -> SearchError {
    SearchError::Evaluator(error.to_string())
}

/// Lets the evaluator delete what it keeps for candidates, except the weights of former finalists.
fn forget(candidates: &[CandidateId], evaluator: &mut dyn Evaluator, state: &State) {
    let finalist = |id: &CandidateId| state.history(*id).reached.is_some_and(|reached| reached.horizon == state.horizon);
    for &id in candidates.iter().filter(|id| !finalist(id)) {
        evaluator.forget(id, state.horizon);
    }
}

/// The progress of a search.
pub fn progress(policy: &Policy, state: &State) -> Progress {
    let elapsed = state.cost.total();
    let left = remaining(policy, state, 0).map(|left| match policy.seconds {
        Some(limit) => left.min((limit - elapsed).max(0.0)),
        None => left,
    });
    let rung = state.plan.as_ref().map(|plan| (state.rung, plan.rungs.len()));
    Progress { elapsed, left, rung, best: best(state) }
}

fn best(state: &State) -> Option<Best> {
    let contenders = state.candidates.iter().filter(|t| Some(t.candidate.id) != state.baseline);
    let points = contenders.filter_map(|t| Some((t, t.point(CostMetric::Flops)?.accuracy)));
    let (history, accuracy) = points.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Best { candidate: history.candidate.id, accuracy, latency_ns: history.latency().map(|l| l.median_ns) })
}
