//! Options of `train`.

use super::values::{parse_count, parse_duration, parse_nonnegative, parse_positive, parse_share, parse_threads};
use super::{Format, ModelArgs};
use clap::{Args, ValueEnum};
use sonar_train::data::FASHION_MNIST;
use sonar_train::data::augment::Augment;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `train`. The settings have the names of `[training]` in the configuration file of `search`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Images: `fashion-mnist` (a built-in part of it), a folder of IDX files, or one of the binary batches of CIFAR-10 or
    /// CIFAR-100
    #[arg(long, env = "SONAR_DATA", default_value = FASHION_MNIST)]
    pub data: String,
    /// Epochs over which the learning rate falls to 0
    #[arg(long, default_value_t = 12, value_parser = parse_count)]
    pub epochs: usize,
    /// Images in a step
    #[arg(long, default_value_t = 64, value_parser = parse_count)]
    pub batch: usize,
    /// The update rule: SGD with Nesterov momentum of 0.9, or AdamW
    #[arg(long, value_enum, default_value_t)]
    pub optimizer: Rule,
    /// Learning rate of the first step [default: 0.1 for sgd, 0.001 for adamw]
    #[arg(long, value_parser = parse_positive)]
    pub learning_rate: Option<f64>,
    /// Weight decay [default: 0.0005 for sgd, 0.01 for adamw]
    #[arg(long, value_parser = parse_nonnegative)]
    pub weight_decay: Option<f64>,
    /// Share of each label that is moved to all classes alike
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    pub label_smoothing: f64,
    /// Decay of the moving average of the weights. The averaged weights are validated and written
    #[arg(long, default_value_t = 0.99, value_parser = parse_share)]
    pub ema_decay: f64,
    /// Images in an epoch [default: all training images]
    #[arg(long, value_parser = parse_count)]
    pub images_per_epoch: Option<usize>,
    /// Random changes of training images: `none`, or a list of `flip`, `crop=PIXELS` and `cutout=PIXELS`
    #[arg(long, default_value_t = Augment::default())]
    pub augment: Augment,
    /// Share of the training images that is kept for validation
    #[arg(long, default_value_t = 0.1, value_parser = parse_share)]
    pub validation: f64,
    /// Seed of initial weights, order of images, and augmentation
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Initial weights: a `.safetensors` or `.npz` file, or a raw f32 file in the order of the parameters [default: the weights of
    /// the ONNX file, or random]
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Where to write weights, learning curve and checkpoint [default: runs/NAME, by the name of MODEL]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Time limit, such as 90s, 10m or 2h. Training ends there, and a longer time goes on with it [default: none]
    #[arg(long, value_parser = parse_duration)]
    pub time: Option<Duration>,
    /// Threads [default: all threads of the machine]
    #[arg(long, value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// Delete an earlier training in the same directory, and start again
    #[arg(long)]
    pub fresh: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// An update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Rule {
    /// Stochastic gradient descent with Nesterov momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay.
    #[value(name = "adamw")]
    AdamW,
}
