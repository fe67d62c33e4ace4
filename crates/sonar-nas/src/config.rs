//! The configuration of a search: the space, the data, the training, and the search policy.

use crate::error::SearchError;
use crate::policy::Policy;
use serde::{Deserialize, Serialize};
use sonar_ir::space::Space;
use sonar_train::data::FASHION_MNIST;
use sonar_train::{Dataset, TrainConfig};
use std::collections::BTreeMap;

/// The built-in space: NAS-Bench-201.
pub const NAS_BENCH_201: &str = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");

/// Everything that a search depends on. The default search takes six minutes on two processors.
///
/// The serialised form uses the names of the command line and of the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SearchConfig {
    /// The space, in the graph language.
    pub space: String,
    /// Parameters of the space. Those that describe images (`height`, `width`, `in`, `classes`) are taken from the data if they
    /// are not given.
    #[serde(rename = "set")]
    pub settings: BTreeMap<String, String>,
    /// The data: an argument of [`load`].
    pub data: String,
    /// Share of the training images that is used to validate candidates.
    pub validation: f64,
    /// How to train. The policy sets the number of epochs and the seed.
    pub training: TrainConfig,
    /// Threads for training.
    pub threads: usize,
    /// The processor to compile for.
    pub target: String,
    /// Threads of one inference.
    pub latency_threads: usize,
    /// How to search.
    #[serde(flatten)]
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
            training: TrainConfig { batch: 64, learning_rate: 0.1, ..TrainConfig::default() },
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            target: "native".to_string(),
            latency_threads: 1,
            policy: Policy::default(),
        }
    }
}

/// The space of a configuration, adapted to the images of a data set.
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
