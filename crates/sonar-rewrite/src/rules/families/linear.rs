//! Rules that multiply constants into constants. Two linear operators in a row become one, and so does a linear operator after a
//! scale or a shift.

use super::layout::without_leading_units;
use crate::language::product;
use crate::language::{EGraph, add, is_weight, nodes};
use crate::language::{sum, terms_of};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Conv2dAttrs, Dim, Op, TensorType};
use sonar_ir::scalar::{BinaryOp, ReduceOp};

/// A merged operator may compute this many times the work of the two: fewer steps can pay for more work.
const MORE_WORK: usize = 2;

/// A convolution or a matrix product.
#[derive(Clone, Copy)]
enum Dense {
    Conv2d(Conv2dAttrs),
    MatMul,
}

/// `matmul(matmul(x,a),b) → matmul(x, a·b)`, and the same for two convolutions if one is 1x1, a and b constant.
pub fn dense_of_dense(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some((outer, y, b)) = matched(egraph, m) else { return vec![] };
    // If the right side is a product, this would only place the brackets differently.
    if nodes(egraph, b).any(|(op, _)| matches!(op, Op::MatMul)) {
        return vec![];
    }
    let inner: Vec<(Dense, Id, Id)> = nodes(egraph, y)
        .filter_map(|(op, operands)| {
            let (x, a) = (egraph.find(*operands.first()?), egraph.find(*operands.get(1)?));
            Some((as_dense(op).filter(|_| is_weight(egraph, a))?, x, a))
        })
        .collect();
    let mut equal = Vec::new();
    for (inner, x, a) in inner {
        let (from, to) = (extents(egraph, a), extents(egraph, b));
        match (outer, inner) {
            (Dense::MatMul, Dense::MatMul) if from.len() == 2 && to.len() == 2 && pays(&from, &to) => {
                let weight = add(egraph, Op::MatMul, &[a, b]);
                equal.push(add(egraph, Op::MatMul, &[x, weight]));
            }
            (Dense::Conv2d(outer), Dense::Conv2d(inner)) => {
                if let Some((attrs, weight)) = convolved(egraph, (&outer, b), (&inner, a)) {
                    equal.push(add(egraph, Op::Conv2d(attrs), &[x, weight]));
                }
            }
            _ => {}
        }
    }
    equal
}

/// `matmul(matmul(x,y),z) ↔ matmul(x, matmul(y,z))`, towards fewer operations.
pub fn association(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::MatMul, &[left, right]) = (m.op, m.operands) else { return vec![] };
    let products = |egraph: &EGraph, class: Id| -> Vec<[Id; 2]> {
        let found = nodes(egraph, class).filter(|(op, _)| matches!(op, Op::MatMul));
        found.map(|(_, operands)| [operands[0], operands[1]].map(|id| egraph.find(id))).collect()
    };
    let rank = |egraph: &EGraph, id: Id| egraph[id].data.ty.rank();
    // The extent of an axis, counted from the end.
    let extent = |egraph: &EGraph, id: Id, axis: usize| {
        let shape = &egraph[id].data.ty.shape;
        shape[shape.len() - axis].fixed()
    };
    // Operations of (x·y)·z and of x·(y·z), for each row of the left operand or for each leading index.
    let work = |egraph: &EGraph, [x, y, z]: [Id; 3]| -> Option<(usize, usize)> {
        let (m, k) = (extent(egraph, x, 2)?, extent(egraph, x, 1)?);
        let (l, n) = (extent(egraph, y, 1)?, extent(egraph, z, 1)?);
        Some((m * l * (k + n), k * n * (l + m)))
    };
    let alike = |egraph: &EGraph, ids: [Id; 3]| ids.iter().all(|&id| rank(egraph, id) == rank(egraph, ids[0]));
    let mut equal = Vec::new();
    for [x, y] in products(egraph, left) {
        let weights = is_weight(egraph, y) && is_weight(egraph, right);
        if !weights && alike(egraph, [x, y, right]) && work(egraph, [x, y, right]).is_some_and(|(before, after)| after < before) {
            let inner = add(egraph, Op::MatMul, &[y, right]);
            equal.push(add(egraph, Op::MatMul, &[x, inner]));
        }
    }
    for [y, z] in products(egraph, right) {
        if alike(egraph, [left, y, z]) && work(egraph, [left, y, z]).is_some_and(|(after, before)| after < before) {
            let inner = add(egraph, Op::MatMul, &[left, y]);
            equal.push(add(egraph, Op::MatMul, &[inner, z]));
        }
    }
    equal
}

