//! E-graphs for inspection: as plain data, and as text with one class a line.

use crate::cost::Cost;
use crate::extraction::{Selection, node_cost};
use crate::language::{EGraph, ENode, EOp};
use egg::Id;
use sonar_ir::graph::{Graph, Op, Term};
use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// The e-graph of one segment, with the segment before and after rewriting.
#[derive(Clone, Debug, PartialEq)]
pub struct EGraphDump {
    /// The segment.
    pub before: Graph,
    /// The cheapest graph found.
    pub after: Graph,
    /// The costs of the distinct graphs found, cheapest first.
    pub costs: Vec<f64>,
    /// The classes that the outputs may need, users before operands where there is no cycle.
    pub classes: Vec<DumpedClass>,
}

/// A class: values that are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpedClass {
    /// Its number in the e-graph.
    pub id: usize,
    /// The type of each member.
    pub ty: String,
    /// Whether it depends on parameters only.
    pub is_weight: bool,
    /// Whether it is an output.
    pub root: bool,
    /// Its members.
    pub nodes: Vec<DumpedNode>,
}

/// One way to compute a class.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpedNode {
    /// The operator, in short.
    pub label: String,
    /// The classes of the operands.
    pub operands: Vec<usize>,
    /// Its cost; 0 if it depends on parameters only.
    pub cost: f64,
    /// Whether the cheapest graph computes it.
    pub chosen: bool,
    /// Whether the second cheapest graph computes it.
    pub runner_up: bool,
}

impl EGraphDump {
    pub(crate) fn new(
        egraph: &EGraph,
        roots: &[Id],
        cost: &Cost<'_>,
        before: &Graph,
        candidates: &[(f64, Graph, Selection)],
    ) -> EGraphDump {
        let picks = |k: usize| candidates.get(k).map_or(HashMap::new(), |(.., selection)| picks(egraph, roots, selection));
        let (best, second) = (picks(0), picks(1));
        let roots: Vec<Id> = roots.iter().map(|&root| egraph.find(root)).collect();
        let mut classes = Vec::new();
        let mut seen: BTreeSet<Id> = BTreeSet::new();
        let mut stack: Vec<Id> = roots.iter().rev().copied().collect();
        while let Some(class) = stack.pop() {
            if !seen.insert(class) {
                continue;
            }
            let facts = &egraph[class].data;
            let mut nodes = Vec::new();
            for node in &egraph[class].nodes {
                let operands: Vec<Id> = node.operands.iter().map(|&id| egraph.find(id)).collect();
                stack.extend(&operands);
                let is = |picks: &HashMap<Id, ENode>| {
                    picks.get(&class).is_some_and(|pick| pick.op == node.op && *pick.operands == *operands)
                };
                nodes.push(DumpedNode {
                    label: label(egraph.analysis.ops.get(node.op)),
                    operands: operands.iter().map(|&id| usize::from(id)).collect(),
                    cost: if facts.is_weight { 0.0 } else { node_cost(egraph, class, node, cost) },
                    chosen: is(&best),
                    runner_up: is(&second),
                });
            }
            let (id, ty) = (usize::from(class), facts.ty.to_string());
            classes.push(DumpedClass { id, ty, is_weight: facts.is_weight, root: roots.contains(&class), nodes });
        }
        let after = candidates.first().map_or(before, |(_, graph, _)| graph).clone();
        EGraphDump { before: before.clone(), after, costs: candidates.iter().map(|(cost, ..)| *cost).collect(), classes }
    }
}

/// The e-nodes that a selection computes for the roots.
fn picks(egraph: &EGraph, roots: &[Id], selection: &Selection) -> HashMap<Id, ENode> {
    let mut picks = selection.picks(egraph);
    let mut needed: BTreeSet<Id> = BTreeSet::new();
    let mut stack: Vec<Id> = roots.iter().map(|&root| egraph.find(root)).collect();
    while let Some(class) = stack.pop() {
        if needed.insert(class) {
            stack.extend(picks.get(&class).iter().flat_map(|node| node.operands.iter().copied()));
        }
    }
    picks.retain(|class, _| needed.contains(class));
    picks
}

impl fmt::Display for EGraphDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs: Vec<String> = self.costs.iter().map(|cost| format!("{cost:.3e}")).collect();
        writeln!(f, "candidates cost {}", costs.join(", "))?;
        for class in &self.classes {
            let kind = if class.is_weight { "const" } else { "class" };
            writeln!(f, "{kind} {}: {}{}", class.id, class.ty, if class.root { " (root)" } else { "" })?;
            for node in &class.nodes {
                let operands: Vec<String> = node.operands.iter().map(usize::to_string).collect();
                let cost = if class.is_weight { String::new() } else { format!("  {:.3e}", node.cost) };
                let chosen = if node.chosen { "  chosen" } else { "" };
                writeln!(f, "  {}({}){cost}{chosen}", node.label, operands.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A short name of an operator. It has only attributes that help to distinguish kernels.
fn label(head: &EOp) -> String {
    match head {
        EOp::Leaf(node, _, is_weight) => format!("{} {node}", if *is_weight { "param" } else { "input" }),
        EOp::Op(Op::Splat(value, _)) => format!("splat {value}"),
        EOp::Op(Op::Unary(f)) => f.name().to_string(),
        EOp::Op(Op::Binary(f)) => f.name().to_string(),
        EOp::Op(op @ Op::FusedSum { relu, .. }) if op.is_sum() => {
            if *relu {
                "relu-sum".to_string()
            } else {
                "sum".to_string()
            }
        }
        EOp::Op(Op::FusedSum { terms, relu }) => {
            let terms: Vec<&str> = terms.iter().map(term_label).collect();
            format!("kernel[{}{}]", terms.join(" + "), if *relu { "; relu" } else { "" })
        }
        EOp::Op(op) => {
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
