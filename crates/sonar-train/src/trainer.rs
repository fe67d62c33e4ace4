//! The trainer: epoch after epoch of one network on one data set, with a learning curve and checkpoints.
//!
//! What an epoch does follows from the configuration, the state before it and its number alone: the order of images is a permutation drawn
//! from `(seed, epoch)`, each image's distortion is drawn from `(seed, epoch, image)`, and the learning rate is a function of the step. So
//! a run resumed from a checkpoint is bit-equal to one that never stopped, on the same backend.

use crate::backend::{Backend, Executable};
use crate::checkpoint::{self, Header};
use crate::data::augment::Augment;
use crate::data::{Dataset, Part, hex};
use crate::error::{CheckpointProblem, TrainError};
use crate::optimizer::Optimizer;
use crate::rng::Rng;
use crate::train_step::{StateTensor, TrainStep, evaluation, signature, training_step};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sonar_ir::{Graph, Tensor, Values, init};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A loss above this is a run that has broken down: guessing blindly costs `ln(classes)`.
const HOPELESS_LOSS: f32 = 1e4;

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of epochs over which the learning rate falls to 0. A run may be stopped and resumed anywhere before.
    pub epochs: usize,
    /// Images in a step.
    pub batch: usize,
    /// Learning rate of the first step.
    pub rate: f64,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
    /// Seed of initial weights, orders and distortions.
    pub seed: u64,
    /// Distortions of training images.
    pub augment: Augment,
    /// Share of the averaged weights that a step does not replace. What is judged and kept is the exponential moving average of the
    /// weights and running statistics over the steps (Polyak and Juditsky, 1992): while the rate is high, it is much steadier than
    /// the weights. At 0 it is the weights themselves; over the first steps the share grows from there.
    pub average: f64,
    /// How many images make an epoch; all training images if `None` or if there are fewer. Each epoch draws its own.
    pub images_per_epoch: Option<usize>,
}

/// One completed epoch of a learning curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Mean loss of its steps, each before its update.
    pub loss: f64,
    /// Share of its images that were classified rightly, each before its step's update.
    pub accuracy: f64,
    /// Accuracy on the validation images after it, if it was asked for.
    pub validation: Option<f64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Processor seconds that the whole process used meanwhile, where the system tells.
    pub cpu_seconds: Option<f64>,
}

/// Where a run broke down: its loss was not a number, infinite, or beyond hope.
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
    /// The run broke down in it or earlier, and cannot go on. This is a fact about the network, not an error.
    Diverged(Divergence),
}

/// How well a network classifies a part of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Share of the images whose largest logit (the first, where several are equal) is that of their class.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Number of images.
    pub images: usize,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A training run.
///
/// ```
/// use sonar_ir::{Dim, Graph, Init, Op, TensorType};
/// use sonar_train::data::{Dataset, Images};
/// use sonar_train::{Interpreter, Outcome, TrainConfig, Trainer};
///
/// // Two classes of images with one pixel: dark and bright.
/// let images = Images { pixels: vec![10, 240, 20, 250], labels: vec![0, 1, 0, 1] };
/// let data = Dataset::new("pixels", [1, 1, 1], images.clone(), images, 0.0)?;
///
/// let mut graph = Graph::new("linear");
/// let x = graph.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)] });
/// let flat = graph.push(Op::Reshape(vec![Dim::Batch, Dim::Fixed(1)]), &[x])?;
/// let w = graph.param("w", &[1, 2], Init::Uniform);
/// graph.outputs = vec![graph.push(Op::MatMul, &[flat, w])?];
///
/// let config = TrainConfig { epochs: 5, batch: 2, ..TrainConfig::default() };
/// let mut trainer = Trainer::new(&graph, data.into(), config, &Interpreter)?;
/// while !trainer.finished() {
///     assert!(matches!(trainer.train_epoch()?, Outcome::Completed(_)));
/// }
/// assert_eq!(trainer.evaluate(sonar_train::Part::Test)?.accuracy, 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer {
    data: Arc<Dataset>,
    config: TrainConfig,
    run: String,
    layout: TrainStep,
    step: Box<dyn Executable>,
    judge: Box<dyn Executable>,
    state: Vec<Vec<f32>>,
    /// Where a step writes the new state, before the two change places.
    next: Vec<Vec<f32>>,
    /// The averaged parameters.
    average: Vec<Vec<f32>>,
    curve: Vec<Epoch>,
    divergence: Option<Divergence>,
    images: Vec<f32>,
    labels: Vec<f32>,
    logits: Vec<f32>,
}

