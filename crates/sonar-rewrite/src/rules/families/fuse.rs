//! Rules that fold scales, sums and activations into the kernels that compute their operands.

use super::merge;
use crate::language::product;
use crate::language::{Dense, MAX_TERMS, cancels, kernel, sum, terms_of};
use crate::language::{EGraph, add, is_sum, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Dim, Op, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// The most convolutions and matrix products in one kernel.
const MAX_SOURCES: usize = 5;

/// `conv(x,w)·s → conv(x, w·s)`: the output channels are also the last axis of the weight.
pub fn scale_of_dense(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some((y, s)) = channel_scale(egraph, m) else { return vec![] };
    let mut equal = Vec::new();
    for (term, [x, w]) in dense(egraph, y) {
        let op = match term {
            Term::Conv2d { attrs, relu: false } => Op::Conv2d(attrs),
            Term::MatMul { relu: false } => Op::MatMul,
            _ => continue,
        };
        if !is_weight(egraph, w) {
            continue;
        }
        let scaled = product(egraph, w, s);
        if egraph[scaled].data.ty == egraph[w].data.ty {
            equal.push(add(egraph, op, &[x, scaled]));
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

/// `Σ of Σ → one Σ`, unless one of them adds a weight and the other subtracts it.
pub fn flatten(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let ty = egraph[m.class].data.ty.clone();
    let mut equal = Vec::new();
    for (i, &term) in m.operands.iter().enumerate() {
        if is_weight(egraph, term) {
            continue;
        }
        for inner in terms_of(egraph, term) {
            let cyclic = inner.iter().any(|&id| id == term || id == m.class);
            if cyclic || inner.len() + m.operands.len() - 1 > MAX_TERMS {
                continue;
            }
            let others = m.operands.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, &id)| id);
            let flat: Vec<Id> = others.chain(inner).collect();
            if !cancels(egraph, &flat) {
                equal.push(sum(egraph, &flat, &ty));
            }
        }
    }
    equal
}

/// A kernel of a sum and one of its convolutions or matrix products.
pub fn one_dense_term(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let mut equal = Vec::new();
    for (i, &term) in m.operands.iter().enumerate() {
        for source in dense(egraph, term) {
            equal.push(kernel(egraph, &[source], &without(m.operands, &[i])));
        }
    }
    equal
}

/// A kernel of a sum and several of its convolutions and matrix products. Either all of them include the activation that they
/// read, or none. It never includes two that [`merge::convolutions`] can merge.
pub fn many_dense_terms(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let sources = m.operands.iter().enumerate().filter_map(|(i, &term)| {
        let found = dense(egraph, term);
        let active = found.iter().find(|(term, _)| has_prologue(term));
        let plain = found.iter().find(|(term, _)| !has_prologue(term));
        Some((i, plain.or(active)?.clone(), active.or(plain)?.clone()))
    });
    let sources: Vec<(usize, Dense, Dense)> = sources.take(MAX_SOURCES).collect();
    let pairs = (0..sources.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let merging = pairs.filter(|&(i, j)| merge::can_merge(egraph, &sources[i].1, &sources[j].1));
    let merging: Vec<u32> = merging.map(|(i, j)| 1 << i | 1 << j).collect();
    let mut equal = Vec::new();
    for subset in 0u32..1 << sources.len() {
        if subset.count_ones() < 2 || merging.iter().any(|pair| subset & pair == *pair) {
            continue;
        }
        let chosen = || sources.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1).map(|(_, source)| source);
        let others = without(m.operands, &chosen().map(|(i, ..)| *i).collect::<Vec<usize>>());
        let plain: Vec<Dense> = chosen().map(|(_, plain, _)| plain.clone()).collect();
        let active: Vec<Dense> = chosen().map(|(.., active)| active.clone()).collect();
        equal.push(kernel(egraph, &plain, &others));
        if active != plain {
            equal.push(kernel(egraph, &active, &others));
        }
    }
    equal
}

/// `conv(relu(x),w) → kernel`
pub fn prologue(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let &[y, w] = m.operands else { return vec![] };
    let term = match m.op {
        Op::Conv2d(attrs) => Term::Conv2d { attrs: *attrs, relu: true },
        Op::MatMul => Term::MatMul { relu: true },
        _ => return vec![],
    };
    let relu = |(op, operands): (&Op, &[Id])| matches!(op, Op::Unary(UnaryOp::Relu)).then(|| operands[0]);
    let Some(x) = nodes(egraph, y).find_map(relu) else { return vec![] };
    vec![kernel(egraph, &[(term, [egraph.find(x), w])], &[])]
}

/// `relu(kernel) → kernel`
pub fn epilogue(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Unary(UnaryOp::Relu) = m.op else { return vec![] };
    let inner: Vec<(Op, Vec<Id>)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| {
            let terms = match op {
                Op::FusedSum { terms, relu: false } => terms.clone(),
                op => vec![dense_term(op)?],
            };
            Some((Op::FusedSum { terms, relu: true }, operands.to_vec()))
        })
        .collect();
    inner.into_iter().map(|(op, operands)| add(egraph, op, &operands)).collect()
}

/// The convolutions and matrix products of a class that depends on an input, with and without an activation before them.
fn dense(egraph: &EGraph, class: Id) -> Vec<Dense> {
    if is_weight(egraph, class) {
        return vec![];
    }
    let found = nodes(egraph, class).filter_map(|(op, operands)| {
        let &[x, w] = operands else { return None };
        Some((dense_term(op)?, [egraph.find(x), egraph.find(w)]))
    });
    found.collect()
}

fn dense_term(op: &Op) -> Option<Term> {
    match op {
        Op::Conv2d(attrs) => Some(Term::Conv2d { attrs: *attrs, relu: false }),
        Op::MatMul => Some(Term::MatMul { relu: false }),
        Op::FusedSum { terms, relu: false } => match &terms[..] {
            [term @ (Term::Conv2d { .. } | Term::MatMul { .. })] => Some(term.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn has_prologue(term: &Term) -> bool {
    matches!(term, Term::Conv2d { relu: true, .. } | Term::MatMul { relu: true })
}

/// The ids except those at these positions.
fn without(ids: &[Id], positions: &[usize]) -> Vec<Id> {
    ids.iter().enumerate().filter(|(i, _)| !positions.contains(i)).map(|(_, &id)| id).collect()
}

/// `(y, s)` if the e-node is `y·s` with a constant `s` that varies only along the last axis.
fn channel_scale(egraph: &EGraph, m: &Match<'_>) -> Option<(Id, Id)> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return None };
    let scale = &egraph[s].data;
    let leading = scale.ty.shape.split_last().map_or(&[][..], |(_, leading)| leading);
    let fits = scale.is_weight && leading.iter().all(|dim| *dim == Dim::Fixed(1)) && scale.ty.rank() <= egraph[y].data.ty.rank();
    (fits && egraph[y].data.ty == egraph[m.class].data.ty).then_some((y, s))
}
