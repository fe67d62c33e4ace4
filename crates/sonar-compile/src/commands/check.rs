//! `check`: checks a model or a space for errors. For an ONNX file it lists all problems.

use crate::args::ModelArgs;
use crate::exit::{Exit, Failure, OrExit};
use crate::model::load;
use crate::terminal::output::outln;
use sonar_ir::{Graph, NodeId};
use sonar_onnx::Imported;

/// Runs the subcommand: reads and verifies a model, or the first and the baseline architecture of a space.
pub fn check(args: &ModelArgs) -> Result<(), Failure> {
    if load::is_onnx(&args.model)? {
        return check_onnx(args);
    }
    let space = load::space(&args.model, &args.set)?;
    space.check().map_err(|e| load::source(e, &args.model))?;
    if space.decisions().is_empty() || args.arch.is_some() {
        let graph = load::graph(args)?;
        sonar_ir::verify::graph(&graph).or_exit(Exit::BadInput)?;
        outln!("{}: a graph of {} nodes, correct", graph.name, graph.nodes.len());
    } else {
        outln!("{}: a space of {} candidates, correct", space.name(), space.count());
    }
    Ok(())
}

/// Imports an ONNX file and describes it. The error lists every problem of the file.
fn check_onnx(args: &ModelArgs) -> Result<(), Failure> {
    let Imported { graph, inputs, outputs, .. } = load::onnx(args, 1)?;
    let parameters: usize = graph.params().into_iter().map(|id| shape(&graph, id).iter().product::<usize>()).sum();
    outln!("{}: a graph of {} nodes and {parameters} parameters, supported", graph.name, graph.nodes.len());
    for (name, id) in inputs.iter().zip(graph.inputs()) {
        outln!("  input   {name}: f32{:?}", shape(&graph, id));
    }
    for (name, &id) in outputs.iter().zip(&graph.outputs) {
        outln!("  output  {name}: f32{:?}", shape(&graph, id));
    }
    Ok(())
}

/// Extents of a value of an imported graph. All of them are bound.
fn shape(graph: &Graph, id: NodeId) -> Vec<usize> {
    graph.ty(id).extents().unwrap_or_default()
}
