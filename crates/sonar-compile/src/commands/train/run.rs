//! The course of a training: epoch after epoch, each validated and saved, then the test.

use super::document::{Document, Test, best};
use super::failure;
use super::folder::Folder;
use super::progress::Teller;
use super::settings::Settings;
use crate::exit::{Exit, Failure, fail};
use crate::terminal::interrupt;
use sonar_ir::{Graph, Values};
use sonar_train::{CheckpointProblem, Outcome, Part, Partial, TrainError, Trainer};
use std::ops::ControlFlow;
use std::time::Instant;

/// A training and its files.
pub struct Run {
    /// The trainer.
    pub trainer: Trainer,
    /// Its files.
    pub folder: Folder,
    /// Its settings.
    pub settings: Settings,
    /// The name of the network.
    pub model: String,
    /// When the time limit is over.
    pub end: Option<Instant>,
}

impl Run {
    /// Goes on from the checkpoint, if there is one.
    pub fn resume(&mut self, teller: &Teller) -> Result<(), Failure> {
        let checkpoint = self.folder.checkpoint();
        if !checkpoint.exists() {
            return self.folder.write_document(&self.document());
        }
        self.trainer.restore(&checkpoint).map_err(|error| match error {
            TrainError::Checkpoint { problem: CheckpointProblem::OtherRun, .. } => fail(
                Exit::BadInput,
                format!(
                    "{}: the network, the images or the initial weights have changed since. Choose another --out, or \
                     --fresh to delete it and start again",
                    checkpoint.display()
                ),
            ),
            error => fail(Exit::BadInput, format!("{error}; --fresh deletes it and starts again")),
        })?;
        teller.goes_on(self.trainer.curve().len());
        match self.trainer.curve().last() {
            Some(epoch) if epoch.validation.is_none() => self.complete(),
            _ => Ok(()),
        }
    }

    /// Trains until the last epoch or until the time is over. Every epoch is saved before it is validated.
    pub fn train(&mut self, teller: &mut Teller) -> Result<(), Failure> {
        let end = self.end;
        while !self.trainer.finished() && !is_over(end) {
            let number = self.trainer.curve().len() + 1;
            let mut watch = |partial: &Partial| {
                teller.show(number, partial);
                if is_over(end) { ControlFlow::Break(()) } else { interrupt::flow() }
            };
            let outcome = self.trainer.train_epoch_while(&mut watch).map_err(failure)?;
            self.trainer.save(&self.folder.checkpoint()).map_err(failure)?;
            match outcome {
                Outcome::Completed(_) => {
                    self.complete()?;
                    self.trainer.curve().last().inspect(|epoch| teller.tell(epoch));
                }
                Outcome::Stopped if interrupt::flow().is_break() => return Err(fail(Exit::Interrupted, interrupt::GOES_ON)),
                Outcome::Stopped | Outcome::Diverged(_) => break,
            }
        }
        Ok(())
    }

    /// Validates the last epoch and writes its results. The checkpoint comes last: what a kill prevents is done again.
    fn complete(&mut self) -> Result<(), Failure> {
        if !self.trainer.data().part(Part::Validation).is_empty() {
            self.trainer.evaluate(Part::Validation).map_err(failure)?;
        }
        let weights = self.trainer.weights();
        let curve = self.trainer.curve();
        if best(curve) == Some(curve.len()) {
            self.folder.write_best(&weights)?;
        }
        self.folder.write_last(&weights)?;
        self.folder.write_document(&self.document())?;
        self.trainer.save(&self.folder.checkpoint()).map_err(failure)
    }

    /// Tests the best weights, and writes the model `exported` with them. `trained` is the graph that was trained.
    pub fn finish(&mut self, trained: &Graph, exported: &Graph) -> Result<Option<Test>, Failure> {
        let weights: Values = self.folder.read_best(trained)?;
        self.folder.write_onnx(exported, &weights)?;
        if self.trainer.data().part(Part::Test).is_empty() {
            return Ok(None);
        }
        let test = self.trainer.evaluate_weights(&weights, Part::Test).map_err(failure)?;
        Ok(Some(test.into()))
    }

    /// What is known about the training.
    pub fn document(&self) -> Document<'_> {
        Document::new(&self.model, &self.settings.named, self.trainer.curve())
    }
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}
