//! The whole process: simplify, cut into segments, rewrite each distinct segment, and combine the best results.

use crate::error::RewriteError;
use crate::options::Options;
use crate::report::Report;
use crate::rules::Rule;
use crate::segments::{self, Remaining, Segment, Solved, assemble, simplify, solve};
use sonar_ir::verify;
use sonar_ir::{Graph, NodeId};

/// The outcome of [`rewrite`].
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The cheapest graph found.
    pub graph: Graph,
    /// Distinct graphs, cheapest first; `graph` is the first. They always include the graph after fusion only.
    pub candidates: Vec<Graph>,
    /// Index of the candidate after fusion only.
    pub fusion: usize,
    /// The report.
    pub report: Report,
}

/// Rewrites a graph into graphs that compute the same function. By the cost model, the best one is not more expensive than the graph
/// after fusion only.
///
/// Inputs stay, in order, and so do the parameters that are still needed. Operators in training form are kept.
pub fn rewrite(graph: &Graph, options: &Options<'_>) -> Result<Rewritten, RewriteError> {
    verify::graph(graph)?;
    let clock = Remaining::new(options);
    let mut report = Report::new(options.rules);
    let simple = simplify(graph, &clock.options(options, 0.5), &mut report)?;
    if options.explain {
        report.prove((format!("what is left of it, before it is cut into segments:\n{}", all_named(&simple)), 0));
    }
    let segments = segments::split(&simple, options.rules)?;
    let mut distinct: Vec<&Segment> = Vec::new();
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
        // Most segments use little of their time, so each may take twice its share.
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

/// The names of the values that a segment reads.
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

/// For each rule that fired, the additional cost of the best graph without it.
fn saved(graph: &Graph, options: &Options<'_>, report: &Report) -> Result<Vec<(String, f64)>, RewriteError> {
    let mut saved = Vec::new();
    for (name, _) in report.fired.iter().filter(|(_, count)| *count > 0) {
        let others: Vec<Rule> = options.rules.iter().filter(|rule| rule.name != *name).cloned().collect();
        let without = rewrite(graph, &Options { rules: &others, dump: false, explain: false, ..*options })?;
        saved.push((name.clone(), without.report.cost - report.cost));
    }
    Ok(saved)
}

/// For each result graph, the candidate of each distinct segment. The first graph has the best candidates only. The others replace
/// those of one kind of segment, or are the graph after fusion only; they are sorted by cost.
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

fn total(solutions: &[Solved], of_segment: &[usize], cost: impl Fn(&Solved) -> f64) -> f64 {
    of_segment.iter().map(|&index| cost(&solutions[index])).sum()
}
