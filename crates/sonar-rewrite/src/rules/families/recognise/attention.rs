//! Scaled-dot-product attention.

use super::normalise::{operand_of, pairs};
use crate::language::addends;
use crate::language::{EGraph, add, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Dim, Op};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// The most scales and transpositions between a product and its operand.
const DEPTH: usize = 5;

/// A class that is `scale · transpose(reshape(source), perm)`, where the reshape has an axis for the heads.
struct View {
    source: Id,
    shape: Vec<Dim>,
    perm: Vec<usize>,
    scale: f64,
}

/// Scores as `scale · dot + mask`.
struct Scores {
    dot: Id,
    scale: f64,
    mask: Option<Id>,
}

/// `join(softmax(s · split(q)·split(k)ᵀ + mask) · split(v)) → attention(q, k, v, mask)`. `split` turns `[…,T,H·D]` into
/// `[…,H,T,D]`, and `join` is its inverse.
pub fn attention(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Reshape(result), &[joined]) = (m.op, m.operands) else { return vec![] };
    let shape = &egraph[joined].data.ty.shape;
    let Some(leading) = shape.len().checked_sub(3) else { return vec![] };
    let Dim::Fixed(heads) = shape[leading + 1] else { return vec![] };
    let Some((scale, operands)) = find(egraph, joined, leading) else { return vec![] };
    let [q, k, v] = [0, 1, 2].map(|i| joined_heads(egraph, &operands.0[i]));
    let mask = operands.1;
    let operands: Vec<Id> = [Some(q), Some(k), Some(v), mask].into_iter().flatten().collect();
    let attention = add(egraph, Op::Attention { heads, scale: scale as f32 }, &operands);
    let same = egraph[attention].data.ty == egraph[m.class].data.ty;
    vec![if same { attention } else { add(egraph, Op::Reshape(result.clone()), &[attention]) }]
}

/// The scale, the views of the three operands, and the mask.
#[allow(clippy::type_complexity)]
fn find(egraph: &EGraph, joined: Id, leading: usize) -> Option<(f64, ([View; 3], Option<Id>))> {
    let mut first: Vec<usize> = (0..leading + 3).collect();
    first.swap(leading, leading + 1);
    // The keys are also transposed: their depth comes before their rows.
    let turned: Vec<usize> = (0..leading).chain([leading + 1, leading + 2, leading]).collect();
    let with_perm = |class: Id, perm: &[usize]| views(egraph, class, DEPTH).into_iter().find(|view| view.perm == perm);
    let mixed = nodes(egraph, joined).filter(|(op, _)| matches!(op, Op::Transpose(perm) if *perm == first));
    for (weights, values) in mixed.flat_map(|(_, operands)| products(egraph, operands[0])) {
        let Some(v) = with_perm(values, &first).filter(|v| v.scale == 1.0) else { continue };
        let softmax = nodes(egraph, weights).filter(|(op, _)| matches!(op, Op::Softmax)).map(|(_, operands)| operands[0]);
        for Scores { dot, scale, mask } in softmax.flat_map(|class| scores(egraph, class)) {
            for (queries, keys) in products(egraph, dot) {
                if let (Some(q), Some(k)) = (with_perm(queries, &first), with_perm(keys, &turned)) {
                    let scale = scale * q.scale * k.scale;
                    return Some((scale, ([q, k, v], mask)));
                }
            }
        }
    }
    None
}

/// The source with the heads and their depth as one axis.
fn joined_heads(egraph: &mut EGraph, view: &View) -> Id {
    let (heads, depth) = (view.shape[view.shape.len() - 2], view.shape[view.shape.len() - 1]);
    let mut shape = view.shape[..view.shape.len() - 2].to_vec();
    if let (Dim::Fixed(heads), Dim::Fixed(depth)) = (heads, depth) {
        shape.push(Dim::Fixed(heads * depth));
    }
    if egraph[view.source].data.ty.shape == shape { view.source } else { add(egraph, Op::Reshape(shape), &[view.source]) }
}

/// The ways to view a class as heads of a matrix.
fn views(egraph: &EGraph, class: Id, depth: usize) -> Vec<View> {
    let Some(depth) = depth.checked_sub(1) else { return vec![] };
    let mut found = Vec::new();
    for (op, operands) in nodes(egraph, class) {
        match op {
            Op::Reshape(shape) => {
                let perm = (0..shape.len()).collect();
                found.push(View { source: egraph.find(operands[0]), shape: shape.clone(), perm, scale: 1.0 });
            }
            Op::Transpose(outer) => found.extend(views(egraph, operands[0], depth).into_iter().map(|view| {
                let perm = outer.iter().map(|&axis| view.perm[axis]).collect();
                View { perm, ..view }
            })),
            _ => {}
        }
    }
    for (inner, factor) in scaled(egraph, class) {
        found.extend(views(egraph, inner, depth).into_iter().map(|view| View { scale: view.scale * factor, ..view }));
    }
    found
}

fn scores(egraph: &EGraph, class: Id) -> Vec<Scores> {
    let mut found: Vec<Scores> = plain(egraph, class).into_iter().map(|(dot, scale)| Scores { dot, scale, mask: None }).collect();
    for terms in addends(egraph, class) {
        let &[a, b] = &terms[..] else { continue };
        for (dots, mask) in [(a, b), (b, a)] {
            if egraph[dots].data.ty == egraph[class].data.ty {
                found.extend(plain(egraph, dots).into_iter().map(|(dot, scale)| Scores { dot, scale, mask: Some(mask) }));
            }
        }
    }
    found
}

/// A class itself with the factor 1, and all classes that it is a multiple of, with the factor.
fn plain(egraph: &EGraph, class: Id) -> Vec<(Id, f64)> {
    std::iter::once((class, 1.0)).chain(scaled(egraph, class)).collect()
}

/// The classes that a class is a multiple of, with the factor.
fn scaled(egraph: &EGraph, class: Id) -> Vec<(Id, f64)> {
    let number = |id: Id| egraph[id].data.splat.map(f64::from);
    let products = pairs(egraph, class, BinaryOp::Mul).into_iter().filter_map(|(x, s)| Some((x, number(s)?)));
    let quotients = pairs(egraph, class, BinaryOp::Div).into_iter().filter_map(|(x, s)| Some((x, 1.0 / number(s)?)));
    let negated = operand_of(egraph, class, UnaryOp::Neg).into_iter().map(|x| (x, -1.0));
    let all = products.chain(quotients).chain(negated);
    all.filter(|&(x, factor)| factor.is_finite() && egraph[x].data.ty == egraph[class].data.ty).collect()
}

fn products(egraph: &EGraph, class: Id) -> Vec<(Id, Id)> {
    let found = nodes(egraph, class).filter_map(|(op, operands)| match (op, operands) {
        (Op::MatMul, &[a, b]) => Some((a, b)),
        _ => None,
    });
    found.collect()
}
