//! The settings of a training, by the names of their flags. They are written to `train.json`. A training goes on only with
//! equal settings, because its weights depend on them.

use crate::args::{Rule, TrainArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use serde_json::{Map, Value, json};
use sonar_train::{Optimizer, TrainConfig};
use std::path::Path;

/// The largest `train.json` that is read, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;

/// The settings of a training.
pub struct Settings {
    /// For the trainer.
    pub config: TrainConfig,
    /// Number of threads. Sums may be split between threads, so the last bits of weights may depend on it.
    pub threads: usize,
    /// All of them by name.
    pub named: Map<String, Value>,
}

impl Settings {
    /// The settings of the command line.
    pub fn new(args: &TrainArgs) -> Settings {
        let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let (rule, learning_rate, weight_decay) = match args.optimizer {
            Rule::Sgd => ("sgd", 0.1, 5e-4),
            Rule::AdamW => ("adamw", 1e-3, 0.01),
        };
        let learning_rate = args.learning_rate.unwrap_or(learning_rate);
        let weight_decay = args.weight_decay.unwrap_or(weight_decay);
        let optimizer = match args.optimizer {
            Rule::Sgd => Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay },
            Rule::AdamW => Optimizer::AdamW { betas: [0.9, 0.999], eps: 1e-8, weight_decay },
        };
        let config = TrainConfig {
            epochs: args.epochs,
            batch: args.batch,
            learning_rate,
            optimizer,
            seed: args.seed,
            augment: args.augment,
            label_smoothing: args.label_smoothing,
            ema_decay: args.ema_decay,
            images_per_epoch: args.images_per_epoch,
        };
        let shapes: Vec<String> = args.model.shapes.iter().map(|(name, shape)| format!("{name}={shape:?}")).collect();
        let path = |path: &Path| path.display().to_string();
        let named = [
            ("model", json!(path(&args.model.model))),
            ("shape", json!(shapes)),
            ("arch", json!(args.model.arch)),
            ("set", json!(args.model.set)),
            ("data", json!(args.data)),
            ("epochs", json!(args.epochs)),
            ("batch", json!(args.batch)),
            ("optimizer", json!(rule)),
            ("learning-rate", json!(learning_rate)),
            ("weight-decay", json!(weight_decay)),
            ("label-smoothing", json!(args.label_smoothing)),
            ("ema-decay", json!(args.ema_decay)),
            ("images-per-epoch", json!(args.images_per_epoch)),
            ("augment", json!(args.augment.to_string())),
            ("validation", json!(args.validation)),
            ("seed", json!(args.seed)),
            ("init", json!(args.init.as_deref().map(path))),
            ("threads", json!(threads)),
        ];
        Settings { config, threads, named: named.into_iter().map(|(name, value)| (name.to_string(), value)).collect() }
    }

    /// Refuses to go on with the training that `file` describes if its settings are others.
    pub fn check_equal(&self, file: &Path) -> Result<(), Failure> {
        let text = sonar_files::read(file, MAX_DOCUMENT).or_exit(Exit::BadInput)?;
        let document: Result<Value, _> = serde_json::from_slice(&text);
        let Some(earlier) = document.ok().and_then(|d| d.get("settings").and_then(Value::as_object).cloned()) else {
            let message = format!("{} does not describe a training; --fresh deletes it and starts again", file.display());
            return Err(fail(Exit::BadInput, message));
        };
        let describe = |(name, value): (&String, &Value)| match earlier.get(name).unwrap_or(&Value::Null) {
            was if was == value => None,
            was => Some(format!("`{name}` was {was} and is {value}")),
        };
        let others: Vec<String> = self.named.iter().filter_map(describe).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(fail(
            Exit::BadInput,
            format!(
                "{} holds a training with other settings: {}. Give the same settings to go on, another --out, or --fresh \
                 to delete it and start again",
                file.parent().unwrap_or(file).display(),
                others.join(", ")
            ),
        ))
    }
}
