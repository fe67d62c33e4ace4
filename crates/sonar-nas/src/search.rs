//! A whole search, from its configuration to its result.

use crate::driver::{self, Observer};
use crate::error::SearchError;
use crate::policy::Policy;
use crate::real::RealEvaluator;
use crate::result::SearchResult;
use crate::store::{self, Store};
use crate::training::Training;
use crate::tuning::Tuning;
use serde::{Deserialize, Serialize};
use sonar_ir::machine::Machine;
use sonar_ir::space::Space;
use sonar_measure::{Measurer, Records, SystemClock};
use sonar_train::data::{FASHION_MNIST, load};
use sonar_train::{Dataset, TrainConfig, trainer};
use sonar_tune::{JitBackend, Target, Tuner, TunerOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// The built-in space: NAS-Bench-201.
pub const NAS_BENCH_201: &str = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");

/// Everything that a search depends on. The default is a search of six minutes on two processors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchConfig {
    /// The space, in the graph language.
    pub space: String,
    /// Parameters of the space. Those that describe images (`height`, `width`, `in`, `classes`) follow from the data where
    /// they are not given.
    pub settings: BTreeMap<String, String>,
    /// The data, as [`load`] takes it.
    pub data: String,
    /// Share of the training images that candidates are judged by.
    pub validation: f64,
    /// How to train; the number of epochs and the seed are those of the policy.
    pub training: TrainConfig,
    /// Threads for training.
    pub threads: usize,
    /// The processor to compile for.
    pub target: String,
    /// Threads of one inference.
    pub latency_threads: usize,
    /// How to search.
    pub policy: Policy,
}

impl Default for SearchConfig {
    fn default() -> Self {
        let settings = [("channels", "8"), ("cells", "1")];
        SearchConfig {
            space: NAS_BENCH_201.to_string(),
            settings: settings.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            data: FASHION_MNIST.to_string(),
            validation: 0.2,
            training: TrainConfig { batch: 64, rate: 0.1, ..TrainConfig::default() },
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            target: "native".to_string(),
            latency_threads: 1,
            policy: Policy::default(),
        }
    }
}

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
        trainer::check(&space.instantiate(&candidate)?, &data, &config.training)?;
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
                schedules: Box::new(|_| None),
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

/// The space of a configuration, fitted to the images of a data set.
pub fn space_for(config: &SearchConfig, data: &Dataset) -> Result<Space, SearchError> {
    let [height, width, channels] = data.image;
    let images = [("height", height), ("width", width), ("in", channels), ("classes", data.classes)];
    let unfitted = Space::parse(&config.space)?;
    let mut settings = config.settings.clone();
    for (name, value) in images {
        if unfitted.parameters().iter().any(|p| p.name == name) {
            settings.entry(name.to_string()).or_insert_with(|| value.to_string());
        }
    }
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Ok(Space::parse_with(&config.space, &settings)?)
}
