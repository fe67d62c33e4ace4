//! `run`: one inference, optionally checked against the interpreter.

use crate::args::{Format, RunArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::json::{number, numbers};
use crate::model::compiled::prepare;
use crate::terminal::output::outln;
use serde_json::json;
use sonar_ir::Tensor;
use sonar_ir::graph::interp;

/// Number of elements of an output that are printed.
const SHOWN: usize = 16;

/// Runs the subcommand.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut prepared = prepare(&args.model, &args.target)?;
    let mut ready = prepared.load(args.seed, &args.data.input, args.data.weights.as_deref())?;
    ready.run()?;
    prepared.save(&args.output, &ready.outputs)?;

    let graph = &prepared.compiled.lowered.graph;
    let shapes: Vec<Vec<usize>> = graph.outputs.iter().filter_map(|&id| graph.ty(id).extents()).collect();
    let error = match args.check_tolerance {
        None => None,
        Some(_) => {
            let expected = interp::run(graph, &ready.values).or_exit(Exit::Internal)?;
            let found = shapes.iter().zip(&ready.outputs).map(|(s, d)| Tensor::new(s.clone(), d.clone()));
            Some(found.zip(&expected).map(|(f, e)| f.relative_error(e)).fold(0.0, f64::max))
        }
    };
    match args.format {
        Format::Json => {
            let outputs: Vec<_> =
                shapes.iter().zip(&ready.outputs).map(|(s, d)| json!({ "shape": s, "data": numbers(d) })).collect();
            let document = json!({ "schema": 1, "model": prepared.described.graph.name, "outputs": outputs, "relative_error": error.map(number) });
            outln!("{}", serde_json::to_string(&document).or_exit(Exit::Internal)?);
        }
        Format::Text => {
            for (shape, data) in shapes.iter().zip(&ready.outputs) {
                let shown: Vec<String> = data.iter().take(SHOWN).map(|v| format!("{v:.6}")).collect();
                let rest = if data.len() > SHOWN { format!(", … ({} numbers)", data.len()) } else { String::new() };
                outln!("{shape:?}: {}{rest}", shown.join(", "));
            }
            if let Some(error) = error {
                outln!("relative error against the interpreter: {error:.1e}");
            }
        }
    }
    match (error, args.check_tolerance) {
        (Some(error), Some(check_tolerance)) if error.is_nan() || error > check_tolerance => Err(fail(
            Exit::Mismatch,
            format!("the output is off by {error:.1e} of its largest value; {check_tolerance:.0e} is allowed"),
        )),
        _ => Ok(()),
    }
}
