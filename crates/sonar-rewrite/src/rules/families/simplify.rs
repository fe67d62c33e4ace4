//! Rules that can only make a graph smaller.

use crate::language::product;
use crate::language::sum;
use crate::language::{EGraph, is_sum, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::Op;
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// `op(x) → x` for an operator without effect.
pub fn identity(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some(&x) = m.operands.first() else { return vec![] };
    if egraph[x].data.ty != egraph[m.class].data.ty {
        return vec![];
    }
    let other = m.operands.get(1).and_then(|&id| egraph[id].data.splat);
    let changes_nothing = match m.op {
        // The type is unchanged, so nothing is reordered, added or cut off.
        Op::Reshape(_) | Op::Broadcast(_) | Op::Slice { .. } | Op::Pad(_) => true,
        Op::Transpose(perm) => perm.is_sorted(),
        Op::Concat { .. } => m.operands.len() == 1,
        Op::MaxPool(attrs) => attrs.kernel == [1, 1],
        Op::Binary(BinaryOp::Mul | BinaryOp::Div) => other == Some(1.0),
        // Subtracting a negative zero adds a positive one, which makes a negative zero positive.
        Op::Binary(BinaryOp::Sub) => other.is_some_and(|zero| zero.to_bits() == 0),
        _ => false,
    };
    if changes_nothing { vec![x] } else { vec![] }
}

/// `avgpool(x) → x` for a window of one element. It is not exact: the mean of a negative zero is a positive zero.
pub fn mean_of_one(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    let same = attrs.kernel == [1, 1] && egraph[m.operands[0]].data.ty == egraph[m.class].data.ty;
    if same { vec![m.operands[0]] } else { vec![] }
}

/// `relu(relu(x)) → relu(x)`
pub fn relu_of_relu(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Unary(UnaryOp::Relu) = m.op else { return vec![] };
    let positive = |op: &Op| matches!(op, Op::Unary(UnaryOp::Relu) | Op::FusedSum { relu: true, .. });
    if nodes(egraph, m.operands[0]).any(|(op, _)| positive(op)) { vec![m.operands[0]] } else { vec![] }
}

/// A sum that can become smaller because of facts found since it was built.
pub fn sum_normal(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let ty = egraph[m.class].data.ty.clone();
    vec![sum(egraph, m.operands, &ty)]
}

/// `(x·s)·t → x·(s·t)`, unless the constant would overflow or become zero.
pub fn scale_of_scale(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Binary(BinaryOp::Mul) = m.op else { return vec![] };
    let &[inner, t] = m.operands else { return vec![] };
    if !is_weight(egraph, t) {
        return vec![];
    }
    let scaled: Vec<(Id, Id)> = nodes(egraph, inner)
        .filter(|(op, operands)| matches!(op, Op::Binary(BinaryOp::Mul)) && is_weight(egraph, operands[1]))
        .map(|(_, operands)| (operands[0], operands[1]))
        // A class that is a multiple of itself would give new multiples without end.
        .filter(|(x, _)| egraph.find(*x) != egraph.find(inner))
        .collect();
    let mut equal = Vec::new();
    for (x, s) in scaled {
        if let (Some(s), Some(t)) = (egraph[s].data.splat, egraph[t].data.splat)
            && !((s * t).is_normal() || s == 0.0 || t == 0.0)
        {
            continue;
        }
        let scale = product(egraph, s, t);
        let scaled = product(egraph, x, scale);
        if egraph[scaled].data.ty == egraph[m.class].data.ty {
            equal.push(scaled);
        }
    }
    equal
}
