//! Rules of a user: a pattern to find, and a pattern to build.
//!
//! Sums are n-ary in the e-graph, so a pattern `add(p, q, …)` is matched term by term, in any order: each operand is one term.
//! Remaining terms go to the last operand that is an unbound value. If a sum is the whole left side,
//! remaining terms are added to the result of the rule. The operands of `mul` are matched in either order, those of `max` and
//! `min` are not, because zeros have signs. If rounding is allowed, an `exact` rule is exact except for the order of terms, as sums
//! have no order. Otherwise additions have two operands and keep their order.

use crate::language::apply as apply_op;
use crate::language::sum;
use crate::language::{EGraph, is_sum, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::infer::infer;
use sonar_ir::graph::{Op, TensorType, Term};
use sonar_ir::scalar::BinaryOp;
use sonar_ir::text::{Condition, Pattern, RuleText};

/// The most matches of a rule on one e-node.
const MAX_MATCHES: usize = 64;

/// The class of each value of a rule, as far as it is known.
type Binding = Vec<Option<Id>>;

/// Classes equal to the matched e-node: one for each match of the left side that satisfies the conditions. The right side must have
/// the same type as the left side.
pub fn apply(rule: &RuleText, egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Pattern::Apply(op, operands) = &rule.left else { return vec![] };
    let unbound = vec![None; rule.values.len()];
    let ty = egraph[m.class].data.ty.clone();
    if *op != Op::Binary(BinaryOp::Add) {
        let found = node_matches(egraph, (op, operands), (m.op, m.operands), unbound);
        let right = found.into_iter().filter(|binding| holds(egraph, rule, binding)).collect::<Vec<Binding>>();
        let right: Vec<Id> = right.iter().filter_map(|binding| build(egraph, &rule.right, binding)).collect();
        return right.into_iter().filter(|&id| egraph[id].data.ty == ty).collect();
    }
    if !is_same_sum(egraph, op, m.op) {
        return vec![];
    }
    let mut equal = Vec::new();
    for (binding, rest) in term_matches(egraph, operands, m.operands, unbound) {
        let taken: Vec<Id> = without(m.operands, &rest);
        let (true, Some(part)) = (holds(egraph, rule, &binding), sum_type(egraph, &taken)) else { continue };
        let Some(right) = build(egraph, &rule.right, &binding).filter(|&id| egraph[id].data.ty == part) else { continue };
        let terms: Vec<Id> = rest.iter().map(|&i| m.operands[i]).chain([right]).collect();
        equal.push(sum(egraph, &terms, &ty));
    }
    equal
}

/// Whether a pattern contains `user` with `operand` as its operand.
pub fn spans(pattern: &Pattern, user: &Op, operand: &Op) -> bool {
    let Pattern::Apply(op, operands) = pattern else { return false };
    let inner = |pattern: &Pattern| matches!(pattern, Pattern::Apply(op, _) if is(op, operand));
    is(op, user) && operands.iter().any(inner) || operands.iter().any(|pattern| spans(pattern, user, operand))
}

/// Whether an operator of a pattern matches one of a graph in which values may have to stay exact. Then only additions of two
/// operands match.
fn is_same_sum(egraph: &EGraph, pattern: &Op, op: &Op) -> bool {
    is(pattern, op) && !(egraph.analysis.exact && is_sum(op))
}

/// Whether an operator of a pattern matches one of a graph.
fn is(pattern: &Op, op: &Op) -> bool {
    pattern == op || *pattern == Op::Binary(BinaryOp::Add) && is_sum(op)
}

/// The matches of a pattern with a class, given the classes of some values.
fn class_matches(egraph: &mut EGraph, pattern: &Pattern, class: Id, binding: Binding) -> Vec<Binding> {
    let class = egraph.find(class);
    match pattern {
        Pattern::Value(i) => bind(egraph, binding, *i, class).into_iter().collect(),
        Pattern::Apply(op, operands) => {
            let members: Vec<(Op, Vec<Id>)> = nodes(egraph, class)
                .filter(|(found, _)| is(op, found))
                .map(|(found, ids)| (found.clone(), ids.to_vec()))
                .collect();
            let mut found = Vec::new();
            for (member, ids) in members {
                found.extend(node_matches(egraph, (op, operands), (&member, &ids), binding.clone()));
                found.truncate(MAX_MATCHES);
            }
            found
        }
    }
}

/// The matches of an operator applied to patterns with an e-node.
fn node_matches(
    egraph: &mut EGraph,
    (op, patterns): (&Op, &[Pattern]),
    (found, operands): (&Op, &[Id]),
    binding: Binding,
) -> Vec<Binding> {
    if !is_same_sum(egraph, op, found) {
        return vec![];
    }
    if *op == Op::Binary(BinaryOp::Add) {
        return whole_sum_matches(egraph, patterns, operands, binding);
    }
    if patterns.len() != operands.len() {
        return vec![];
    }
    let mut all = operand_matches(egraph, patterns, operands, binding.clone());
    if *op == Op::Binary(BinaryOp::Mul) {
        let swapped = [operands[1], operands[0]];
        all.extend(operand_matches(egraph, patterns, &swapped, binding));
    }
    all.dedup();
    all
}

fn operand_matches(egraph: &mut EGraph, patterns: &[Pattern], operands: &[Id], binding: Binding) -> Vec<Binding> {
    let mut found = vec![binding];
    for (pattern, &operand) in patterns.iter().zip(operands) {
        found =
            found.into_iter().flat_map(|binding| class_matches(egraph, pattern, operand, binding)).take(MAX_MATCHES).collect();
    }
    found
}

/// The matches of patterns with a whole sum.
fn whole_sum_matches(egraph: &mut EGraph, patterns: &[Pattern], terms: &[Id], binding: Binding) -> Vec<Binding> {
    // The last operand of the pattern that can take the remaining terms.
    let free = |pattern: &Pattern| matches!(pattern, Pattern::Value(i) if binding[*i].is_none());
    let last = patterns.iter().rposition(free);
    let Some(last) = last.filter(|_| patterns.len() < terms.len()) else {
        let exact = term_matches(egraph, patterns, terms, binding);
        return exact.into_iter().filter(|(_, rest)| rest.is_empty()).map(|(binding, _)| binding).collect();
    };
    let Pattern::Value(value) = patterns[last] else { return vec![] };
    let others: Vec<Pattern> = patterns.iter().enumerate().filter(|(i, _)| *i != last).map(|(_, p)| p.clone()).collect();
    let mut found = Vec::new();
    for (binding, rest) in term_matches(egraph, &others, terms, binding) {
        let rest: Vec<Id> = rest.iter().map(|&i| terms[i]).collect();
        let Some(ty) = sum_type(egraph, &rest) else { continue };
        let rest = sum(egraph, &rest, &ty);
        found.extend(bind(egraph, binding, value, rest));
    }
    found
}

/// The matches of each pattern with a different term, and the remaining terms.
fn term_matches(egraph: &mut EGraph, patterns: &[Pattern], terms: &[Id], binding: Binding) -> Vec<(Binding, Vec<usize>)> {
    let mut found = vec![(binding, (0..terms.len()).collect::<Vec<usize>>())];
    // Operators first: they are more specific than values.
    let (operators, values): (Vec<&Pattern>, Vec<&Pattern>) = patterns.iter().partition(|p| matches!(p, Pattern::Apply(..)));
    for pattern in operators.into_iter().chain(values) {
        let mut next = Vec::new();
        for (binding, rest) in found {
            for (k, &i) in rest.iter().enumerate() {
                let mut others = rest.clone();
                others.remove(k);
                let matches = class_matches(egraph, pattern, terms[i], binding.clone());
                next.extend(matches.into_iter().map(|binding| (binding, others.clone())));
            }
        }
        next.truncate(MAX_MATCHES);
        found = next;
    }
    found
}

/// The binding with a value bound to a class, unless the value is bound to another class.
fn bind(egraph: &EGraph, mut binding: Binding, value: usize, class: Id) -> Option<Binding> {
    match binding[value] {
        Some(other) => (egraph.find(other) == egraph.find(class)).then_some(binding),
        None => {
            binding[value] = Some(class);
            Some(binding)
        }
    }
}

fn holds(egraph: &EGraph, rule: &RuleText, binding: &Binding) -> bool {
    let ty = |i: usize| binding[i].map(|id| &egraph[id].data.ty);
    rule.conditions.iter().all(|condition| match *condition {
        Condition::Const(i) => binding[i].is_some_and(|id| is_weight(egraph, id)),
        Condition::Rank(i, rank) => ty(i).is_some_and(|ty| ty.rank() == rank),
        Condition::SameRank(i, j) => ty(i).map(TensorType::rank) == ty(j).map(TensorType::rank),
        Condition::SameShape(i, j) => ty(i) == ty(j),
    })
}

/// The class of a pattern, if it has a type.
fn build(egraph: &mut EGraph, pattern: &Pattern, binding: &Binding) -> Option<Id> {
    match pattern {
        Pattern::Value(i) => binding[*i],
        Pattern::Apply(op, operands) => {
            let ids: Vec<Id> = operands.iter().map(|operand| build(egraph, operand, binding)).collect::<Option<_>>()?;
            let ty = if *op == Op::Binary(BinaryOp::Add) {
                sum_type(egraph, &ids)?
            } else {
                let types: Vec<&TensorType> = ids.iter().map(|&id| &egraph[id].data.ty).collect();
                infer(op, &types).ok()?
            };
            Some(apply_op(egraph, op, &ids, &ty))
        }
    }
}

/// The type of a sum of at least one term.
fn sum_type(egraph: &EGraph, terms: &[Id]) -> Option<TensorType> {
    let types: Vec<&TensorType> = terms.iter().map(|&id| &egraph[id].data.ty).collect();
    infer(&Op::FusedSum { terms: vec![Term::Add; terms.len()], relu: false }, &types).ok()
}

fn without(terms: &[Id], positions: &[usize]) -> Vec<Id> {
    terms.iter().enumerate().filter(|(i, _)| !positions.contains(i)).map(|(_, &id)| id).collect()
}
