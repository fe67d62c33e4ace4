//! The normal form of sums and kernels.

use super::egraph::{EGraph, add, is_sum, is_weight, nodes};
use egg::Id;
use sonar_ir::graph::{Op, TensorType, Term};

/// The most terms of a sum that a rule builds.
pub const MAX_TERMS: usize = 10;

/// The class of a sum of classes, as a value of type `ty`, in normal form:
/// - no term is zero, and no term is a broadcast, where the other terms give the shape anyway;
/// - at most one term is constant; it is itself a flat sum;
/// - terms are sorted;
/// - a sum of one term is the term, and a sum of none is zero.
pub fn sum(egraph: &mut EGraph, terms: &[Id], ty: &TensorType) -> Id {
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
        Some(sum) if egraph[sum].data.ty == *ty => sum,
        Some(sum) => add(egraph, Op::Broadcast(ty.shape.clone()), &[sum]),
    }
}

/// The terms of each sum in a class.
pub fn terms_of(egraph: &EGraph, class: Id) -> Vec<Vec<Id>> {
    let sums = nodes(egraph, class).filter(|(op, _)| is_sum(op));
    sums.map(|(_, terms)| terms.iter().map(|&id| egraph.find(id)).collect()).collect()
}

/// Each term with its operands, of the operands of all.
pub fn with_operands<'a, T>(terms: &'a [Term], operands: &'a [T]) -> impl Iterator<Item = (&'a Term, &'a [T])> {
    terms.iter().scan(operands, |rest, term| {
        let (mine, others) = rest.split_at_checked(term.arity())?;
        *rest = others;
        Some((term, mine))
    })
}

/// A convolution or matrix product: the operator as the term of a kernel, and its operands.
pub type Dense = (Term, [Id; 2]);

/// The class of the kernel `Σ dense + Σ others`. Contractions come first, then constants, then residuals, so that equal
/// kernels of different networks look equal.
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
