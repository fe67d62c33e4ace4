//! A rewriting in numbers.

use super::egraph_dump::EGraphDump;
use crate::language::EGraph;
use crate::rules::{Rule, Saturation, StopReason};
use serde::Serialize;
use std::fmt;

/// A summary of a rewriting. Costs are in the unit of the cost model, which is seconds by default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Why saturation ended: the worst reason among all e-graphs.
    pub stop: StopReason,
    /// The largest number of rounds of an e-graph.
    pub iterations: usize,
    /// Number of parts that the graph was cut into.
    pub segments: usize,
    /// Number of distinct ones.
    pub distinct_segments: usize,
    /// E-nodes of the distinct segments.
    pub enodes: usize,
    /// E-classes of the distinct segments.
    pub eclasses: usize,
    /// The name of each rule, and the number of new equalities that it found.
    pub fired: Vec<(String, usize)>,
    /// Cost of the best graph.
    pub cost: f64,
    /// Cost of the graph after fusion only.
    pub fusion_cost: f64,
    /// For each rule that fired, the additional cost of the best graph without it; filled if
    /// [`Options::dump`](crate::Options::dump) is set.
    pub saved: Vec<(String, f64)>,
    /// The e-graph of each distinct segment, if [`Options::dump`](crate::Options::dump) is set.
    #[serde(skip)]
    pub views: Vec<EGraphDump>,
    /// The proof that the best graph equals the original one, a few lines for each step, if
    /// [`Options::explain`](crate::Options::explain) is set.
    pub proof: String,
    /// The steps of the proof.
    pub proof_steps: usize,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(rules: &[Rule]) -> Report {
        Report {
            stop: StopReason::Saturated,
            iterations: 0,
            segments: 0,
            distinct_segments: 0,
            enodes: 0,
            eclasses: 0,
            fired: rules.iter().map(|rule| (rule.name.to_string(), 0)).collect(),
            cost: 0.0,
            fusion_cost: 0.0,
            saved: Vec::new(),
            views: Vec::new(),
            proof: String::new(),
            proof_steps: 0,
        }
    }

    /// Adds the numbers of a saturation with these rules.
    pub(crate) fn add(&mut self, rules: &[&Rule], saturation: &Saturation) {
        self.stop = self.stop.max(saturation.stop);
        self.iterations = self.iterations.max(saturation.iterations);
        for (rule, count) in rules.iter().zip(&saturation.fired) {
            if let Some((_, total)) = self.fired.iter_mut().find(|(name, _)| *name == rule.name) {
                *total += count;
            }
        }
    }

    /// Adds a part of the proof, and its number of steps.
    pub(crate) fn prove(&mut self, (text, steps): (String, usize)) {
        self.proof.push_str(&text);
        self.proof_steps += steps;
    }

    /// Adds the final e-graph of a distinct segment.
    pub(crate) fn solved(&mut self, egraph: &EGraph, view: Option<EGraphDump>) {
        self.distinct_segments += 1;
        self.enodes += egraph.total_number_of_nodes();
        self.eclasses += egraph.number_of_classes();
        self.views.extend(view);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {} rounds", self.stop, self.iterations)?;
        writeln!(
            f,
            "{} segments, {} distinct: {} e-nodes in {} classes",
            self.segments, self.distinct_segments, self.enodes, self.eclasses
        )?;
        writeln!(f, "cost {:.3e}, by fusion alone {:.3e}", self.cost, self.fusion_cost)?;
        for (name, count) in self.fired.iter().filter(|(_, count)| *count > 0) {
            let saved = self.saved.iter().find(|(other, _)| other == name);
            let saved = saved.map_or(String::new(), |(_, saved)| format!("  saved {saved:.3e}"));
            writeln!(f, "  {name:<16} {count:>6}{saved}")?;
        }
        for (i, view) in self.views.iter().enumerate() {
            write!(f, "segment {}: {view}", i + 1)?;
        }
        Ok(())
    }
}