/// `conv(x·s, w) → conv(x, s·w)`, and the same for matmul, s constant per channel.
pub fn dense_of_scale(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some((dense, y, w)) = matched(egraph, m) else { return vec![] };
    let scaled: Vec<(Id, Id)> = nodes(egraph, y)
        .filter(|(op, operands)| {
            let scales = |op: &Op| matches!(op, Op::Binary(BinaryOp::Mul)) && is_weight(egraph, operands[1]);
            scales(op) && egraph[operands[0]].data.ty == egraph[y].data.ty
        })
        .map(|(_, operands)| (egraph.find(operands[0]), egraph.find(operands[1])))
        .collect();
    let mut equal = Vec::new();
    for (x, s) in scaled {
        if let Some(weight) = scaled_inputs(egraph, dense, w, s) {
            equal.push(add(egraph, dense.op(), &[x, weight]));
        }
    }
    equal
}

/// `conv(Σ xᵢ + b, w) → conv(Σ xᵢ, w) + b·w`, and the same for matmul, b constant per channel, without padding.
pub fn dense_of_shift(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some((dense, y, w)) = matched(egraph, m) else { return vec![] };
    if matches!(dense, Dense::Conv2d(attrs) if attrs.pad != [0; 4]) {
        return vec![];
    }
    let (from, to) = (egraph[y].data.ty.clone(), egraph[m.class].data.ty.clone());
    let mut equal = Vec::new();
    for terms in terms_of(egraph, y) {
        let (weights, rest): (Vec<Id>, Vec<Id>) = terms.into_iter().partition(|&term| is_weight(egraph, term));
        let &[shift] = &weights[..] else { continue };
        let Some(scaled) = scaled_inputs(egraph, dense, w, shift) else { continue };
        let rank = egraph[w].data.ty.rank();
        let shift = add(egraph, Op::Reduce { op: ReduceOp::Sum, axes: (0..rank - 1).collect(), keep: false }, &[scaled]);
        let x = sum(egraph, &rest, &from);
        let y = add(egraph, dense.op(), &[x, w]);
        equal.push(sum(egraph, &[y, shift], &to));
    }
    equal
}

/// `matmul(a,b)·s → matmul(a·s, b)`, s one number, a and b not constant.
pub fn scale_of_product(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return vec![] };
    let one_number = |ty: &TensorType| ty.shape.iter().all(|dim| *dim == Dim::Fixed(1));
    if !is_weight(egraph, s) || !one_number(&egraph[s].data.ty) || egraph[y].data.ty != egraph[m.class].data.ty {
        return vec![];
    }
    let products: Vec<(Id, Id)> = nodes(egraph, y)
        .filter(|(op, operands)| matches!(op, Op::MatMul) && operands.iter().all(|&id| !is_weight(egraph, id)))
        .map(|(_, operands)| (operands[0], operands[1]))
        .collect();
    let s = without_leading_units(egraph, s);
    let mut equal = Vec::new();
    for (a, b) in products {
        let [scaled_a, scaled_b] = [a, b].map(|id| product(egraph, id, s));
        equal.push(add(egraph, Op::MatMul, &[scaled_a, b]));
        equal.push(add(egraph, Op::MatMul, &[a, scaled_b]));
    }
    equal
}

