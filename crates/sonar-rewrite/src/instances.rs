//! Extraction problems as plain data, for comparison with other solvers.

use crate::error::RewriteError;
use crate::extraction::{Alternative, Depth, Effort, Problem, choices};
use crate::language::{Analysis, EGraph, import};
use crate::options::Options;
use crate::report::Report;
use crate::rules::{Stage, saturate};
use crate::segments::{Remaining, simplify, split};
use sonar_ir::Graph;
use sonar_ir::verify;

/// The extraction problem of one e-graph. A solution picks one alternative for every class that it needs, without a cycle. It
/// needs the roots and the operands of its picks.
#[derive(Clone, Debug)]
pub struct Instance {
    /// For each class its alternatives: the cost of each, and the classes that are its operands.
    pub alternatives: Vec<Vec<(f64, Vec<u32>)>>,
    /// The classes to compute.
    pub roots: Vec<u32>,
    /// The cost of the selection that [`rewrite`](crate::rewrite) finds.
    pub found: f64,
}

/// The extraction problem of each distinct segment of a graph, with the rules, costs and limits of the options.
pub fn instances(graph: &Graph, options: &Options<'_>) -> Result<Vec<Instance>, RewriteError> {
    verify::graph(graph)?;
    let remaining = Remaining::new(options);
    let simple = simplify(graph, &remaining.options(options, 1.0), &mut Report::new(options.rules))?;
    let mut segments: Vec<Graph> = Vec::new();
    for segment in split(&simple, options.rules)? {
        if !segments.contains(&segment.graph) {
            segments.push(segment.graph);
        }
    }
    Ok(segments.iter().map(|segment| instance(segment, &remaining.options(options, 1.0))).collect())
}

fn instance(segment: &Graph, options: &Options<'_>) -> Instance {
    let mut egraph = EGraph::new(Analysis::segment(options.exact()));
    let roots = import(&mut egraph, segment);
    saturate(&mut egraph, &options.rules_up_to(Stage::Widen), &options.limits);
    let mut problem = Problem::new(&egraph, &roots, options.cost);
    let plain = |alternative: &Alternative| (alternative.cost, alternative.operands.clone());
    let alternatives = problem.alternatives.iter().map(|mine| mine.iter().map(plain).collect()).collect();
    problem.prune();
    let effort = Effort { depth: Depth::Prove, restarts: options.restarts, seed: options.seed, until: None };
    let found = choices(&problem, effort, |_| vec![]);
    Instance { alternatives, roots: problem.roots.clone(), found: found[0].0 }
}
