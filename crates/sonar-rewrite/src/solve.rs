//! One e-graph: import, saturate, extract.

use crate::convert::{export, import};
use crate::cost::{KernelShape, graph_cost};
use crate::extract::{Effort, extract};
use crate::language::{Analysis, EGraph};
use crate::proof::{Claim, Log, prove};
use crate::report::Report;
use crate::rules::{Stage, rules_up_to, saturate_with_log};
use crate::{Options, RewriteError};
use sonar_ir::Graph;

/// A rewritten segment.
pub struct Solved {
    /// What was rewritten.
    pub source: Graph,
    /// Distinct graphs with their costs, cheapest first; there is at least one.
    pub candidates: Vec<(f64, Graph)>,
    /// Which of them fusion alone gives.
    pub fusion: usize,
}

/// The whole graph after the rules that only ever make it smaller, which shows where it can be cut.
pub fn simplify(graph: &Graph, options: &Options<'_>, report: &mut Report) -> Result<Graph, RewriteError> {
    let rules = rules_up_to(options.rules, Stage::Simplify);
    let mut egraph = EGraph::new(Analysis::default());
    let roots = import(&mut egraph, graph);
    let mut log: Log = options.explain.then(Vec::new);
    let saturation = saturate_with_log(&mut egraph, &rules, &options.limits, &|_| Vec::new(), &mut log);
    report.add(&rules, &saturation);
    let count_nodes = |_: &KernelShape<'_>| 1.0;
    let effort = Effort { climb: false, restarts: 0, seed: options.seed };
    let selections = extract(&egraph, &roots, &count_nodes, &[], effort);
    let simple = export(&egraph, &selections[0], &roots, graph)?;
    if let Some(log) = log {
        let names = |name: &str| name.to_string();
        let claim = Claim {
            title: "whole graph, with additions as sums and batch normalisations as scale and shift",
            source: graph,
            target: &simple,
            egraph: &egraph,
            names: &names,
        };
        report.prove(prove(&claim, &log)?);
    }
    Ok(simple)
}

/// Rewrites a segment: to the end with the rules of fusion, then on with all. `names` says what the inputs and parameters are
/// called outside.
pub fn solve(graph: &Graph, names: &[String], options: &Options<'_>, report: &mut Report) -> Result<Solved, RewriteError> {
    let mut egraph = EGraph::new(Analysis::default());
    let roots = import(&mut egraph, graph);
    let effort = Effort { climb: true, restarts: options.restarts, seed: options.seed };

    let rules = rules_up_to(options.rules, Stage::Fuse);
    let mut log: Log = options.explain.then(Vec::new);
    let wanted = |egraph: &EGraph| {
        let quick = Effort { restarts: 0, ..effort };
        extract(egraph, &roots, options.cost, &[], quick).swap_remove(0).order(egraph, &roots)
    };
    let saturation = saturate_with_log(&mut egraph, &rules, &options.limits, &wanted, &mut log);
    report.add(&rules, &saturation);
    let fused = extract(&egraph, &roots, options.cost, &[], effort).swap_remove(0);
    let fusion = export(&egraph, &fused, &roots, graph)?;

    let saturation = saturate_with_log(&mut egraph, options.rules, &options.limits, &wanted, &mut log);
    report.add(options.rules, &saturation);
    let mut candidates = vec![(graph_cost(&fusion, options.cost), fusion.clone())];
    for selection in extract(&egraph, &roots, options.cost, &[fused], effort) {
        let graph = export(&egraph, &selection, &roots, graph)?;
        if !candidates.iter().any(|(_, other)| *other == graph) {
            candidates.push((graph_cost(&graph, options.cost), graph));
        }
    }
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let fusion = candidates.iter().position(|(_, graph)| *graph == fusion).unwrap_or(0);
    if let Some(log) = log {
        let title = format!("segment {}", report.distinct_segments + 1);
        let names = |name: &str| name.parse().ok().and_then(|i: usize| names.get(i)).cloned().unwrap_or_else(|| name.to_string());
        let claim = Claim { title: &title, source: graph, target: &candidates[0].1, egraph: &egraph, names: &names };
        report.prove(prove(&claim, &log)?);
    }
    report.solved(&egraph, &roots, options, &candidates);
    Ok(Solved { source: graph.clone(), candidates, fusion })
}
