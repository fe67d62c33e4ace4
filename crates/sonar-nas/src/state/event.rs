//! What happens in a search, as it is stored.

use crate::candidates::draw::DrawingEnd;
use crate::candidates::measured::{Epoch, Latency, Probe};
use crate::candidates::{Candidate, CandidateId};
use crate::state::plan::Plan;
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
    /// Candidates were drawn; those found are in events before this one.
    Sampled {
        /// How many assignments of the space were looked at so far.
        draws: u64,
        /// Why the drawing ended; `None` while it goes on.
        end: Option<DrawingEnd>,
    },
    /// The user gave the search more time or asked for more candidates. What was measured stays known.
    Extended {
        /// Candidates in the sample from now on, at most.
        candidates: usize,
        /// Time limit from now on, in seconds.
        seconds: Option<f64>,
    },
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
