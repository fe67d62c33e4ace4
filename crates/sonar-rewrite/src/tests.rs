//! Every rule, alone and with the others, against the interpreter.

mod build;
mod exact;
mod forms;
mod layout;
mod limits;
mod linear;
mod mutants;
mod networks;
mod operators;
mod proof;
mod random;
mod recognise;
mod rounding;
mod rules;
mod stated;
mod strength;
mod widen;

use crate::extraction::{Depth, Effort, export, extract};
use crate::language::{Analysis, EGraph, import, nodes};
use crate::rules::rule::Action;
use crate::rules::{Match, saturate};
use crate::{Cost, KernelShape, Limits, Options, Rewritten, Rule, Soundness, Stage, rewrite};
use egg::Id;
use sonar_ir::graph::init;
use sonar_ir::graph::interp::{self, InterpError};
use sonar_ir::graph::{Graph, NodeId, Op, Term};
use sonar_ir::space::{Assignment, Space};
use sonar_ir::tensor::{Tensor, Values};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Rewrites with these rules under several cost models, and runs every candidate on random values.
/// The models are random functions, so extraction also takes graphs that no sensible model would choose. Graphs that no model chooses
/// are tested too: every e-node of every segment is.
fn check_rules(graph: &Graph, rules: &[Rule]) -> Result<Vec<Rewritten>, String> {
    let mut done: Vec<Graph> = Vec::new();
    for segment in crate::segments::split(graph, rules).map_err(|error| error.to_string())? {
        if !done.contains(&segment.graph) {
            check_egraph(&segment.graph, rules)?;
            done.push(segment.graph);
        }
    }
    let values = random_values(graph, 1);
    let expected = real_outputs(graph, &values).map_err(|error| error.to_string())?;
    let mut results = Vec::new();
    for seed in 0..6 {
        let random = |kernel: &KernelShape<'_>| random_cost(kernel, seed);
        let cost: &Cost<'_> = if seed == 0 { &crate::roofline } else { &random };
        let options = Options { rules, cost, seed, candidates: 6, ..patient() };
        let rewritten = rewrite(graph, &options).map_err(|error| error.to_string())?;
        for candidate in &rewritten.candidates {
            compare(candidate, &values, &expected).map_err(|problem| format!("{problem}\n{graph:?}\n{candidate:?}"))?;
        }
        results.push(rewritten);
    }
    Ok(results)
}

/// Applies each e-node of a saturated e-graph to the values of its operands. The result must be the value of its class.
fn check_egraph(graph: &Graph, rules: &[Rule]) -> Result<(), String> {
    let mut egraph = EGraph::new(Analysis::whole(false));
    import(&mut egraph, graph);
    saturate(&mut egraph, &rules.iter().collect::<Vec<&Rule>>(), &patient().limits);
    let mut classes: Vec<Id> = egraph.classes().map(|class| class.id).collect();
    classes.sort_unstable();
    let effort = Effort { depth: Depth::Greedy, restarts: 0, seed: 0, until: None };
    let selection = extract(&egraph, &classes, &|_| 1.0, &[], effort).swap_remove(0);
    let mut all = export(&egraph, &selection, &classes, graph).map_err(|error| error.to_string())?;
    let value: HashMap<Id, NodeId> = classes.iter().copied().zip(all.outputs.clone()).collect();
    let mut claims: Vec<(usize, String)> = Vec::new();
    for (k, &class) in classes.iter().enumerate() {
        for (op, operands) in nodes(&egraph, class) {
            let operands: Vec<NodeId> = operands.iter().map(|&id| value[&egraph.find(id)]).collect();
            let applied = all.push(op.clone(), &operands).map_err(|error| error.to_string())?;
            all.outputs.push(applied);
            claims.push((k, format!("{op:?} of {operands:?}")));
        }
    }
    let found = real_outputs(&all, &random_values(graph, 2)).map_err(|error| error.to_string())?;
    for ((k, claim), applied) in claims.iter().zip(&found[classes.len()..]) {
        let error = applied.relative_error(&found[*k]);
        if error > 2e-6 {
            return Err(format!("relative error {error:.1e} of {claim} in the class of {:?}\n{all:?}", all.outputs[*k]));
        }
    }
    Ok(())
}

