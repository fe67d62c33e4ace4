//! The loop that does what the algorithm says: asks for the next action, has the evaluator do it, writes down what
//! happened, and tells the observer.

use crate::candidates::measured::Cost;
use crate::candidates::{Candidate, CandidateId};
use crate::error::{EvaluateError, SearchError};
use crate::executors::{Evaluator, Timed, TrainJob, TuneJob};
use crate::policy::Policy;
use crate::state::State;
use crate::state::event::Event;
use crate::state::history::Status;
use crate::state::plan::CostMetric;
use crate::state::store::Store;
use crate::strategy::forecast::remaining;
use crate::strategy::{Action, next};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sonar_ir::space::Assignment;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// How far a search is, told with every event.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Seconds spent so far, over all sessions.
    pub elapsed: f64,
    /// Predicted seconds until the end, when enough is known.
    pub left: Option<f64>,
    /// Index of the current rung, and how many there are; nothing before the plan.
    pub rung: Option<(usize, usize)>,
    /// The candidate with the best accuracy so far, the baseline excepted.
    pub best: Option<Best>,
}

/// The best candidate so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Which.
    pub candidate: CandidateId,
    /// Its accuracy.
    pub accuracy: f64,
    /// Its latency in nanoseconds, if it was timed.
    pub latency_ns: Option<f64>,
}

/// Is told every event once it is on disk, with the state after it; [`ControlFlow::Break`] asks to stop.
pub type Observer<'a> = dyn FnMut(&Progress, &Event, &State) -> ControlFlow<()> + 'a;

/// Number of architectures up to which a space is enumerated rather than drawn from.
const ENUMERABLE: usize = 4096;
/// Draws for each candidate wanted, after which a space counts as exhausted.
const DRAWS: usize = 100;

/// Runs a search from `state`, which `store` holds, to its end. `clock` gives the seconds since this session began.
pub fn run(
    policy: &Policy,
    evaluator: &mut dyn Evaluator,
    clock: &dyn Fn() -> f64,
    store: Store,
    state: State,
    observer: &mut Observer<'_>,
) -> Result<State, SearchError> {
    check(policy)?;
    let mut journal = Journal { policy, clock, store, state, observer, mark: 0.0, fault: None };
    if journal.state.stop.is_none() {
        journal.keep(Event::Opened, Cost::default())?;
    }
    while let Some(action) = next(policy, &journal.state) {
        perform(&action, evaluator, &mut journal)?;
    }
    Ok(journal.state)
}

/// Refuses a policy that asks for the impossible.
pub fn check(policy: &Policy) -> Result<(), SearchError> {
    let wrong = |what: &str| Err(SearchError::Config(what.to_string()));
    if policy.candidates == 0 || policy.epochs == 0 {
        return wrong("a search needs at least one candidate and one epoch");
    }
    if policy.eta < 2 {
        return wrong("η is at least 2: of how many candidates one survives a rung");
    }
    if !(0.0..1.0).contains(&policy.tuning_share) {
        return wrong("the share of tuning is at least 0 and less than 1");
    }
    if !(0.0..=1.0).contains(&policy.neighbours) {
        return wrong("the share of neighbours of the baseline is between 0 and 1");
    }
    if policy.seconds.is_some_and(|s| !s.is_finite() || s <= 0.0) {
        return wrong("a time limit is more than 0 seconds");
    }
    Ok(())
}

/// The state with its store: whatever changes one changes the other.
struct Journal<'a, 'o> {
    policy: &'a Policy,
    clock: &'a dyn Fn() -> f64,
    store: Store,
    state: State,
    observer: &'a mut Observer<'o>,
    /// When the last event was written.
    mark: f64,
    /// What went wrong inside a callback.
    fault: Option<SearchError>,
}

impl Journal<'_, '_> {
    fn keep(&mut self, event: Event, cost: Cost) -> Result<(), SearchError> {
        self.keep_all(vec![(event, cost)])
    }

