//! A large graph as a chain of small ones.
//!
//! A graph is cut where everything later depends on a single value: at the boundary of a cell or a block. Such a value
//! must be computed anyway (it is used several times, or a convolution reads it), so hardly any rewriting is lost. The work
//! becomes linear in the length of the network, and equal segments, such as repeated cells, are solved once.

use crate::rules::Rule;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use std::collections::BTreeMap;

/// A part of a graph, as a separate graph.
pub struct Segment {
    /// The part. Its inputs and parameters are named by their position in `leaves`; constants are parameters.
    pub graph: Graph,
    /// The values of the whole graph that its inputs and parameters stand for.
    pub leaves: Vec<NodeId>,
    /// The values of the whole graph that its outputs compute.
    pub outputs: Vec<NodeId>,
}

/// A segment with this many nodes may also end where something could be moved across the cut.
const LONG: usize = 8;

/// Cuts a graph into segments, in order of computation. It does not cut through a pattern of a user's rule. Weights
/// belong to no segment.
pub fn split(graph: &Graph, rules: &[Rule]) -> Result<Vec<Segment>, TypeError> {
    let spans = |user: NodeId, id: NodeId| rules.iter().any(|rule| rule.spans(&graph.node(user).op, &graph.node(id).op));
    split_where(graph, |is_weight, part, users| {
        let spanned = part.last().is_some_and(|&id| users.iter().any(|&user| spans(user, id)));
        is_boundary(graph, is_weight, part, users) && !spanned
    })
}

/// Like [`split`], but `is_boundary` decides whether a segment may end. Its arguments are: which nodes are weights, the nodes of the
/// segment so far, and the users of the last one. Everything later depends only on this last one.
pub fn split_where(
    graph: &Graph,
    is_boundary: impl Fn(&EntityVec<NodeId, bool>, &[NodeId], &[NodeId]) -> bool,
) -> Result<Vec<Segment>, TypeError> {
    let is_weight = graph.weights();
    let mut users: EntityVec<NodeId, Vec<NodeId>> = EntityVec::filled(Vec::new(), graph.nodes.len());
    for (id, node) in graph.iter().filter(|(id, _)| !is_weight[*id]) {
        for &operand in &node.operands {
            users[operand].push(id);
        }
    }
    let mut segments = Vec::new();
    let mut part: Vec<NodeId> = Vec::new();
    let mut live = 0usize;
    for (id, node) in graph.iter() {
        if is_weight[id] || node.op == Op::Input {
            continue;
        }
        let mut operands = node.operands.clone();
        operands.sort_unstable();
        operands.dedup();
        for operand in operands {
            let users = &users[operand];
            let starts_here = graph.node(operand).op == Op::Input && users.first() == Some(&id);
            let ends_here = users.last() == Some(&id) && !is_weight[operand];
            // An input is live from its first use to its last.
            live = live + usize::from(starts_here) - usize::from(ends_here);
        }
        live += usize::from(!users[id].is_empty());
        part.push(id);
        if live == 1 && is_boundary(&is_weight, &part, &users[id]) {
            segments.push(segment(graph, &is_weight, &users, std::mem::take(&mut part))?);
        }
    }
    if !part.is_empty() {
        segments.push(segment(graph, &is_weight, &users, part)?);
    }
    Ok(segments)
}

/// Whether a segment may end with the last value of `part`, if everything later depends only on it. A value with one use may
/// end it only if no valuable folding across the cut is lost. If a segment computes the operand of an activation in a kernel, the
/// activation ends it, as the epilogue of that kernel. Otherwise the activation begins the next segment, as a prologue.
fn is_boundary(graph: &Graph, is_weight: &EntityVec<NodeId, bool>, part: &[NodeId], users: &[NodeId]) -> bool {
    let (Some(&first), Some(&value)) = (part.first(), part.last()) else { return false };
    let op = |id: NodeId| &graph.node(id).op;
    let is_kernel = |id: NodeId| id >= first && matches!(op(id), Op::Conv2d(_) | Op::MatMul | Op::FusedSum { .. });
    let long = part.len() >= LONG;
    let is_relu = |id: NodeId| matches!(op(id), Op::Unary(UnaryOp::Relu));
    if is_relu(value) && !is_kernel(graph.node(value).operands[0]) {
        return false;
    }
    match *users {
        [] => false,
        [user] if matches!(op(user), Op::Conv2d(_) | Op::MatMul) => match op(value) {
            Op::AvgPool(_) => false,
            // A linear operator can be multiplied into weights.
            Op::Conv2d(_) | Op::MatMul | Op::BatchNorm { .. } | Op::Binary(BinaryOp::Mul | BinaryOp::Div) => long,
            Op::Reshape(_) | Op::Transpose(_) | Op::Concat { .. } => long,
            Op::Binary(BinaryOp::Add | BinaryOp::Sub) | Op::FusedSum { relu: false, .. } => {
                long || !shifts(graph, is_weight, value)
            }
            _ => true,
        },
        [user] if is_relu(user) => matches!(op(value), Op::AvgPool(_) | Op::MaxPool(_)),
        // Means of sums of means have very many equal forms.
        [user] => long && is_kernel(value) && matches!(op(user), Op::AvgPool(_)),
        _ => true,
    }
}

