//! The trainer: epoch after epoch of one network on one data set, with a learning curve and checkpoints.
//!
//! An epoch depends only on the configuration, the state before it and its number. The order of images is a permutation drawn
//! from `(seed, epoch)`. The augmentation of an image is drawn from `(seed, epoch, image)`. The learning rate is a function of
//! the step. So a run that is resumed from a checkpoint gives the same bits as an uninterrupted run on the same backend.

mod checkpoint;
pub mod config;
pub mod curve;

use crate::backend::{Backend, Executable};
use crate::data::{Dataset, Part, hex};
use crate::error::{CheckpointProblem, TrainError};
use crate::rng::Rng;
use crate::step::{StateTensor, TrainStep, evaluation, training_step};
use checkpoint::Header;
use config::{TrainConfig, check};
use curve::{Divergence, Epoch, Evaluation, Outcome, Partial};
use sha2::{Digest, Sha256};
use sonar_ir::graph::init;
use sonar_ir::{Graph, Tensor, Values};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A run with a loss above this value has diverged. For comparison: guessing has a loss of `ln(classes)`.
const DIVERGED_LOSS: f32 = 1e4;
/// At first, the moving average of the weights decays by `step / (step + this)`, until that reaches the configured decay.
const EMA_WARM_UP: f64 = 9.0;

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
    evaluation: Box<dyn Executable>,
    state: Vec<Vec<f32>>,
    /// A step writes the new state here. Then `state` and `next` are swapped.
    next: Vec<Vec<f32>>,
    /// The moving average of the parameters.
    average: Vec<Vec<f32>>,
    curve: Vec<Epoch>,
    partial: Partial,
    divergence: Option<Divergence>,
    images: Vec<f32>,
    labels: Vec<f32>,
    logits: Vec<f32>,
}

