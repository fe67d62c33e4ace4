//! Rules that fold scales, sums and activations into the kernels that compute their operands.

use super::Match;
use crate::convert::product;
use crate::language::{EGraph, add, is_konst, is_sum, nodes};
use crate::sums::{MAX_TERMS, kernel, sum, terms_of};
use egg::Id;
use sonar_ir::graph::{Dim, Op, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// The most convolutions and matrix products in one kernel.
const MAX_SOURCES: usize = 5;

/// A convolution or matrix product: the operator as the term of a kernel, and its operands.
type Dense = (Term, [Id; 2]);

/// `conv(x,w)·s → conv(x, w·s)`: the output channels are the last axis of the weight, too.
pub fn scale_of_dense(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some((y, s)) = channel_scale(egraph, m) else { return vec![] };
    let mut equal = Vec::new();
    for (term, [x, w]) in dense(egraph, y) {
        if !is_konst(egraph, w) {
            continue;
        }
        let scaled = product(egraph, w, s);
        if egraph[scaled].data.ty == egraph[w].data.ty {
            equal.push(add(egraph, operator(&term), &[x, scaled]));
        }
    }
    equal
}

/// `(Σ tᵢ)·s → Σ tᵢ·s`
pub fn scale_of_sum(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some((y, s)) = channel_scale(egraph, m) else { return vec![] };
    let ty = egraph[m.class].data.ty.clone();
    let mut equal = Vec::new();
    for terms in terms_of(egraph, y) {
        if terms.iter().any(|&term| !dense(egraph, term).is_empty()) {
            let scaled: Vec<Id> = terms.iter().map(|&term| product(egraph, term, s)).collect();
            equal.push(sum(egraph, &scaled, &ty));
        }
    }
    equal
}

/// `Σ of Σ → one Σ`
pub fn flatten(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let ty = egraph[m.class].data.ty.clone();
    let mut equal = Vec::new();
    for (i, &term) in m.operands.iter().enumerate() {
        if is_konst(egraph, term) {
            continue;
        }
        for inner in terms_of(egraph, term) {
            let cyclic = inner.iter().any(|&id| id == term || id == m.class);
            if cyclic || inner.len() + m.operands.len() - 1 > MAX_TERMS {
                continue;
            }
            let others = m.operands.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, &id)| id);
            let flat: Vec<Id> = others.chain(inner).collect();
            equal.push(sum(egraph, &flat, &ty));
        }
    }
    equal
}

/// A sum with one of its convolutions or matrix products taken into one kernel.
pub fn one_dense_term(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let mut equal = Vec::new();
    for (i, &term) in m.operands.iter().enumerate() {
        for source in dense(egraph, term) {
            equal.extend(kernels(egraph, m.operands, &[(i, source)]));
        }
    }
    equal
}

/// A sum with several of its convolutions and matrix products taken into one kernel.
pub fn many_dense_terms(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let sources: Vec<(usize, Dense)> = m
        .operands
        .iter()
        .enumerate()
        .filter_map(|(i, &term)| Some((i, dense(egraph, term).into_iter().next()?)))
        .take(MAX_SOURCES)
        .collect();
    let mut equal = Vec::new();
    for subset in 0u32..1 << sources.len() {
        if subset.count_ones() > 1 {
            let chosen = sources.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1);
            let chosen: Vec<(usize, Dense)> = chosen.map(|(_, source)| source.clone()).collect();
            equal.extend(kernels(egraph, m.operands, &chosen));
        }
    }
    equal
}

/// `conv(relu(x),w) → kernel`
pub fn prologue(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some(source) = as_dense(m.op, m.operands) else { return vec![] };
    match before_relu(egraph, &source) {
        Some((term, operands)) => vec![kernel(egraph, vec![(term, operands.to_vec())], false)],
        None => vec![],
    }
}

