//! A whole search, from its configuration to its result.

use crate::config::{SearchConfig, space_for};
use crate::driver::{self, Observer};
use crate::error::SearchError;
use crate::executors::Watch;
use crate::executors::real::RealEvaluator;
use crate::executors::training::Training;
use crate::executors::tuning::{KEPT, LoweredCandidates, Tuning};
use crate::results::SearchResult;
use crate::state::store::{self, Store};
use sonar_ir::machine::Machine;
use sonar_measure::{Measurer, Records, SystemClock};
use sonar_train::data::load;
use sonar_train::{TrainConfig, trainer};
use sonar_tune::{JitBackend, Target, Tuner, TunerOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// A search that has ended, now or in an earlier session.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Its result.
    pub result: SearchResult,
    /// Whether there was nothing left to do: the run was over and got no more time or candidates.
    pub was_over: bool,
}

/// The surroundings of a search.
pub struct Session<'a> {
    /// The run directory. An existing run is continued.
    pub dir: &'a Path,
    /// Whether to delete an existing run first.
    pub fresh: bool,
    /// The machine parameters for time estimates.
    pub machine: &'static Machine,
    /// Times kernels.
    pub measurer: Box<dyn Measurer>,
    /// Called often, also during long steps. Says whether to continue.
    pub watch: &'a Watch<'a>,
    /// Called for every event.
    pub observer: &'a mut Observer<'a>,
}

/// Runs a search, or continues the one in the run directory. A search that is over returns its result again.
///
/// # Errors
/// See [`SearchError`]. After [`SearchError::Interrupted`], the same call continues where the search was stopped.
pub fn search(
    config: &SearchConfig,
    Session { dir, fresh, machine, measurer, watch, observer }: Session<'_>,
) -> Result<Ended, SearchError> {
    let begun = Instant::now();
    // A wrong configuration is refused before an old run is deleted.
    driver::check(&config.policy)?;
    let data = load(&config.data, config.validation)?;
    let space = space_for(config, &data)?;
    if let Some(candidate) = space.baseline().cloned().or_else(|| space.nth(0)) {
        trainer::config::check(&space.instantiate(&candidate)?, &data, &config.training)?;
    }
    let target = Target::parse(&config.target).map_err(sonar_tune::TuneError::from)?;
    if config.threads == 0 || config.latency_threads == 0 {
        return Err(SearchError::Config("`threads` and `latency-threads` must be at least 1".to_string()));
    }
    if !target.runs_here() {
        return Err(SearchError::Config(format!("this machine cannot run code for {}", config.target)));
    }
    let snapshot = serde_json::to_value(config).map_err(|e| SearchError::Config(e.to_string()))?;

    let (store, mut state) = Store::open(dir, &snapshot, fresh)?;
    let was_over = state.stop.is_some();
    if !was_over {
        let options = TunerOptions {
            machine,
            threads: config.latency_threads,
            seed: config.policy.seed,
            ..TunerOptions::new(target.clone())
        };
        // The same as in the command `tune`, so that the records of both have the same conditions.
        let options = options.overlapping();
        let records = Records::open(&store::records(dir))?;
        let mut evaluator = RealEvaluator {
            space,
            training: Training {
                data: data.into(),
                config: TrainConfig { seed: config.policy.seed, ..config.training.clone() },
                checkpoints: store::checkpoints(dir),
            },
            backend: Box::new(JitBackend {
                target: target.clone(),
                machine,
                threads: config.threads,
                schedules: Box::new(|_| Ok(None)),
            }),
            tuning: Tuning {
                lowered: LoweredCandidates::new(KEPT),
                tuner: Tuner::new(options, measurer, records, Box::new(SystemClock::default())),
                target,
                machine,
                threads: config.latency_threads,
                settling: settling(config.policy.seconds),
                seed: config.policy.seed,
            },
            threads: config.threads,
        };
        let clock = || begun.elapsed().as_secs_f64();
        state = driver::run(&config.policy, &mut evaluator, &clock, watch, store, state, observer)?;
    }
    let result = SearchResult::new(&config.policy, snapshot, &state).valid()?;
    Ok(Ended { result, was_over })
}

/// Time to decide the graph and the schedules of one finalist: two seconds, and less in a search of less than 400.
fn settling(limit: Option<f64>) -> Duration {
    Duration::from_secs_f64(limit.map_or(2.0, |seconds| (seconds / 200.0).min(2.0)))
}

/// The configuration of the run in a directory, if there is one.
pub fn configuration(dir: &Path) -> Result<Option<SearchConfig>, SearchError> {
    let Some((snapshot, _)) = store::read(dir)? else { return Ok(None) };
    parse(dir, snapshot).map(Some)
}

/// The result of the run in a directory, if there is one. A running search has a result too: what is known so far. Takes no
/// lock.
pub fn result(dir: &Path) -> Result<Option<SearchResult>, SearchError> {
    let Some((snapshot, state)) = store::read(dir)? else { return Ok(None) };
    let config = parse(dir, snapshot.clone())?;
    Ok(Some(SearchResult::new(&config.policy, snapshot, &state)))
}

fn parse(dir: &Path, snapshot: serde_json::Value) -> Result<SearchConfig, SearchError> {
    let corrupt = |e: serde_json::Error| SearchError::Corrupt { path: dir.to_path_buf(), reason: e.to_string() };
    serde_json::from_value(snapshot).map_err(corrupt)
}