impl Trainer {
    /// Starts a run of a classifier `model` (an inference graph, see [`crate::step`]) from its initial weights.
    pub fn new(model: &Graph, data: Arc<Dataset>, config: TrainConfig, backend: &dyn Backend) -> Result<Trainer, TrainError> {
        check(model, &data, &config)?;
        let layout = training_step(model, config.batch, &config.optimizer)?;
        let params = layout.params;
        let step = backend.compile(&layout.graph)?;
        let evaluation = backend.compile(&evaluation(model, config.batch)?)?;
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
            evaluation,
            next: state.clone(),
            average: state[..params].to_vec(),
            state,
            curve: Vec::new(),
            partial: Partial::default(),
            divergence: None,
            images: vec![0.0; images],
            labels: vec![0.0; labels],
            logits: vec![0.0; labels],
        })
    }

    /// Starts from these weights instead of random ones. Every parameter must be among them; others are not used.
    pub fn start_from(mut self, weights: &Values) -> Result<Trainer, TrainError> {
        let params = self.params_of(weights)?;
        let mut hash = Sha256::new();
        hash.update(&self.run);
        params.iter().flatten().for_each(|v| hash.update(v.to_le_bytes()));
        self.run = hex(&hash.finalize());
        self.state[..params.len()].clone_from_slice(&params);
        self.average = params;
        Ok(self)
    }

    /// Trains one epoch, or the rest of it if it was stopped. Images at the end that do not fill a batch are left out.
    ///
    /// After an error or a divergence, the state is somewhere inside the epoch. Only a checkpoint can restore it.
    pub fn train_epoch(&mut self) -> Result<Outcome, TrainError> {
        self.train_epoch_while(&mut |_| ControlFlow::Continue(()))
    }

    /// Like [`train_epoch`](Self::train_epoch), but calls `watch` before each step to know whether to continue. An epoch that
    /// `watch` stopped can be continued or saved.
    pub fn train_epoch_while(&mut self, watch: &mut dyn FnMut(&Partial) -> ControlFlow<()>) -> Result<Outcome, TrainError> {
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
        let Partial { steps: first, seconds: before, .. } = self.partial;
        self.partial.of = steps;
        for (i, batch) in batches.enumerate().skip(first) {
            self.partial.seconds = before + start.elapsed().as_secs_f64();
            if watch(&self.partial).is_break() {
                return Ok(Outcome::Stopped);
            }
            let augment = (&self.config.augment, [self.config.seed, epoch as u64]);
            self.data.fill_images(Part::Train, batch, Some(augment), &mut self.images);
            self.data.fill_labels(Part::Train, batch, &mut self.labels);
            smooth(&mut self.labels, self.config.label_smoothing, self.data.classes);
            let loss = self.take_step(self.config.learning_rate_at(epoch, i, steps) as f32)?;
            if !loss.is_finite() || loss > DIVERGED_LOSS {
                let divergence = Divergence { epoch: epoch + 1, step: i + 1 };
                tracing::warn!(loss, epoch = divergence.epoch, step = divergence.step, "training diverged");
                self.divergence = Some(divergence);
                return Ok(Outcome::Diverged(divergence));
            }
            self.take_average(epoch * steps + i);
            self.partial.steps += 1;
            self.partial.loss_sum += f64::from(loss);
            self.partial.correct += self.count_correct(Part::Train, batch);
        }
        let done = std::mem::take(&mut self.partial);
        let completed = Epoch {
            number: epoch + 1,
            learning_rate: self.config.learning_rate_at(epoch, steps - 1, steps),
            loss: done.loss_sum / steps as f64,
            accuracy: done.correct as f64 / (steps * self.config.batch) as f64,
            validation: None,
            seconds: before + start.elapsed().as_secs_f64(),
            cpu_seconds: cpu_start.filter(|_| first == 0).and_then(|start| Some(cpu_seconds()? - start)),
        };
        self.curve.push(completed.clone());
        Ok(Outcome::Completed(completed))
    }

    /// Predicts the seconds of one epoch and its validation. It times as many steps and validation batches as fit into
    /// `seconds`, at least two of each after a first one that is not timed. The run cannot be continued afterwards.
    pub fn probe(mut self, seconds: f64) -> Result<f64, TrainError> {
        let order = Rng::new(&[self.config.seed, 0]).permutation(self.data.part(Part::Train).len());
        let images = self.config.images_per_epoch.unwrap_or(usize::MAX).min(order.len());
        let batches: Vec<&[u32]> = order[..images].chunks_exact(self.config.batch).collect();
        let augment = self.config.augment;
        let learning_rate = self.config.learning_rate_at(0, 0, 1) as f32;
        let seed = self.config.seed;
        let step = time_repeated(0.8 * seconds, batches.len(), |i| {
            self.data.fill_images(Part::Train, batches[i], Some((&augment, [seed, 0])), &mut self.images);
            self.data.fill_labels(Part::Train, batches[i], &mut self.labels);
            self.take_step(learning_rate)?;
            self.take_average(i);
            Ok(())
        })?;
        let validation: Vec<u32> = (0..self.data.part(Part::Validation).len() as u32).collect();
        let validation: Vec<&[u32]> = validation.chunks(self.config.batch).collect();
        let evaluation =
            time_repeated(0.2 * seconds, validation.len(), |i| self.evaluate_batch(Part::Validation, validation[i]))?;
        Ok(step * batches.len() as f64 + evaluation * validation.len() as f64)
    }

    /// Evaluates the network on a part of the data. Batch normalisation uses the running statistics. The accuracy on the
    /// validation images is stored in the last epoch of the curve.
    pub fn evaluate(&mut self, part: Part) -> Result<Evaluation, TrainError> {
        let start = Instant::now();
        let count = self.data.part(part).len();
        if count == 0 {
            return Err(TrainError::Config(format!("there are no {} images to evaluate on", part.name())));
        }
        let order: Vec<u32> = (0..count as u32).collect();
        let (mut loss, mut correct) = (0.0, 0);
        for batch in order.chunks(self.config.batch) {
            self.evaluate_batch(part, batch)?;
            correct += self.count_correct(part, batch);
            loss += self.cross_entropy(part, batch);
        }
        let accuracy = correct as f64 / count as f64;
        if let (Part::Validation, Some(last)) = (part, self.curve.last_mut()) {
            last.validation = Some(accuracy);
        }
        Ok(Evaluation { accuracy, loss: loss / count as f64, images: count, seconds: start.elapsed().as_secs_f64() })
    }

    /// Evaluates other weights of the network on a part of the data.
    pub fn evaluate_weights(&mut self, weights: &Values, part: Part) -> Result<Evaluation, TrainError> {
        let params = self.params_of(weights)?;
        let own = std::mem::replace(&mut self.average, params);
        let evaluation = self.evaluate(part);
        self.average = own;
        evaluation
    }

    /// Writes the run to a file and replaces an older one. After a crash, either the old or the new file exists.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let numbers: Vec<&[f32]> = self.state.iter().chain(&self.average).map(Vec::as_slice).collect();
        let header = Header {
            run: self.run.clone(),
            curve: self.curve.clone(),
            partial: self.partial,
            divergence: self.divergence,
            lengths: numbers.iter().map(|numbers| numbers.len()).collect(),
        };
        checkpoint::write(path, &header, &numbers)
    }

    /// Continues a run that was saved with the same network, data and configuration.
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
        self.partial = saved.header.partial;
        self.divergence = saved.header.divergence;
        Ok(())
    }

    /// The completed epochs.
    pub fn curve(&self) -> &[Epoch] {
        &self.curve
    }

    /// Where the run diverged, if it did.
    pub fn divergence(&self) -> Option<Divergence> {
        self.divergence
    }

    /// Whether all epochs are done, or the run diverged.
    pub fn finished(&self) -> bool {
        self.curve.len() >= self.config.epochs || self.divergence.is_some()
    }

    /// The parameters that inference needs, by name, including running statistics.
    pub fn weights(&self) -> Values {
        let params = self.layout.state.iter().zip(&self.average);
        params.map(|(tensor, data)| (tensor.name.clone(), Tensor::new(tensor.shape.clone(), data.clone()))).collect()
    }

    /// The data set.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The values of the parameters, in their order.
    fn params_of(&self, weights: &Values) -> Result<Vec<Vec<f32>>, TrainError> {
        let one = |tensor: &StateTensor| {
            let name = tensor.name.clone();
            match weights.get(&name) {
                None => Err(TrainError::MissingWeight(name)),
                Some(found) if found.shape != tensor.shape => {
                    Err(TrainError::WeightShape { name, expected: tensor.shape.clone(), found: found.shape.clone() })
                }
                Some(found) => Ok(found.data.clone()),
            }
        };
        self.layout.state[..self.layout.params].iter().map(one).collect()
    }

    /// Computes the logits of a batch with the averaged weights.
    fn evaluate_batch(&mut self, part: Part, batch: &[u32]) -> Result<(), TrainError> {
        self.data.fill_images(part, batch, None, &mut self.images);
        let params = self.average.iter().map(Vec::as_slice);
        let inputs: Vec<&[f32]> = std::iter::once(self.images.as_slice()).chain(params).collect();
        self.evaluation.run(&inputs, &mut [&mut self.logits])
    }

    /// Runs one step on the images and labels in the input buffers. Returns the loss.
    fn take_step(&mut self, learning_rate: f32) -> Result<f32, TrainError> {
        let (learning_rate, mut loss) = ([learning_rate], [0.0]);
        let given = [self.images.as_slice(), &self.labels, &learning_rate];
        let inputs: Vec<&[f32]> = given.into_iter().chain(self.state.iter().map(Vec::as_slice)).collect();
        let results = [loss.as_mut_slice(), &mut self.logits];
        let mut outputs: Vec<&mut [f32]> = results.into_iter().chain(self.next.iter_mut().map(Vec::as_mut_slice)).collect();
        self.step.run(&inputs, &mut outputs)?;
        std::mem::swap(&mut self.state, &mut self.next);
        Ok(loss[0])
    }

    /// Adds the parameters after step `step` of the run (counted from 0) to their average.
    fn take_average(&mut self, step: usize) {
        let kept = self.config.ema_decay.min(step as f64 / (step as f64 + EMA_WARM_UP)) as f32;
        for (average, now) in self.average.iter_mut().zip(&self.state) {
            for (average, now) in average.iter_mut().zip(now) {
                *average = *now + kept * (*average - *now);
            }
        }
    }

    /// Number of images of a batch that the current logits classify correctly.
    fn count_correct(&self, part: Part, batch: &[u32]) -> usize {
        let labels = &self.data.part(part).labels;
        let rows = self.logits.chunks_exact(self.data.classes);
        batch.iter().zip(rows).filter(|&(&i, row)| largest(row) == Some(usize::from(labels[i as usize]))).count()
    }

    /// The sum of the cross-entropies of a batch with the current logits.
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