/// `pool(x)·s → pool(x·s)` for average pooling, s constant per channel.
pub fn scale_of_mean(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return vec![] };
    if !is_weight(egraph, s) || egraph[y].data.ty != egraph[m.class].data.ty {
        return vec![];
    }
    let s = without_leading_units(egraph, s);
    if egraph[s].data.ty.rank() > 1 {
        return vec![];
    }
    let means: Vec<(Op, Id)> = nodes(egraph, y)
        .filter(|(op, _)| matches!(op, Op::AvgPool(_) | Op::GlobalAvgPool))
        .map(|(op, operands)| (op.clone(), operands[0]))
        .collect();
    let moved = means.into_iter().map(|(op, x)| {
        let scaled = product(egraph, x, s);
        add(egraph, op, &[scaled])
    });
    moved.collect()
}

/// `mean(conv1x1(x,w)) → matmul(mean(x), w)`, over the whole image.
pub fn mean_of_conv(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::GlobalAvgPool = m.op else { return vec![] };
    let convs: Vec<(Id, Id)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| match op {
            Op::Conv2d(attrs) if *attrs == Conv2dAttrs::default() => Some((operands[0], operands[1])),
            _ => None,
        })
        .filter(|&(_, w)| is_weight(egraph, w) && extents(egraph, w)[..2] == [1, 1])
        .collect();
    let moved = convs.into_iter().map(|(x, w)| {
        let mean = add(egraph, Op::GlobalAvgPool, &[x]);
        let weight = matrix(egraph, w);
        add(egraph, Op::MatMul, &[mean, weight])
    });
    moved.collect()
}

/// `mean(Σ tᵢ) → Σ mean(tᵢ)`, over the whole image, if the terms include a convolution; a constant per channel is its own mean.
pub fn mean_of_sum(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::GlobalAvgPool = m.op else { return vec![] };
    let (from, to) = (egraph[m.operands[0]].data.ty.clone(), egraph[m.class].data.ty.clone());
    let mut equal = Vec::new();
    for terms in terms_of(egraph, m.operands[0]) {
        let whole = |&id: &Id| egraph[id].data.ty == from;
        let convolved = |&id: &Id| nodes(egraph, id).any(|(op, _)| matches!(op, Op::Conv2d(_)));
        if !terms.iter().any(convolved) || !terms.iter().all(|id| whole(id) || egraph[*id].data.ty.rank() <= 1) {
            continue;
        }
        let means: Vec<Id> = terms
            .into_iter()
            .map(|id| if egraph[id].data.ty == from { add(egraph, Op::GlobalAvgPool, &[id]) } else { id })
            .collect();
        equal.push(sum(egraph, &means, &to));
    }
    equal
}

/// A constant weight of a convolution as a matrix. It has a row for each weight of an output channel.
pub fn matrix(egraph: &mut EGraph, w: Id) -> Id {
    let shape = extents(egraph, w);
    let (&columns, rows) = shape.split_last().unwrap_or((&1, &[]));
    reshape(egraph, w, &[rows.iter().product(), columns])
}

/// The class of a constant under another shape.
pub fn reshape(egraph: &mut EGraph, id: Id, shape: &[usize]) -> Id {
    let shape = TensorType::fixed(shape).shape;
    if egraph[id].data.ty.shape == shape { id } else { add(egraph, Op::Reshape(shape), &[id]) }
}

/// The extents of a constant, which never has an unbound batch.
pub fn extents(egraph: &EGraph, weight: Id) -> Vec<usize> {
    egraph[weight].data.ty.extents().unwrap_or_default()
}

impl Dense {
    fn op(self) -> Op {
        match self {
            Dense::Conv2d(attrs) => Op::Conv2d(attrs),
            Dense::MatMul => Op::MatMul,
        }
    }
}

fn as_dense(op: &Op) -> Option<Dense> {
    match op {
        Op::Conv2d(attrs) => Some(Dense::Conv2d(*attrs)),
        Op::MatMul => Some(Dense::MatMul),
        _ => None,
    }
}

