//! Events, and the state that they add up to.
//!
//! Whatever a search does ends in an [`Event`] with the seconds that it took. The [`State`] is the fold of all events, and
//! decisions depend on nothing else: the state after a restart is the state before it.

use crate::candidate::{Candidate, CandidateId, Cost, Epoch, Latency};
use crate::evaluator::Probe;
use crate::pareto::Point;
use crate::plan::{Plan, Price, Rung};
use serde::{Deserialize, Serialize};

/// Something that has happened and is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A process has begun to work on the search; the first, or one that goes on.
    Opened,
    /// A candidate has entered the sample.
    Drawn {
        /// The candidate; its id is the number of candidates drawn before.
        candidate: Candidate,
        /// Whether it is the baseline: a row to compare with, trained and tuned like the finalists but never ranked.
        baseline: bool,
    },
    /// The sample is complete.
    Sampled,
    /// It is known how long things take.
    Probed {
        /// Looking at which candidate.
        candidate: CandidateId,
        /// How long.
        probe: Probe,
    },
    /// It is known how much to do.
    Planned {
        /// What to do.
        plan: Plan,
    },
    /// A candidate has one more epoch behind it.
    Trained {
        /// Which.
        candidate: CandidateId,
        /// The new end of its learning curve.
        epoch: Epoch,
    },
    /// Kernels have been tuned.
    Tuned {
        /// Candidates for which this was done.
        group: Vec<CandidateId>,
        /// New latencies.
        latencies: Vec<(CandidateId, Latency)>,
        /// Candidates that cannot be compiled or timed, each with the reason.
        failures: Vec<(CandidateId, String)>,
    },
    /// A candidate cannot be trained, or its training diverged.
    Failed {
        /// Which.
        candidate: CandidateId,
        /// Why.
        reason: String,
    },
    /// Candidates leave the rung before their turn, because time would not suffice for them.
    Cut {
        /// Which.
        candidates: Vec<CandidateId>,
    },
    /// A rung is over.
    Promoted {
        /// Who goes on, the best first.
        survivors: Vec<CandidateId>,
        /// Who does not, the best first.
        dropped: Vec<CandidateId>,
    },
    /// Training is over before its time: what is left of the limit goes to the finalists' latencies.
    Closed {
        /// Who goes on, the best first.
        survivors: Vec<CandidateId>,
        /// Who does not.
        dropped: Vec<CandidateId>,
    },
    /// The finalists' latencies have been confirmed end to end.
    Measured {
        /// Which candidates.
        group: Vec<CandidateId>,
        /// The latencies.
        latencies: Vec<(CandidateId, Latency)>,
        /// Candidates that cannot be timed, each with the reason.
        failures: Vec<(CandidateId, String)>,
    },
    /// The search is over.
    Finished {
        /// Why.
        reason: StopReason,
    },
}

/// Why a search is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// Everything planned is done.
    Completed,
    /// The time limit cut something planned.
    TimeLimit,
    /// No candidate is left.
    NoCandidate,
    /// The time limit left no candidate with an epoch behind it.
    TimeTooShort,
}

/// Where a candidate is in the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// Still in it, or among the finalists at its end.
    Alive,
    /// Others were better.
    Dropped,
    /// Time did not suffice.
    Cut,
    /// It could not be evaluated.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Everything known of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The candidate.
    pub candidate: Candidate,
    /// Where it is in the search.
    pub standing: Standing,
    /// The last rung it entered.
    pub rung: usize,
    /// Learning curve; epoch `i + 1` at index `i`.
    pub curve: Vec<Epoch>,
    /// Tuning curve, with growing numbers of trials.
    pub tuning: Vec<Latency>,
    /// The confirmed latency of a finalist.
    pub measured: Option<Latency>,
}

/// What all events so far add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Every candidate by its id.
    pub candidates: Vec<Trace>,
    /// The baseline, if there is one.
    pub baseline: Option<CandidateId>,
    /// Whether the sample is complete.
    pub sampled: bool,
    /// How long things take, looking at which candidate.
    pub probe: Option<(CandidateId, Probe)>,
    /// How much to do.
    pub plan: Option<Plan>,
    /// Index of the current rung in the plan.
    pub rung: usize,
    /// Who entered the current rung, the best of the rung before first.
    pub members: Vec<CandidateId>,
    /// Seconds spent tuning in the current rung.
    pub rung_tuning: f64,
    /// Whether training ended before its time.
    pub closed: bool,
    /// Whether time cut anything.
    pub cut: bool,
    /// Whether the finalists' latencies are confirmed.
    pub measured: bool,
    /// Why the search is over, if it is.
    pub stop: Option<StopReason>,
    /// Seconds spent. What the baseline and the probe took counts as `other`, so that the rest is the cost of searching.
    pub cost: Cost,
    /// Seconds that the baseline took, by purpose; all of them are in `cost.other` too.
    pub baseline_cost: Cost,
    /// How many processes have worked on the search.
    pub sessions: usize,
}

impl Trace {
    /// Epochs it has behind it.
    pub fn epochs(&self) -> usize {
        self.curve.len()
    }

