//! Graph to graph by equality saturation.
//!
//! An e-graph holds many graphs that compute the same function; [rules](rules::RULES) add more until nothing new is found; the
//! cheapest under a cost model is taken out. The result is made of fused kernels ([`Op::FusedSum`]),
//! whose weights are ordinary nodes over the parameters, for `sonar_ir` to fold once before the first run.
//!
//! | module | what it does |
//! |---|---|
//! | [`rules`] | the table of rules, and the loop that applies them |
//! | [`cost`] | the cost of one kernel |
//! | [`canonical`] | a key that graphs share if they compute the same function of their weights |
//! | [`report`], [`view`] | what happened, and e-graphs to look at |
//! | `segment`, `solve` | a network cut into parts that are rewritten one by one, equal ones once |
//! | `language`, `sums`, `splat` | e-nodes, their normal form, and what is known about classes |
//! | `convert`, `extract` | graph into e-graph, and back |
//! | `proof` | why the result equals the original, checked |
//!
//! ```
//! use sonar_ir::graph::{Conv2dAttrs, Dim, Graph, Init, Op, TensorType};
//! use sonar_ir::UnaryOp;
//!
//! let mut graph = Graph::new("block");
//! let x = graph.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(8), Dim::Fixed(8), Dim::Fixed(16)] });
//! let w = graph.param("w", &[3, 3, 16, 16], Init::He);
//! let bn = ["gamma", "beta", "mean", "variance"].map(|name| graph.param(name, &[16], Init::Ones));
//! let y = graph.push(Op::Conv2d(Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() }), &[x, w])?;
//! let y = graph.push(Op::BatchNorm { eps: 1e-5 }, &[y, bn[0], bn[1], bn[2], bn[3]])?;
//! let y = graph.push(Op::Unary(UnaryOp::Relu), &[y])?;
//! graph.outputs = vec![y];
//!
//! let rewritten = sonar_rewrite::rewrite(&graph, &sonar_rewrite::Options::default())?;
//! let kernels = rewritten.graph.nodes.iter().filter(|node| matches!(node.op, Op::FusedSum { .. }));
//! assert_eq!(kernels.count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod canonical;
mod convert;
pub mod cost;
pub mod extract;
mod language;
mod proof;
pub mod report;
pub mod rules;
mod segment;
mod solve;
mod splat;
mod sums;
#[cfg(test)]
mod tests;
pub mod view;

pub use canonical::canonical_key;
pub use cost::{Cost, KernelShape, roofline};
pub use report::Report;
pub use rules::{Limits, RULES, Rule, RuleError, Soundness, Stage, StopReason, rules_up_to};

use crate::solve::{Remaining, Solved, simplify, solve};
use sonar_ir::infer::TypeError;
use sonar_ir::verify::{self, VerifyError};
use sonar_ir::{Graph, NodeId, Op};
use std::collections::HashMap;
use thiserror::Error;

/// How to rewrite.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The rules to use: those of [`RULES`], or some of them, and what a user adds.
    pub rules: &'a [Rule],
    /// What a kernel costs.
    pub cost: &'a Cost<'a>,
    /// Bounds on each e-graph, and on the time of all.
    pub limits: Limits,
    /// How many distinct graphs to return at most.
    pub candidates: usize,
    /// How often extraction starts again from perturbed costs.
    pub restarts: usize,
    /// Seeds the perturbations: equal seeds give equal results, as long as no time limit is reached.
    pub seed: u64,
    /// Whether [`Report::views`] and [`Report::saved`] are wanted. The latter rewrites once more for each rule that fired.
    pub dump: bool,
    /// Whether [`Report::proof`] is wanted. Every step of it is checked: applied by itself in a fresh e-graph, and compared on
    /// random values. A proof that fails is an error.
    pub explain: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            rules: RULES,
            cost: &roofline,
            limits: Limits::default(),
            candidates: 4,
            restarts: 4,
            seed: 0,
            dump: false,
            explain: false,
        }
    }
}

/// The outcome of [`rewrite`].
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The cheapest graph found.
    pub graph: Graph,
    /// Distinct graphs, cheapest first, `graph` being the first. What fusion alone gives is always among them.
    pub candidates: Vec<Graph>,
    /// Which of the candidates is what fusion alone gives.
    pub fusion: usize,
    /// What happened.
    pub report: Report,
}