/// The matched e-node, if it is a convolution or a matrix product with one constant weight for all rows.
fn matched(egraph: &EGraph, m: &Match<'_>) -> Option<(Dense, Id, Id)> {
    let (dense, &[y, w]) = (as_dense(m.op)?, m.operands) else { return None };
    let fits = is_weight(egraph, w) && (matches!(dense, Dense::Conv2d(_)) || egraph[w].data.ty.rank() == 2);
    fits.then_some((dense, y, w))
}

/// Whether `x·(a·b)` may pay: it takes at most [`MORE_WORK`] times the work of `(x·a)·b`.
fn pays(a: &[usize], b: &[usize]) -> bool {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let rows: usize = a[..a.len() - 1].iter().product();
    let columns = b.last().copied().unwrap_or(1);
    rows * columns * b[..b.len() - 2].iter().product::<usize>() <= MORE_WORK * (count(a) + count(b))
}

/// One convolution for two in a row, if the outer or the inner one is 1x1.
fn convolved(egraph: &mut EGraph, outer: (&Conv2dAttrs, Id), inner: (&Conv2dAttrs, Id)) -> Option<(Conv2dAttrs, Id)> {
    let ((outer, b), (inner, a)) = (outer, inner);
    let (from, to) = (extents(egraph, a), extents(egraph, b));
    let pointwise = |attrs: &Conv2dAttrs, shape: &[usize]| shape[..2] == [1, 1] && attrs.pad == [0; 4] && attrs.groups == 1;
    if pointwise(outer, &to) {
        let stride = [0, 1].map(|i| inner.stride[i] * outer.stride[i]);
        let matrix = reshape(egraph, b, &to[2..]);
        if inner.groups == 1 && pays(&from, &to) {
            let weight = add(egraph, Op::MatMul, &[a, matrix]);
            return Some((Conv2dAttrs { stride, ..*inner }, weight));
        }
        // A depthwise convolution, then a 1x1 convolution.
        if inner.groups > 1 && from[2] == 1 && from[3] == inner.groups {
            let each = reshape(egraph, a, &[from[0], from[1], from[3], 1]);
            let weight = add(egraph, Op::Binary(BinaryOp::Mul), &[each, matrix]);
            return Some((Conv2dAttrs { stride, groups: 1, ..*inner }, weight));
        }
    } else if pointwise(inner, &from) && inner.stride == [1, 1] && outer.groups == 1 && pays(&from, &to) {
        // Zeros around the image give zeros around the inner result.
        let matrix = reshape(egraph, a, &from[2..]);
        let shape = TensorType::fixed(&[to[0], to[1], from[2], from[3]]).shape;
        let matrices = if to[..2] == [1, 1] { a } else { add(egraph, Op::Broadcast(shape), &[matrix]) };
        let weight = add(egraph, Op::MatMul, &[matrices, b]);
        return Some((*outer, weight));
    }
    None
}

/// The weight with its input channels scaled by a constant that varies only along the last axis.
fn scaled_inputs(egraph: &mut EGraph, dense: Dense, w: Id, s: Id) -> Option<Id> {
    let s = without_leading_units(egraph, s);
    let shape = extents(egraph, w);
    let scale = extents(egraph, s);
    if scale.len() > 1 {
        return None;
    }
    let groups = if let Dense::Conv2d(attrs) = dense { attrs.groups } else { 1 };
    let [inputs, outputs] = [shape[shape.len() - 2], shape[shape.len() - 1]];
    if scale.is_empty() {
        return Some(product(egraph, w, s));
    }
    if groups == 1 {
        let column = reshape(egraph, s, &[inputs, 1]);
        return Some(product(egraph, w, column));
    }
    let by_group = reshape(egraph, s, &[groups, inputs]);
    let by_input = add(egraph, Op::Transpose(vec![1, 0]), &[by_group]);
    let by_input = reshape(egraph, by_input, &[inputs, groups, 1]);
    let split = reshape(egraph, w, &[shape[0] * shape[1], inputs, groups, outputs / groups]);
    let scaled = product(egraph, split, by_input);
    Some(reshape(egraph, scaled, &shape))
}
