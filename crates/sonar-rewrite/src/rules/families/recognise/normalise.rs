//! Softmax and layer normalisation over the last axis.

use crate::language::product;
use crate::language::{EGraph, add, is_sum, is_weight, nodes};
use crate::language::{sum, terms_of};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Dim, Op, TensorType};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

/// `exp(x − max(x)) / Σ exp(x − max(x)) → softmax(x)`, and the same without the subtraction.
pub fn softmax(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let &[a, b] = m.operands else { return vec![] };
    let quotients: Vec<(Id, Id)> = match m.op {
        Op::Binary(BinaryOp::Div) => vec![(a, b)],
        Op::Binary(BinaryOp::Mul) => {
            let inverse = |a: Id, b: Id| reciprocals(egraph, b).into_iter().map(move |total| (a, total));
            inverse(a, b).chain(inverse(b, a)).collect()
        }
        _ => return vec![],
    };
    for (power, total) in quotients {
        if !reduced(egraph, total, ReduceOp::Sum).contains(&egraph.find(power)) {
            continue;
        }
        let Some(x) = operand_of(egraph, power, UnaryOp::Exp).first().copied() else { continue };
        let shifted = differences(egraph, x).into_iter().find(|&(x, level)| reduced(egraph, level, ReduceOp::Max).contains(&x));
        return vec![add(egraph, Op::Softmax, &[shifted.map_or(x, |(x, _)| x)])];
    }
    vec![]
}

/// `(x − mean(x)) / √(mean((x − mean(x))²) + eps) → layer_norm(x)`, and the same with a factor.
pub fn layer_norm(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let &[a, b] = m.operands else { return vec![] };
    let ty = egraph[m.class].data.ty.clone();
    let Some(&Dim::Fixed(channels)) = ty.shape.last() else { return vec![] };
    let mut found: Option<(Id, f32, Option<Id>)> = None;
    match m.op {
        Op::Binary(BinaryOp::Div) => {
            let shifted = operand_of(egraph, b, UnaryOp::Sqrt);
            found = shifted.into_iter().find_map(|shifted| normalised(egraph, a, shifted)).map(|(x, eps)| (x, eps, None));
        }
        Op::Binary(BinaryOp::Mul) => {
            for (centred, factor) in [(a, b), (b, a)] {
                let plain = inverse_roots(egraph, factor).into_iter().map(|shifted| (shifted, None));
                let scaled = factors(egraph, factor).into_iter().flat_map(|(inverse, scale)| {
                    let scale = is_weight(egraph, scale).then_some(scale);
                    let shifted = if scale.is_some() { inverse_roots(egraph, inverse) } else { vec![] };
                    shifted.into_iter().map(move |shifted| (shifted, scale))
                });
                let candidates: Vec<(Id, Option<Id>)> = plain.chain(scaled).collect();
                let normal = |(shifted, scale)| normalised(egraph, centred, shifted).map(|(x, eps)| (x, eps, scale));
                found = found.or_else(|| candidates.into_iter().find_map(normal));
            }
        }
        _ => {}
    }
    let Some((x, eps, scale)) = found.filter(|&(x, ..)| egraph[x].data.ty == ty) else { return vec![] };
    let vector = vec![Dim::Fixed(channels)];
    let gamma = match scale {
        Some(scale) => per_channel(egraph, scale, channels),
        None => Some(add(egraph, Op::Splat(1.0, vector.clone()), &[])),
    };
    let Some(gamma) = gamma else { return vec![] };
    let beta = add(egraph, Op::Splat(0.0, vector), &[]);
    vec![add(egraph, Op::LayerNorm { eps }, &[x, gamma, beta])]
}

/// `layer_norm(x,g,b)·s → layer_norm(x, g·s, b·s)`, s constant per channel.
pub fn scale_of_layer_norm(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return vec![] };
    changed(egraph, m, y, s, |egraph, s, gamma, beta, _| {
        let times = |egraph: &mut EGraph, a: Id| if egraph[a].data.splat == Some(1.0) { s } else { product(egraph, a, s) };
        [times(egraph, gamma), times(egraph, beta)]
    })
}

/// `layer_norm(x,g,b) + s → layer_norm(x, g, b + s)`, s constant per channel.
pub fn shift_of_layer_norm(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (true, &[a, b]) = (is_sum(m.op), m.operands) else { return vec![] };
    let (y, s) = if is_weight(egraph, a) { (b, a) } else { (a, b) };
    changed(egraph, m, y, s, |egraph, s, gamma, beta, ty| [gamma, sum(egraph, &[beta, s], ty)])
}