/// A digest of everything that determines a run. Operators contain floats and have no hash, so their debug text is hashed.
fn identity(model: &Graph, data: &Dataset, config: &TrainConfig) -> Result<String, TrainError> {
    let config = serde_json::to_string(config).map_err(|e| TrainError::Config(e.to_string()))?;
    let mut hash = Sha256::new();
    for part in [format!("{:?}{:?}", model.nodes, model.outputs), data.fingerprint.clone(), config] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hex(&hash.finalize()))
}

/// Moves the share `smoothing` of each one-hot row to all classes alike (Szegedy et al., 2016).
fn smooth(labels: &mut [f32], smoothing: f64, classes: usize) {
    if smoothing > 0.0 {
        labels.iter_mut().for_each(|label| *label = ((1.0 - smoothing) * f64::from(*label) + smoothing / classes as f64) as f32);
    }
}

/// The index of the first largest number. `None` if any number is NaN.
fn largest(row: &[f32]) -> Option<usize> {
    if row.iter().any(|v| v.is_nan()) {
        return None;
    }
    (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best })
}

/// Mean seconds of a call. Calls `run` with 0, 1, … below `count` repeatedly until `limit` seconds have passed, and at least
/// three times. The first call is not timed. Returns 0 if `count` is 0.
fn time_repeated(limit: f64, count: usize, mut run: impl FnMut(usize) -> Result<(), TrainError>) -> Result<f64, TrainError> {
    if count == 0 {
        return Ok(0.0);
    }
    run(0)?;
    let start = Instant::now();
    let mut calls = 0;
    while calls < 2 || start.elapsed().as_secs_f64() < limit {
        calls += 1;
        run(calls % count)?;
        if calls >= count.max(2) {
            break;
        }
    }
    Ok(start.elapsed().as_secs_f64() / calls as f64)
}

/// CPU seconds of this process so far, on systems with `/proc`. Its clock has a hundred ticks per second on every Linux.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses and may contain any character. User and system time are fields 12 and 13 after
    // it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}
