//! Records of older versions, which stored everything as a trial. A verdict was a trial with `confirmed` set. The graph of a
//! network was the schedule of a trial.

use super::database::{bits, checksum, key_checksum};
use super::record::{Contender, Key, NetworkRecord, Record, Setting, Trial, Verdict};
use crate::timing::job::Outcome;
use crate::timing::stats;
use serde::{Deserialize, Serialize};
use sonar_ir::text::parse_graph;

/// A trial of versions 1 and 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OldTrial {
    #[serde(flatten)]
    pub key: Key,
    pub schedule: String,
    pub outcome: Outcome,
    pub confirmed: bool,
    pub seconds: f64,
    pub at: f64,
}

/// The result of converting old trials.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BroughtUp {
    /// The equivalent records.
    pub records: Vec<Record>,
    /// Number of trials whose schedule or graph does not parse.
    pub unreadable: usize,
}

/// The checksum of a trial of version 2, given the text of its outcome as it is stored.
pub fn old_checksum(trial: &OldTrial, outcome: &str) -> i64 {
    let numbers = format!("{} {:x} {:x}", trial.confirmed, bits(trial.seconds), bits(trial.at));
    checksum(&[&format!("{:x}", key_checksum(&trial.key)), &trial.schedule, outcome, &numbers])
}

/// Converts old trials, in the order in which they were added, to records.
pub fn bring_up(trials: Vec<OldTrial>) -> BroughtUp {
    let mut up = BroughtUp::default();
    // For each key, in order of appearance: the latest trial of each schedule that was ever confirmed.
    let mut compared: Vec<(Key, Vec<OldTrial>)> = Vec::new();
    for trial in trials {
        if trial.schedule.starts_with("graph ") {
            let samples = trial.outcome.samples().unwrap_or_default().to_vec();
            match parse_graph(&trial.schedule) {
                Ok(graph) => {
                    let network = NetworkRecord { key: trial.key, graph, samples, won: trial.confirmed, at: trial.at };
                    up.records.push(Record::Network(network));
                }
                Err(_) => up.unreadable += 1,
            }
            continue;
        }
        let Ok(schedule) = trial.schedule.parse() else {
            up.unreadable += 1;
            continue;
        };
        let position = compared.iter().position(|(key, _)| *key == trial.key).unwrap_or_else(|| {
            compared.push((trial.key.clone(), Vec::new()));
            compared.len() - 1
        });
        let latest = &mut compared[position].1;
        match latest.iter_mut().find(|known| known.schedule == trial.schedule) {
            Some(known) if trial.at >= known.at => *known = trial.clone(),
            Some(_) => {}
            None => latest.push(trial.clone()),
        }
        if !trial.confirmed {
            let OldTrial { key, outcome, seconds, at, .. } = trial;
            up.records.push(Record::Trial(Trial { key, schedule, outcome, seconds, at }));
        }
    }
    up.records.extend(compared.into_iter().filter_map(|(key, latest)| verdict(key, &latest)).map(Record::Verdict));
    up
}

/// The verdict of the latest trials of a key's schedules. Confirmed schedules were compared with each other.
fn verdict(key: Key, latest: &[OldTrial]) -> Option<Verdict> {
    let confirmed = latest.iter().filter(|trial| trial.confirmed && trial.outcome.time().is_some());
    let contender = |trial: &&OldTrial| {
        let samples = trial.outcome.samples().unwrap_or_default().to_vec();
        Some(Contender { schedule: trial.schedule.parse().ok()?, samples })
    };
    let trials: Vec<&OldTrial> = confirmed.collect();
    let mut contenders: Vec<Contender> = trials.iter().filter_map(contender).collect();
    contenders.sort_by(|a, b| stats::median(&a.samples).total_cmp(&stats::median(&b.samples)));
    let seconds = trials.iter().map(|trial| trial.seconds).sum();
    let at = trials.iter().map(|trial| trial.at).fold(f64::NEG_INFINITY, f64::max);
    (!contenders.is_empty()).then_some(Verdict { key, setting: Setting::Alone, contenders, seconds, at })
}
