//! The normal form of a graph, and its key.

use super::laws::LAWS;
use super::uniform::stays_uniform;
use crate::error::RewriteError;
use crate::extraction::{Selection, export, smallest_weights};
use crate::language::{Analysis, EGraph, ENode, EOp, import, is_sum, is_weight, terms_of};
use crate::options::Options;
use crate::report::Report;
use crate::rules::{Limits, Rule, saturate};
use crate::segments::{assemble, simplify, split_where};
use egg::Id;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::scalar::BinaryOp;
use sonar_ir::space::canonical;
use sonar_ir::verify;
use std::collections::HashMap;
use std::time::Duration;

/// Bounds on each e-graph. There is no bound on time, because keys must be the same on every machine.
const LIMITS: Limits = Limits { nodes: 10_000, iterations: 20, time: Duration::MAX };

/// A name for the class of graphs that the laws of this module make equal: 32 hexadecimal digits, the same on every machine.
///
/// ```
/// use sonar_ir::text::parse_graph;
/// use sonar_rewrite::canonical_key;
/// let a = parse_graph("graph @a(%x: f32[N,4,4,2], %y: f32[N,4,4,2]) {
///     return avg_pool(add(%x, %y)) {kernel=3, pad=1}
/// }")?;
/// let b = parse_graph("graph @b(%x: f32[N,4,4,2], %y: f32[N,4,4,2]) {
///     %p = avg_pool %y {kernel=3, pad=1}
///     %q = avg_pool %x {kernel=3, pad=1}
///     return add(%p, %q)
/// }")?;
/// assert_eq!(canonical_key(&a)?, canonical_key(&b)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn canonical_key(graph: &Graph) -> Result<String, RewriteError> {
    Ok(canonical::key(&normal_form(graph)?))
}

/// The graph whose structural key is [`canonical_key`]. It computes the same function, usually with more operations.
pub fn normal_form(graph: &Graph) -> Result<Graph, RewriteError> {
    verify::graph(graph)?;
    // Zeros, and all values computed from them, are constants. Segments contain none.
    let options = Options { rules: LAWS, limits: LIMITS, ..Options::default() };
    let graph = simplify(graph, &options, &mut Report::new(LAWS))?;
    let graph = without_means_of_constants(&graph)?.without_dead_nodes();
    let segments = split_where(&graph, |_, _, users| is_boundary(&graph, users))?;
    let mut known: Vec<(&Graph, Graph)> = Vec::new();
    let mut parts: Vec<usize> = Vec::new();
    for segment in &segments {
        let index = known.iter().position(|(source, _)| **source == segment.graph);
        if index.is_none() {
            known.push((&segment.graph, expand(&segment.graph)?));
        }
        parts.push(index.unwrap_or(known.len() - 1));
    }
    Ok(sums_as_additions(&assemble(&graph, &segments, parts.iter().map(|&index| &known[index].1))?)?)
}

/// Writes each sum as a tree of additions; the structural key flattens it.
fn sums_as_additions(graph: &Graph) -> Result<Graph, TypeError> {
    let mut result = Graph::new(graph.name.clone());
    let mut ids: EntityVec<NodeId, NodeId> = EntityVec::new();
    for node in &graph.nodes {
        let name = node.name.clone().unwrap_or_default();
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[*operand]).collect();
        ids.push(match (&node.op, &operands[..]) {
            (Op::Input, _) => result.input(name, node.ty.clone()),
            (Op::Param(init), _) => result.param(name, &node.ty.extents().unwrap_or_default(), *init),
            (op, &[first, ref others @ ..]) if is_sum(op) => {
                let mut total = first;
                for &other in others {
                    total = result.push(Op::Binary(BinaryOp::Add), &[total, other])?;
                }
                total
            }
            (op, _) => result.push(op.clone(), &operands)?,
        });
    }
    result.outputs = graph.outputs.iter().map(|output| ids[*output]).collect();
    Ok(result)
}

