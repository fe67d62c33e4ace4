//! The configuration of training, and a check that it fits the network and the data.

use crate::data::augment::Augment;
use crate::data::{Dataset, Part};
use crate::error::TrainError;
use crate::step::optimizer::Optimizer;
use crate::step::signature;
use serde::{Deserialize, Serialize};
use sonar_ir::Graph;

/// The configuration of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainConfig {
    /// Number of epochs over which the learning rate falls to 0. A run may be stopped before that and resumed.
    pub epochs: usize,
    /// Images in a step.
    pub batch: usize,
    /// Learning rate of the first step.
    pub learning_rate: f64,
    /// The update rule.
    pub optimizer: Optimizer,
    /// Seed of initial weights, order of images, and augmentation.
    pub seed: u64,
    /// Random augmentation of training images.
    pub augment: Augment,
    /// Share of each label that is moved to all classes alike (Szegedy et al., 2016), at least 0 and below 1.
    pub label_smoothing: f64,
    /// Decay of the exponential moving average of weights and running statistics over the steps (Polyak and Juditsky, 1992), at
    /// least 0 and below 1. The averaged weights are evaluated and kept: while the learning rate is high, they are much more
    /// stable than the weights themselves. With 0, the average equals the weights. The decay grows to this value over the first
    /// steps.
    pub ema_decay: f64,
    /// Number of images in an epoch. All training images if `None` or if there are fewer. Each epoch draws its own images.
    pub images_per_epoch: Option<usize>,
}

impl Default for TrainConfig {
    /// The twelve-epoch recipe of NAS-Bench-201.
    fn default() -> Self {
        TrainConfig {
            epochs: 12,
            batch: 256,
            learning_rate: 0.1,
            optimizer: Optimizer::default(),
            seed: 0,
            augment: Augment::default(),
            label_smoothing: 0.0,
            ema_decay: 0.99,
            images_per_epoch: None,
        }
    }
}

impl TrainConfig {
    /// The learning rate of a step (from 0) of an epoch (from 0) with `steps` steps: half a cosine from
    /// [`learning_rate`](Self::learning_rate) to 0 (Loshchilov and Hutter, 2017, without restarts).
    pub fn learning_rate_at(&self, epoch: usize, step: usize, steps: usize) -> f64 {
        let progress = (epoch as f64 + step as f64 / steps.max(1) as f64) / self.epochs.max(1) as f64;
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }
}

/// Checks that a network fits the data and the configuration.
pub fn check(model: &Graph, data: &Dataset, config: &TrainConfig) -> Result<(), TrainError> {
    let refuse = |what: String| Err(TrainError::Config(what));
    let signature = signature(model)?;
    let all = data.part(Part::Train).len();
    let images = all.min(config.images_per_epoch.unwrap_or(usize::MAX));
    if signature.image != data.image {
        return refuse(format!(
            "the network takes images of {:?} (height, width, channels), but those of {} are {:?}",
            signature.image, data.name, data.image
        ));
    }
    if signature.classes != data.classes {
        return refuse(format!("the network has {} classes, but {} has {}", signature.classes, data.name, data.classes));
    }
    if config.batch == 0 || config.epochs == 0 {
        return refuse("`batch` and `epochs` must be at least 1".into());
    }
    if all < config.batch {
        return refuse(format!("{} has {all} training images, fewer than `batch` = {}", data.name, config.batch));
    }
    if images < config.batch {
        return refuse(format!("`images-per-epoch` = {images} is less than `batch` = {}", config.batch));
    }
    for (name, share) in [("ema-decay", config.ema_decay), ("label-smoothing", config.label_smoothing)] {
        if !(0.0..1.0).contains(&share) {
            return refuse(format!("`{name}` must be at least 0 and below 1, found {share}"));
        }
    }
    if !config.learning_rate.is_finite() || config.learning_rate <= 0.0 {
        return refuse(format!("`learning-rate` must be a positive number, found {}", config.learning_rate));
    }
    Ok(())
}