impl Default for TrainConfig {
    /// The twelve-epoch recipe of NAS-Bench-201.
    fn default() -> Self {
        TrainConfig {
            epochs: 12,
            batch: 256,
            rate: 0.1,
            optimizer: Optimizer::default(),
            seed: 0,
            augment: Augment::default(),
            average: 0.99,
            images_per_epoch: None,
        }
    }
}

impl TrainConfig {
    /// The learning rate of a step (from 0) of an epoch (from 0) of `steps`: half a cosine from [`rate`](Self::rate) to 0
    /// (Loshchilov and Hutter, 2017, without restarts).
    pub fn rate_at(&self, epoch: usize, step: usize, steps: usize) -> f64 {
        let progress = (epoch as f64 + step as f64 / steps.max(1) as f64) / self.epochs.max(1) as f64;
        self.rate * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }
}

impl Trainer {
    /// A new run of a classifier `model` (an inference graph, see [`crate::train_step`]) from its initial weights.
    pub fn new(model: &Graph, data: Arc<Dataset>, config: TrainConfig, backend: &dyn Backend) -> Result<Trainer, TrainError> {
        check(model, &data, &config)?;
        let layout = training_step(model, config.batch, &config.optimizer)?;
        let params = layout.params;
        let step = backend.compile(&layout.graph)?;
        let judge = backend.compile(&evaluation(model, config.batch)?)?;
        let weights = init::params(&model.without_dead_nodes(), config.seed);
        let begin = |tensor: &StateTensor| match weights.get(&tensor.name) {
            Some(weight) if tensor.start.is_none() => weight.data.clone(),
            _ => vec![tensor.start.unwrap_or_default(); tensor.shape.iter().product()],
        };
        let state: Vec<Vec<f32>> = layout.state.iter().map(begin).collect();
        let run = identity(model, &data, &config)?;
        let (images, labels) = (config.batch * data.image_size(), config.batch * data.classes);
        Ok(Trainer {
            data,
            config,
            run,
            layout,
            step,
            judge,
            next: state.clone(),
            average: state[..params].to_vec(),
            state,
            curve: Vec::new(),
            divergence: None,
            images: vec![0.0; images],
            labels: vec![0.0; labels],
            logits: vec![0.0; labels],
        })
    }

    /// Trains one epoch. The last images that do not fill a batch are left out.
    ///
    /// After an error or a divergence the state is that of some step of the epoch: only a checkpoint leads back.
    pub fn train_epoch(&mut self) -> Result<Outcome, TrainError> {
        if let Some(divergence) = self.divergence {
            return Ok(Outcome::Diverged(divergence));
        }
        let (start, cpu_start) = (Instant::now(), cpu_seconds());
        let epoch = self.curve.len();
        let mut order = Rng::new(&[self.config.seed, epoch as u64]).permutation(self.data.part(Part::Train).len());
        if let Some(limit) = self.config.images_per_epoch {
            order.truncate(limit);
        }
        let batches = order.chunks_exact(self.config.batch);
        let steps = batches.len();
        let (mut loss_sum, mut right) = (0.0, 0);
        for (i, batch) in batches.enumerate() {
            let augment = (&self.config.augment, [self.config.seed, epoch as u64]);
            self.data.fill_images(Part::Train, batch, Some(augment), &mut self.images);
            self.data.fill_labels(Part::Train, batch, &mut self.labels);
            let loss = self.take_step(self.config.rate_at(epoch, i, steps) as f32)?;
            if !loss.is_finite() || loss > HOPELESS_LOSS {
                let divergence = Divergence { epoch: epoch + 1, step: i + 1 };
                tracing::warn!(loss, epoch = divergence.epoch, step = divergence.step, "training diverged");
                self.divergence = Some(divergence);
                return Ok(Outcome::Diverged(divergence));
            }
            self.take_average(epoch * steps + i);
            loss_sum += f64::from(loss);
            right += self.count_right(Part::Train, batch);
        }
        let completed = Epoch {
            number: epoch + 1,
            rate: self.config.rate_at(epoch, steps - 1, steps),
            loss: loss_sum / steps as f64,
            accuracy: right as f64 / (steps * self.config.batch) as f64,
            validation: None,
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: cpu_start.and_then(|start| Some(cpu_seconds()? - start)),
        };
        self.curve.push(completed.clone());
        Ok(Outcome::Completed(completed))
    }

