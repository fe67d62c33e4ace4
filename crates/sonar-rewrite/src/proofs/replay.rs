//! The steps of a proof, applied one by one in a fresh e-graph.

use super::claim::{Claim, Step};
use crate::language::{EGraph, ENode, EOp, add, import_all, is_sum, is_weight};
use crate::rules::{Application, Match};
use egg::Id;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::{NodeId, Op, Term};
use std::collections::HashMap;

/// A fresh e-graph after some steps.
pub struct Replay {
    /// The e-graph.
    pub egraph: EGraph,
    /// The classes of the original graph's nodes.
    pub classes: EntityVec<NodeId, Id>,
    /// Both sides of each step: the e-node, and the classes equal to it.
    pub sides: Vec<(ENode, Vec<Id>)>,
}

/// Applies only these steps to the original graph.
pub fn replay(claim: &Claim<'_>, steps: &[Step<'_>]) -> Replay {
    let mut egraph = EGraph::new(claim.egraph.analysis.alike());
    let classes = import_all(&mut egraph, claim.source);
    let mut known: HashMap<Id, Id> = HashMap::new();
    let mut sides = Vec::new();
    for Step { application: Application { rule, op, operands, siblings }, only } in steps {
        for &sibling in siblings {
            let class = translate(claim.egraph, sibling, &mut egraph, &classes, &mut known);
            egraph[class].data.wanted = true;
        }
        let operands: Vec<Id> =
            operands.iter().map(|&id| translate(claim.egraph, id, &mut egraph, &classes, &mut known)).collect();
        let class = place(&mut egraph, op, &operands);
        let mut operands: Vec<Id> = operands.iter().map(|&id| egraph.find(id)).collect();
        if is_sum(op) {
            operands.sort_unstable();
        }
        let before = ENode { op: egraph.analysis.ops.intern(op.clone()), operands: operands.clone().into() };
        let mut equal = Vec::new();
        if !is_weight(&egraph, class) {
            equal = rule.apply(&mut egraph, &Match { op, operands: &operands, class });
        }
        for (_, &id) in equal.iter().enumerate().filter(|(k, _)| only.is_none_or(|only| only == *k)) {
            egraph.union(class, id);
        }
        egraph.rebuild();
        sides.push((before, equal));
    }
    Replay { egraph, classes, sides }
}

/// The class in a replay for a class of the saturated e-graph, found by the e-node that the class had first.
fn translate(from: &EGraph, id: Id, into: &mut EGraph, leaves: &EntityVec<NodeId, Id>, known: &mut HashMap<Id, Id>) -> Id {
    let mut stack = vec![id];
    while let Some(&id) = stack.last() {
        let node = from.id_to_node(id);
        let unknown: Vec<Id> = node.operands.iter().copied().filter(|operand| !known.contains_key(operand)).collect();
        if known.contains_key(&id) || unknown.is_empty() {
            stack.pop();
            let class = match &**from.analysis.ops.get(node.op) {
                EOp::Leaf(leaf, ..) => leaves[*leaf],
                EOp::Op(op) => place(into, op, &node.operands.iter().map(|operand| known[operand]).collect::<Vec<Id>>()),
            };
            known.entry(id).or_insert(class);
        } else {
            stack.extend(unknown);
        }
    }
    known[&id]
}

/// The class of an operator applied to classes. In the replay the terms of sums and kernels may be in another order.
pub fn place(egraph: &mut EGraph, op: &Op, operands: &[Id]) -> Id {
    let mut operands: Vec<Id> = operands.iter().map(|&id| egraph.find(id)).collect();
    if is_sum(op) {
        operands.sort_unstable();
    } else if let Some(wanted) = terms(egraph, op, &operands) {
        for class in egraph.classes() {
            for node in &class.nodes {
                if let EOp::Op(other) = &**egraph.analysis.ops.get(node.op)
                    && terms(egraph, other, &node.operands).is_some_and(|terms| terms == wanted)
                {
                    return class.id;
                }
            }
        }
    }
    add(egraph, op.clone(), &operands)
}

/// A term of a kernel, as text, and its operands.
type Placed = (String, Vec<Id>);

/// The terms of a kernel with their operands, sorted, and whether its result is activated.
fn terms(egraph: &EGraph, op: &Op, operands: &[Id]) -> Option<(bool, Vec<Placed>)> {
    let Op::FusedSum { terms, relu } = op else { return None };
    let found = |ids: &[Id]| ids.iter().map(|&id| egraph.find(id)).collect();
    let mut terms: Vec<Placed> =
        Term::with_operands(terms, operands).map(|(term, ids)| (format!("{term:?}"), found(ids))).collect();
    terms.sort();
    Some((*relu, terms))
}
