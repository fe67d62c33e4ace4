//! The language of the e-graph, and what is known about each of its classes.
//!
//! An e-node is a graph operator applied to classes. Two conventions make it compact:
//! - a **sum** is one n-ary node — [`Op::FusedSum`] with nothing but [`Term::Add`] terms — whose operands are sorted,
//!   so that no commutativity or associativity rule is needed (see [`crate::sums`]);
//! - a **kernel** is any other [`Op::FusedSum`]: one e-node, hence with a local cost.
//!
//! Operators are interned: an e-node holds the index of its operator, so comparing and hashing e-nodes is cheap.

use crate::splat;
use egg::{DidMerge, Id, Language};
use sonar_ir::graph::{NodeId, Op, TensorType};
use sonar_ir::infer::infer;
use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

/// The e-graph over [`ENode`].
pub type EGraph = egg::EGraph<ENode, Analysis>;

/// An operator applied to classes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ENode {
    /// The operator's index in [`Heads`].
    pub head: HeadId,
    /// The operands.
    pub operands: Box<[Id]>,
}

/// Index of an interned operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadId(u32);

/// What an e-node applies.
#[derive(Debug)]
pub enum Head {
    /// An input or a parameter of the graph that was imported: its node and type, and whether it is a parameter.
    Leaf(NodeId, TensorType, bool),
    /// An operator.
    Op(Op),
}

/// The interned operators of one e-graph.
#[derive(Default)]
pub struct Heads {
    list: Vec<Arc<Head>>,
    by_kind: HashMap<Discriminant<Op>, Vec<HeadId>>,
}

/// The e-class analysis: it owns the operators.
#[derive(Default)]
pub struct Analysis {
    /// The operators that e-nodes refer to.
    pub heads: Heads,
}

/// What is known about a class.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The type of every member.
    pub ty: TensorType,
    /// Whether the value depends on parameters only, so that it is computed once, before any run.
    pub konst: bool,
    /// The value of all elements, if it is known and one.
    pub splat: Option<f32>,
    /// Whether the cheapest graph that was known at some time computes it: see [`Stage::Widen`](crate::Stage::Widen).
    pub wanted: bool,
}

impl Heads {
    /// The operator with this index.
    pub fn get(&self, id: HeadId) -> &Arc<Head> {
        &self.list[id.0 as usize]
    }

    /// The index of an operator.
    pub fn intern(&mut self, op: Op) -> HeadId {
        let bucket = self.by_kind.entry(discriminant(&op)).or_default();
        if let Some(&id) = bucket.iter().find(|id| matches!(&*self.list[id.0 as usize], Head::Op(other) if same(other, &op))) {
            return id;
        }
        let id = HeadId(self.list.len() as u32);
        bucket.push(id);
        self.list.push(Arc::new(Head::Op(op)));
        id
    }

    /// A new leaf; every call gives a distinct one.
    pub fn leaf(&mut self, node: NodeId, ty: TensorType, konst: bool) -> HeadId {
        self.list.push(Arc::new(Head::Leaf(node, ty, konst)));
        HeadId(self.list.len() as u32 - 1)
    }
}

/// Equality of operators that tells `-0.0` from `0.0`.
fn same(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Splat(x, s), Op::Splat(y, t)) => x.to_bits() == y.to_bits() && s == t,
        _ => a == b,
    }
}

impl Language for ENode {
    type Discriminant = HeadId;

    fn discriminant(&self) -> HeadId {
        self.head
    }

    fn matches(&self, other: &Self) -> bool {
        self.head == other.head && self.operands.len() == other.operands.len()
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
    /// If the e-node is ill-typed: graphs are verified before they are imported, so only a wrong rule can build one.
    fn make(egraph: &mut EGraph, enode: &ENode, _: Id) -> Facts {
        match &**egraph.analysis.heads.get(enode.head) {
            Head::Leaf(_, ty, konst) => Facts { ty: ty.clone(), konst: *konst, splat: None, wanted: false },
            Head::Op(op) => {
                let operands: Vec<&Facts> = enode.operands.iter().map(|&id| &egraph[id].data).collect();
                let types: Vec<&TensorType> = operands.iter().map(|facts| &facts.ty).collect();
                let ty = infer(op, &types).unwrap_or_else(|error| panic!("a rule built an ill-typed {op:?}: {error}"));
                let splats: Vec<Option<f32>> = operands.iter().map(|facts| facts.splat).collect();
                Facts { ty, konst: operands.iter().all(|facts| facts.konst), splat: splat::eval(op, &splats), wanted: false }
            }
        }
    }

    /// # Panics
    /// If the types differ: the rule that claimed the two equal is wrong.
    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        assert_eq!(a.ty, b.ty, "a rule merged classes of different types");
        let merged = (a.konst || b.konst, a.splat.or(b.splat));
        let changed = DidMerge(
            merged.0 != a.konst || merged.1.is_some() != a.splat.is_some(),
            merged.0 != b.konst || merged.1.is_some() != b.splat.is_some(),
        );
        (a.konst, a.splat) = merged;
        // Nothing is derived from this.
        a.wanted |= b.wanted;
        changed
    }

    /// Gives every class whose elements are known the node that says so: this is constant folding, and it is what makes
    /// the dead edges of a cell vanish.
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
    let head = egraph.analysis.heads.intern(op);
    let operands = operands.iter().map(|&id| egraph.find(id)).collect();
    egraph.add(ENode { head, operands })
}

/// The operators and operands of a class's nodes, without leaves.
pub fn nodes(egraph: &EGraph, class: Id) -> impl Iterator<Item = (&Op, &[Id])> {
    egraph[class].nodes.iter().filter_map(|node| match &**egraph.analysis.heads.get(node.head) {
        Head::Op(op) => Some((op, &*node.operands)),
        Head::Leaf(..) => None,
    })
}

/// The e-nodes that have the class among their operands: their classes, operators and operands, in a fixed order.
pub fn users(egraph: &EGraph, class: Id) -> Vec<(Id, Op, Vec<Id>)> {
    let canonical = |id: Id| {
        let node = egraph.id_to_node(id);
        (egraph.find(id), node.head, node.operands.iter().map(|&id| egraph.find(id)).collect::<Vec<Id>>())
    };
    let mut users: Vec<(Id, HeadId, Vec<Id>)> = egraph[class].parents().map(canonical).collect();
    users.sort_unstable();
    users.dedup();
    let users = users.into_iter().filter_map(|(class, head, operands)| match &**egraph.analysis.heads.get(head) {
        Head::Op(op) => Some((class, op.clone(), operands)),
        Head::Leaf(..) => None,
    });
    users.collect()
}

/// Whether the class depends on parameters only.
pub fn is_konst(egraph: &EGraph, class: Id) -> bool {
    egraph[class].data.konst
}

/// Whether the operator is a sum of classes and nothing more, no activation either.
pub fn is_sum(op: &Op) -> bool {
    matches!(op, Op::FusedSum { relu: false, .. }) && op.is_sum()
}
