//! Training of candidates, and their checkpoints.
//!
//! The checkpoint of a candidate after epoch `e` of a training of `h` epochs is `CANDIDATE-h/epoch-e.ckpt` in the folder of
//! checkpoints. It is on disk before the epoch is reported. The previous checkpoint is deleted after the report, unless the
//! callback returned a break: then the search may not have stored the epoch. So there is always a checkpoint of the epoch that
//! the search may resume from.

use crate::candidates::CandidateId;
use crate::candidates::measured::{Cost, Epoch};
use crate::error::EvaluateError;
use crate::executors::{TrainJob, Watch};
use sonar_ir::Graph;
use sonar_train::{Backend, Dataset, Outcome, Part, TrainConfig, TrainError, Trainer};
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Approximate seconds of training steps used to predict the time of an epoch.
const PROBE_SECONDS: f64 = 0.5;

/// How all candidates are trained.
pub struct Training {
    /// The data set.
    pub data: Arc<Dataset>,
    /// The configuration. The job sets the number of epochs.
    pub config: TrainConfig,
    /// Where checkpoints are kept.
    pub checkpoints: PathBuf,
}

impl Training {
    /// Trains as the job says and reports each epoch. If the checkpoint to resume from is missing, its epochs are trained again
    /// with the same results, and are not reported again.
    pub fn train(
        &self,
        graph: &Graph,
        backend: &dyn Backend,
        job: &TrainJob<'_>,
        watch: &Watch<'_>,
        report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let begun = Instant::now();
        let id = job.candidate.id;
        let mut trainer = self.trainer(graph, backend, job.horizon).map_err(sort)?;
        let resumed = checkpoint(&self.checkpoints, id, (job.from, job.horizon));
        let mut first = 1;
        if job.from > 0 && resumed.exists() {
            trainer.restore(&resumed).map_err(sort)?;
            keep_only(&resumed)?;
            first = job.from + 1;
        } else {
            forget(&self.checkpoints, id, job.horizon)?;
        }
        let mut cost = Cost { compiling: begun.elapsed().as_secs_f64(), ..Cost::default() };
        for number in first..=job.to {
            let Some(epoch) = next_epoch(&mut trainer, number, watch).map_err(sort)? else { break };
            cost.training += epoch.seconds;
            if number <= job.from && epoch.train_loss.is_finite() {
                continue;
            }
            let path = checkpoint(&self.checkpoints, id, (number, job.horizon));
            if epoch.train_loss.is_finite() {
                fs::create_dir_all(folder(&self.checkpoints, id, job.horizon)).map_err(|e| failed(&path, &e))?;
                trainer.save(&path).map_err(sort)?;
            }
            let flow = report(epoch, std::mem::take(&mut cost));
            if flow.is_break() || epoch.train_loss.is_nan() {
                break;
            }
            keep_only(&path)?;
        }
        Ok(())
    }

    /// The predicted seconds of one epoch, then the seconds that the prediction took for training and for compiling.
    pub fn probe(&self, graph: &Graph, backend: &dyn Backend) -> Result<(f64, f64, f64), EvaluateError> {
        let begun = Instant::now();
        let trainer = self.trainer(graph, backend, 1).map_err(sort)?;
        let compiling = begun.elapsed().as_secs_f64();
        let epoch = trainer.probe(PROBE_SECONDS).map_err(sort)?;
        Ok((epoch, begun.elapsed().as_secs_f64() - compiling, compiling))
    }

    fn trainer(&self, graph: &Graph, backend: &dyn Backend, horizon: usize) -> Result<Trainer, TrainError> {
        Trainer::new(graph, Arc::clone(&self.data), TrainConfig { epochs: horizon, ..self.config.clone() }, backend)
    }
}

/// The file with the weights of a candidate after an epoch of a training of `horizon` epochs. It may have been deleted.
pub fn checkpoint(checkpoints: &Path, id: CandidateId, (epoch, horizon): (usize, usize)) -> PathBuf {
    folder(checkpoints, id, horizon).join(format!("epoch-{epoch}.ckpt"))
}

/// Deletes the checkpoints of a candidate's training of `horizon` epochs.
pub fn forget(checkpoints: &Path, id: CandidateId, horizon: usize) -> Result<(), EvaluateError> {
    let folder = folder(checkpoints, id, horizon);
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&folder, &e)),
        _ => Ok(()),
    }
}

/// Trains and validates one epoch, or returns `None` if `watch` stops it. If the epoch diverges, its loss is NaN.
fn next_epoch(trainer: &mut Trainer, number: usize, watch: &Watch<'_>) -> Result<Option<Epoch>, TrainError> {
    let begun = Instant::now();
    let (train_loss, accuracy) = match trainer.train_epoch_while(&mut |_| watch())? {
        Outcome::Completed(epoch) => (epoch.loss, trainer.evaluate(Part::Validation)?.accuracy),
        Outcome::Diverged(_) => (f64::NAN, 0.0),
        Outcome::Stopped => return Ok(None),
    };
    Ok(Some(Epoch { epoch: number, train_loss, accuracy, seconds: begun.elapsed().as_secs_f64() }))
}

fn folder(checkpoints: &Path, id: CandidateId, horizon: usize) -> PathBuf {
    checkpoints.join(format!("{id}-{horizon}"))
}

