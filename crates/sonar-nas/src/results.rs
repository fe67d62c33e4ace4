//! The result of a search, for people and programs. The JSON form has the version [`SCHEMA`].

use crate::candidates::CandidateId;
use crate::candidates::measured::{Cost, Epoch, Latency};
use crate::error::SearchError;
use crate::pareto::{Point, front};
use crate::policy::{Algorithm, Objective, Policy};
use crate::state::State;
use crate::state::event::StopReason;
use crate::state::history::{CandidateHistory, Reached, Status};
use crate::state::plan::Rung;
use crate::strategy::forecast::least_seconds;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Version of the JSON form.
pub const SCHEMA: u32 = 1;

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    /// Version of this form.
    pub schema: u32,
    /// The algorithm of the search.
    pub algorithm: Algorithm,
    /// The objective of the search.
    pub objective: Objective,
    /// Seed of the sample.
    pub seed: u64,
    /// Why the search is over. `None` while it is running.
    pub stop: Option<StopReason>,
    /// The architecture to use if only one is wanted. It is the most accurate of the front that is at least as good as the
    /// baseline in both objectives, or else the most accurate of the front. It is the baseline only if there is no other.
    pub winner: Option<String>,
    /// The architectures that no other dominates, the fastest first. The baseline is included if no other dominates it.
    pub front: Vec<Architecture>,
    /// The hand-made architecture, trained, tuned and measured like the finalists.
    pub baseline: Option<Architecture>,
    /// Every candidate, including the baseline, with all its measurements.
    pub candidates: Vec<CandidateRecord>,
    /// The rungs as planned.
    pub rungs: Vec<Rung>,
    /// Seconds for each purpose. Time spent on the baseline and on the probe counts as `other`.
    pub cost: TotalCost,
    /// The part of `cost.other` spent on the baseline, for each purpose.
    pub baseline_cost: Cost,
    /// Number of processes that have worked on the search.
    pub sessions: usize,
    /// How often the search was given more time or more candidates.
    pub extensions: usize,
    /// Approximate seconds of the shortest search that gives a result, if known.
    pub least_seconds: Option<f64>,
    /// The configuration of the search.
    pub config: Value,
}

/// One architecture with its objectives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Its name within the search.
    pub architecture: String,
    /// Whether it is the baseline.
    pub baseline: bool,
    /// The choice made for each decision of the space.
    pub decisions: BTreeMap<String, String>,
    /// Accuracy on the validation set.
    pub accuracy: f64,
    /// Number of training epochs.
    pub epochs: usize,
    /// Time of one inference.
    pub latency: LatencyMicros,
    /// Number of trained parameters.
    pub parameters: u64,
    /// Floating-point operations of one inference.
    pub flops: u64,
    /// Index of the last rung it reached.
    pub rung: usize,
}

/// A latency with its confidence interval, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyMicros {
    /// Median.
    pub median_us: f64,
    /// Lower end of the interval.
    pub low_us: f64,
    /// Upper end of the interval.
    pub high_us: f64,
    /// Schedules tried for each kernel.
    pub trials: usize,
}

/// All measurements of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// Its name within the search.
    pub architecture: String,
    /// Whether it is the baseline.
    pub baseline: bool,
    /// The indices of its choices.
    pub assignment: Vec<usize>,
    /// The choice made for each decision of the space.
    pub decisions: BTreeMap<String, String>,
    /// Equal for architectures that compute the same function.
    pub key: String,
    /// Number of trained parameters.
    pub parameters: u64,
    /// Floating-point operations of one inference.
    pub flops: u64,
    /// How the search ended for it.
    #[serde(flatten)]
    pub status: Status,
    /// Index of the last rung it reached.
    pub rung: usize,
    /// Learning curve.
    pub curve: Vec<Epoch>,
    /// Tuning curve.
    pub tuning: Vec<LatencyMicros>,
    /// The latency confirmed end to end, for finalists.
    pub measured: Option<LatencyMicros>,
}

/// Wall-clock seconds of a search; the parts add up to the total.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TotalCost {
    /// The parts.
    #[serde(flatten)]
    pub parts: Cost,
    /// Their sum.
    pub total: f64,
}

impl SearchResult {
    /// The result for a state. A running search has a result too: the front of what is known so far.
    pub fn new(policy: &Policy, config: Value, state: &State) -> SearchResult {
        let known: Vec<(CandidateId, Point)> = state
            .candidates
            .iter()
            .filter_map(|history| Some((history.candidate.id, point(&history.reached(state.horizon)?))))
            .filter(|(_, point)| within(policy.objective, point))
            .collect();
        let points: Vec<Point> = known.iter().map(|(_, point)| *point).collect();
        let front: Vec<Architecture> = front(&points).into_iter().filter_map(|i| architecture(state, known[i].0)).collect();
        let baseline = state.baseline.and_then(|id| architecture(state, id));
        SearchResult {
            schema: SCHEMA,
            algorithm: policy.algorithm,
            objective: policy.objective,
            seed: policy.seed,
            stop: state.stop,
            winner: winner(&front, baseline.as_ref()),
            front,
            baseline,
            candidates: state.candidates.iter().map(|t| record(state, t)).collect(),
            rungs: state.plan.as_ref().map_or(Vec::new(), |p| p.rungs.clone()),
            cost: TotalCost { parts: state.cost, total: state.cost.total() },
            baseline_cost: state.baseline_cost,
            sessions: state.sessions,
            extensions: state.extensions,
            least_seconds: least_seconds(policy, state),
            config,
        }
    }

