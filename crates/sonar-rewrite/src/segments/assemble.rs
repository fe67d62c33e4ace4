//! Segments back into one graph.

use super::split::Segment;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use std::collections::HashMap;

/// Assembles the whole graph: its inputs, parameters and constants, and one graph for each segment.
pub fn assemble<'a>(simple: &Graph, segments: &[Segment], parts: impl Iterator<Item = &'a Graph>) -> Result<Graph, TypeError> {
    let is_weight = simple.weights();
    let mut graph = Graph::new(simple.name.clone());
    let mut ids: HashMap<NodeId, NodeId> = HashMap::new();
    for (id, node) in simple.iter() {
        let name = node.name.clone().unwrap_or_default();
        let new = match node.op {
            Op::Input => graph.input(name, node.ty.clone()),
            Op::Param(init) => graph.param(name, &node.ty.extents().unwrap_or_default(), init),
            _ if is_weight[id] => {
                let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[operand]).collect();
                graph.push(node.op.clone(), &operands)?
            }
            _ => continue,
        };
        ids.insert(id, new);
    }
    for (segment, part) in segments.iter().zip(parts) {
        let leaves: Vec<NodeId> = segment.leaves.iter().map(|leaf| ids[leaf]).collect();
        let outputs = append(part, &leaves, &mut graph)?;
        ids.extend(segment.outputs.iter().copied().zip(outputs));
    }
    graph.outputs = simple.outputs.iter().map(|output| ids[output]).collect();
    Ok(graph.without_dead_nodes())
}

/// Appends the nodes of a segment, rewritten or not, and returns the values of its outputs.
fn append(part: &Graph, leaves: &[NodeId], into: &mut Graph) -> Result<Vec<NodeId>, TypeError> {
    let leaf: HashMap<String, NodeId> = leaves.iter().enumerate().map(|(i, &id)| (i.to_string(), id)).collect();
    let mut ids: EntityVec<NodeId, NodeId> = EntityVec::new();
    for node in &part.nodes {
        let known = node.name.as_ref().and_then(|name| leaf.get(name));
        let id = match (&node.op, known) {
            (Op::Input | Op::Param(_), Some(&id)) => id,
            (op, _) => {
                let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[*operand]).collect();
                into.push(op.clone(), &operands)?
            }
        };
        ids.push(id);
    }
    Ok(part.outputs.iter().map(|output| ids[*output]).collect())
}
