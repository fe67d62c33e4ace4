//! Rules that replace one set of kernels by another. They use the linearity of convolution and mean.

use crate::language::{Dense, sum, terms_of};
use crate::language::{EGraph, add, is_sum, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Conv2dAttrs, Op, PoolAttrs, Term};
use std::collections::BTreeMap;

/// `conv(x,v) + conv(x,w) → conv(x, v + pad w)`
///
/// The smaller window must lie inside the larger one at every position; this depends on their paddings. An undilated
/// 1x1 kernel inside a 3x3 one with padding 1 is the usual case. Both must have the same number of output channels, because a single
/// output channel may be broadcast over the channels of the sum.
pub fn convolutions(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let mut groups: BTreeMap<_, Vec<(usize, Conv2dAttrs, Id)>> = BTreeMap::new();
    for (i, x, attrs, w) in terms_with(egraph, m, |op| if let Op::Conv2d(attrs) = op { Some(*attrs) } else { None }) {
        let (Some(&w), true) = (w.first(), w.iter().all(|&w| is_weight(egraph, w))) else { continue };
        groups
            .entry((x, attrs.stride, attrs.dilation, attrs.groups, egraph[w].data.ty.shape[3]))
            .or_default()
            .push((i, attrs, w));
    }
    let mut equal = Vec::new();
    for ((x, ..), mut group) in groups {
        group.sort_by_key(|&(i, _, w)| (std::cmp::Reverse(window(egraph, w)), i));
        let Some(&(_, attrs, largest)) = group.first() else { continue };
        let ty = egraph[largest].data.ty.clone();
        let mut weights = Vec::new();
        let mut merged = Vec::new();
        for (i, inner, w) in group {
            if let Some(pads) = margin(&attrs, window(egraph, largest), &inner, window(egraph, w)) {
                let padded = pads.iter().any(|pad| *pad != (0, 0));
                weights.push(if padded { add(egraph, Op::Pad(pads), &[w]) } else { w });
                merged.push(i);
            }
        }
        if merged.len() > 1 {
            let weight = sum(egraph, &weights, &ty);
            let conv = add(egraph, Op::Conv2d(attrs), &[x, weight]);
            equal.push(replaced(egraph, m, &merged, conv));
        }
    }
    equal
}

/// `matmul(x,v) + matmul(x,w) → matmul(x, v + w)`
pub fn matmuls(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let mut groups: BTreeMap<Id, Vec<(usize, Id)>> = BTreeMap::new();
    for (i, x, (), w) in terms_with(egraph, m, |op| matches!(op, Op::MatMul).then_some(())) {
        if let [w] = w[..]
            && is_weight(egraph, w)
        {
            groups.entry(x).or_default().push((i, w));
        }
    }
    let mut equal = Vec::new();
    for (x, group) in groups {
        let (merged, weights): (Vec<usize>, Vec<Id>) = group.into_iter().unzip();
        let ty = egraph[weights[0]].data.ty.clone();
        if merged.len() > 1 && weights.iter().all(|&w| egraph[w].data.ty == ty) {
            let weight = sum(egraph, &weights, &ty);
            let matmul = add(egraph, Op::MatMul, &[x, weight]);
            equal.push(replaced(egraph, m, &merged, matmul));
        }
    }
    equal
}

/// `avgpool(x) + avgpool(y) → avgpool(x + y)`
pub fn pools(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let mut groups: BTreeMap<PoolAttrs, Vec<(usize, Id)>> = BTreeMap::new();
    for (i, x, attrs, _) in terms_with(egraph, m, avg_pool) {
        groups.entry(attrs).or_default().push((i, x));
    }
    let mut equal = Vec::new();
    for (attrs, group) in groups {
        let (merged, inputs): (Vec<usize>, Vec<Id>) = group.into_iter().unzip();
        let ty = egraph[inputs[0]].data.ty.clone();
        if merged.len() > 1 && inputs.iter().all(|&x| egraph[x].data.ty == ty) {
            let input = sum(egraph, &inputs, &ty);
            let pool = add(egraph, Op::AvgPool(attrs), &[input]);
            equal.push(replaced(egraph, m, &merged, pool));
        }
    }
    equal
}

/// `avgpool(Σ tᵢ) → Σ avgpool(tᵢ)`
pub fn split_pool(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some(attrs) = avg_pool(m.op) else { return vec![] };
    let x = m.operands[0];
    let (from, to) = (egraph[x].data.ty.clone(), egraph[m.class].data.ty.clone());
    let mut equal = Vec::new();
    for terms in terms_of(egraph, x) {
        let pooled: Option<Vec<Id>> = terms
            .iter()
            .map(|&term| {
                let ty = egraph[term].data.ty.clone();
                if ty == from {
                    Some(add(egraph, Op::AvgPool(attrs), &[term]))
                } else {
                    // A mean of equal numbers is that number, unless zeros of the padding count.
                    let per_channel = ty.rank() <= 1 && !(attrs.count_include_pad && attrs.pad != [0; 4]);
                    per_channel.then_some(term)
                }
            })
            .collect();
        if let Some(pooled) = pooled {
            equal.push(sum(egraph, &pooled, &to));
        }
    }
    equal
}

