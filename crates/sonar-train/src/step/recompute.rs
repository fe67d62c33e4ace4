//! What is cheaper to compute again than to keep.
//!
//! A value with several consumers is normally written to memory once and read by each. Where it is a short elementwise expression of a
//! single tensor of its own size that is in memory anyway (and of numbers per channel), reading that tensor and computing again moves no
//! more bytes, and the value itself is never written. Batch normalisation in training lives on this: `x − mean` and `x·scale + shift` each
//! have several consumers.
//!
//! `f(a), g(a)` with `a = x − m --> f(x − m), g(x − m)`

use crate::build::copy;
use sonar_ir::graph::{Graph, Node, NodeId, Op};

/// Longest expression, in operators, that is computed again.
const LONGEST: usize = 4;

/// The same function, in which every value that is cheap in this sense has a copy for each of its uses.
pub(crate) fn recompute_cheap_values(graph: &Graph) -> Graph {
    let lengths = cheap_lengths(graph);
    let mut result = Graph::new(graph.name.clone());
    let mut renamed: Vec<Option<NodeId>> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let cheap = lengths[id.0 as usize].is_some();
        renamed.push(if cheap { None } else { Some(place(&mut result, graph, &renamed, node)) });
    }
    result.outputs = graph.outputs.iter().filter_map(|o| renamed[o.0 as usize]).collect();
    result
}

/// Appends a node with fresh copies of those of its operands that are computed again.
fn place(result: &mut Graph, graph: &Graph, renamed: &[Option<NodeId>], node: &Node) -> NodeId {
    let operand = |&o: &NodeId| renamed[o.0 as usize].unwrap_or_else(|| place(result, graph, renamed, graph.node(o)));
    let operands: Vec<NodeId> = node.operands.iter().map(operand).collect();
    copy(result, node, &operands)
}

/// For each node that is to be computed again at each use, the number of operators that this takes.
fn cheap_lengths(graph: &Graph) -> Vec<Option<usize>> {
    let uses = graph.uses();
    let mut computed_in_place = vec![true; graph.nodes.len()];
    for output in &graph.outputs {
        computed_in_place[output.0 as usize] = false;
    }
    for user in &graph.nodes {
        for operand in &user.operands {
            let joins = match user.op {
                Op::Reduce { .. } => true,
                _ => is_elementwise(&user.op) && user.ty == *graph.ty(*operand),
            };
            computed_in_place[operand.0 as usize] &= joins;
        }
    }

    let mut lengths: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    // The one tensor in memory that a cheap node is an expression of; any other node stands for itself.
    let mut source: Vec<NodeId> = graph.iter().map(|(id, _)| id).collect();
    for (id, node) in graph.iter().filter(|(_, node)| is_elementwise(&node.op)) {
        let i = id.0 as usize;
        let same_size = node.operands.iter().filter(|&&o| *graph.ty(o) == node.ty && !is_constant(graph, o));
        let mut sources: Vec<NodeId> = same_size.map(|o| source[o.0 as usize]).collect();
        sources.dedup();
        let [only] = sources[..] else { continue };
        let length = 1 + node.operands.iter().filter_map(|o| lengths[o.0 as usize]).sum::<usize>();
        let in_memory = matches!(graph.node(only).op, Op::Input | Op::Param(_)) || uses[only.0 as usize] > 1;
        if computed_in_place[i] && in_memory && length <= LONGEST {
            lengths[i] = Some(length);
            source[i] = only;
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