/// [`check_rules`] with all rules; no limit may be reached.
fn check(graph: &Graph) -> Rewritten {
    let mut results = check_rules(graph, crate::RULES).unwrap_or_else(|problem| panic!("{problem}"));
    results.swap_remove(0)
}

fn compare(candidate: &Graph, values: &Values, expected: &[Tensor]) -> Result<(), String> {
    sonar_ir::verify::graph(candidate).map_err(|error| error.to_string())?;
    let found = real_outputs(candidate, values).map_err(|error| error.to_string())?;
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

/// Options without a time limit: tests must not depend on a clock.
fn patient<'a>() -> Options<'a> {
    let limits = Limits { time: Duration::from_secs(3_600), ..Limits::default() };
    Options { limits, ..Options::default() }
}

/// The outputs of a graph in double precision, without rounding to single precision.
fn real_outputs(graph: &Graph, values: &Values) -> Result<Vec<Tensor>, InterpError> {
    let unrounded = interp::run_unrounded(graph, values)?;
    let tensors = graph.outputs.iter().zip(unrounded).map(|(&output, data)| {
        let shape = graph.ty(output).extents().unwrap_or_default();
        Tensor::new(shape, data.into_iter().map(|v| v as f32).collect())
    });
    Ok(tensors.collect())
}

/// Random values for all inputs and parameters.
fn random_values(graph: &Graph, seed: u64) -> Values {
    let mut values = init::randomise(graph, seed);
    values.extend(init::inputs(graph, seed));
    values
}

/// A network of NAS-Bench-201, by the operations on its edges 0→1, 0→2, 1→2, 0→3, 1→3 and 2→3: none, skip, a 1x1 and a 3x3
/// convolution, or a pooling. It has small images and few channels.
fn network(ops: [usize; 6], batch: usize, cells: &str) -> Graph {
    let settings = [("height", "8"), ("width", "7"), ("channels", "2"), ("cells", cells)];
    let text = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");
    let space = Space::parse_with(text, &settings).expect("the space is well-formed");
    space.instantiate(&Assignment(ops.to_vec())).expect("the assignment fits").specialise(batch)
}

/// A wrong rule, for tests of the checks.
fn wrong_rule(name: &'static str, apply: fn(&mut EGraph, &Match<'_>) -> Vec<Id>) -> Rule {
    Rule {
        name: name.into(),
        family: "test",
        stage: Stage::Trade,
        class: Soundness::Real,
        text: "a mistake".into(),
        action: Action::Function(apply),
    }
}

fn random_cost(kernel: &KernelShape<'_>, seed: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, format!("{kernel:?}")).hash(&mut hasher);
    // Costs vary by orders of magnitude, so one kernel may cost more than several others together.
    10f64.powf((hasher.finish() % 1000) as f64 / 250.0)
}

/// How often a rule fired in the first of the results.
fn fired(rewritten: &Rewritten, rule: &str) -> usize {
    rewritten.report.fired.iter().find(|(name, _)| *name == rule).map_or(0, |(_, count)| *count)
}

fn tight(nodes: usize, iterations: usize) -> Limits {
    Limits { nodes, iterations, ..patient().limits }
}

/// The number of kernels: nodes that depend on an input and move data.
fn kernels(graph: &Graph) -> usize {
    let is_weight = graph.weights();
    let counts = |op: &Op| !matches!(op, Op::Input | Op::Reshape(_) | Op::Slice { .. });
    graph.iter().filter(|(id, node)| !is_weight[*id] && counts(&node.op)).count()
}

/// The terms of every fused kernel.
fn fused(graph: &Graph) -> Vec<(Vec<Term>, bool)> {
    let kernels = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::FusedSum { terms, relu } => Some((terms.clone(), *relu)),
        _ => None,
    });
    kernels.collect()
}
