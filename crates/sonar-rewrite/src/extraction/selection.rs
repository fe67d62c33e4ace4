//! A selection: which e-node computes each class.

use crate::language::{EGraph, ENode};
use egg::Id;
use std::collections::{BTreeMap, HashMap, HashSet};

/// One e-node for each class that some roots need.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The node of each class.
    pub nodes: HashMap<Id, ENode>,
}

impl Selection {
    /// A selection of these nodes.
    pub fn new(nodes: HashMap<Id, ENode>) -> Selection {
        Selection { nodes }
    }

    /// The selected nodes, in the current e-graph.
    pub fn picks(&self, egraph: &EGraph) -> HashMap<Id, ENode> {
        let earlier: BTreeMap<Id, &ENode> = self.nodes.iter().map(|(&class, node)| (class, node)).collect();
        let mut picks: HashMap<Id, ENode> = HashMap::new();
        for (class, node) in earlier {
            let operands = node.operands.iter().map(|&id| egraph.find(id)).collect();
            picks.entry(egraph.find(class)).or_insert(ENode { op: node.op, operands });
        }
        picks
    }

    /// The e-node selected for a class.
    pub fn node(&self, egraph: &EGraph, class: Id) -> &ENode {
        &self.nodes[&egraph.find(class)]
    }

    /// The classes that the roots need, operands first.
    pub fn order(&self, egraph: &EGraph, roots: &[Id]) -> Vec<Id> {
        let mut order = Vec::new();
        let mut done = HashSet::new();
        let mut stack: Vec<(Id, usize)> = Vec::new();
        for &root in roots {
            stack.push((egraph.find(root), 0));
            while let Some((class, next)) = stack.pop() {
                if done.contains(&class) {
                    continue;
                }
                match self.nodes[&class].operands.get(next) {
                    Some(&operand) => {
                        stack.push((class, next + 1));
                        stack.push((egraph.find(operand), 0));
                    }
                    None => {
                        done.insert(class);
                        order.push(class);
                    }
                }
            }
        }
        order
    }
}
