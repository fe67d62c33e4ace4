//! Recomputes values that are cheaper to compute again than to store.
//!
//! A value with several consumers is normally written to memory once and read by each consumer. But it can be a short
//! elementwise expression of a single tensor of the same size that is in memory anyway (and of numbers per channel). Then each
//! consumer can read that tensor and compute the value again. This moves no more bytes, and the value itself is never written.
//! It is important for batch normalisation in training: `x − mean` and `x·scale + shift` both have several consumers.
//!
//! `f(a), g(a)` with `a = x − m --> f(x − m), g(x − m)`

use crate::build::copy;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::{Graph, Node, NodeId, Op};

/// Maximum length, in operators, of an expression that is recomputed.
const LONGEST: usize = 4;

/// The same function, with one copy of every cheap value for each of its uses.
pub(crate) fn recompute_cheap_values(graph: &Graph) -> Graph {
    let lengths = cheap_lengths(graph);
    let mut result = Graph::new(graph.name.clone());
    let mut renamed: EntityVec<NodeId, Option<NodeId>> = EntityVec::new();
    for (id, node) in graph.iter() {
        let cheap = lengths[id].is_some();
        renamed.push(if cheap { None } else { Some(place(&mut result, graph, &renamed, node)) });
    }
    result.outputs = graph.outputs.iter().filter_map(|o| renamed[*o]).collect();
    result
}

/// Appends a node with fresh copies of its recomputed operands.
fn place(result: &mut Graph, graph: &Graph, renamed: &EntityVec<NodeId, Option<NodeId>>, node: &Node) -> NodeId {
    let operand = |&o: &NodeId| renamed[o].unwrap_or_else(|| place(result, graph, renamed, graph.node(o)));
    let operands: Vec<NodeId> = node.operands.iter().map(operand).collect();
    copy(result, node, &operands)
}

/// For each node to recompute, the number of operators that this takes.
fn cheap_lengths(graph: &Graph) -> EntityVec<NodeId, Option<usize>> {
    let uses = graph.uses();
    let mut computed_in_place = EntityVec::filled(true, graph.nodes.len());
    for output in &graph.outputs {
        computed_in_place[*output] = false;
    }
    for user in &graph.nodes {
        for operand in &user.operands {
            let joins = match user.op {
                Op::Reduce { .. } => true,
                _ => is_elementwise(&user.op) && user.ty == *graph.ty(*operand),
            };
            computed_in_place[*operand] &= joins;
        }
    }

    let mut lengths: EntityVec<NodeId, Option<usize>> = EntityVec::filled(None, graph.nodes.len());
    // The one tensor in memory that a cheap node depends on. Any other node is its own source.
    let mut source: EntityVec<NodeId, NodeId> = graph.nodes.keys().collect();
    for (id, node) in graph.iter().filter(|(_, node)| is_elementwise(&node.op)) {
        let same_size = node.operands.iter().filter(|&&o| *graph.ty(o) == node.ty && !is_constant(graph, o));
        let mut sources: Vec<NodeId> = same_size.map(|o| source[*o]).collect();
        sources.dedup();
        let [only] = sources[..] else { continue };
        let length = 1 + node.operands.iter().filter_map(|o| lengths[*o]).sum::<usize>();
        let in_memory = matches!(graph.node(only).op, Op::Input | Op::Param(_)) || uses[only] > 1;
        if computed_in_place[id] && in_memory && length <= LONGEST {
            lengths[id] = Some(length);
            source[id] = only;
        }
    }
    lengths
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_))
}

fn is_constant(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Splat(..))
}
