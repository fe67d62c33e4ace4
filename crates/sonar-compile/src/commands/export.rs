//! `export`: a model with its weights as an ONNX file.

use crate::args::ExportArgs;
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::model::compiled;
use crate::model::load::{self, Described};
use crate::terminal::output::{outln, save};

/// Runs the subcommand.
pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    if args.batch == Some(0) {
        return Err(fail(Exit::Usage, "--batch must be at least 1"));
    }
    let Described { graph, weights, .. } = load::model(&args.model, args.batch.unwrap_or(1))?;
    let graph = args.batch.map_or_else(|| graph.clone(), |batch| graph.specialise(batch));
    let values = compiled::weights(&graph, weights, args.seed, args.weights.as_deref())?;
    let bytes = sonar_onnx::export(&graph, &values).or_exit(Exit::BadInput)?;
    let path = args.output.display();
    save(&args.output, &bytes)?;
    outln!("{path}: {} in {} bytes", graph.name, bytes.len());
    Ok(())
}