/// Deletes the other checkpoints in the folder of a checkpoint.
fn keep_only(kept: &Path) -> Result<(), EvaluateError> {
    let Some(folder) = kept.parent() else { return Ok(()) };
    let remove_others = || -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path != kept {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    };
    remove_others().map_err(|e| failed(folder, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> EvaluateError {
    EvaluateError::Fatal(format!("{}: {error}", path.display()))
}

/// Tells errors of one candidate from errors that affect all candidates.
fn sort(error: TrainError) -> EvaluateError {
    match &error {
        TrainError::NotDifferentiable(_)
        | TrainError::NotScalar(_)
        | TrainError::SymbolicBatch(_)
        | TrainError::Type(_)
        | TrainError::Backend(_) => EvaluateError::Candidate(error.to_string()),
        TrainError::Model(_)
        | TrainError::Config(_)
        | TrainError::MissingWeight(_)
        | TrainError::WeightShape { .. }
        | TrainError::Io { .. }
        | TrainError::Data { .. }
        | TrainError::Checkpoint { .. } => EvaluateError::Fatal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates::{Candidate, Description};
    use sonar_ir::space::Assignment;
    use sonar_ir::text::parse_graph;
    use sonar_train::Interpreter;
    use sonar_train::data::Images;

    fn training(checkpoints: &Path) -> Training {
        let images = Images { pixels: vec![10, 240, 20, 250, 30, 200, 15, 230], labels: vec![0, 1, 0, 1, 0, 1, 0, 1] };
        let data = Dataset::new("pixels", [1, 1, 1], images.clone(), images, 0.5).unwrap();
        let config = TrainConfig { batch: 2, ..TrainConfig::default() };
        Training { data: data.into(), config, checkpoints: checkpoints.to_path_buf() }
    }

    fn candidate() -> Candidate {
        let description = Description { key: String::new(), parameters: 2, flops: 4, decisions: vec![] };
        Candidate { id: CandidateId(3), assignment: Assignment(vec![]), description }
    }

    fn curve(training: &Training, from: usize, to: usize) -> Vec<Epoch> {
        let text = "graph @linear(%x: f32[N,1,1,1], param %w: f32[1,2]) { return matmul(global_avg_pool(%x), %w) }";
        let graph = parse_graph(text).unwrap();
        let mut curve = Vec::new();
        let job = TrainJob { candidate: &candidate(), from, to, horizon: 6 };
        let report = &mut |epoch: Epoch, cost: Cost| {
            assert!(cost.training > 0.0 && (cost.compiling > 0.0) == (epoch.epoch == from + 1));
            curve.push(Epoch { seconds: 0.0, ..epoch });
            ControlFlow::Continue(())
        };
        training.train(&graph, &Interpreter, &job, &|| ControlFlow::Continue(()), report).unwrap();
        curve
    }

    #[test]
    fn an_epoch_that_could_not_be_noted_is_trained_again() {
        let directory = tempfile::tempdir().unwrap();
        let training = training(directory.path());
        let first = curve(&training, 0, 2);
        let text = "graph @linear(%x: f32[N,1,1,1], param %w: f32[1,2]) { return matmul(global_avg_pool(%x), %w) }";
        let graph = parse_graph(text).unwrap();
        let job = TrainJob { candidate: &candidate(), from: 2, to: 6, horizon: 6 };
        training.train(&graph, &Interpreter, &job, &|| ControlFlow::Continue(()), &mut |_, _| ControlFlow::Break(())).unwrap();
        let rest = curve(&training, 2, 6);
        assert_eq!((first.len(), rest.len()), (2, 4));
        assert_eq!(fs::read_dir(directory.path().join("c3-6")).unwrap().count(), 1);
    }

    #[test]
    fn epochs_whose_checkpoint_is_gone_are_trained_again_with_the_same_results() {
        let (whole, gone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let curve_of_four = curve(&training(whole.path()), 0, 4);
        curve(&training(gone.path()), 0, 2);
        forget(gone.path(), CandidateId(3), 6).unwrap();
        assert_eq!(curve(&training(gone.path()), 2, 4), curve_of_four[2..]);
    }

    #[test]
    fn an_epoch_can_be_stopped_between_two_steps() {
        let directory = tempfile::tempdir().unwrap();
        let graph = parse_graph("graph @linear(%x: f32[N,1,1,1], param %w: f32[1,2]) { return matmul(global_avg_pool(%x), %w) }");
        let job = TrainJob { candidate: &candidate(), from: 0, to: 6, horizon: 6 };
        let asked = std::cell::Cell::new(0);
        let watch = || {
            asked.set(asked.get() + 1);
            // Four training images take two steps per epoch.
            if asked.get() > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut epochs = 0;
        let report = &mut |_: Epoch, _: Cost| {
            epochs += 1;
            ControlFlow::Continue(())
        };
        training(directory.path()).train(&graph.unwrap(), &Interpreter, &job, &watch, report).unwrap();
        assert_eq!((epochs, asked.get()), (1, 4));
    }

    #[test]
    fn training_in_parts_is_training_at_once_and_keeps_one_checkpoint() {
        let (at_once, in_parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let whole = curve(&training(at_once.path()), 0, 6);
        let parts = training(in_parts.path());
        let mut pieces = curve(&parts, 0, 2);
        pieces.extend(curve(&parts, 2, 6));
        assert_eq!(pieces, whole);
        let kept = fs::read_dir(in_parts.path().join("c3-6")).unwrap().count();
        assert_eq!(kept, 1);
        assert!(checkpoint(in_parts.path(), CandidateId(3), (6, 6)).exists());
        forget(in_parts.path(), CandidateId(3), 6).unwrap();
        assert!(!in_parts.path().join("c3-6").exists());
    }
}
