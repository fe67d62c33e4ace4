//! Events, and the state that they produce.
//!
//! Every step of a search ends in an [`Event`] with the seconds that it took. The [`State`] is the fold of all events.
//! Decisions depend on nothing else, so the state after a restart is the same as before it.

pub mod event;
pub mod history;
pub mod plan;
pub mod store;

use crate::candidates::CandidateId;
use crate::candidates::draw::DrawingEnd;
use crate::candidates::measured::{Cost, Probe};
use event::{Event, StopReason};
use history::{CandidateHistory, Status};
use plan::{Plan, Rung};

/// The fold of all events so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Every candidate by its id.
    pub candidates: Vec<CandidateHistory>,
    /// The baseline, if there is one.
    pub baseline: Option<CandidateId>,
    /// Number of assignments of the space drawn so far.
    pub draws: u64,
    /// Why the drawing of candidates ended, if it did.
    pub drawing_end: Option<DrawingEnd>,
    /// How long things take, with the candidate that was probed.
    pub probe: Option<(CandidateId, Probe)>,
    /// The current plan.
    pub plan: Option<Plan>,
    /// Epochs of a full training, on which the learning curves are based. 0 before the first plan.
    pub horizon: usize,
    /// How often the search was extended.
    pub extensions: usize,
    /// Index of the current rung in the plan.
    pub rung: usize,
    /// The candidates that entered the current rung, the best of the previous rung first.
    pub members: Vec<CandidateId>,
    /// Seconds spent tuning in the current rung.
    pub rung_tuning: f64,
    /// Whether training ended early.
    pub closed: bool,
    /// Whether the time limit removed anything.
    pub cut: bool,
    /// Whether the finalists' latencies are confirmed.
    pub measured: bool,
    /// Why the search is over, if it is.
    pub stop: Option<StopReason>,
    /// Seconds spent. Time spent on the baseline and the probe counts as `other`, so that the rest is the cost of searching.
    pub cost: Cost,
    /// Seconds spent on the baseline, for each purpose. They are also part of `cost.other`.
    pub baseline_cost: Cost,
    /// Number of processes that have worked on the search.
    pub sessions: usize,
}

impl State {
    /// Everything known about a candidate.
    pub fn history(&self, id: CandidateId) -> &CandidateHistory {
        &self.candidates[id.index()]
    }

    /// The current rung of the plan.
    pub fn current(&self) -> Option<&Rung> {
        self.plan.as_ref()?.rungs.get(self.rung)
    }

    /// Whether the current rung is the last.
    pub fn is_last_rung(&self) -> bool {
        self.plan.as_ref().is_some_and(|p| self.rung + 1 == p.rungs.len())
    }

    /// Members of the current rung that are still alive: first the baseline if it is a member, then the best first.
    pub fn alive(&self) -> Vec<CandidateId> {
        let alive = |id: &&CandidateId| self.history(**id).status == Status::Alive;
        self.members.iter().filter(alive).copied().collect()
    }

    /// [`State::alive`] without the baseline.
    pub fn contenders(&self) -> Vec<CandidateId> {
        self.alive().into_iter().filter(|&id| Some(id) != self.baseline).collect()
    }

    /// Adds an event that took `cost`.
    ///
    /// # Errors
    /// If the event does not fit the state: then the store is damaged.
    pub fn apply(&mut self, event: &Event, cost: &Cost) -> Result<(), String> {
        let mut named = event.candidates();
        if let Some(unknown) = named.find(|id| id.index() >= self.candidates.len()) {
            return Err(format!("an event names candidate {unknown}, which was never drawn"));
        }
        self.account(event, cost);
        match event {
            Event::Opened => self.sessions += 1,
            Event::Drawn { candidate, baseline } => {
                if candidate.id.index() != self.candidates.len() {
                    return Err(format!("candidate {} is out of order", candidate.id));
                }
                if *baseline {
                    self.baseline = Some(candidate.id);
                }
                self.candidates.push(CandidateHistory {
                    candidate: candidate.clone(),
                    status: Status::Alive,
                    rung: 0,
                    curve: Vec::new(),
                    tuning: Vec::new(),
                    measured: None,
                    reached: None,
                });
            }
            Event::Sampled { draws, end } => (self.draws, self.drawing_end) = (*draws, *end),
            Event::Extended { .. } => self.extend(),
            Event::Probed { candidate, probe } => self.probe = Some((*candidate, *probe)),
            Event::Planned { plan } => self.begin(plan)?,
            Event::Trained { candidate, epoch } => {
                let curve = &mut self.candidates[candidate.index()].curve;
                if epoch.epoch != curve.len() + 1 {
                    return Err(format!("epoch {} of {candidate} follows epoch {}", epoch.epoch, curve.len()));
                }
                curve.push(*epoch);
            }
            Event::Tuned { latencies, failures, .. } => {
                for (id, latency) in latencies {
                    self.candidates[id.index()].tuning.push(*latency);
                }
                self.fail_all(failures);
            }
            Event::Failed { candidate, reason } => self.fail(*candidate, reason),
            Event::Cut { candidates } => {
                self.cut = true;
                self.set_status(candidates, &Status::Cut);
            }
            Event::Promoted { survivors, dropped } => {
                self.set_status(dropped, &Status::Dropped);
                self.enter(self.rung + 1, survivors)?;
            }
            Event::Closed { survivors, dropped } => {
                self.closed = true;
                self.set_status(dropped, &Status::Cut);
                let last = self.plan.as_ref().map_or(0, |p| p.rungs.len().saturating_sub(1));
                self.enter(last, survivors)?;
            }
            Event::Measured { latencies, failures, .. } => {
                for (id, latency) in latencies {
                    self.candidates[id.index()].measured = Some(*latency);
                }
                self.fail_all(failures);
                self.measured = true;
            }
            Event::Finished { reason } => self.stop = Some(*reason),
        }
        Ok(())
    }