/// Why a graph cannot be rewritten.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RewriteError {
    /// The graph is not well-formed.
    #[error("the graph is not well-formed: {0}")]
    Invalid(#[from] VerifyError),
    /// A rewritten graph is ill-typed; that is a bug in a rule.
    #[error("a rewritten graph is ill-typed: {0}")]
    IllTyped(#[from] TypeError),
    /// A proof was wanted and does not hold; that is a bug in a rule or in the proof.
    #[error("the rewriting is not proven: {0}")]
    Unproven(String),
}

/// Rewrites a graph into graphs that compute the same function, by its cost model no dearer than what fusion alone gives.
///
/// Inputs stay, in order; so do the parameters that are still needed. Training-form operators pass unharmed.
pub fn rewrite(graph: &Graph, options: &Options<'_>) -> Result<Rewritten, RewriteError> {
    verify::graph(graph)?;
    let clock = Remaining::new(options);
    let mut report = Report::new(options.rules);
    let simple = simplify(graph, &clock.options(options, 0.5), &mut report)?;
    if options.explain {
        report.prove((format!("what is left of it, before it is cut into segments:\n{}", all_named(&simple)), 0));
    }
    let segments = segment::split(&simple, options.rules)?;
    let mut distinct: Vec<&segment::Segment> = Vec::new();
    let mut of_segment: Vec<usize> = Vec::with_capacity(segments.len());
    for segment in &segments {
        let known = distinct.iter().position(|other| other.graph == segment.graph);
        of_segment.push(known.unwrap_or(distinct.len()));
        if known.is_none() {
            distinct.push(segment);
        }
    }
    let mut solutions: Vec<Solved> = Vec::new();
    let mut left: usize = distinct.iter().map(|segment| segment.graph.nodes.len()).sum();
    for segment in distinct {
        // Most segments need little of their time, so that each may take twice its share.
        let share = 2.0 * segment.graph.nodes.len() as f64 / left.max(1) as f64;
        let names = names(&simple, &segment.leaves);
        solutions.push(solve(&segment.graph, &names, &clock.options(options, share), &mut report)?);
        left -= segment.graph.nodes.len();
    }
    report.segments = segments.len();
    report.cost = total(&solutions, &of_segment, |solved| solved.candidates[0].0);
    report.fusion_cost = total(&solutions, &of_segment, |solved| solved.candidates[solved.fusion].0);

    let mut candidates: Vec<Graph> = Vec::new();
    let mut fusion = 0;
    for choice in choices(&solutions, &of_segment, options.candidates) {
        let chosen = of_segment.iter().map(|&index| &solutions[index].candidates[choice[index]].1);
        let candidate = assemble(&simple, &segments, chosen)?;
        debug_assert_eq!(verify::graph(&candidate), Ok(()));
        let known = candidates.iter().position(|known| *known == candidate);
        if choice.iter().zip(&solutions).all(|(k, solved)| *k == solved.fusion) {
            fusion = known.unwrap_or(candidates.len());
        }
        if known.is_none() {
            candidates.push(candidate);
        }
    }
    if options.dump {
        report.saved = saved(graph, options, &report)?;
    }
    Ok(Rewritten { graph: candidates[0].clone(), candidates, fusion, report })
}

/// What the values are called that a segment reads.
fn names(graph: &Graph, leaves: &[NodeId]) -> Vec<String> {
    let graph = all_named(graph);
    leaves.iter().filter_map(|&id| graph.node(id).name.clone()).collect()
}

/// The graph with a name for each of its values.
fn all_named(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for (i, node) in graph.nodes.iter_mut().enumerate() {
        node.name.get_or_insert_with(|| format!("v{i}"));
    }
    graph
}

/// For each rule that fired, by how much the best graph costs more without it.
fn saved(graph: &Graph, options: &Options<'_>, report: &Report) -> Result<Vec<(String, f64)>, RewriteError> {
    let mut saved = Vec::new();
    for (name, _) in report.fired.iter().filter(|(_, count)| *count > 0) {
        let others: Vec<Rule> = options.rules.iter().filter(|rule| rule.name != *name).cloned().collect();
        let without = rewrite(graph, &Options { rules: &others, dump: false, explain: false, ..*options })?;
        saved.push((name.clone(), without.report.cost - report.cost));
    }
    Ok(saved)
}

/// Which candidate of each distinct segment makes up each graph: the best everywhere, then the best with one kind of segment
/// exchanged, cheapest first; fusion alone is the last but for those that cost more.
fn choices(solutions: &[Solved], of_segment: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let cost = |choice: &[usize]| -> f64 { of_segment.iter().map(|&index| solutions[index].candidates[choice[index]].0).sum() };
    let best = vec![0; solutions.len()];
    let fusion: Vec<usize> = solutions.iter().map(|solved| solved.fusion).collect();
    let mut others: Vec<Vec<usize>> = Vec::new();
    for (index, solved) in solutions.iter().enumerate() {
        for k in 1..solved.candidates.len() {
            let mut choice = best.clone();
            choice[index] = k;
            others.push(choice);
        }
    }
    others.retain(|choice| *choice != fusion);
    others.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    others.truncate(limit.saturating_sub(2));
    others.push(fusion);
    others.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    others.retain(|choice| *choice != best);
    others.insert(0, best);
    others
}

/// The whole graph again: its inputs, parameters and constants, and one graph for each segment.
fn assemble<'a>(
    simple: &Graph,
    segments: &[segment::Segment],
    parts: impl Iterator<Item = &'a Graph>,
) -> Result<Graph, TypeError> {
    let konst = segment::konst(simple);
    let mut graph = Graph::new(simple.name.clone());
    let mut ids: HashMap<NodeId, NodeId> = HashMap::new();
    for (id, node) in simple.iter() {
        let name = node.name.clone().unwrap_or_default();
        let new = match node.op {
            Op::Input => graph.input(name, node.ty.clone()),
            Op::Param(init) => graph.param(name, &node.ty.extents().unwrap_or_default(), init),
            _ if konst[id.0 as usize] => {
                let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[operand]).collect();
                graph.push(node.op.clone(), &operands)?
            }
            _ => continue,
        };
        ids.insert(id, new);
    }
    for (segment, part) in segments.iter().zip(parts) {
        let leaves: Vec<NodeId> = segment.leaves.iter().map(|leaf| ids[leaf]).collect();
        let outputs = segment::append(part, &leaves, &mut graph)?;
        ids.extend(segment.outputs.iter().copied().zip(outputs));
    }
    graph.outputs = simple.outputs.iter().map(|output| ids[output]).collect();
    Ok(graph.without_dead_nodes())
}

fn total(solutions: &[Solved], of_segment: &[usize], cost: impl Fn(&Solved) -> f64) -> f64 {
    of_segment.iter().map(|&index| cost(&solutions[index])).sum()
}
