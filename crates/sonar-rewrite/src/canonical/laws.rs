//! The laws that bring graphs to one form. They are rules, but are never used to make a graph faster.

use super::uniform::{is_uniform, stays_uniform};
use crate::language::{EGraph, add, is_sum, is_weight, nodes, product, sum, terms_of};
use crate::rules::families::{fuse, merge, simplify};
use crate::rules::matched::Match;
use crate::rules::rule::Soundness::{Exact, Real};
use crate::rules::rule::Stage::{Fuse, Simplify, Trade};
use crate::rules::rule::{Action, Rule, rule};
use egg::Id;
use sonar_ir::graph::Op;
use sonar_ir::scalar::BinaryOp;
use std::borrow::Cow;

/// The most terms of a sum that another sum is flattened into.
const MAX_TERMS: usize = 24;

/// The laws. Each brings a graph closer to sums of scaled convolutions and means.
#[rustfmt::skip]
pub const LAWS: &[Rule] = &[
    rule!("identity",       Simplify, Exact, "op(x) → x, for a reshape, transpose, … that changes nothing, and x·1",           simplify::identity),
    rule!("relu-of-relu",   Simplify, Exact, "relu(relu(x)) → relu(x)",                                                        simplify::relu_of_relu),
    rule!("sum-normal",     Simplify, Real,  "Σ with zeros, broadcasts or several constants → Σ in normal form",               simplify::sum_normal),
    rule!("scale-scale",    Simplify, Real,  "(x·s)·t → x·(s·t), s and t constant",                                            simplify::scale_of_scale),
    rule!("scale-dense",    Fuse,     Real,  "conv(x,w)·s → conv(x, w·s) and matmul alike, s constant per output channel",     fuse::scale_of_dense),
    rule!("scale-sum",      Fuse,     Real,  "(Σ tᵢ)·s → Σ tᵢ·s, s constant",                                                  self::scale_of_sum),
    rule!("sum-flatten",    Fuse,     Real,  "Σ of Σ → one Σ",                                                                 self::flatten),
    rule!("split-pool",     Trade,    Real,  "avgpool(Σ tᵢ) → Σ avgpool(tᵢ), where what is constant per channel stays",         self::split_pool),
    rule!("pool-of-scale",  Trade,    Real,  "avgpool(x·s) → avgpool(x)·s, s constant per channel",                            self::pool_of_scale),
    rule!("pool-of-conv",   Trade,    Real,  "avgpool(conv1x1(x,w)) → conv1x1(avgpool(x),w), convolution of stride 1",         merge::pool_of_conv),
];

/// `Σ of Σ → one Σ`
pub(crate) fn flatten(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let ty = egraph[m.class].data.ty.clone();
    let mut flat: Vec<Id> = Vec::new();
    for &term in m.operands {
        let inner = terms_of(egraph, term).into_iter().filter(|inner| !is_weight(egraph, term) && !inner.contains(&m.class));
        match inner.max_by_key(Vec::len) {
            Some(inner) => flat.extend(inner),
            None => flat.push(term),
        }
    }
    if flat.len() <= m.operands.len() || flat.len() > MAX_TERMS { vec![] } else { vec![sum(egraph, &flat, &ty)] }
}

/// `(Σ tᵢ)·s → Σ tᵢ·s`, s constant
pub(crate) fn scale_of_sum(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return vec![] };
    let ty = egraph[m.class].data.ty.clone();
    if !is_weight(egraph, s) || egraph[y].data.ty != ty {
        return vec![];
    }
    let sums = terms_of(egraph, y);
    sums.iter()
        .map(|terms| {
            let scaled: Vec<Id> = terms.iter().map(|&term| product(egraph, term, s)).collect();
            sum(egraph, &scaled, &ty)
        })
        .collect()
}

/// `avgpool(x·s) → avgpool(x)·s`, s constant per channel
pub(crate) fn pool_of_scale(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    let scaled: Vec<(Id, Id)> = nodes(egraph, m.operands[0])
        .filter(|(op, operands)| {
            matches!(op, Op::Binary(BinaryOp::Mul)) && is_weight(egraph, operands[1]) && egraph[operands[1]].data.ty.rank() <= 1
        })
        .map(|(_, operands)| (operands[0], operands[1]))
        .collect();
    let mut equal = Vec::new();
    for (x, s) in scaled {
        if egraph[x].data.ty == egraph[m.operands[0]].data.ty {
            let pooled = add(egraph, Op::AvgPool(*attrs), &[x]);
            equal.push(product(egraph, pooled, s));
        }
    }
    equal
}

/// `avgpool(Σ tᵢ) → Σ avgpool(tᵢ)`; terms that are constant per channel are unchanged
pub(crate) fn split_pool(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    let x = m.operands[0];
    let (from, to) = (egraph[x].data.ty.clone(), egraph[m.class].data.ty.clone());
    let mut equal = Vec::new();
    for terms in terms_of(egraph, x) {
        let mut pooled = Vec::new();
        for term in terms {
            let stays = is_weight(egraph, term) && stays_uniform(m.op, &[is_uniform(egraph, term)]);
            let ty = egraph[term].data.ty.clone();
            if stays && (ty == to || ty.rank() <= 1) {
                pooled.push(Some(term));
            } else {
                pooled.push((ty == from).then(|| add(egraph, Op::AvgPool(*attrs), &[term])));
            }
        }
        if let Some(pooled) = pooled.into_iter().collect::<Option<Vec<Id>>>() {
            equal.push(sum(egraph, &pooled, &to));
        }
    }
    equal
}