/// Whether a sum only adds a constant to one value.
fn shifts(graph: &Graph, is_weight: &EntityVec<NodeId, bool>, value: NodeId) -> bool {
    let variable = graph.node(value).operands.iter().filter(|operand| !is_weight[**operand]);
    variable.count() == 1
}

fn segment(
    graph: &Graph,
    is_weight: &EntityVec<NodeId, bool>,
    users: &EntityVec<NodeId, Vec<NodeId>>,
    part: Vec<NodeId>,
) -> Result<Segment, TypeError> {
    let mut local = Local { graph: Graph::new("segment"), leaves: Vec::new(), ids: BTreeMap::new() };
    for &id in &part {
        let node = graph.node(id);
        for &operand in &node.operands {
            local.outside(graph, is_weight, operand)?;
        }
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| local.ids[operand]).collect();
        local.ids.insert(id, local.graph.push(node.op.clone(), &operands)?);
    }
    let last = part.last().copied();
    let outputs: Vec<NodeId> = part
        .into_iter()
        .filter(|id| graph.outputs.contains(id) || users[*id].last().is_some_and(|user| Some(*user) > last))
        .collect();
    local.graph.outputs = outputs.iter().map(|id| local.ids[id]).collect();
    Ok(Segment { graph: local.graph, leaves: local.leaves, outputs })
}

/// A segment under construction.
struct Local {
    graph: Graph,
    leaves: Vec<NodeId>,
    /// The node in this segment for each value of the whole graph that has one.
    ids: BTreeMap<NodeId, NodeId>,
}

impl Local {
    /// The node for a value from outside. A negated weight stays a negation, because rules look for it.
    fn outside(&mut self, graph: &Graph, is_weight: &EntityVec<NodeId, bool>, id: NodeId) -> Result<NodeId, TypeError> {
        let outer = graph.node(id);
        let is_minus = |id: &NodeId| matches!(graph.node(*id).op, Op::Splat(value, _) if value == -1.0);
        let is_negative = match outer.op {
            Op::Unary(UnaryOp::Neg) => true,
            Op::Binary(BinaryOp::Mul) => outer.operands.iter().any(is_minus),
            _ => false,
        };
        if self.ids.contains_key(&id) || !is_negative || !is_weight[id] || outer.ty.extents().is_none() {
            return self.leaf(graph, is_weight, id);
        }
        let mut operands = Vec::new();
        for &operand in &outer.operands {
            operands.push(self.leaf(graph, is_weight, operand)?);
        }
        let new = self.graph.push(outer.op.clone(), &operands)?;
        self.ids.insert(id, new);
        Ok(new)
    }

    /// An input or a parameter for a value of the whole graph; a splat stays a splat.
    fn leaf(&mut self, graph: &Graph, is_weight: &EntityVec<NodeId, bool>, id: NodeId) -> Result<NodeId, TypeError> {
        if let Some(&known) = self.ids.get(&id) {
            return Ok(known);
        }
        let outer = graph.node(id);
        let name = self.leaves.len().to_string();
        let new = match (&outer.op, outer.ty.extents()) {
            (Op::Splat(..), _) => self.graph.push(outer.op.clone(), &[])?,
            (_, Some(shape)) if is_weight[id] => self.graph.param(name, &shape, sonar_ir::Init::Zeros),
            _ => self.graph.input(name, outer.ty.clone()),
        };
        if !matches!(outer.op, Op::Splat(..)) {
            self.leaves.push(id);
        }
        self.ids.insert(id, new);
        Ok(new)
    }
}
