//! The choice of expressions for weights: the smallest one.

use crate::language::{EGraph, ENode, is_weight};
use egg::Id;
use std::collections::{HashMap, HashSet};

/// For every constant class that the roots may need, the node with the smallest expression.
pub fn smallest_weights(egraph: &EGraph, roots: &[Id]) -> HashMap<Id, ENode> {
    let mut classes: Vec<Id> = Vec::new();
    let mut seen: HashSet<Id> = HashSet::new();
    let mut stack: Vec<Id> = roots.iter().map(|&root| egraph.find(root)).collect();
    while let Some(class) = stack.pop() {
        if seen.insert(class) {
            if is_weight(egraph, class) {
                classes.push(class);
            }
            stack.extend(egraph[class].nodes.iter().flat_map(|node| node.operands.iter().map(|&id| egraph.find(id))));
        }
    }
    classes.reverse();
    let mut best: HashMap<Id, (f64, &ENode)> = HashMap::new();
    loop {
        let mut improved = false;
        for &class in &classes {
            for node in &egraph[class].nodes {
                let sizes = node.operands.iter().map(|&id| best.get(&egraph.find(id)).map(|(size, _)| size));
                let Some(size) = sizes.sum::<Option<f64>>().map(|size| size + 1.0) else { continue };
                if best.get(&class).is_none_or(|(known, _)| size < *known) {
                    best.insert(class, (size, node));
                    improved = true;
                }
            }
        }
        if !improved {
            return best.into_iter().map(|(class, (_, node))| (class, node.clone())).collect();
        }
    }
}
