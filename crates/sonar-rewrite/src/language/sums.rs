//! The normal form of sums and kernels.

use super::egraph::{EGraph, add, is_large, is_sum, is_weight, nodes};
use egg::Id;
use sonar_ir::graph::{Op, TensorType, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// The most terms of a sum that a rule builds.
pub const MAX_TERMS: usize = 10;

/// The class of a sum of classes, as a value of type `ty`, in normal form:
/// - no term is zero, and no term is a broadcast if the other terms give the shape anyway;
/// - at most one term is a weight; it is itself a flat sum;
/// - terms are sorted;
/// - a sum of one term is the term, and a sum without terms is zero.
///
/// The normal form adds in another order. So a sum stays as it is written, addition by addition, if values must stay exact or if a
/// term may be [large](sonar_ir::rounding::rounds_on_purpose), which rounds on purpose. Rules do not treat such additions as sums.
pub fn sum(egraph: &mut EGraph, terms: &[Id], ty: &TensorType) -> Id {
    if egraph.analysis.exact || terms.iter().any(|&term| is_large(egraph, term)) {
        return additions(egraph, terms, ty);
    }
    let mut weights = Vec::new();
    let mut others = Vec::new();
    for &term in terms {
        let term = without_broadcast(egraph, term);
        if egraph[term].data.splat == Some(0.0) {
            continue;
        }
        if is_weight(egraph, term) {
            weights.extend(terms_of(egraph, term).into_iter().next().unwrap_or_else(|| vec![term]));
        } else {
            others.push(term);
        }
    }
    others.extend(flat(egraph, weights));
    match flat(egraph, others) {
        None => add(egraph, Op::Splat(0.0, ty.shape.clone()), &[]),
        Some(sum) => broadcast(egraph, sum, ty),
    }
}

/// The same sum with other terms: in normal form, or with the terms in the given order if values must stay exact.
pub fn same_sum(egraph: &mut EGraph, op: &Op, terms: &[Id], ty: &TensorType) -> Id {
    if !egraph.analysis.exact {
        return sum(egraph, terms, ty);
    }
    let sum = add(egraph, op.clone(), terms);
    broadcast(egraph, sum, ty)
}

/// One addition after the other.
fn additions(egraph: &mut EGraph, terms: &[Id], ty: &TensorType) -> Id {
    let Some((&first, others)) = terms.split_first() else {
        return add(egraph, Op::Splat(0.0, ty.shape.clone()), &[]);
    };
    let mut total = egraph.find(first);
    for &term in others {
        total = addition(egraph, total, term);
    }
    broadcast(egraph, total, ty)
}

/// The addition of two classes; rules do not treat it as a sum. The operands are sorted, which changes no value.
pub fn addition(egraph: &mut EGraph, a: Id, b: Id) -> Id {
    let mut operands = [egraph.find(a), egraph.find(b)];
    operands.sort_unstable();
    add(egraph, Op::Binary(BinaryOp::Add), &operands)
}

fn broadcast(egraph: &mut EGraph, class: Id, ty: &TensorType) -> Id {
    if egraph[class].data.ty == *ty { class } else { add(egraph, Op::Broadcast(ty.shape.clone()), &[class]) }
}

/// Whether a sum of these terms would cancel a weight with unknown elements. Adding and then subtracting such a weight may round
/// on purpose.
pub fn cancels(egraph: &EGraph, terms: &[Id]) -> bool {
    let unknown = |id: &Id| is_weight(egraph, *id) && egraph[*id].data.splat.is_none();
    let mut weights: Vec<Id> = Vec::new();
    for &term in terms.iter().filter(|id| unknown(id)) {
        let term = without_broadcast(egraph, term);
        weights.extend(terms_of(egraph, term).into_iter().next().unwrap_or_else(|| vec![term]));
    }
    let negated = |class: Id| {
        let minus = |id: Id| egraph[id].data.splat == Some(-1.0);
        let found = nodes(egraph, class).find_map(|(op, operands)| match (op, operands) {
            (Op::Unary(UnaryOp::Neg), &[w]) => Some(w),
            (Op::Binary(BinaryOp::Mul), &[w, s]) if minus(s) => Some(w),
            (Op::Binary(BinaryOp::Mul), &[s, w]) if minus(s) => Some(w),
            _ => None,
        });
        found.map(|id| egraph.find(id))
    };
    weights.iter().filter_map(|&class| negated(class)).any(|id| weights.contains(&id))
}

/// The terms of each sum in a class, and the two operands of each addition that must stay as it is written.
pub fn addends(egraph: &EGraph, class: Id) -> Vec<Vec<Id>> {
    let additions = nodes(egraph, class).filter(|(op, _)| matches!(op, Op::Binary(BinaryOp::Add)));
    let additions = additions.map(|(_, operands)| operands.iter().map(|&id| egraph.find(id)).collect());
    terms_of(egraph, class).into_iter().chain(additions).collect()
}

/// The terms of each sum in a class.
pub fn terms_of(egraph: &EGraph, class: Id) -> Vec<Vec<Id>> {
    let sums = nodes(egraph, class).filter(|(op, _)| is_sum(op));
    sums.map(|(_, terms)| terms.iter().map(|&id| egraph.find(id)).collect()).collect()
}

/// A convolution or matrix product: the operator as the term of a kernel, and its operands.
pub type Dense = (Term, [Id; 2]);

/// The class of the kernel `Σ dense + Σ others`. Convolutions and products come first, then constants, then residuals, so that
/// equal kernels of different networks have the same form.
pub fn kernel(egraph: &mut EGraph, dense: &[Dense], others: &[Id]) -> Id {
    let mut dense = dense.to_vec();
    let mut others = others.to_vec();
    let shape = |id: Id| &egraph[id].data.ty.shape;
    dense.sort_by(|(s, [x, v]), (t, [y, w])| (s, shape(*v), shape(*x), v, x).cmp(&(t, shape(*w), shape(*y), w, y)));
    others.sort_by_key(|&id| (!is_weight(egraph, id), id));
    let operands: Vec<Id> = dense.iter().flat_map(|(_, operands)| *operands).chain(others.iter().copied()).collect();
    let terms = dense.into_iter().map(|(term, _)| term).chain(others.iter().map(|_| Term::Add)).collect();
    add(egraph, Op::FusedSum { terms, relu: false }, &operands)
}

fn flat(egraph: &mut EGraph, mut terms: Vec<Id>) -> Option<Id> {
    terms.sort_unstable();
    match terms[..] {
        [] => None,
        [term] => Some(term),
        _ => Some(add(egraph, Op::FusedSum { terms: vec![Term::Add; terms.len()], relu: false }, &terms)),
    }
}

fn without_broadcast(egraph: &EGraph, mut term: Id) -> Id {
    loop {
        term = egraph.find(term);
        let ty = &egraph[term].data.ty;
        let inner = nodes(egraph, term).find_map(|(op, operands)| match op {
            Op::Broadcast(_) if egraph[operands[0]].data.ty != *ty => Some(operands[0]),
            _ => None,
        });
        match inner {
            Some(inner) => term = inner,
            None => return term,
        }
    }
}
