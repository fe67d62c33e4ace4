//! Which nodes of a graph are weights.

use sonar_ir::graph::{Graph, Op};

/// Whether each node depends on parameters only.
pub fn weights_of(graph: &Graph) -> Vec<bool> {
    let mut weights: Vec<bool> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let value = node.op != Op::Input && node.operands.iter().all(|operand| weights[operand.0 as usize]);
        weights.push(value);
    }
    weights
}
