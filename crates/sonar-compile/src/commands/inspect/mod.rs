//! `inspect`: any stage of a model as text, and the size of a search space.

mod kernels;
mod schedule_space;

use crate::args::{Format, InspectArgs, Stage};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::draft;
use crate::model::load;
use crate::report::{dag, egraph};
use crate::terminal::output::{out, outln, save};
use kernels::{kernels, refuse_elsewhere};
use serde_json::json;
use sonar_ir::space::canonical;
use sonar_rewrite::{Options, RewriteError, canonical_key};
use std::collections::{HashMap, HashSet};

/// Spaces up to this size are counted by checking every candidate.
const COUNTABLE: u128 = 200_000;

/// Runs `inspect`.
pub fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    if args.count {
        return count(args);
    }
    if args.explain && !matches!(args.stage, Stage::Egraph | Stage::Rewritten) {
        return Err(fail(Exit::Usage, "--explain goes with --stage egraph and --stage rewritten"));
    }
    if !matches!(args.stage, Stage::Schedule | Stage::Loops | Stage::Clif | Stage::Asm) {
        refuse_elsewhere(args)?;
    }
    match args.stage {
        Stage::Graph => {
            let graph = load::model(&args.model, args.target.batch)?.graph;
            draw(args, || dag::svg(&graph))?;
            out!("{graph}");
        }
        Stage::Egraph | Stage::Rewritten => rewriting(args)?,
        _ if args.svg.is_some() => {
            return Err(fail(Exit::Usage, "--svg draws the stages graph, egraph and rewritten"));
        }
        Stage::Space => {
            let draft = draft(&args.model, &args.target)?;
            let tasks = &draft.planned.lowered.tasks.tasks;
            exists(args.kernel, tasks.len())?;
            let options = sonar_schedule::Options {
                lanes: draft.target.lanes(),
                machine: machine::of_target(&draft.target)?,
                threads: args.target.threads,
                footprint: draft.planned.lowered.tasks.footprint(),
                max_rounding: args.target.max_rounding,
            };
            for (i, task) in tasks.iter().enumerate().filter(|(i, _)| args.kernel.is_none_or(|k| k == *i)) {
                outln!("// kernel {i}: {}", task.program.name);
                outln!("{}", schedule_space::describe(&sonar_schedule::space(task, &options)));
            }
        }
        Stage::Schedule | Stage::Loops | Stage::Clif | Stage::Asm => kernels(args)?,
    }
    Ok(())
}

/// Prints the e-graph, or the graph extracted from it.
fn rewriting(args: &InspectArgs) -> Result<(), Failure> {
    let graph = load::model(&args.model, args.target.batch)?.graph.specialise(args.target.batch);
    let rules = load::rules(&args.target)?;
    let options = Options { rules: &rules, dump: args.stage == Stage::Egraph, explain: args.explain, ..Options::default() };
    let rewritten = sonar_rewrite::rewrite(&graph, &options).map_err(|error| {
        let exit = if matches!(error, RewriteError::Invalid(_)) { Exit::BadInput } else { Exit::Internal };
        fail(exit, error)
    })?;
    if args.stage == Stage::Egraph {
        draw(args, || egraph::svg(&rewritten.report.views))?;
        out!("{}", rewritten.report);
    } else {
        draw(args, || dag::svg(&rewritten.graph))?;
        out!("{}", rewritten.graph);
    }
    if args.explain {
        out!("\n{}", rewritten.report.proof);
        outln!("proof checked: {} steps", rewritten.report.proof_steps);
    }
    Ok(())
}

/// Writes a drawing if requested.
fn draw(args: &InspectArgs, svg: impl FnOnce() -> String) -> Result<(), Failure> {
    let Some(path) = &args.svg else { return Ok(()) };
    save(path, svg())
}

/// Refuses a kernel number that does not exist.
pub fn exists(kernel: Option<usize>, kernels: usize) -> Result<(), Failure> {
    match kernel {
        Some(k) if k >= kernels => Err(fail(Exit::Usage, format!("there is no kernel {k}: the model has {kernels} kernels"))),
        _ => Ok(()),
    }
}

/// Counts the candidates of a space, all and distinct ones.
fn count(args: &InspectArgs) -> Result<(), Failure> {
    let space = load::space(&args.model.model, &args.model.set)?;
    let candidates = space.count();
    let countable = candidates <= COUNTABLE;
    let (mut topologies, mut graphs) = (HashSet::new(), HashMap::new());
    let mut functions = HashSet::new();
    if countable {
        for assignment in space.assignments() {
            let source = |e| load::source(e, &args.model.model);
            if let Some(topology) = space.topology(&assignment).map_err(source)? {
                topologies.insert(topology);
            }
            let graph = space.instantiate(&assignment).map_err(source)?;
            graphs.entry(canonical::key(&graph)).or_insert(graph);
        }
        for graph in graphs.values() {
            functions.insert(canonical_key(graph).or_exit(Exit::BadInput)?);
        }
    }
    let topologies = (!topologies.is_empty()).then_some(topologies.len());
    let (graphs, functions) = (countable.then_some(graphs.len()), countable.then_some(functions.len()));
    match args.format {
        Format::Json => outln!(
            "{}",
            json!({
                "schema": 1, "space": space.name(), "decisions": space.decisions().len(), "candidates": candidates.to_string(),
                "distinct_topologies": topologies, "distinct_graphs": graphs, "distinct_functions": functions,
            })
        ),
        Format::Text => {
            outln!("{}: {} decisions", space.name(), space.decisions().len());
            outln!("candidates                                     {candidates}");
            if let Some(n) = topologies {
                outln!("distinct up to isomorphism and dead edges      {n}");
            }
            match graphs {
                Some(n) => {
                    outln!("distinct as graphs                             {n}");
                    if topologies.is_some_and(|t| t != n) {
                        outln!(
                            "  (the two differ because a dead edge into ReLU-Conv-BN still gives the shift of the batch norm: as a graph it is"
                        );
                        outln!("   a constant, not zero; and because sums may be regrouped)");
                    }
                    if let Some(n) = functions {
                        outln!("distinct as functions                          {n}");
                    }
                }
                None => outln!("distinct ones are counted for spaces of up to {COUNTABLE} candidates"),
            }
        }
    }
    Ok(())
}
