//! What a rewriting did.

use crate::Options;
use crate::extract::node_cost;
use crate::language::{EGraph, Head};
use crate::rules::{Rule, Saturation, StopReason};
use egg::Id;
use serde::Serialize;
use sonar_ir::graph::{Graph, Op, Term};
use std::collections::HashSet;
use std::fmt;
use std::fmt::Write;

/// What a rewriting did. Costs are in the unit of the cost model, which is seconds by default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Why saturation ended: the worst reason among all e-graphs.
    pub stop: StopReason,
    /// The most rounds that an e-graph took.
    pub iterations: usize,
    /// Parts into which the graph was cut.
    pub segments: usize,
    /// How many of them differ.
    pub distinct_segments: usize,
    /// E-nodes of the distinct segments.
    pub enodes: usize,
    /// E-classes of the distinct segments.
    pub eclasses: usize,
    /// The name of each rule, and how many new equalities it found.
    pub fired: Vec<(String, usize)>,
    /// Cost of the best graph.
    pub cost: f64,
    /// Cost of what fusion alone gives.
    pub fusion_cost: f64,
    /// The e-graph of each distinct segment, a class a line with the costs of its nodes, if [`Options::dump`] asks for it.
    pub dump: String,
    /// What proves that the best graph equals the original one, a step a few lines, if [`Options::explain`] asks for it.
    pub proof: String,
    /// The steps of the proof.
    pub proof_steps: usize,
}

impl Report {
    /// The report of nothing done yet.
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
            dump: String::new(),
            proof: String::new(),
            proof_steps: 0,
        }
    }

    /// Adds what a saturation with these rules did.
    pub(crate) fn add(&mut self, rules: &[Rule], saturation: &Saturation) {
        self.stop = self.stop.max(saturation.stop);
        self.iterations = self.iterations.max(saturation.iterations);
        for (rule, count) in rules.iter().zip(&saturation.fired) {
            if let Some((_, total)) = self.fired.iter_mut().find(|(name, _)| *name == rule.name) {
                *total += count;
            }
        }
    }

    /// Adds a part of the proof, and the number of its steps.
    pub(crate) fn prove(&mut self, (text, steps): (String, usize)) {
        self.proof.push_str(&text);
        self.proof_steps += steps;
    }

    /// Adds the final e-graph of a distinct segment.
    pub(crate) fn solved(&mut self, egraph: &EGraph, roots: &[Id], options: &Options<'_>, candidates: &[(f64, Graph)]) {
        self.distinct_segments += 1;
        self.enodes += egraph.total_number_of_nodes();
        self.eclasses += egraph.number_of_classes();
        if options.dump {
            let costs: Vec<String> = candidates.iter().map(|(cost, _)| format!("{cost:.3e}")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(self.dump, "segment {}: candidates cost {}", self.distinct_segments, costs.join(", "));
            self.dump.push_str(&dump(egraph, roots, options));
        }
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
            writeln!(f, "  {name:<16} {count:>6}")?;
        }
        f.write_str(&self.dump)
    }
}

/// The classes that the roots may need, one a line: type, then each node with its cost.
fn dump(egraph: &EGraph, roots: &[Id], options: &Options<'_>) -> String {
    let mut text = String::new();
    let mut seen: HashSet<Id> = HashSet::new();
    let mut stack: Vec<Id> = roots.iter().rev().map(|&root| egraph.find(root)).collect();
    while let Some(class) = stack.pop() {
        if !seen.insert(class) {
            continue;
        }
        let facts = &egraph[class].data;
        let kind = if facts.konst { "const" } else { "class" };
        let _ = writeln!(text, "{kind} {class}: {}{}", facts.ty, if roots.contains(&class) { " (root)" } else { "" });
        for node in &egraph[class].nodes {
            let operands: Vec<String> = node.operands.iter().map(|&id| egraph.find(id).to_string()).collect();
            let cost =
                if facts.konst { String::new() } else { format!("  {:.3e}", node_cost(egraph, class, node, options.cost)) };
            let label = label(egraph.analysis.heads.get(node.head));
            let _ = writeln!(text, "  {label}({}){cost}", operands.join(", "));
            stack.extend(node.operands.iter().map(|&id| egraph.find(id)));
        }
    }
    text
}

/// A short name of an operator, with attributes only where they tell kernels apart at a glance.
fn label(head: &Head) -> String {
    match head {
        Head::Leaf(node, _, konst) => format!("{} {node}", if *konst { "param" } else { "input" }),
        Head::Op(Op::Splat(value, _)) => format!("splat {value}"),
        Head::Op(Op::Unary(f)) => f.name().to_string(),
        Head::Op(Op::Binary(f)) => f.name().to_string(),
        Head::Op(Op::FusedSum { terms, relu }) if terms.iter().all(|term| *term == Term::Add) => {
            if *relu {
                "relu-sum".to_string()
            } else {
                "sum".to_string()
            }
        }
        Head::Op(Op::FusedSum { terms, relu }) => {
            let terms: Vec<&str> = terms.iter().map(term_label).collect();
            format!("kernel[{}{}]", terms.join(" + "), if *relu { "; relu" } else { "" })
        }
        Head::Op(op) => {
            let debug = format!("{op:?}");
            debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase()
        }
    }
}

fn term_label(term: &Term) -> &'static str {
    match term {
        Term::Conv2d { relu: false, .. } => "conv",
        Term::Conv2d { relu: true, .. } => "conv∘relu",
        Term::MatMul { relu: false } => "matmul",
        Term::MatMul { relu: true } => "matmul∘relu",
        Term::Add => "x",
    }
}