    /// Judges the network on a part of the data as it is; batch normalisation uses the running statistics.
    /// An accuracy on the validation images is noted in the last epoch of the curve.
    pub fn evaluate(&mut self, part: Part) -> Result<Evaluation, TrainError> {
        let start = Instant::now();
        let count = self.data.part(part).len();
        if count == 0 {
            return Err(TrainError::Config(format!("there are no {} images to evaluate on", part.name())));
        }
        let order: Vec<u32> = (0..count as u32).collect();
        let (mut loss, mut right) = (0.0, 0);
        for batch in order.chunks(self.config.batch) {
            self.data.fill_images(part, batch, None, &mut self.images);
            let params = self.average.iter().map(Vec::as_slice);
            let inputs: Vec<&[f32]> = std::iter::once(self.images.as_slice()).chain(params).collect();
            self.judge.run(&inputs, &mut [&mut self.logits])?;
            right += self.count_right(part, batch);
            loss += self.cross_entropy(part, batch);
        }
        let accuracy = right as f64 / count as f64;
        if let (Part::Validation, Some(last)) = (part, self.curve.last_mut()) {
            last.validation = Some(accuracy);
        }
        Ok(Evaluation { accuracy, loss: loss / count as f64, images: count, seconds: start.elapsed().as_secs_f64() })
    }

    /// Writes the run to a file, in place of an older one; a crash leaves one or the other.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let numbers: Vec<&[f32]> = self.state.iter().chain(&self.average).map(Vec::as_slice).collect();
        checkpoint::write(path, &Header::new(&self.run, &self.curve, self.divergence, &numbers), &numbers)
    }

    /// Takes up a run that was saved from a trainer of the same network, data and configuration.
    pub fn restore(&mut self, path: &Path) -> Result<(), TrainError> {
        let mut saved = checkpoint::read(path)?;
        let lengths = self.state.iter().chain(&self.average).map(Vec::len);
        let fits = saved.state.iter().map(Vec::len).eq(lengths);
        if saved.header.run != self.run || !fits {
            return Err(TrainError::Checkpoint { path: path.into(), problem: CheckpointProblem::OtherRun });
        }
        self.average = saved.state.split_off(self.state.len());
        self.state = saved.state;
        self.curve = saved.header.curve;
        self.divergence = saved.header.divergence;
        Ok(())
    }

    /// The completed epochs.
    pub fn curve(&self) -> &[Epoch] {
        &self.curve
    }

    /// Whether all epochs of the schedule are done, or the run broke down.
    pub fn finished(&self) -> bool {
        self.curve.len() >= self.config.epochs || self.divergence.is_some()
    }

    /// The parameters of the classifier by name, running statistics among them: what inference needs.
    pub fn weights(&self) -> Values {
        let params = self.layout.state.iter().zip(&self.average);
        params.map(|(tensor, data)| (tensor.name.clone(), Tensor::new(tensor.shape.clone(), data.clone()))).collect()
    }

    /// The data set it learns from.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// Runs one step on the batch in place; returns the loss.
    fn take_step(&mut self, rate: f32) -> Result<f32, TrainError> {
        let (rate, mut loss) = ([rate], [0.0]);
        let given = [self.images.as_slice(), &self.labels, &rate];
        let inputs: Vec<&[f32]> = given.into_iter().chain(self.state.iter().map(Vec::as_slice)).collect();
        let results = [loss.as_mut_slice(), &mut self.logits];
        let mut outputs: Vec<&mut [f32]> = results.into_iter().chain(self.next.iter_mut().map(Vec::as_mut_slice)).collect();
        self.step.run(&inputs, &mut outputs)?;
        std::mem::swap(&mut self.state, &mut self.next);
        Ok(loss[0])
    }

    /// Adds the parameters after step `step` of the run, from 0, to their average.
    fn take_average(&mut self, step: usize) {
        let kept = self.config.average.min(step as f64 / (step as f64 + 9.0)) as f32;
        for (average, now) in self.average.iter_mut().zip(&self.state) {
            for (average, now) in average.iter_mut().zip(now) {
                *average = *now + kept * (*average - *now);
            }
        }
    }

    /// How many of the images of a batch the logits in place classify rightly.
    fn count_right(&self, part: Part, batch: &[u32]) -> usize {
        let labels = &self.data.part(part).labels;
        let rows = self.logits.chunks_exact(self.data.classes);
        batch.iter().zip(rows).filter(|&(&i, row)| largest(row) == Some(usize::from(labels[i as usize]))).count()
    }

    /// The summed cross-entropy of the images of a batch by the logits in place.
    fn cross_entropy(&self, part: Part, batch: &[u32]) -> f64 {
        let labels = &self.data.part(part).labels;
        let rows = self.logits.chunks_exact(self.data.classes);
        let one = |(&i, row): (&u32, &[f32])| {
            let largest = row.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
            let sum: f64 = row.iter().map(|&v| (f64::from(v) - largest).exp()).sum();
            sum.ln() + largest - f64::from(row[usize::from(labels[i as usize])])
        };
        batch.iter().zip(rows).map(one).sum()
    }
}