/// Whether the expansion stops at a value on which everything later depends. Graphs that compute one function with different sums
/// and means have such values in common if a non-linear operator reads them.
fn is_boundary(graph: &Graph, users: &[NodeId]) -> bool {
    let linear = |op: &Op| is_sum(op) || matches!(op, Op::Binary(BinaryOp::Mul) | Op::AvgPool(_) | Op::Broadcast(_));
    users.iter().any(|&user| !linear(&graph.node(user).op))
}

/// The expanded form of a segment.
fn expand(graph: &Graph) -> Result<Graph, RewriteError> {
    let mut egraph = EGraph::new(Analysis::segment(false));
    let roots = import(&mut egraph, graph);
    saturate(&mut egraph, &LAWS.iter().collect::<Vec<&Rule>>(), &LIMITS);
    match flattest(&egraph, &roots) {
        Some(selection) => Ok(export(&egraph, &selection, &roots, graph)?),
        None => Ok(graph.clone()),
    }
}

/// For each class the most expanded node; `None` if these nodes have a cycle.
fn flattest(egraph: &EGraph, roots: &[Id]) -> Option<Selection> {
    let mut picks: HashMap<Id, ENode> = smallest_weights(egraph, roots);
    let mut open: HashMap<Id, bool> = HashMap::new();
    let mut stack: Vec<(Id, bool)> = roots.iter().map(|&root| (egraph.find(root), false)).collect();
    while let Some((class, done)) = stack.pop() {
        if done {
            open.insert(class, false);
            continue;
        }
        match open.get(&class) {
            Some(true) => return None,
            Some(false) => continue,
            None => {}
        }
        if !is_weight(egraph, class) {
            let node = egraph[class].nodes.iter().min_by_key(|node| (rank(egraph, node), *node))?;
            picks.insert(class, node.clone());
        }
        open.insert(class, true);
        stack.push((class, true));
        // An operand that is still open when its turn comes is also a user.
        stack.extend(picks.get(&class)?.operands.iter().map(|&id| (egraph.find(id), false)));
    }
    Some(Selection::new(picks))
}

/// How far a node is from the expanded form.
fn rank(egraph: &EGraph, node: &ENode) -> (usize, usize, usize) {
    match &**egraph.analysis.ops.get(node.op) {
        EOp::Leaf(..) | EOp::Op(Op::Splat(..)) => (0, 0, 0),
        EOp::Op(op) if is_sum(op) => {
            let nested = node.operands.iter().filter(|&&id| !is_weight(egraph, id) && !terms_of(egraph, id).is_empty());
            (1, nested.count(), usize::MAX - node.operands.len())
        }
        EOp::Op(Op::Binary(BinaryOp::Mul)) => (3, 0, 0),
        EOp::Op(Op::AvgPool(_)) => (4, 0, 0),
        EOp::Op(_) => (2, 0, 0),
    }
}

/// The graph without poolings of values that are the same at every pixel of an image: such a pooling changes nothing.
fn without_means_of_constants(graph: &Graph) -> Result<Graph, RewriteError> {
    let mut result = Graph::new(graph.name.clone());
    let mut ids: EntityVec<NodeId, NodeId> = EntityVec::new();
    let mut uniform: EntityVec<NodeId, bool> = EntityVec::new();
    for node in &graph.nodes {
        let name = node.name.clone().unwrap_or_default();
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[*operand]).collect();
        let of_operands: Vec<bool> = node.operands.iter().map(|operand| uniform[*operand]).collect();
        let same_type = operands.first().is_some_and(|&x| *result.ty(x) == node.ty);
        uniform.push(match &node.op {
            Op::Param(_) => node.ty.rank() <= 1,
            op => stays_uniform(op, &of_operands),
        });
        ids.push(match &node.op {
            Op::Input => result.input(name, node.ty.clone()),
            Op::Param(init) => result.param(name, &node.ty.extents().unwrap_or_default(), *init),
            Op::AvgPool(_) if uniform.last() == Some(&true) && same_type => operands[0],
            op => result.push(op.clone(), &operands)?,
        });
    }
    result.outputs = graph.outputs.iter().map(|output| ids[*output]).collect();
    Ok(result)
}