    /// The result, or an error if the search is over and found nothing.
    pub fn valid(self) -> Result<SearchResult, SearchError> {
        match self.stop {
            Some(StopReason::TimeTooShort) if self.front.is_empty() => {
                Err(SearchError::TimeTooShort { needed: self.least_seconds.map(f64::ceil) })
            }
            Some(_) if self.front.is_empty() => Err(SearchError::NoCandidate(self.why_none())),
            _ => Ok(self),
        }
    }

    fn why_none(&self) -> String {
        let failures: Vec<&str> = self
            .candidates
            .iter()
            .filter_map(|c| match &c.status {
                Status::Failed { reason } => Some(reason.as_str()),
                _ => None,
            })
            .collect();
        match (self.objective, failures.first()) {
            (_, Some(first)) if failures.len() == self.candidates.len() => format!("all failed, the first because {first}"),
            (Objective::LatencyLimit { ns }, _) => {
                let limit = ns / 1e3;
                match self.fastest() {
                    Some((name, us)) => {
                        format!("none meets `latency-limit` = {limit} µs; the fastest that was timed is {name} with {us:.2} µs")
                    }
                    None => format!("none meets `latency-limit` = {limit} µs; none was timed"),
                }
            }
            (Objective::Pareto, Some(first)) => format!("{} failed, the first because {first}", failures.len()),
            (Objective::Pareto, None) => "no finalist was trained and timed".to_string(),
        }
    }
}

impl SearchResult {
    /// The candidate with the smallest latency, and that latency in microseconds.
    fn fastest(&self) -> Option<(&str, f64)> {
        let timed =
            self.candidates.iter().filter_map(|c| Some((c.architecture.as_str(), c.measured.or(c.tuning.last().copied())?)));
        timed.map(|(name, latency)| (name, latency.median_us)).min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

impl From<Latency> for LatencyMicros {
    fn from(latency: Latency) -> Self {
        LatencyMicros {
            median_us: latency.median_ns / 1e3,
            low_us: latency.low_ns / 1e3,
            high_us: latency.high_ns / 1e3,
            trials: latency.trials,
        }
    }
}

fn point(reached: &Reached) -> Point {
    Point { accuracy: reached.accuracy, cost: reached.latency.median_ns }
}

fn within(objective: Objective, point: &Point) -> bool {
    match objective {
        Objective::Pareto => true,
        Objective::LatencyLimit { ns } => point.cost <= ns,
    }
}

fn winner(front: &[Architecture], baseline: Option<&Architecture>) -> Option<String> {
    let matches =
        |a: &Architecture| baseline.is_none_or(|b| a.accuracy >= b.accuracy && a.latency.median_us <= b.latency.median_us);
    let rank = |a: &&Architecture| (!a.baseline, matches(a));
    let best = front.iter().max_by(|a, b| rank(a).cmp(&rank(b)).then(a.accuracy.total_cmp(&b.accuracy)));
    best.map(|a| a.architecture.clone())
}

fn architecture(state: &State, id: CandidateId) -> Option<Architecture> {
    let history = state.history(id);
    let description = &history.candidate.description;
    let reached = history.reached(state.horizon)?;
    Some(Architecture {
        architecture: name(state, id),
        baseline: state.baseline == Some(id),
        decisions: description.decisions.iter().cloned().collect(),
        accuracy: reached.accuracy,
        epochs: reached.epochs,
        latency: reached.latency.into(),
        parameters: description.parameters,
        flops: description.flops,
        rung: history.rung,
    })
}

fn record(state: &State, history: &CandidateHistory) -> CandidateRecord {
    let CandidateHistory { candidate, status, rung, curve, tuning, measured, reached: _ } = history;
    CandidateRecord {
        architecture: name(state, candidate.id),
        baseline: state.baseline == Some(candidate.id),
        assignment: candidate.assignment.0.clone(),
        decisions: candidate.description.decisions.iter().cloned().collect(),
        key: candidate.description.key.clone(),
        parameters: candidate.description.parameters,
        flops: candidate.description.flops,
        status: status.clone(),
        rung: *rung,
        curve: curve.clone(),
        tuning: tuning.iter().map(|&l| l.into()).collect(),
        measured: measured.map(LatencyMicros::from),
    }
}

fn name(state: &State, id: CandidateId) -> String {
    if state.baseline == Some(id) { "baseline".to_string() } else { id.to_string() }
}
