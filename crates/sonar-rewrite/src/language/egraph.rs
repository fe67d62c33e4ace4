//! The language of the e-graph, and the known facts about each of its classes.
//!
//! An e-node is a graph operator applied to classes. Two conventions make it compact:
//! - a **sum** is one n-ary node: an [`Op::FusedSum`] that has only [`Term::Add`] terms. Its operands are sorted,
//!   so no rule for commutativity or associativity is needed (see [`sum`](super::sum));
//! - a **kernel** is any other [`Op::FusedSum`]. It is one e-node, so its cost is local.
//!
//! Operators are interned: an e-node holds the index of its operator, so comparing and hashing e-nodes is cheap.

use super::uniform;
use egg::{DidMerge, Id, Language};
use sonar_ir::graph::infer::infer;
use sonar_ir::graph::{NodeId, Op, TensorType};
use sonar_ir::rounding::rounds_on_purpose;
use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

/// The e-graph over [`ENode`].
pub type EGraph = egg::EGraph<ENode, Analysis>;

/// An operator applied to classes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ENode {
    /// The operator's index in [`EOps`].
    pub op: EOpId,
    /// The operands.
    pub operands: Box<[Id]>,
}

/// Index of an interned operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EOpId(u32);

/// The operator of an e-node.
#[derive(Debug)]
pub enum EOp {
    /// An input or a parameter of the imported graph: its node and type, and whether it is a parameter.
    Leaf(NodeId, TensorType, bool),
    /// An operator.
    Op(Op),
}

/// The interned operators of one e-graph.
#[derive(Default)]
pub struct EOps {
    list: Vec<Arc<EOp>>,
    by_kind: HashMap<Discriminant<Op>, Vec<EOpId>>,
}

/// The e-class analysis: it owns the operators.
#[derive(Default)]
pub struct Analysis {
    /// The operators that e-nodes refer to.
    pub ops: EOps,
    /// Whether every value must stay the same bit by bit. Then operators stay as they are written: additions do not become sums,
    /// batch normalisations do not become scales, and a product with zero is not folded.
    pub exact: bool,
    /// Whether the imported graph was simplified before. Then every sum is one operator already, and a remaining addition rounds on
    /// purpose.
    pub simplified: bool,
}

impl Analysis {
    /// The analysis of a whole graph.
    pub fn whole(exact: bool) -> Analysis {
        Analysis { exact, ..Analysis::default() }
    }

    /// The analysis of a segment of a simplified graph.
    pub fn segment(exact: bool) -> Analysis {
        Analysis { exact, simplified: true, ..Analysis::default() }
    }

    /// A new analysis with the same settings.
    pub fn alike(&self) -> Analysis {
        Analysis { exact: self.exact, simplified: self.simplified, ..Analysis::default() }
    }
}

/// The facts about a class.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The type of every member.
    pub ty: TensorType,
    /// Whether the value depends on parameters only, so it is computed once before the first run.
    pub is_weight: bool,
    /// The value of all elements, if they are equal and known.
    pub splat: Option<f32>,
    /// Whether it is a weight that may be so large that adding it rounds the other term: see [`rounds_on_purpose`].
    pub is_large: bool,
    /// Whether the cheapest graph at some earlier time computes it: see [`Stage::Widen`](crate::Stage::Widen).
    pub wanted: bool,
}

impl EOps {
    /// The operator with this index.
    pub fn get(&self, id: EOpId) -> &Arc<EOp> {
        &self.list[id.0 as usize]
    }

    /// The index of an operator.
    pub fn intern(&mut self, op: Op) -> EOpId {
        let bucket = self.by_kind.entry(discriminant(&op)).or_default();
        if let Some(&id) = bucket.iter().find(|id| matches!(&*self.list[id.0 as usize], EOp::Op(other) if same(other, &op))) {
            return id;
        }
        let id = EOpId(self.list.len() as u32);
        bucket.push(id);
        self.list.push(Arc::new(EOp::Op(op)));
        id
    }

    /// A new leaf; every call gives a distinct one.
    pub fn leaf(&mut self, node: NodeId, ty: TensorType, is_weight: bool) -> EOpId {
        self.list.push(Arc::new(EOp::Leaf(node, ty, is_weight)));
        EOpId(self.list.len() as u32 - 1)
    }
}

/// Equality of operators that distinguishes `-0.0` from `0.0`.
fn same(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Splat(x, s), Op::Splat(y, t)) => x.to_bits() == y.to_bits() && s == t,
        _ => a == b,
    }
}

impl Language for ENode {
    type Discriminant = EOpId;

    fn discriminant(&self) -> EOpId {
        self.op
    }

    fn matches(&self, other: &Self) -> bool {
        self.op == other.op && self.operands.len() == other.operands.len()
    }

    fn children(&self) -> &[Id] {
        &self.operands
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.operands
    }
}

impl egg::Analysis<ENode> for Analysis {
    type Data = Facts;