/// Whether a network fits data and configuration.
pub fn check(model: &Graph, data: &Dataset, config: &TrainConfig) -> Result<(), TrainError> {
    let refuse = |what: String| Err(TrainError::Config(what));
    let signature = signature(model)?;
    let images = data.part(Part::Train).len().min(config.images_per_epoch.unwrap_or(usize::MAX));
    if signature.image != data.image {
        return refuse(format!(
            "the network takes images of {:?} (height, width, channels), but those of {} are {:?}",
            signature.image, data.name, data.image
        ));
    }
    if signature.classes != data.classes {
        return refuse(format!("the network tells {} classes apart, but {} has {}", signature.classes, data.name, data.classes));
    }
    if config.batch == 0 || config.epochs == 0 {
        return refuse("batch and epochs must be at least 1".into());
    }
    if images < config.batch {
        return refuse(format!("an epoch of {images} images does not fill a batch of {}", config.batch));
    }
    if !(0.0..1.0).contains(&config.average) {
        return refuse(format!("the share of the average that is kept must be at least 0 and below 1, found {}", config.average));
    }
    if !config.rate.is_finite() || config.rate <= 0.0 {
        return refuse(format!("the learning rate must be a positive number, found {}", config.rate));
    }
    Ok(())
}

/// A digest of all that determines a run. Operators hold floats and have no hash; their debug form tells everything.
fn identity(model: &Graph, data: &Dataset, config: &TrainConfig) -> Result<String, TrainError> {
    let config = serde_json::to_string(config).map_err(|e| TrainError::Config(e.to_string()))?;
    let mut hash = Sha256::new();
    for part in [format!("{:?}{:?}", model.nodes, model.outputs), data.fingerprint.clone(), config] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hex(&hash.finalize()))
}

/// The first of the largest numbers; `None` if any is not a number.
fn largest(row: &[f32]) -> Option<usize> {
    if row.iter().any(|v| v.is_nan()) {
        return None;
    }
    (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best })
}

/// Processor seconds of this process so far, where `/proc` tells; its clock ticks a hundred times a second on every Linux.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses that may hold anything; user and system time are the 12th and 13th after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}
