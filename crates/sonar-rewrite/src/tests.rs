//! Every rule, alone and with the others, against the interpreter.

mod build;
mod limits;
mod networks;
mod random;
mod rules;

use crate::{Cost, KernelShape, Limits, Options, Rewritten, Rule, rewrite};
use sonar_ir::graph::{Graph, Op, Term};
use sonar_ir::space::{Assignment, Space};
use sonar_ir::tensor::{Tensor, Values};
use sonar_ir::{init, interp};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Rewrites with these rules under several cost models, and runs every candidate on random values.
/// The models are random functions, so that extraction also takes what no sensible model would: all of the e-graph is tested.
fn check_rules(graph: &Graph, rules: &[Rule]) -> Result<Vec<Rewritten>, String> {
    let values = random_values(graph, 1);
    let expected = interp::run(graph, &values).map_err(|error| error.to_string())?;
    let mut results = Vec::new();
    for seed in 0..6 {
        let random = |kernel: &KernelShape<'_>| random_cost(kernel, seed);
        let cost: &Cost<'_> = if seed == 0 { &crate::roofline } else { &random };
        let options = Options { rules, cost, seed, candidates: 6, ..Options::default() };
        let rewritten = rewrite(graph, &options).map_err(|error| error.to_string())?;
        for candidate in &rewritten.candidates {
            compare(candidate, &values, &expected).map_err(|problem| format!("{problem}\n{graph:?}\n{candidate:?}"))?;
        }
        results.push(rewritten);
    }
    Ok(results)
}

/// [`check_rules`] with all rules, of which none may hit a limit.
fn check(graph: &Graph) -> Rewritten {
    let mut results = check_rules(graph, crate::RULES).unwrap_or_else(|problem| panic!("{problem}"));
    results.swap_remove(0)
}

fn compare(candidate: &Graph, values: &Values, expected: &[Tensor]) -> Result<(), String> {
    sonar_ir::verify::graph(candidate).map_err(|error| error.to_string())?;
    let found = interp::run(candidate, values).map_err(|error| error.to_string())?;
    if found.len() != expected.len() {
        return Err(format!("{} outputs instead of {}", found.len(), expected.len()));
    }
    for (found, expected) in found.iter().zip(expected) {
        let error = found.relative_error(expected);
        if error > 2e-6 {
            return Err(format!("relative error {error:.1e}"));
        }
    }
    Ok(())
}

/// Random values for all inputs and parameters.
fn random_values(graph: &Graph, seed: u64) -> Values {
    let mut values = init::randomise(graph, seed);
    values.extend(init::inputs(graph, seed));
    values
}

/// A network of NAS-Bench-201, by the operations on its edges 0→1, 0→2, 1→2, 0→3, 1→3 and 2→3: none, skip, a 1x1 and a 3x3
/// convolution, or a pooling. The images are small, and so are the channels.
fn network(ops: [usize; 6], batch: usize, cells: &str) -> Graph {
    let settings = [("height", "8"), ("width", "7"), ("channels", "2"), ("cells", cells)];
    let text = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");
    let space = Space::parse_with(text, &settings).expect("the space is well-formed");
    space.instantiate(&Assignment(ops.to_vec())).expect("the assignment fits").specialise(batch)
}

fn random_cost(kernel: &KernelShape<'_>, seed: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, format!("{kernel:?}")).hash(&mut hasher);
    1.0 + (hasher.finish() % 1000) as f64 / 100.0
}

/// How often a rule fired in the first of the results.
fn fired(rewritten: &Rewritten, rule: &str) -> usize {
    rewritten.report.fired.iter().find(|(name, _)| *name == rule).map_or(0, |(_, count)| *count)
}

fn tight(nodes: usize, iterations: usize) -> Limits {
    Limits { nodes, iterations, ..Limits::default() }
}

/// How many nodes are kernels: everything that depends on an input and moves data.
fn kernels(graph: &Graph) -> usize {
    let konst = crate::segment::konst(graph);
    let counts = |op: &Op| !matches!(op, Op::Input | Op::Reshape(_));
    graph.iter().filter(|(id, node)| !konst[id.0 as usize] && counts(&node.op)).count()
}

/// The terms of every fused kernel.
fn fused(graph: &Graph) -> Vec<(Vec<Term>, bool)> {
    let kernels = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::FusedSum { terms, relu } => Some((terms.clone(), *relu)),
        _ => None,
    });
    kernels.collect()
}