/// `avgpool(conv1x1(x,w)) → conv1x1(avgpool(x),w)`
pub fn pool_of_conv(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some(pool) = avg_pool(m.op) else { return vec![] };
    let convs: Vec<(Conv2dAttrs, Id, Id)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| match op {
            Op::Conv2d(attrs) if is_pointwise(egraph, attrs, operands[1]) => Some((*attrs, operands[0], operands[1])),
            _ => None,
        })
        .collect();
    convs
        .into_iter()
        .map(|(attrs, x, w)| {
            let pooled = add(egraph, Op::AvgPool(pool), &[x]);
            add(egraph, Op::Conv2d(attrs), &[pooled, w])
        })
        .collect()
}

/// `conv1x1(avgpool(x),w) → avgpool(conv1x1(x,w))`
pub fn conv_of_pool(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Conv2d(attrs) = m.op else { return vec![] };
    let &[y, w] = m.operands else { return vec![] };
    if !is_pointwise(egraph, attrs, w) {
        return vec![];
    }
    let pools: Vec<(PoolAttrs, Id)> = nodes(egraph, y)
        .filter_map(|(op, operands)| Some((avg_pool(op).filter(|pool| pool.stride == [1, 1])?, operands[0])))
        .collect();
    pools
        .into_iter()
        .map(|(pool, x)| {
            let conv = add(egraph, Op::Conv2d(*attrs), &[x, w]);
            add(egraph, Op::AvgPool(pool), &[conv])
        })
        .collect()
}

/// For each term of the matched sum that has a node with an operator of the wanted kind (empty if the match is not a sum):
/// the index of the term, the first operand of the node, the result of `wanted`, and the node's other operands.
pub fn terms_with<T>(egraph: &EGraph, m: &Match<'_>, wanted: impl Fn(&Op) -> Option<T>) -> Vec<(usize, Id, T, Vec<Id>)> {
    if !is_sum(m.op) {
        return vec![];
    }
    let variable = m.operands.iter().enumerate().filter(|(_, term)| !is_weight(egraph, **term));
    variable
        .filter_map(|(i, &term)| {
            nodes(egraph, term).find_map(|(op, operands)| {
                let rest = operands.get(1..)?.iter().map(|&id| egraph.find(id)).collect();
                Some((i, egraph.find(*operands.first()?), wanted(op)?, rest))
            })
        })
        .collect()
}

/// The matched sum with the terms of these indices replaced by their sum.
pub fn replaced(egraph: &mut EGraph, m: &Match<'_>, merged: &[usize], by: Id) -> Id {
    let ty = egraph[m.class].data.ty.clone();
    let others = m.operands.iter().enumerate().filter(|(i, _)| !merged.contains(i)).map(|(_, &id)| id);
    let terms: Vec<Id> = others.chain([by]).collect();
    sum(egraph, &terms, &ty)
}

fn avg_pool(op: &Op) -> Option<PoolAttrs> {
    if let Op::AvgPool(attrs) = op { Some(*attrs) } else { None }
}

fn is_pointwise(egraph: &EGraph, attrs: &Conv2dAttrs, w: Id) -> bool {
    attrs.stride == [1, 1] && attrs.pad == [0; 4] && window(egraph, w) == [1, 1]
}

/// Height and width of a convolution's weight.
pub fn window(egraph: &EGraph, w: Id) -> [usize; 2] {
    let shape = &egraph[w].data.ty.shape;
    [0, 1].map(|axis| shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(0))
}

/// Whether two convolutions, or two matrix products, can be merged by the way they read the same value.
pub fn can_merge(egraph: &EGraph, (s, [x, v]): &Dense, (t, [y, w]): &Dense) -> bool {
    let weights = is_weight(egraph, *v) && is_weight(egraph, *w);
    let fits = match (s, t) {
        (Term::Conv2d { attrs: a, relu: f }, Term::Conv2d { attrs: b, relu: g }) => {
            let (k, l) = (window(egraph, *v), window(egraph, *w));
            let out = |w: &Id| egraph[*w].data.ty.shape[3];
            let alike = (a.stride, a.dilation, a.groups, f, out(v)) == (b.stride, b.dilation, b.groups, g, out(w));
            alike && (margin(a, k, b, l).is_some() || margin(b, l, a, k).is_some())
        }
        (Term::MatMul { relu: f }, Term::MatMul { relu: g }) => f == g && egraph[*v].data.ty == egraph[*w].data.ty,
        _ => false,
    };
    weights && fits && x == y
}

/// The zeros to add around the `inner` weight so that it has the same result with the attributes of the `outer` one.
pub fn margin(outer: &Conv2dAttrs, k: [usize; 2], inner: &Conv2dAttrs, l: [usize; 2]) -> Option<Vec<(usize, usize)>> {
    let mut pads = vec![(0, 0); 4];
    for axis in 0..2 {
        let before = outer.pad[axis].checked_sub(inner.pad[axis])?;
        let after = outer.pad[axis + 2].checked_sub(inner.pad[axis + 2])?;
        // `n` more rows of zeros in the kernel need `dilation · n` more padding of the image.
        let step = outer.dilation[axis];
        if before % step != 0 || after % step != 0 || l[axis] + before / step + after / step != k[axis] {
            return None;
        }
        pads[axis] = (before / step, after / step);
    }
    Some(pads)
}
