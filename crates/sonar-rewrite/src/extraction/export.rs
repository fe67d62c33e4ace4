//! A selection of e-nodes back into a graph.

use super::selection::Selection;
use crate::language::{EGraph, EOp, is_sum, is_weight};
use egg::Id;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::scalar::BinaryOp;
use std::collections::HashMap;

/// The graph that a selection describes, computing `roots`. Inputs and parameters are those of `source`, the graph that was
/// imported: all its inputs, and the parameters that are needed, in their order there.
pub fn export(egraph: &EGraph, selection: &Selection, roots: &[Id], source: &Graph) -> Result<Graph, TypeError> {
    let order = selection.order(egraph, roots);
    let leaf = |class: Id| match &**egraph.analysis.ops.get(selection.node(egraph, class).op) {
        EOp::Leaf(node, ..) => Some(*node),
        EOp::Op(_) => None,
    };
    let mut graph = Graph::new(source.name.clone());
    let mut needed: HashMap<NodeId, Id> = order.iter().filter_map(|&class| Some((leaf(class)?, class))).collect();
    let mut emitted: HashMap<Id, NodeId> = HashMap::new();
    for (id, node) in source.iter() {
        let name = node.name.clone().unwrap_or_default();
        let (class, new) = match node.op {
            Op::Input => (needed.remove(&id), graph.input(name, node.ty.clone())),
            Op::Param(init) if needed.contains_key(&id) => {
                (needed.remove(&id), graph.param(name, &node.ty.extents().unwrap_or_default(), init))
            }
            _ => continue,
        };
        emitted.extend(class.map(|class| (class, new)));
    }
    for class in order {
        if leaf(class).is_some() {
            continue;
        }
        let node = selection.node(egraph, class);
        let operands: Vec<NodeId> = node.operands.iter().map(|&id| emitted[&egraph.find(id)]).collect();
        let EOp::Op(op) = &**egraph.analysis.ops.get(node.op) else { continue };
        let new = if is_sum(op) && is_weight(egraph, class) && !egraph.analysis.exact {
            let mut total = operands[0];
            for &term in &operands[1..] {
                total = graph.push(Op::Binary(BinaryOp::Add), &[total, term])?;
            }
            total
        } else {
            graph.push(op.clone(), &operands)?
        };
        emitted.insert(class, new);
    }
    graph.outputs = roots.iter().map(|&root| emitted[&egraph.find(root)]).collect();
    Ok(graph)
}
