//! One e-graph: import, saturate, extract.

use crate::cost::{KernelShape, graph_cost};
use crate::error::RewriteError;
use crate::extraction::{Depth, Effort, export, extract};
use crate::language::{Analysis, EGraph, import};
use crate::options::Options;
use crate::proofs::{Claim, prove};
use crate::report::Report;
use crate::report::egraph_dump::EGraphDump;
use crate::rules::{Limits, Log, Stage, saturate_with_log};
use sonar_ir::Graph;
use sonar_ir::machine::is_gain;
use std::time::{Duration, Instant};

/// The remaining part of [`Limits::time`](crate::Limits::time).
pub struct Remaining(Instant);

impl Remaining {
    /// The whole time, from now on. A time that is too long for the clock becomes a day.
    pub fn new(options: &Options<'_>) -> Remaining {
        let now = Instant::now();
        Remaining(now.checked_add(options.limits.time).unwrap_or(now + Duration::from_secs(86_400)))
    }

    /// When it ends.
    pub fn end(&self) -> Instant {
        self.0
    }

    /// The options with a share of the remaining time.
    pub fn options<'a>(&self, options: &Options<'a>, share: f64) -> Options<'a> {
        let left = self.0.saturating_duration_since(Instant::now());
        let time = left.mul_f64(share.clamp(0.0, 1.0));
        Options { limits: Limits { time, ..options.limits }, ..*options }
    }
}

/// A rewritten segment.
pub struct Solved {
    /// Distinct graphs with their costs, cheapest first; there is at least one.
    pub candidates: Vec<(f64, Graph)>,
    /// Index of the candidate after fusion only.
    pub fusion: usize,
}

/// The whole graph after the rules that can only make it smaller. It shows where the graph can be cut.
pub fn simplify(graph: &Graph, options: &Options<'_>, report: &mut Report) -> Result<Graph, RewriteError> {
    let rules = options.rules_up_to(Stage::Simplify);
    let mut egraph = EGraph::new(Analysis::whole(options.exact()));
    let roots = import(&mut egraph, graph);
    let mut log: Log = options.explain.then(Vec::new);
    let saturation = saturate_with_log(&mut egraph, &rules, &options.limits, &|_| Vec::new(), &mut log);
    report.add(&rules, &saturation);
    let count_nodes = |_: &KernelShape<'_>| 1.0;
    let effort = Effort { depth: Depth::Greedy, restarts: 0, seed: options.seed, until: None };
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

/// Rewrites a segment: first with the rules of fusion only, then with all. Each saturation leaves half of the remaining time to the
/// steps after it. `names` are the names of the inputs and parameters in the whole graph.
pub fn solve(graph: &Graph, names: &[String], options: &Options<'_>, report: &mut Report) -> Result<Solved, RewriteError> {
    let clock = Remaining::new(options);
    let mut egraph = EGraph::new(Analysis::segment(options.exact()));
    let roots = import(&mut egraph, graph);
    let effort = Effort { depth: Depth::Prove, restarts: options.restarts, seed: options.seed, until: Some(clock.end()) };

    let rules = options.rules_up_to(Stage::Fuse);
    let mut log: Log = options.explain.then(Vec::new);
    let wanted = |egraph: &EGraph| {
        let quick = Effort { depth: Depth::Climb, restarts: 0, ..effort };
        extract(egraph, &roots, options.cost, &[], quick).swap_remove(0).order(egraph, &roots)
    };
    let saturation = saturate_with_log(&mut egraph, &rules, &clock.options(options, 0.5).limits, &wanted, &mut log);
    report.add(&rules, &saturation);
    let until = Some(Remaining::new(&clock.options(options, 0.5)).end());
    let hurried = Effort { depth: Depth::Climb, until, ..effort };
    let fused = extract(&egraph, &roots, options.cost, &[], hurried).swap_remove(0);
    let fusion = export(&egraph, &fused, &roots, graph)?;

    let limits = clock.options(options, 0.5).limits;
    let rules = options.rules_up_to(Stage::Widen);
    let saturation = saturate_with_log(&mut egraph, &rules, &limits, &wanted, &mut log);
    report.add(&rules, &saturation);
    let mut candidates = vec![(graph_cost(&fusion, options.cost), fusion.clone(), fused.clone())];
    for selection in extract(&egraph, &roots, options.cost, &[fused], effort) {
        let graph = export(&egraph, &selection, &roots, graph)?;
        if !candidates.iter().any(|(_, other, _)| *other == graph) {
            candidates.push((graph_cost(&graph, options.cost), graph, selection));
        }
    }
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The graph after fusion only stays first, unless another one is faster by more than the error of estimates.
    let known = candidates.iter().position(|(_, graph, _)| *graph == fusion).unwrap_or(0);
    if !is_gain(candidates[0].0, candidates[known].0) {
        candidates[..=known].rotate_right(1);
    }
    let view = options.dump.then(|| EGraphDump::new(&egraph, &roots, options.cost, graph, &candidates));
    let candidates: Vec<(f64, Graph)> = candidates.into_iter().map(|(cost, graph, _)| (cost, graph)).collect();
    let fusion = candidates.iter().position(|(_, graph)| *graph == fusion).unwrap_or(0);
    if let Some(log) = log {
        let title = format!("segment {}", report.distinct_segments + 1);
        let names = |name: &str| name.parse().ok().and_then(|i: usize| names.get(i)).cloned().unwrap_or_else(|| name.to_string());
        let claim = Claim { title: &title, source: graph, target: &candidates[0].1, egraph: &egraph, names: &names };
        report.prove(prove(&claim, &log)?);
    }
    report.solved(&egraph, view);
    Ok(Solved { candidates, fusion })
}
