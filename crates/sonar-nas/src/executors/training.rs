//! Candidates in training, and their checkpoints.
//!
//! A candidate's checkpoint after epoch `e` is `CANDIDATE/epoch-e.ckpt` in the folder of checkpoints. It is on disk before the
//! epoch is reported; the one before is removed after, if the report is answered with a wish for more: otherwise it may be that
//! the search could not take note. So whichever epoch the search knows of, its checkpoint is there.

use crate::candidates::CandidateId;
use crate::candidates::measured::{Cost, Epoch};
use crate::error::EvaluateError;
use crate::executors::TrainJob;
use sonar_ir::Graph;
use sonar_train::{Backend, Dataset, Outcome, Part, TrainConfig, TrainError, Trainer};
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How all candidates are trained.
pub struct Training {
    /// On what.
    pub data: Arc<Dataset>,
    /// How; the number of epochs is that of the job.
    pub config: TrainConfig,
    /// Where checkpoints are kept.
    pub checkpoints: PathBuf,
}

impl Training {
    /// Trains as the job says and reports each epoch.
    pub fn train(
        &self,
        graph: &Graph,
        backend: &dyn Backend,
        job: &TrainJob<'_>,
        report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let begun = Instant::now();
        let id = job.candidate.id;
        let mut trainer = self.trainer(graph, backend, job.horizon).map_err(sort)?;
        if job.from > 0 {
            trainer.restore(&checkpoint(&self.checkpoints, id, job.from)).map_err(sort)?;
            keep_only(&self.checkpoints, id, job.from)?;
        } else {
            forget(&self.checkpoints, id)?;
        }
        let mut compiling = begun.elapsed().as_secs_f64();
        for number in job.from + 1..=job.to {
            let (epoch, training) = next_epoch(&mut trainer, number).map_err(sort)?;
            if epoch.train_loss.is_finite() {
                let path = checkpoint(&self.checkpoints, id, number);
                fs::create_dir_all(folder(&self.checkpoints, id)).map_err(|e| failed(&path, &e))?;
                trainer.save(&path).map_err(sort)?;
            }
            let flow = report(epoch, Cost { training, compiling, ..Cost::default() });
            compiling = 0.0;
            if flow.is_break() || epoch.train_loss.is_nan() {
                break;
            }
            keep_only(&self.checkpoints, id, number)?;
        }
        Ok(())
    }

    /// Seconds of one epoch, and of the compilation before it; nothing is kept.
    pub fn probe(&self, graph: &Graph, backend: &dyn Backend) -> Result<(f64, f64), EvaluateError> {
        let begun = Instant::now();
        let mut trainer = self.trainer(graph, backend, 1).map_err(sort)?;
        let compiling = begun.elapsed().as_secs_f64();
        let (epoch, _) = next_epoch(&mut trainer, 1).map_err(sort)?;
        Ok((epoch.seconds, compiling))
    }

    fn trainer(&self, graph: &Graph, backend: &dyn Backend, horizon: usize) -> Result<Trainer, TrainError> {
        Trainer::new(graph, Arc::clone(&self.data), TrainConfig { epochs: horizon, ..self.config.clone() }, backend)
    }
}

/// Where the weights of a candidate after an epoch are, as long as they are kept.
pub fn checkpoint(checkpoints: &Path, id: CandidateId, epoch: usize) -> PathBuf {
    folder(checkpoints, id).join(format!("epoch-{epoch}.ckpt"))
}

/// Removes all checkpoints of a candidate.
pub fn forget(checkpoints: &Path, id: CandidateId) -> Result<(), EvaluateError> {
    let folder = folder(checkpoints, id);
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&folder, &e)),
        _ => Ok(()),
    }
}

/// Trains and validates one epoch. Divergence is an epoch whose loss is not a number.
fn next_epoch(trainer: &mut Trainer, number: usize) -> Result<(Epoch, f64), TrainError> {
    let begun = Instant::now();
    let (train_loss, accuracy) = match trainer.train_epoch()? {
        Outcome::Completed(epoch) => (epoch.loss, trainer.evaluate(Part::Validation)?.accuracy),
        Outcome::Diverged(_) | Outcome::Stopped => (f64::NAN, 0.0),
    };
    let seconds = begun.elapsed().as_secs_f64();
    Ok((Epoch { epoch: number, train_loss, accuracy, seconds }, seconds))
}

fn folder(checkpoints: &Path, id: CandidateId) -> PathBuf {
    checkpoints.join(id.to_string())
}

/// Removes the checkpoints of a candidate but that of one epoch.
fn keep_only(checkpoints: &Path, id: CandidateId, epoch: usize) -> Result<(), EvaluateError> {
    let (folder, kept) = (folder(checkpoints, id), checkpoint(checkpoints, id, epoch));
    let remove_others = || -> std::io::Result<()> {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path != kept {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    };
    remove_others().map_err(|e| failed(&folder, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> EvaluateError {
    EvaluateError::Fatal(format!("{}: {error}", path.display()))
}

/// Whether a candidate is to blame, or everything.
fn sort(error: TrainError) -> EvaluateError {
    match &error {
        TrainError::NotDifferentiable(_)
        | TrainError::NotScalar(_)
        | TrainError::SymbolicBatch(_)
        | TrainError::Type(_)
        | TrainError::Backend(_) => EvaluateError::Candidate(error.to_string()),
        TrainError::Model(_)
        | TrainError::Config(_)
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
        training.train(&graph, &Interpreter, &job, report).unwrap();
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
        training.train(&graph, &Interpreter, &job, &mut |_, _| ControlFlow::Break(())).unwrap();
        let rest = curve(&training, 2, 6);
        assert_eq!((first.len(), rest.len()), (2, 4));
        assert_eq!(fs::read_dir(directory.path().join("c3")).unwrap().count(), 1);
    }

    #[test]
    fn training_in_parts_is_training_at_once_and_keeps_one_checkpoint() {
        let (at_once, in_parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let whole = curve(&training(at_once.path()), 0, 6);
        let parts = training(in_parts.path());
        let mut pieces = curve(&parts, 0, 2);
        pieces.extend(curve(&parts, 2, 6));
        assert_eq!(pieces, whole);
        let kept = fs::read_dir(in_parts.path().join("c3")).unwrap().count();
        assert_eq!(kept, 1);
        assert!(checkpoint(in_parts.path(), CandidateId(3), 6).exists());
        forget(in_parts.path(), CandidateId(3)).unwrap();
        assert!(!in_parts.path().join("c3").exists());
    }
}
