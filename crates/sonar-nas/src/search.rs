//! A whole search, from its configuration to its result.

use crate::config::{SearchConfig, space_for};
use crate::driver::{self, Observer};
use crate::error::SearchError;
use crate::executors::real::RealEvaluator;
use crate::executors::training::Training;
use crate::executors::tuning::Tuning;
use crate::results::SearchResult;
use crate::state::store::{self, Store};
use sonar_ir::machine::Machine;
use sonar_measure::{Measurer, Records, SystemClock};
use sonar_train::data::load;
use sonar_train::{TrainConfig, trainer};
use sonar_tune::{JitBackend, Target, Tuner, TunerOptions};
use std::path::Path;
use std::time::Instant;

/// Runs the search in the run directory `dir`, or goes on with the one that is there; with `fresh`, starts over. Kernels are
/// timed by `measurer`; what was not timed is estimated for `machine`. A search that is over gives its result again.
pub fn search(
    config: &SearchConfig,
    dir: &Path,
    fresh: bool,
    machine: &'static Machine,
    measurer: Box<dyn Measurer>,
    observer: &mut Observer<'_>,
) -> Result<SearchResult, SearchError> {
    let begun = Instant::now();
    // Whatever is wrong with the configuration shows before an old run is removed.
    driver::check(&config.policy)?;
    let data = load(&config.data, config.validation)?;
    let space = space_for(config, &data)?;
    if let Some(candidate) = space.baseline().cloned().or_else(|| space.nth(0)) {
        trainer::config::check(&space.instantiate(&candidate)?, &data, &config.training)?;
    }
    let target = Target::parse(&config.target).map_err(sonar_tune::TuneError::from)?;
    if config.threads == 0 || config.latency_threads == 0 {
        return Err(SearchError::Config("the number of threads is at least 1".to_string()));
    }
    if !target.runs_here() {
        return Err(SearchError::Config(format!("this machine cannot run code for {}", config.target)));
    }
    let snapshot = serde_json::to_value(config).map_err(|e| SearchError::Config(e.to_string()))?;

    let (store, mut state) = Store::open(dir, &snapshot, fresh)?;
    if state.stop.is_none() {
        let options = TunerOptions {
            machine,
            threads: config.latency_threads,
            seed: config.policy.seed,
            ..TunerOptions::new(target.clone())
        };
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
                tuner: Tuner::new(options, measurer, records, Box::new(SystemClock::default())),
                target,
                machine,
                threads: config.latency_threads,
                seed: config.policy.seed,
            },
        };
        let clock = || begun.elapsed().as_secs_f64();
        state = driver::run(&config.policy, &mut evaluator, &clock, store, state, observer)?;
    }
    SearchResult::new(&config.policy, snapshot, &state).valid()
}

/// The configuration of the run in a directory, if there is one: what to go on with.
pub fn configuration(dir: &Path) -> Result<Option<SearchConfig>, SearchError> {
    let Some((snapshot, _)) = store::read(dir)? else { return Ok(None) };
    parse(dir, snapshot).map(Some)
}

/// The result of the run in a directory, if there is one; of a search that is not over, what it knows. Takes no lock.
pub fn result(dir: &Path) -> Result<Option<SearchResult>, SearchError> {
    let Some((snapshot, state)) = store::read(dir)? else { return Ok(None) };
    let config = parse(dir, snapshot.clone())?;
    Ok(Some(SearchResult::new(&config.policy, snapshot, &state)))
}

fn parse(dir: &Path, snapshot: serde_json::Value) -> Result<SearchConfig, SearchError> {
    let corrupt = |e: serde_json::Error| SearchError::Corrupt { path: dir.to_path_buf(), reason: e.to_string() };
    serde_json::from_value(snapshot).map_err(corrupt)
}
