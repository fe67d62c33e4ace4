//! What is known about a training: `train.json`, the result in JSON, and the learning curve.

use crate::report::chart::{Chart, PALETTE, Point, Series, Style};
use serde::Serialize;
use serde_json::{Map, Value};
use sonar_train::{Epoch, Evaluation};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A training.
#[derive(Serialize)]
pub struct Document<'a> {
    /// The version of the format.
    pub schema: u32,
    /// The name of the network.
    pub model: &'a str,
    /// The settings by the names of their flags.
    pub settings: &'a Map<String, Value>,
    /// The completed epochs.
    pub epochs: &'a [Epoch],
    /// The number of the epoch whose weights are the best.
    pub best_epoch: Option<usize>,
    /// The best weights on the test images, at the end.
    pub test: Option<Test>,
    /// Where the results are, by what they are.
    pub files: BTreeMap<&'static str, PathBuf>,
}

/// Accuracy and loss on the test images.
#[derive(Clone, Copy, Serialize)]
pub struct Test {
    /// Share of the images that are classified correctly.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Number of images.
    pub images: usize,
}

impl From<Evaluation> for Test {
    fn from(found: Evaluation) -> Test {
        Test { accuracy: found.accuracy, loss: found.loss, images: found.images }
    }
}

impl<'a> Document<'a> {
    /// A training that has not ended.
    pub fn new(model: &'a str, settings: &'a Map<String, Value>, epochs: &'a [Epoch]) -> Document<'a> {
        Document { schema: 1, model, settings, epochs, best_epoch: best(epochs), test: None, files: BTreeMap::new() }
    }

    /// Training and validation accuracy over the epochs.
    pub fn curve_svg(&self) -> String {
        let series = |name: &str, colour, accuracy: &dyn Fn(&Epoch) -> Option<f64>| {
            let point = |epoch: &Epoch| {
                let y = 100.0 * accuracy(epoch)?;
                let tip = format!("epoch {}: {y:.2}%, training loss {:.4}", epoch.number, epoch.loss);
                Some(Point { x: epoch.number as f64, y, tip, ..Point::default() })
            };
            Series { name: name.into(), colour, style: Style::Line, points: self.epochs.iter().filter_map(point).collect() }
        };
        Chart {
            title: format!("Training of {}", self.model),
            x_label: "epoch".into(),
            y_label: "accuracy, %".into(),
            x_log: false,
            y_log: false,
            series: vec![
                series("training", PALETTE[6], &|epoch| Some(epoch.accuracy)),
                series("validation", PALETTE[0], &|epoch| epoch.validation),
            ],
        }
        .svg()
    }
}

/// The number of the epoch with the best validation accuracy, the first one of several. Without validation images it is the
/// last epoch.
pub fn best(epochs: &[Epoch]) -> Option<usize> {
    let validated = epochs.iter().filter_map(|epoch| Some((epoch.validation?, epoch.number)));
    let best = validated.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, number)| number).or_else(|| epochs.last().map(|epoch| epoch.number))
}