/// The layer normalisations in class `y` with new weights, made from the old ones and from a constant per channel.
fn changed(
    egraph: &mut EGraph,
    m: &Match<'_>,
    y: Id,
    constant: Id,
    weights: impl Fn(&mut EGraph, Id, Id, Id, &TensorType) -> [Id; 2],
) -> Vec<Id> {
    if !is_weight(egraph, constant) || is_weight(egraph, y) || egraph[y].data.ty != egraph[m.class].data.ty {
        return vec![];
    }
    let found = nodes(egraph, y).find_map(|(op, operands)| match (op, operands) {
        (Op::LayerNorm { eps }, &[x, gamma, beta]) if is_weight(egraph, gamma) && is_weight(egraph, beta) => {
            Some((*eps, [x, gamma, beta]))
        }
        _ => None,
    });
    let Some((eps, [x, gamma, beta])) = found else { return vec![] };
    let ty = egraph[gamma].data.ty.clone();
    let Some(&Dim::Fixed(channels)) = ty.shape.last() else { return vec![] };
    let Some(constant) = per_channel(egraph, constant, channels) else { return vec![] };
    let [gamma, beta] = weights(egraph, constant, gamma, beta, &ty);
    vec![add(egraph, Op::LayerNorm { eps }, &[x, gamma, beta])]
}

/// The operand and the number added to the variance, if `centred / √shifted` is a layer normalisation.
fn normalised(egraph: &EGraph, centred: Id, shifted: Id) -> Option<(Id, f32)> {
    let centred = egraph.find(centred);
    let level = |&(x, mean): &(Id, Id)| reduced(egraph, mean, ReduceOp::Mean).contains(&x);
    let (x, _) = differences(egraph, centred).into_iter().find(level)?;
    terms_of(egraph, shifted).into_iter().find_map(|terms| {
        let &[a, b] = &terms[..] else { return None };
        let (variance, eps) = match (egraph[a].data.splat, egraph[b].data.splat) {
            (None, Some(eps)) => (a, eps),
            (Some(eps), None) => (b, eps),
            _ => return None,
        };
        let square = |class: Id| factors(egraph, class).contains(&(centred, centred));
        reduced(egraph, variance, ReduceOp::Mean).into_iter().any(square).then_some((x, eps))
    })
}

/// A constant as a vector with one element for each channel.
fn per_channel(egraph: &mut EGraph, constant: Id, channels: usize) -> Option<Id> {
    let vector = vec![Dim::Fixed(channels)];
    if let Some(value) = egraph[constant].data.splat {
        return Some(add(egraph, Op::Splat(value, vector), &[]));
    }
    let (last, leading) = egraph[constant].data.ty.shape.split_last()?;
    if *last != vector[0] || leading.iter().any(|dim| *dim != Dim::Fixed(1)) {
        return None;
    }
    Some(if leading.is_empty() { constant } else { add(egraph, Op::Reshape(vector), &[constant]) })
}

/// The operands of the reductions in a class that are over the last axis and keep it.
fn reduced(egraph: &EGraph, class: Id, how: ReduceOp) -> Vec<Id> {
    let found = nodes(egraph, class).filter_map(|(op, operands)| match op {
        Op::Reduce { op, axes, keep: true } if *op == how && axes[..] == [egraph[class].data.ty.rank() - 1] => {
            Some(egraph.find(operands[0]))
        }
        _ => None,
    });
    found.collect()
}

/// The pairs of operands whose difference is this class.
fn differences(egraph: &EGraph, class: Id) -> Vec<(Id, Id)> {
    pairs(egraph, class, BinaryOp::Sub)
}

/// The pairs of operands whose product is this class.
fn factors(egraph: &EGraph, class: Id) -> Vec<(Id, Id)> {
    pairs(egraph, class, BinaryOp::Mul)
}

/// The pairs of operands of this binary function in a class.
pub fn pairs(egraph: &EGraph, class: Id, which: BinaryOp) -> Vec<(Id, Id)> {
    let found = nodes(egraph, class).filter_map(|(op, operands)| match (op, operands) {
        (Op::Binary(op), &[a, b]) if *op == which => Some((egraph.find(a), egraph.find(b))),
        _ => None,
    });
    found.collect()
}

/// The operands of this function in a class.
pub fn operand_of(egraph: &EGraph, class: Id, function: UnaryOp) -> Vec<Id> {
    let found = nodes(egraph, class).filter_map(|(op, operands)| match op {
        Op::Unary(op) if *op == function => Some(egraph.find(operands[0])),
        _ => None,
    });
    found.collect()
}

/// The divisors, if a class is 1 divided by something.
fn reciprocals(egraph: &EGraph, class: Id) -> Vec<Id> {
    let quotients = pairs(egraph, class, BinaryOp::Div).into_iter().filter(|&(one, _)| egraph[one].data.splat == Some(1.0));
    operand_of(egraph, class, UnaryOp::Recip).into_iter().chain(quotients.map(|(_, divisor)| divisor)).collect()
}

/// The radicands, if a class is 1 divided by a root.
fn inverse_roots(egraph: &EGraph, class: Id) -> Vec<Id> {
    let roots = reciprocals(egraph, class).into_iter().flat_map(|root| operand_of(egraph, root, UnaryOp::Sqrt));
    operand_of(egraph, class, UnaryOp::Rsqrt).into_iter().chain(roots).collect()
}