    /// Goes back to before the plan. Descriptions, curves, latencies and results of finalists stay.
    fn extend(&mut self) {
        for history in &mut self.candidates {
            if history.measured.is_some() {
                history.reached = history.reached(self.horizon);
                history.measured = None;
            }
            if matches!(history.status, Status::Dropped | Status::Cut) {
                history.status = Status::Alive;
            }
        }
        self.extensions += 1;
        self.drawing_end = None;
        self.plan = None;
        self.stop = None;
        (self.closed, self.cut, self.measured) = (false, false, false);
        self.members.clear();
        self.rung = 0;
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), String> {
        let first = plan.rungs.first().ok_or("a plan without rungs")?;
        let horizon = plan.rungs.last().map_or(0, |rung| rung.epochs);
        if self.horizon != horizon {
            // The learning rate depends on the horizon, so epochs of a longer training are different epochs.
            self.candidates.iter_mut().for_each(|history| history.curve.clear());
            self.horizon = horizon;
        }
        let sample: Vec<CandidateId> =
            self.candidates.iter().map(|t| t.candidate.id).filter(|&id| Some(id) != self.baseline).collect();
        let (members, rest) = sample.split_at(first.size.min(sample.len()));
        self.plan = Some(plan.clone());
        self.cut |= !rest.is_empty() && plan.seconds.is_some();
        self.set_status(rest, &Status::Cut);
        self.enter(0, members)
    }

    fn enter(&mut self, rung: usize, members: &[CandidateId]) -> Result<(), String> {
        let count = self.plan.as_ref().map_or(0, |p| p.rungs.len());
        if rung >= count {
            return Err(format!("rung {rung} of {count}"));
        }
        self.rung = rung;
        self.rung_tuning = 0.0;
        let baseline = self.baseline.filter(|_| rung + 1 == count);
        self.members = baseline.into_iter().chain(members.iter().copied()).collect();
        for id in &self.members {
            self.candidates[id.index()].rung = rung;
        }
        Ok(())
    }

    fn set_status(&mut self, ids: &[CandidateId], status: &Status) {
        for id in ids {
            self.candidates[id.index()].status = status.clone();
        }
    }

    fn fail(&mut self, id: CandidateId, reason: &str) {
        self.candidates[id.index()].status = Status::Failed { reason: reason.to_string() };
    }

    fn fail_all(&mut self, failures: &[(CandidateId, String)]) {
        for (id, reason) in failures {
            self.fail(*id, reason);
        }
    }

    fn account(&mut self, event: &Event, cost: &Cost) {
        if let Event::Tuned { .. } = event {
            self.rung_tuning += cost.total();
        }
        let to_baseline = match event {
            Event::Probed { .. } => {
                self.cost.other += cost.total();
                return;
            }
            Event::Trained { candidate, .. } | Event::Failed { candidate, .. } => {
                f64::from(u8::from(Some(*candidate) == self.baseline))
            }
            Event::Tuned { group, .. } | Event::Measured { group, .. } => match self.baseline {
                Some(baseline) if group.contains(&baseline) => 1.0 / group.len() as f64,
                _ => 0.0,
            },
            _ => 0.0,
        };
        self.cost += *cost * (1.0 - to_baseline);
        self.cost.other += cost.total() * to_baseline;
        self.baseline_cost += *cost * to_baseline;
    }
}