    /// # Panics
    /// If the e-node is ill-typed. Graphs are verified before import, so only a wrong rule can build one.
    fn make(egraph: &mut EGraph, enode: &ENode, _: Id) -> Facts {
        match &**egraph.analysis.ops.get(enode.op) {
            EOp::Leaf(_, ty, is_weight) => {
                Facts { ty: ty.clone(), is_weight: *is_weight, splat: None, is_large: false, wanted: false }
            }
            EOp::Op(op) => {
                let operands: Vec<&Facts> = enode.operands.iter().map(|&id| &egraph[id].data).collect();
                let types: Vec<&TensorType> = operands.iter().map(|facts| &facts.ty).collect();
                let ty = infer(op, &types).unwrap_or_else(|error| panic!("a rule built an ill-typed {op:?}: {error}"));
                let splats: Vec<Option<f32>> = operands.iter().map(|facts| facts.splat).collect();
                let splat = uniform::eval(op, &splats, egraph.analysis.exact);
                let is_weight = operands.iter().all(|facts| facts.is_weight);
                // The elements of parameters are unknown here: a weight computed from a large number may be large.
                let is_large = match (op, splat) {
                    (Op::Splat(value, _), _) => rounds_on_purpose(*value),
                    (_, Some(value)) => rounds_on_purpose(value),
                    _ => is_weight && operands.iter().any(|facts| facts.is_large),
                };
                Facts { ty, is_weight, splat, is_large, wanted: false }
            }
        }
    }

    /// # Panics
    /// If the types differ: the rule that claimed the equality is wrong.
    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        assert_eq!(a.ty, b.ty, "a rule merged classes of different types");
        let splat = a.splat.or(b.splat);
        // A known value is more precise than the numbers that it is computed from.
        let is_large = splat.map_or(a.is_large || b.is_large, rounds_on_purpose);
        let merged = (a.is_weight || b.is_weight, splat.is_some(), is_large);
        let changed = DidMerge(
            merged != (a.is_weight, a.splat.is_some(), a.is_large),
            merged != (b.is_weight, b.splat.is_some(), b.is_large),
        );
        (a.is_weight, a.splat, a.is_large) = (merged.0, splat, is_large);
        // Nothing is derived from this.
        a.wanted |= b.wanted;
        changed
    }

    /// Adds a constant node to every class with a known value. This is constant folding; it removes the dead edges of a cell.
    fn modify(egraph: &mut EGraph, id: Id) {
        let Some(value) = egraph[id].data.splat else { return };
        if nodes(egraph, id).any(|(op, _)| matches!(op, Op::Splat(..))) {
            return;
        }
        let shape = egraph[id].data.ty.shape.clone();
        let splat = add(egraph, Op::Splat(value, shape), &[]);
        egraph.union(id, splat);
    }
}

/// The class of an operator applied to classes.
pub fn add(egraph: &mut EGraph, op: Op, operands: &[Id]) -> Id {
    let op = egraph.analysis.ops.intern(op);
    let operands = operands.iter().map(|&id| egraph.find(id)).collect();
    egraph.add(ENode { op, operands })
}

/// The operators and operands of a class's nodes, without leaves.
pub fn nodes(egraph: &EGraph, class: Id) -> impl Iterator<Item = (&Op, &[Id])> {
    egraph[class].nodes.iter().filter_map(|node| match &**egraph.analysis.ops.get(node.op) {
        EOp::Op(op) => Some((op, &*node.operands)),
        EOp::Leaf(..) => None,
    })
}

/// The e-nodes that have the class among their operands: their classes, operators and operands, in a fixed order.
pub fn users(egraph: &EGraph, class: Id) -> Vec<(Id, Op, Vec<Id>)> {
    let canonical = |id: Id| {
        let node = egraph.id_to_node(id);
        (egraph.find(id), node.op, node.operands.iter().map(|&id| egraph.find(id)).collect::<Vec<Id>>())
    };
    let mut users: Vec<(Id, EOpId, Vec<Id>)> = egraph[class].parents().map(canonical).collect();
    users.sort_unstable();
    users.dedup();
    let users = users.into_iter().filter_map(|(class, head, operands)| match &**egraph.analysis.ops.get(head) {
        EOp::Op(op) => Some((class, op.clone(), operands)),
        EOp::Leaf(..) => None,
    });
    users.collect()
}

/// Whether the class depends on parameters only.
pub fn is_weight(egraph: &EGraph, class: Id) -> bool {
    egraph[class].data.is_weight
}

/// Whether the class is a weight that may be added in order to round: see [`rounds_on_purpose`].
pub fn is_large(egraph: &EGraph, class: Id) -> bool {
    egraph[class].data.is_large
}

/// Whether the operator is only a sum of classes, without an activation.
pub fn is_sum(op: &Op) -> bool {
    matches!(op, Op::FusedSum { relu: false, .. }) && op.is_sum()
}
