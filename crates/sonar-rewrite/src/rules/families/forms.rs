//! Rules that write a convolution in another form: with fewer groups, as a matrix product, as a sum over parts of its input.

use super::linear::{extents, matrix, reshape};
use super::merge::{replaced, terms_with};
use crate::language::sum;
use crate::language::{EGraph, add, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Conv2dAttrs, Dim, Op, TensorType};
use sonar_ir::scalar::BinaryOp;
use std::collections::BTreeMap;

/// The most input channels of a merged group: more than two vectors are never filled better.
const WIDEST_GROUP: usize = 64;

/// The most operands of a concatenation that a convolution reads separately: one kernel can sum this many.
const MOST_PARTS: usize = 5;

/// `conv(x,w)` with `g` groups as one with `g/p` groups; `p` is the smallest prime factor of `g`. Larger factors need several steps.
///
/// The weights of a group become a block on a diagonal, by a product with an identity matrix. Depthwise convolutions fill
/// vectors already.
pub fn merge_groups(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Conv2d(attrs), &[x, w]) = (m.op, m.operands) else { return vec![] };
    let groups = attrs.groups;
    let Some(p) = (2..=groups).find(|p| groups.is_multiple_of(*p)).filter(|_| is_weight(egraph, w)) else { return vec![] };
    let shape = extents(egraph, w);
    let &[height, width, inputs, outputs] = &shape[..] else { return vec![] };
    if inputs * p > WIDEST_GROUP || (inputs == 1 && outputs == groups) {
        return vec![];
    }
    let blocks = reshape(egraph, w, &[height * width, 1, inputs, groups / p, p, outputs / groups]);
    let diagonal = identity_matrix(egraph, p);
    let diagonal = reshape(egraph, diagonal, &[p, 1, 1, p, 1]);
    let weight = add(egraph, Op::Binary(BinaryOp::Mul), &[blocks, diagonal]);
    let weight = reshape(egraph, weight, &[height, width, p * inputs, outputs]);
    vec![add(egraph, Op::Conv2d(Conv2dAttrs { groups: groups / p, ..*attrs }), &[x, weight])]
}

/// `conv(x,w) → matmul(flat x, flat w)` if the window is the whole image.
pub fn whole_window(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Conv2d(attrs), &[x, w]) = (m.op, m.operands) else { return vec![] };
    let (image, window) = (egraph[x].data.ty.shape.clone(), egraph[w].data.ty.shape.clone());
    let plain = (attrs.pad, attrs.dilation, attrs.groups) == ([0; 4], [1, 1], 1);
    if !plain || image[1..3] != window[..2] || !is_weight(egraph, w) {
        return vec![];
    }
    let weight = matrix(egraph, w);
    let rows = extents(egraph, weight)[0];
    let flat = add(egraph, Op::Reshape(vec![image[0], Dim::Fixed(rows)]), &[x]);
    let product = add(egraph, Op::MatMul, &[flat, weight]);
    let shape = egraph[m.class].data.ty.shape.clone();
    vec![add(egraph, Op::Reshape(shape), &[product])]
}

/// `matmul(x,w) → conv1x1(x,w)` if `x` is an image.
pub fn product_of_image(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::MatMul, &[x, w]) = (m.op, m.operands) else { return vec![] };
    let shape = extents(egraph, w);
    if egraph[x].data.ty.rank() != 4 || shape.len() != 2 || !is_weight(egraph, w) || is_weight(egraph, x) {
        return vec![];
    }
    let weight = reshape(egraph, w, &[1, 1, shape[0], shape[1]]);
    vec![add(egraph, Op::Conv2d(Conv2dAttrs::default()), &[x, weight])]
}

/// `conv(concat(x,y),w) → conv(x,w₁) + conv(y,w₂)`, and the same for matmul: nothing is copied, and each part is read in place.
pub fn dense_of_concat(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Conv2d(Conv2dAttrs { groups: 1, .. }) | Op::MatMul, &[x, w]) = (m.op, m.operands) else { return vec![] };
    let rank = egraph[x].data.ty.rank();
    let inputs = egraph[w].data.ty.rank() - 2;
    if !is_weight(egraph, w) || (matches!(m.op, Op::MatMul) && inputs != 0) {
        return vec![];
    }
    let ty = egraph[m.class].data.ty.clone();
    let concats: Vec<Vec<Id>> = nodes(egraph, x)
        .filter(|(op, parts)| matches!(op, Op::Concat { axis } if axis + 1 == rank) && (2..=MOST_PARTS).contains(&parts.len()))
        .map(|(_, parts)| parts.iter().map(|&id| egraph.find(id)).collect())
        .collect();
    let mut equal = Vec::new();
    for parts in concats {
        let mut start = 0;
        let mut terms = Vec::new();
        for part in parts {
            let Some(channels) = egraph[part].data.ty.shape.last().and_then(|dim| dim.fixed()) else { return equal };
            let rows = add(egraph, Op::Slice { axis: inputs, start, end: start + channels }, &[w]);
            terms.push(add(egraph, m.op.clone(), &[part, rows]));
            start += channels;
        }
        equal.push(sum(egraph, &terms, &ty));
    }
    equal
}

/// `conv(x,w) + conv(y,w) → conv(x + y, w)`, and the same for matmul.
pub fn shared_weight(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let attributes = |op: &Op| match op {
        Op::Conv2d(attrs) => Some(Some(*attrs)),
        Op::MatMul => Some(None),
        _ => None,
    };
    let mut alike: BTreeMap<_, Vec<(usize, Id)>> = BTreeMap::new();
    for (i, x, attrs, rest) in terms_with(egraph, m, attributes) {
        if let [w] = rest[..]
            && is_weight(egraph, w)
        {
            alike.entry((w, attrs)).or_default().push((i, x));
        }
    }
    let mut equal = Vec::new();
    for ((w, attrs), terms) in alike {
        let (merged, inputs): (Vec<usize>, Vec<Id>) = terms.into_iter().unzip();
        let ty = egraph[inputs[0]].data.ty.clone();
        if merged.len() > 1 && inputs.iter().all(|&x| egraph[x].data.ty == ty) {
            let x = sum(egraph, &inputs, &ty);
            let dense = add(egraph, attrs.map_or(Op::MatMul, Op::Conv2d), &[x, w]);
            equal.push(replaced(egraph, m, &merged, dense));
        }
    }
    equal
}

/// An identity matrix of size `n`: a column of ones, each followed by `n` zeros, so that the next one is one column further.
fn identity_matrix(egraph: &mut EGraph, n: usize) -> Id {
    let ones = add(egraph, Op::Splat(1.0, TensorType::fixed(&[n, 1]).shape), &[]);
    let spaced = add(egraph, Op::Pad(vec![(0, 0), (0, n)]), &[ones]);
    let flat = reshape(egraph, spaced, &[n * (n + 1)]);
    let cut = add(egraph, Op::Slice { axis: 0, start: 0, end: n * n }, &[flat]);
    reshape(egraph, cut, &[n, n])
}
