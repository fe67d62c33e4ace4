//! The results of a training run: epochs, evaluations, and how an epoch ended.

use serde::{Deserialize, Serialize};

/// One completed epoch of a learning curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean loss of its steps. The loss of a step is computed before its update.
    pub loss: f64,
    /// Share of its images that were classified correctly, each before the update of its step.
    pub accuracy: f64,
    /// Accuracy on the validation images after the epoch, if it was evaluated.
    pub validation: Option<f64>,
    /// Seconds that the epoch took.
    pub seconds: f64,
    /// CPU seconds of the whole process during the epoch, on systems that report them. `None` if the epoch was stopped and
    /// continued.
    pub cpu_seconds: Option<f64>,
}

/// The part of an epoch that is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partial {
    /// Steps that are done.
    pub steps: usize,
    /// Steps of the whole epoch.
    pub of: usize,
    /// Sum of the losses of these steps.
    pub loss_sum: f64,
    /// Number of images of these steps that were classified correctly.
    pub correct: usize,
    /// Seconds that these steps took.
    pub seconds: f64,
}

/// Where a run diverged: its loss was NaN, infinite, or far too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Number of the step in the epoch, from 1.
    pub step: usize,
}

/// How an epoch ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was completed.
    Completed(Epoch),
    /// The run diverged in this epoch or earlier, and cannot continue. This is a property of the network, not an error.
    Diverged(Divergence),
    /// The caller stopped it between two steps. The next call continues it.
    Stopped,
}

/// The accuracy and loss of a network on a part of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Share of the images that are classified correctly. The class of an image is the index of its largest logit, the first
    /// one if several are equal.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Number of images.
    pub images: usize,
    /// Seconds that the evaluation took.
    pub seconds: f64,
}
