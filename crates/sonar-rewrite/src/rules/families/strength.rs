//! Rules that replace an operator by a cheaper one, or by one that other operators can fold in.

use crate::language::product;
use crate::language::sum;
use crate::language::{EGraph, add, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Conv2dAttrs, Dim, Op, PoolAttrs};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

/// `x / c → x · (1/c)`, unless the inverse overflows or loses digits.
pub fn division(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, c]) = (m.op, m.operands) else { return vec![] };
    if !is_weight(egraph, c) || egraph[c].data.splat.is_some_and(|c| !(1.0 / c).is_normal()) {
        return vec![];
    }
    let inverse = add(egraph, Op::Unary(UnaryOp::Recip), &[c]);
    vec![product(egraph, x, inverse)]
}

/// `a - b → a + b·(-1)` if one side is constant.
pub fn subtraction_of_constant(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if m.operands.iter().any(|&id| is_weight(egraph, id)) { subtraction(egraph, m) } else { vec![] }
}

/// `a - b → a + b·(-1)`
pub fn subtraction(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Sub), &[a, b]) = (m.op, m.operands) else { return vec![] };
    let ty = egraph[m.class].data.ty.clone();
    let minus = minus_one(egraph);
    let negated = product(egraph, b, minus);
    vec![sum(egraph, &[a, negated], &ty)]
}

/// `-x → x · (-1)`
pub fn negation(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Unary(UnaryOp::Neg), &[x]) = (m.op, m.operands) else { return vec![] };
    let minus = minus_one(egraph);
    vec![product(egraph, x, minus)]
}

/// Two functions in a row that equal one function or the identity.
pub fn pairs(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Unary(outer) = m.op else { return vec![] };
    let inner: Vec<(UnaryOp, Id)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| if let Op::Unary(f) = op { Some((*f, egraph.find(operands[0]))) } else { None })
        .collect();
    let mut equal = Vec::new();
    for (inner, x) in inner {
        match (outer, inner) {
            (UnaryOp::Log, UnaryOp::Exp) => equal.push(x),
            (UnaryOp::Abs, UnaryOp::Neg) => equal.push(add(egraph, Op::Unary(UnaryOp::Abs), &[x])),
            (UnaryOp::Abs, UnaryOp::Relu) => equal.push(m.operands[0]),
            (UnaryOp::Abs | UnaryOp::Relu, UnaryOp::Abs | UnaryOp::Exp | UnaryOp::Sqrt | UnaryOp::Sigmoid) => {
                equal.push(m.operands[0]);
            }
            (UnaryOp::Recip, UnaryOp::Sqrt) | (UnaryOp::Sqrt, UnaryOp::Recip) => {
                equal.push(add(egraph, Op::Unary(UnaryOp::Rsqrt), &[x]));
            }
            _ => {}
        }
    }
    equal
}

/// `x / sqrt(y) → x · rsqrt(y)`, and `1 / y → recip(y)`.
pub fn division_by_root(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Div), &[x, y]) = (m.op, m.operands) else { return vec![] };
    if is_weight(egraph, y) {
        return vec![];
    }
    let root = |(op, operands): (&Op, &[Id])| matches!(op, Op::Unary(UnaryOp::Sqrt)).then(|| operands[0]);
    let mut equal = Vec::new();
    let under_root = nodes(egraph, y).find_map(root);
    if let Some(y) = under_root {
        let inverse = add(egraph, Op::Unary(UnaryOp::Rsqrt), &[y]);
        equal.push(product(egraph, x, inverse));
    } else if egraph[x].data.splat == Some(1.0) && egraph[y].data.ty == egraph[m.class].data.ty {
        equal.push(add(egraph, Op::Unary(UnaryOp::Recip), &[y]));
    }
    equal
}

/// `conv(pad(x), w) → conv(x, w)` with that padding. It is not exact: a weight that is infinite or NaN is multiplied by the zeros
/// of `pad`, but not by those of the convolution.
pub fn padded_window(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Conv2d(attrs) = m.op else { return vec![] };
    let mut equal = Vec::new();
    for (pads, x) in paddings(egraph, m.operands[0]) {
        let pad = std::array::from_fn(|i| attrs.pad[i] + pads[i]);
        equal.push(add(egraph, Op::Conv2d(Conv2dAttrs { pad, ..*attrs }), &[x, m.operands[1]]));
    }
    equal
}

/// `avgpool(pad(x)) → avgpool(x)` with that padding, if it counts padding.
pub fn padded_mean(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    if !attrs.count_include_pad && attrs.pad != [0; 4] {
        return vec![];
    }
    let mut equal = Vec::new();
    for (pads, x) in paddings(egraph, m.operands[0]) {
        let pad: [usize; 4] = std::array::from_fn(|i| attrs.pad[i] + pads[i]);
        if (0..4).all(|i| pad[i] < attrs.kernel[i % 2]) {
            equal.push(add(egraph, Op::AvgPool(PoolAttrs { pad, count_include_pad: true, ..*attrs }), &[x]));
        }
    }
    equal
}

/// For each `pad` in a class, the image before it, and the number of rows and columns of zeros: top, left, bottom, right.
fn paddings(egraph: &EGraph, class: Id) -> Vec<([usize; 4], Id)> {
    let found = nodes(egraph, class).filter_map(|(op, operands)| match op {
        Op::Pad(pads) if pads.len() == 4 && pads[0] == (0, 0) && pads[3] == (0, 0) => {
            Some(([pads[1].0, pads[2].0, pads[1].1, pads[2].1], egraph.find(operands[0])))
        }
        _ => None,
    });
    found.collect()
}

/// A mean over height and width, in any form, as a global pooling.
pub fn global_mean(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some(&x) = m.operands.first() else { return vec![] };
    let from = &egraph[x].data.ty.shape;
    let is_mean = match m.op {
        Op::Reduce { op: ReduceOp::Mean, axes, .. } => from.len() == 4 && axes[..] == [1, 2],
        Op::AvgPool(attrs) => attrs.pad == [0; 4] && attrs.kernel.map(Dim::Fixed)[..] == from[1..3],
        _ => false,
    };
    if !is_mean {
        return vec![];
    }
    let shape = egraph[m.class].data.ty.shape.clone();
    let mean = add(egraph, Op::GlobalAvgPool, &[x]);
    vec![if shape.len() == 2 { mean } else { add(egraph, Op::Reshape(shape), &[mean]) }]
}

fn minus_one(egraph: &mut EGraph) -> Id {
    add(egraph, Op::Splat(-1.0, vec![]), &[])
}
