//! `train`: trains one classifier on labelled images.
//!
//! | module | what it does |
//! |---|---|
//! | [`settings`] | what the weights depend on |
//! | [`run`] | epoch after epoch, then the test |
//! | [`folder`] | the files of a training |
//! | [`document`] | `train.json` and the learning curve |
//! | [`progress`] | lines on standard error |
//!
//! The checkpoint decides how far a training is. All other files follow from it, and are written again if a kill came between.

mod document;
mod folder;
mod progress;
mod run;
mod settings;

use super::search::data_failure;
use crate::args::{Format, TrainArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::model::compiled::{self, tune_failure};
use crate::model::load::{self, Described};
use crate::terminal::output::outln;
use crate::terminal::{interrupt, stderr};
use document::Document;
use folder::Folder;
use progress::Teller;
use run::Run;
use settings::Settings;
use sonar_train::step::layout::channels_last;
use sonar_train::trainer::config;
use sonar_train::{Part, TrainError, Trainer};
use sonar_tune::JitBackend;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Runs the subcommand.
pub fn train(args: &TrainArgs, quiet: bool) -> Result<(), Failure> {
    if args.model.train {
        return Err(fail(Exit::Usage, "--train takes the training step of a model; `train` trains the model itself"));
    }
    let end = args.time.map(|time| Instant::now() + time);
    let settings = Settings::new(args);
    let data = Arc::new(sonar_train::data::load(&args.data, args.validation).map_err(data_failure)?);
    let Described { graph, weights, .. } = load::model(&args.model, args.batch)?;
    let graph = graph.without_dead_nodes();
    let weights = match &args.init {
        None => weights,
        file => Some(compiled::weights(&graph, weights, args.seed, file.as_deref())?),
    };
    let trained = channels_last(&graph, data.image).map_err(failure)?;
    config::check(&trained, &data, &settings.config).map_err(failure)?;

    let name = args.model.model.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    let path = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&*name));
    let folder = Folder::open(&path, &settings, args.fresh)?;
    interrupt::saves();
    let mut teller = Teller::new(quiet, &settings.config, data.part(Part::Train).len(), end);
    let backend = JitBackend::native(settings.threads).map_err(tune_failure)?;
    let mut trainer = Trainer::new(&trained, data, settings.config.clone(), &backend).map_err(failure)?;
    if let Some(weights) = &weights {
        trainer = trainer.start_from(weights).map_err(failure)?;
    }
    let mut run = Run { trainer, folder, settings, model: graph.name.clone(), end };
    run.resume(&teller)?;
    run.train(&mut teller)?;
    stderr::leave();
    if let Some(at) = run.trainer.divergence() {
        let (epoch, step) = (at.epoch, at.step);
        let message = format!(
            "the training diverged in step {step} of epoch {epoch}: its loss is too large or no number. Try a \
             smaller --learning-rate, with --fresh"
        );
        return Err(fail(Exit::NoCandidate, message));
    }
    if run.trainer.curve().is_empty() {
        let message = "the time was over before the first epoch; the same command with a longer --time goes on from here";
        return Err(fail(Exit::Budget, message));
    }
    // An ONNX file was read for batches of training. Its model leaves for one image.
    let exported = load::model(&args.model, 1)?.graph.without_dead_nodes();
    let test = run.finish(&trained, &exported)?;
    let document = Document { test, files: run.folder.files().into_iter().collect(), ..run.document() };
    run.folder.write_document(&document)?;
    match args.format {
        Format::Json => outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?),
        Format::Text => print(&document, args.epochs),
    }
    Ok(())
}

/// An error of training, with its exit code.
fn failure(error: TrainError) -> Failure {
    let exit = if matches!(error, TrainError::Backend(_)) { Exit::Internal } else { Exit::BadInput };
    fail(exit, error)
}

fn print(document: &Document<'_>, epochs: usize) {
    let done = document.epochs.len();
    let best = document.best_epoch.and_then(|number| document.epochs.iter().find(|epoch| epoch.number == number));
    if let Some(best) = best {
        let validation = best.validation.map_or(String::new(), |v| format!(", validation accuracy {:.2}%", 100.0 * v));
        outln!("best epoch {} of {done}{validation}", best.number);
    }
    if let Some(test) = document.test {
        outln!("test accuracy {:.2}%, loss {:.4}, on {} images", 100.0 * test.accuracy, test.loss, test.images);
    }
    if done < epochs {
        outln!("the time is over after {done} of {epochs} epochs; a longer --time goes on from here");
    }
    for (what, path) in &document.files {
        outln!("{what:<8}  {}", path.display());
    }
}