    /// Trials its kernels have behind them, or nothing if it was never timed.
    pub fn trials(&self) -> Option<usize> {
        self.tuning.last().map(|l| l.trials)
    }

    /// The best knowledge of its latency.
    pub fn latency(&self) -> Option<Latency> {
        self.measured.or(self.tuning.last().copied())
    }

    /// Its accuracy and price, if both are known.
    pub fn point(&self, price: Price) -> Option<Point> {
        let price = match price {
            Price::Latency => self.latency()?.median_ns,
            Price::Flops => self.candidate.description.flops as f64,
        };
        Some(Point { accuracy: self.curve.last()?.accuracy, price })
    }
}

impl State {
    /// The trace of a candidate.
    pub fn trace(&self, id: CandidateId) -> &Trace {
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

    /// Members of the current rung that are still alive: first the baseline if it is one of them, then the best first.
    pub fn alive(&self) -> Vec<CandidateId> {
        let alive = |id: &&CandidateId| self.trace(**id).standing == Standing::Alive;
        self.members.iter().filter(alive).copied().collect()
    }

    /// [`State::alive`] without the baseline.
    pub fn contenders(&self) -> Vec<CandidateId> {
        self.alive().into_iter().filter(|&id| Some(id) != self.baseline).collect()
    }

    /// Adds an event that took `cost`.
    ///
    /// # Errors
    /// If the event does not fit the state, which means that the store is damaged.
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
                self.candidates.push(Trace {
                    candidate: candidate.clone(),
                    standing: Standing::Alive,
                    rung: 0,
                    curve: Vec::new(),
                    tuning: Vec::new(),
                    measured: None,
                });
            }
            Event::Sampled => self.sampled = true,
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
                self.set_standing(candidates, &Standing::Cut);
            }
            Event::Promoted { survivors, dropped } => {
                self.set_standing(dropped, &Standing::Dropped);
                self.enter(self.rung + 1, survivors)?;
            }
            Event::Closed { survivors, dropped } => {
                self.closed = true;
                self.set_standing(dropped, &Standing::Cut);
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

    fn begin(&mut self, plan: &Plan) -> Result<(), String> {
        let first = plan.rungs.first().ok_or("a plan without rungs")?;
        let sample: Vec<CandidateId> =
            self.candidates.iter().map(|t| t.candidate.id).filter(|&id| Some(id) != self.baseline).collect();
        let (members, rest) = sample.split_at(first.size.min(sample.len()));
        self.plan = Some(plan.clone());
        self.cut |= !rest.is_empty() && plan.seconds.is_some();
        self.set_standing(rest, &Standing::Cut);
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

    fn set_standing(&mut self, ids: &[CandidateId], standing: &Standing) {
        for id in ids {
            self.candidates[id.index()].standing = standing.clone();
        }
    }

    fn fail(&mut self, id: CandidateId, reason: &str) {
        self.candidates[id.index()].standing = Standing::Failed { reason: reason.to_string() };
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

impl Event {
    /// The name under which the event is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Opened => "opened",
            Event::Drawn { .. } => "drawn",
            Event::Sampled => "sampled",
            Event::Probed { .. } => "probed",
            Event::Planned { .. } => "planned",
            Event::Trained { .. } => "trained",
            Event::Tuned { .. } => "tuned",
            Event::Failed { .. } => "failed",
            Event::Cut { .. } => "cut",
            Event::Promoted { .. } => "promoted",
            Event::Closed { .. } => "closed",
            Event::Measured { .. } => "measured",
            Event::Finished { .. } => "finished",
        }
    }

    /// The one candidate that the event is about, if it is about one.
    pub fn subject(&self) -> Option<CandidateId> {
        match self {
            Event::Drawn { candidate, .. } => Some(candidate.id),
            Event::Probed { candidate, .. } | Event::Trained { candidate, .. } | Event::Failed { candidate, .. } => {
                Some(*candidate)
            }
            _ => None,
        }
    }

    /// All candidates named that must have been drawn before.
    fn candidates(&self) -> impl Iterator<Item = CandidateId> {
        type Pair<'a, T> = &'a [(CandidateId, T)];
        let none: (&[CandidateId], Pair<'_, Latency>, Pair<'_, String>) = (&[], &[], &[]);
        let (ids, latencies, failures) = match self {
            Event::Tuned { group, latencies, failures } | Event::Measured { group, latencies, failures } => {
                (group.as_slice(), latencies.as_slice(), failures.as_slice())
            }
            Event::Cut { candidates } => (candidates.as_slice(), none.1, none.2),
            Event::Promoted { survivors, dropped } | Event::Closed { survivors, dropped } => {
                return Vec::from_iter(survivors.iter().chain(dropped).copied()).into_iter();
            }
            Event::Drawn { .. } => none,
            _ => return Vec::from_iter(self.subject()).into_iter(),
        };
        let latencies = latencies.iter().map(|(id, _)| *id);
        Vec::from_iter(ids.iter().copied().chain(latencies).chain(failures.iter().map(|(id, _)| *id))).into_iter()
    }
}