    /// Writes events, adds them to the state and tells the observer. Time since the last event that `events` do not account
    /// for is added to the last of them as other time.
    fn keep_all(&mut self, mut events: Vec<(Event, Cost)>) -> Result<(), SearchError> {
        let now = (self.clock)();
        let known: f64 = events.iter().map(|(_, cost)| cost.total()).sum();
        if let Some((_, cost)) = events.last_mut() {
            // To the nanosecond, so that the rounding of a clock's large numbers leaves no trace.
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

    /// [`Journal::keep`] for callbacks: continues if all went well and `action` is still what to do.
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

/// Whether what is to be done now is what is being done: the same but for the seconds left.
fn goes_on(begun: &Action, now: Option<&Action>) -> bool {
    match (begun, now) {
        (Action::Tune { to, candidates, .. }, Some(Action::Tune { to: to_now, candidates: candidates_now, .. })) => {
            to == to_now && candidates_now.iter().all(|id| candidates.contains(id))
        }
        (begun, Some(now)) => begun == now,
        (_, None) => false,
    }
}

fn perform(action: &Action, evaluator: &mut dyn Evaluator, journal: &mut Journal<'_, '_>) -> Result<(), SearchError> {
    match action {
        Action::Sample { candidates } => sample(*candidates, evaluator, journal),
        Action::Probe { candidate } => match evaluator.probe(&journal.state.history(*candidate).candidate) {
            Ok((probe, cost)) => journal.keep(Event::Probed { candidate: *candidate, probe }, cost),
            Err(error) => fail(*candidate, error, journal),
        },
        Action::Begin { plan } => journal.keep(Event::Planned { plan: plan.clone() }, Cost::default()),
        Action::Train { candidate, to, horizon } => train(action, *candidate, (*to, *horizon), evaluator, journal),
        Action::Tune { candidates, to, seconds } => tune(action, candidates, (*to, *seconds), evaluator, journal),
        Action::Cut { candidates } => {
            forget(candidates, evaluator);
            journal.keep(Event::Cut { candidates: candidates.clone() }, Cost::default())
        }
        Action::Promote { survivors, dropped } => {
            let event = Event::Promoted { survivors: survivors.clone(), dropped: dropped.clone() };
            journal.keep(event, Cost::default())?;
            forget(dropped, evaluator);
            Ok(())
        }
        Action::Close { survivors, dropped } => {
            let event = Event::Closed { survivors: survivors.clone(), dropped: dropped.clone() };
            journal.keep(event, Cost::default())?;
            forget(dropped, evaluator);
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

/// Draws the sample: the baseline first, then architectures that are different functions, at random from its neighbourhood and
/// from the whole space. All or nothing is written, so that an interrupted drawing begins anew from the seed.
fn sample(wanted: usize, evaluator: &mut dyn Evaluator, journal: &mut Journal<'_, '_>) -> Result<(), SearchError> {
    let mut events = Vec::new();
    let mut keys = HashSet::new();
    if let Some(assignment) = evaluator.baseline() {
        let description = evaluator.describe(&assignment).map_err(fatal)?;
        keys.insert(description.key.clone());
        let candidate = Candidate { id: CandidateId(0), assignment, description };
        events.push((Event::Drawn { candidate, baseline: true }, Cost::default()));
    }
    let first = events.len();
    let (choices, baseline) = (evaluator.choices(), evaluator.baseline());
    let around = baseline.map_or(Vec::new(), |baseline| neighbours(&baseline, &choices, journal.policy.seed));
    let anywhere = draws(&choices, wanted, journal.policy.seed);
    for assignment in mixed(around, anywhere, journal.policy.neighbours) {
        if events.len() - first == wanted {
            break;
        }
        let description = match evaluator.describe(&assignment) {
            Ok(description) => description,
            Err(EvaluateError::Candidate(_)) => continue,
            Err(error) => return Err(fatal(error)),
        };
        if keys.insert(description.key.clone()) {
            let candidate = Candidate { id: CandidateId(events.len() as u32), assignment, description };
            events.push((Event::Drawn { candidate, baseline: false }, Cost::default()));
        }
    }
    if events.len() == first {
        return Err(SearchError::NoCandidate("the space holds no valid architecture".to_string()));
    }
    events.push((Event::Sampled, Cost::default()));
    journal.keep_all(events)
}

/// Assignments in random order: all of them if the space is small, otherwise enough draws, which may repeat.
fn draws(choices: &[usize], wanted: usize, seed: u64) -> Box<dyn Iterator<Item = Assignment>> {
    let mut random = StdRng::seed_from_u64(seed);
    let choices = choices.to_vec();
    let count = choices.iter().try_fold(1usize, |count, &arity| count.checked_mul(arity)).unwrap_or(usize::MAX);
    if count <= ENUMERABLE {
        let mut all: Vec<usize> = (0..count).collect();
        all.shuffle(&mut random);
        return Box::new(all.into_iter().map(move |mut index| {
            let digit = |&arity: &usize| {
                let choice = index % arity;
                index /= arity;
                choice
            };
            Assignment(choices.iter().map(digit).collect())
        }));
    }
    let draw = move |_| Assignment(choices.iter().map(|&arity| random.random_range(0..arity)).collect());
    Box::new((0..wanted.saturating_mul(DRAWS)).map(draw))
}

/// The assignments that differ from a baseline in one decision, in random order.
fn neighbours(baseline: &Assignment, choices: &[usize], seed: u64) -> Vec<Assignment> {
    let changed = |(decision, &arity): (usize, &usize)| {
        let others = (0..arity).filter(move |&choice| choice != baseline.0[decision]);
        others.map(move |choice| {
            let mut neighbour = baseline.clone();
            neighbour.0[decision] = choice;
            neighbour
        })
    };
    let mut all: Vec<Assignment> = choices.iter().enumerate().flat_map(changed).collect();
    all.shuffle(&mut StdRng::seed_from_u64(seed));
    all
}

/// Both sequences, each in its order, such that a `share` of every beginning comes from the first while there is any.
fn mixed(first: Vec<Assignment>, second: impl Iterator<Item = Assignment>, share: f64) -> impl Iterator<Item = Assignment> {
    let (mut first, mut second) = (first.into_iter(), second);
    let mut due = 0.0;
    std::iter::from_fn(move || {
        due += share;
        if due >= 1.0 {
            due -= 1.0;
            if let Some(next) = first.next() {
                return Some(next);
            }
        }
        second.next()
    })
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
    let outcome = evaluator.train(&job, &mut |epoch, cost| {
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
        return Err(SearchError::Internal(format!("training {id} from epoch {from} to {to} did nothing")));
    }
    if journal.state.history(id).status != Status::Alive {
        evaluator.forget(id);
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

/// Ends a candidate, or the search, by what the evaluator says.
fn fail(candidate: CandidateId, error: EvaluateError, journal: &mut Journal<'_, '_>) -> Result<(), SearchError> {
    match error {
        EvaluateError::Candidate(reason) => journal.keep(Event::Failed { candidate, reason }, Cost::default()),
        EvaluateError::Fatal(_) => Err(fatal(error)),
    }
}

fn fatal(error: EvaluateError) -> SearchError {
    SearchError::Evaluator(error.to_string())
}

fn forget(candidates: &[CandidateId], evaluator: &mut dyn Evaluator) {
    for &id in candidates {
        evaluator.forget(id);
    }
}

/// How far a search is.
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
