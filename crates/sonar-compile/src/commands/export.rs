//! `export`: a model with its weights as an ONNX file.

use crate::args::ExportArgs;
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::model::compiled::read_weights;
use crate::model::load::{self, Described};
use crate::terminal::output::{outln, save};
use sonar_ir::init;

/// Runs the subcommand.
pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    if args.batch == Some(0) {
        return Err(fail(Exit::Usage, "--batch must be at least 1"));
    }
    let Described { graph, weights, .. } = load::model(&args.model, args.batch.unwrap_or(1))?;
    let graph = args.batch.map_or_else(|| graph.clone(), |batch| graph.specialise(batch));
    let mut values = weights.unwrap_or_else(|| init::randomise(&graph, args.seed));
    if let Some(path) = &args.weights {
        read_weights(path, &graph, &mut values)?;
    }
    let bytes = sonar_onnx::export(&graph, &values).or_exit(Exit::BadInput)?;
    let path = args.output.display();
    save(&args.output, &bytes)?;
    outln!("{path}: {} in {} bytes", graph.name, bytes.len());
    Ok(())
}
