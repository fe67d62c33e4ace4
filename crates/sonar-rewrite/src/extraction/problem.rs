//! The extraction problem: the classes of an e-graph that depend on an input, the ways to compute each, and the cost of each way.

use super::selection::Selection;
use crate::cost::{Cost, KernelShape};
use crate::language::{EGraph, ENode, EOp, is_weight};
use egg::Id;
use sonar_ir::graph::TensorType;
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Instant;

/// The most visits of classes. After these the search for better choices stops, which bounds the work on large e-graphs.
const MAX_VISITS: u64 = 20_000_000;

/// Added to every cost, so that no choice is free and greedy choices cannot be cyclic.
pub const EPSILON: f64 = 1e-12;

/// Replaces infinite costs, so that sums of costs can still be compared.
const HUGE: f64 = 1e30;

/// The e-graph as extraction sees it: the classes that depend on an input, with dense numbers. Constant classes cost nothing and
/// are left out.
pub struct Problem {
    /// The classes, by their numbers.
    pub classes: Vec<Id>,
    /// The ways to compute each.
    pub alternatives: Vec<Vec<Alternative>>,
    /// The classes to compute.
    pub roots: Vec<u32>,
    /// Number of class visits in searches so far.
    pub visits: Cell<u64>,
    /// When to stop looking for better choices.
    pub until: Option<Instant>,
}

/// One way to compute a class.
pub struct Alternative {
    /// The e-node.
    pub node: ENode,
    /// What it costs.
    pub cost: f64,
    /// Sorted and distinct.
    pub operands: Vec<u32>,
}

impl Problem {
    pub fn new(egraph: &EGraph, roots: &[Id], cost: &Cost<'_>) -> Problem {
        let mut classes = Vec::new();
        let mut index = HashMap::new();
        let mut number = |class: Id, classes: &mut Vec<Id>| {
            let class = egraph.find(class);
            (!is_weight(egraph, class)).then(|| {
                *index.entry(class).or_insert_with(|| {
                    classes.push(class);
                    classes.len() as u32 - 1
                })
            })
        };
        let mut roots: Vec<u32> = roots.iter().filter_map(|&root| number(root, &mut classes)).collect();
        roots.sort_unstable();
        roots.dedup();
        let mut alternatives = Vec::new();
        while let Some(&class) = classes.get(alternatives.len()) {
            let me = alternatives.len() as u32;
            let mut mine: Vec<Alternative> = Vec::new();
            for node in &egraph[class].nodes {
                let mut operands: Vec<u32> = node.operands.iter().filter_map(|&id| number(id, &mut classes)).collect();
                operands.sort_unstable();
                operands.dedup();
                if operands.binary_search(&me).is_err() {
                    mine.push(Alternative { node: node.clone(), cost: node_cost(egraph, class, node, cost) + EPSILON, operands });
                }
            }
            alternatives.push(mine);
        }
        Problem { classes, alternatives, roots, visits: Cell::new(0), until: None }
    }

    /// Removes alternatives that no cheapest choice needs.
    pub fn prune(&mut self) {
        for mine in &mut self.alternatives {
            *mine = without_dominated(std::mem::take(mine));
        }
    }

    /// Counts visits, and returns whether the limit is reached.
    pub fn is_exhausted(&self, visits: u64) -> bool {
        self.visits.set(self.visits.get() + visits);
        self.visits.get() > MAX_VISITS || self.until.is_some_and(|until| Instant::now() > until)
    }

    /// For each class, the classes that read it in some alternative.
    pub fn parents(&self) -> Vec<Vec<u32>> {
        let mut parents: Vec<Vec<u32>> = vec![Vec::new(); self.classes.len()];
        for (class, mine) in self.alternatives.iter().enumerate() {
            for &operand in mine.iter().flat_map(|alternative| &alternative.operands) {
                if parents[operand as usize].last() != Some(&(class as u32)) {
                    parents[operand as usize].push(class as u32);
                }
            }
        }
        parents
    }

    /// The classes that could have several users.
    pub fn shared(&self) -> Vec<u32> {
        let parents = self.parents();
        (0..self.classes.len() as u32).filter(|&class| parents[class as usize].len() > 1).collect()
    }

    pub fn selection(&self, egraph: &EGraph, choice: &[u32], weights: &HashMap<Id, ENode>) -> Selection {
        let mut nodes = weights.clone();
        for class in self.needed(choice) {
            nodes.insert(egraph.find(self.classes[class as usize]), self.chosen(choice, class).node.clone());
        }
        Selection { nodes }
    }

    pub fn costs(&self) -> Vec<Vec<f64>> {
        self.alternatives.iter().map(|mine| mine.iter().map(|alternative| alternative.cost).collect()).collect()
    }

    pub fn chosen(&self, choice: &[u32], class: u32) -> &Alternative {
        &self.alternatives[class as usize][choice[class as usize] as usize]
    }

    /// `fallback`, with the choices of an earlier selection where it has some.
    pub fn adopt(&self, egraph: &EGraph, start: &Selection, fallback: &[u32]) -> Vec<u32> {
        let wanted = start.picks(egraph);
        let mut choice = fallback.to_vec();
        for (c, class) in self.classes.iter().enumerate() {
            let Some(node) = wanted.get(class) else { continue };
            if let Some(k) = self.alternatives[c].iter().position(|alternative| alternative.node == *node) {
                choice[c] = k as u32;
            }
        }
        choice
    }
}

/// Removes alternatives that need all that a cheaper one needs.
fn without_dominated(mut alternatives: Vec<Alternative>) -> Vec<Alternative> {
    alternatives.sort_by(|a, b| a.cost.total_cmp(&b.cost).then_with(|| a.operands.len().cmp(&b.operands.len())));
    let mut kept: Vec<Alternative> = Vec::new();
    for alternative in alternatives {
        let needs = |operand: &u32| alternative.operands.binary_search(operand).is_ok();
        if !kept.iter().any(|cheaper| cheaper.operands.iter().all(needs)) {
            kept.push(alternative);
        }
    }
    kept
}

/// The cost of computing a class by one of its nodes. A leaf is free.
pub fn node_cost(egraph: &EGraph, class: Id, node: &ENode, cost: &Cost<'_>) -> f64 {
    match &**egraph.analysis.ops.get(node.op) {
        EOp::Leaf(..) => 0.0,
        EOp::Op(op) => {
            let operands: Vec<&TensorType> = node.operands.iter().map(|&id| &egraph[id].data.ty).collect();
            let weights: Vec<bool> = node.operands.iter().map(|&id| is_weight(egraph, id)).collect();
            let cost = cost(&KernelShape { op, operands: &operands, weights: &weights, result: &egraph[class].data.ty });
            // A node with an unknown cost is avoided.
            if cost < HUGE { cost.max(0.0) } else { HUGE }
        }
    }
}