/// `relu(kernel) → kernel`
pub fn epilogue(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Unary(UnaryOp::Relu) = m.op else { return vec![] };
    let inner: Vec<(Op, Vec<Id>)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| {
            let terms = match op {
                Op::Conv2d(_) | Op::MatMul => as_dense(op, operands).map(|(term, _)| vec![term]),
                Op::FusedSum { terms, relu: false } => Some(terms.clone()),
                _ => None,
            };
            Some((Op::FusedSum { terms: terms?, relu: true }, operands.to_vec()))
        })
        .collect();
    inner.into_iter().map(|(op, operands)| add(egraph, op, &operands)).collect()
}

/// The kernels that compute the sum of `terms` with the `sources` (index of a term, and how it is computed) taken in:
/// as they are, and with every activation of a source's input taken in, too.
fn kernels(egraph: &mut EGraph, terms: &[Id], sources: &[(usize, Dense)]) -> Vec<Id> {
    let taken = |i: usize| sources.iter().any(|(j, _)| *j == i);
    let others = terms.iter().enumerate().filter(|(i, _)| !taken(*i)).map(|(_, &id)| (Term::Add, vec![id]));
    let others: Vec<(Term, Vec<Id>)> = others.collect();
    let with = |egraph: &mut EGraph, sources: Vec<Dense>| {
        let sources = sources.into_iter().map(|(term, operands)| (term, operands.to_vec()));
        kernel(egraph, sources.chain(others.iter().cloned()).collect(), false)
    };
    let plain: Vec<Dense> = sources.iter().map(|(_, source)| source.clone()).collect();
    let active: Vec<Dense> = plain.iter().map(|source| before_relu(egraph, source).unwrap_or_else(|| source.clone())).collect();
    let mut kernels = vec![with(egraph, plain.clone())];
    if active != plain {
        kernels.push(with(egraph, active));
    }
    kernels
}

/// `max(x, 0)` as an operand, written as `x` with the activation in the term.
fn before_relu(egraph: &EGraph, (term, [y, w]): &Dense) -> Option<Dense> {
    let relu = |(op, operands): (&Op, &[Id])| matches!(op, Op::Unary(UnaryOp::Relu)).then(|| operands[0]);
    let x = nodes(egraph, *y).find_map(relu)?;
    let term = match term {
        Term::Conv2d { attrs, relu: false } => Term::Conv2d { attrs: *attrs, relu: true },
        Term::MatMul { relu: false } => Term::MatMul { relu: true },
        _ => return None,
    };
    Some((term, [egraph.find(x), *w]))
}

/// The convolutions and matrix products of a class that depends on an input.
fn dense(egraph: &EGraph, class: Id) -> Vec<Dense> {
    if is_konst(egraph, class) {
        return vec![];
    }
    let found = nodes(egraph, class).filter_map(|(op, operands)| as_dense(op, operands));
    found.map(|(term, [x, w])| (term, [egraph.find(x), egraph.find(w)])).collect()
}

fn as_dense(op: &Op, operands: &[Id]) -> Option<Dense> {
    let &[x, w] = operands else { return None };
    match op {
        Op::Conv2d(attrs) => Some((Term::Conv2d { attrs: *attrs, relu: false }, [x, w])),
        Op::MatMul => Some((Term::MatMul { relu: false }, [x, w])),
        _ => None,
    }
}

/// The inverse of [`as_dense`].
fn operator(term: &Term) -> Op {
    match term {
        Term::Conv2d { attrs, .. } => Op::Conv2d(*attrs),
        Term::MatMul { .. } | Term::Add => Op::MatMul,
    }
}

/// `(y, s)` if the e-node is `y·s` with a constant `s` that varies along the last axis at most.
fn channel_scale(egraph: &EGraph, m: &Match<'_>) -> Option<(Id, Id)> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return None };
    let scale = &egraph[s].data;
    let leading = scale.ty.shape.split_last().map_or(&[][..], |(_, leading)| leading);
    let fits = scale.konst && leading.iter().all(|dim| *dim == Dim::Fixed(1)) && scale.ty.rank() <= egraph[y].data.ty.rank();
    (fits && egraph[y].data.ty == egraph[m.class].data.ty).then_some((y, s))
}
