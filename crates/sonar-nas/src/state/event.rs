//! The events of a search, as they are stored.

use crate::candidates::draw::DrawingEnd;
use crate::candidates::measured::{Epoch, Latency, Probe};
use crate::candidates::{Candidate, CandidateId};
use crate::state::plan::Plan;
use serde::{Deserialize, Serialize};

/// An event in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A process has started to work on the search, as the first one or to continue it.
    Opened,
    /// A candidate has entered the sample.
    Drawn {
        /// The candidate; its id is the number of candidates drawn before.
        candidate: Candidate,
        /// Whether it is the baseline: trained and tuned like the finalists for comparison, but never ranked.
        baseline: bool,
    },
    /// Candidates were drawn. Earlier events hold those that were found.
    Sampled {
        /// Number of assignments of the space drawn so far.
        draws: u64,
        /// Why the drawing ended; `None` while it goes on.
        end: Option<DrawingEnd>,
    },
    /// The user gave the search more time or more candidates. Measurements stay known.
    Extended {
        /// The new limit on the number of candidates in the sample.
        candidates: usize,
        /// The new time limit, in seconds.
        seconds: Option<f64>,
    },
    /// The durations of training and timing are known.
    Probed {
        /// The candidate that was probed.
        candidate: CandidateId,
        /// The durations.
        probe: Probe,
    },
    /// There is a plan.
    Planned {
        /// The plan.
        plan: Plan,
    },
    /// A candidate has finished one more epoch.
    Trained {
        /// The candidate.
        candidate: CandidateId,
        /// The new point of its learning curve.
        epoch: Epoch,
    },
    /// Kernels have been tuned.
    Tuned {
        /// The candidates that were tuned.
        group: Vec<CandidateId>,
        /// New latencies.
        latencies: Vec<(CandidateId, Latency)>,
        /// Candidates that cannot be compiled or timed, with the reason.
        failures: Vec<(CandidateId, String)>,
    },
    /// A candidate cannot be trained, or its training diverged.
    Failed {
        /// The candidate.
        candidate: CandidateId,
        /// The reason.
        reason: String,
    },
    /// Candidates leave the rung early, because there is not enough time for them.
    Cut {
        /// The candidates.
        candidates: Vec<CandidateId>,
    },
    /// A rung is over.
    Promoted {
        /// The candidates that continue, the best first.
        survivors: Vec<CandidateId>,
        /// The candidates that are dropped, the best first.
        dropped: Vec<CandidateId>,
    },
    /// Training ends early: the time left is needed for the finalists' latencies.
    Closed {
        /// The candidates that continue, the best first.
        survivors: Vec<CandidateId>,
        /// The candidates that are dropped.
        dropped: Vec<CandidateId>,
    },
    /// The finalists' latencies have been confirmed end to end.
    Measured {
        /// The candidates.
        group: Vec<CandidateId>,
        /// The latencies.
        latencies: Vec<(CandidateId, Latency)>,
        /// Candidates that cannot be timed, with the reason.
        failures: Vec<(CandidateId, String)>,
    },
    /// The search is over.
    Finished {
        /// The reason.
        reason: StopReason,
    },
}

/// Why a search is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// Everything in the plan is done.
    Completed,
    /// The time limit removed a part of the plan.
    TimeLimit,
    /// No candidate is left.
    NoCandidate,
    /// Within the time limit, no candidate finished an epoch.
    TimeTooShort,
}

impl Event {
    /// The name under which the event is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Opened => "opened",
            Event::Drawn { .. } => "drawn",
            Event::Sampled { .. } => "sampled",
            Event::Extended { .. } => "extended",
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

    /// The candidate that the event is about, if there is exactly one.
    pub fn subject(&self) -> Option<CandidateId> {
        match self {
            Event::Drawn { candidate, .. } => Some(candidate.id),
            Event::Probed { candidate, .. } | Event::Trained { candidate, .. } | Event::Failed { candidate, .. } => {
                Some(*candidate)
            }
            _ => None,
        }
    }

    /// All candidates in the event that must have been drawn before.
    pub(super) fn candidates(&self) -> impl Iterator<Item = CandidateId> {
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
