//! Activations: an operand multiplied by a gate that is a function of the operand.

use super::polynomial::{self, Powers};
use crate::language::{EGraph, add, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::Op;
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// A function that is part of an activation of its operand `x`.
struct Gate {
    /// The argument of the function.
    argument: Id,
    /// The argument of the function, as a polynomial of `x`.
    of_operand: Vec<(Powers, f64)>,
    /// The activation, as a polynomial of `x` and of the function's value.
    whole: Vec<(Powers, f64)>,
    activation: UnaryOp,
}

/// `x/2·(1 + erf(x/√2)) → gelu(x)`, and its approximation with a hyperbolic tangent.
pub fn gelu(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    recognise(egraph, m, &[UnaryOp::Gelu, UnaryOp::GeluTanh])
}

/// `x·sigmoid(x) → silu(x)`
pub fn silu(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    recognise(egraph, m, &[UnaryOp::Silu])
}

/// `x·min(max(x + 3, 0), 6)/6 → hard_swish(x)`
pub fn hard_swish(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    recognise(egraph, m, &[UnaryOp::HardSwish])
}

fn recognise(egraph: &mut EGraph, m: &Match<'_>, activations: &[UnaryOp]) -> Vec<Id> {
    let ingredients = polynomial::ingredients(egraph, m.op, m.operands);
    let found = ingredients.iter().find_map(|&value| {
        let mut gates = gates(egraph, value).into_iter().filter(|gate| activations.contains(&gate.activation));
        gates.find_map(|gate| Some((gate.activation, operand(egraph, m, value, &gate, &ingredients)?)))
    });
    found.map(|(activation, x)| add(egraph, Op::Unary(activation), &[x])).into_iter().collect()
}

/// The operand of an activation with this gate value, if it is one of the ingredients of the e-node.
fn operand(egraph: &EGraph, m: &Match<'_>, value: Id, gate: &Gate, ingredients: &[Id]) -> Option<Id> {
    let fits = |x: Id| {
        let argument = polynomial::of_class(egraph, gate.argument, &[x])?;
        let whole = polynomial::of_node(egraph, m.op, m.operands, &[x, value])?;
        (argument.is(&gate.of_operand) && whole.is(&gate.whole)).then_some(x)
    };
    let typed = |x: &&Id| **x != value && egraph[**x].data.ty == egraph[m.class].data.ty;
    ingredients.iter().filter(typed).find_map(|&x| fits(x))
}

/// The possible gates of a value.
fn gates(egraph: &EGraph, value: Id) -> Vec<Gate> {
    let linear = FRAC_2_PI.sqrt();
    let cubic = |scale: f64| vec![([1, 0], scale * linear), ([3, 0], scale * linear * UnaryOp::GELU_CUBIC)];
    let half = vec![([1, 0], 0.5), ([1, 1], 0.5)];
    let product = |scale: f64| vec![([1, 1], scale)];
    let mut gates = Vec::new();
    for (op, operands) in nodes(egraph, value) {
        let argument = operands.first().copied();
        let mut gate = |activation, of_operand, whole| {
            gates.extend(argument.map(|argument| Gate { argument, of_operand, whole, activation }));
        };
        match op {
            Op::Unary(UnaryOp::Erf) => gate(UnaryOp::Gelu, vec![([1, 0], FRAC_1_SQRT_2)], half.clone()),
            Op::Unary(UnaryOp::Tanh) => gate(UnaryOp::GeluTanh, cubic(1.0), half.clone()),
            Op::Unary(UnaryOp::Sigmoid) => {
                gate(UnaryOp::Silu, vec![([1, 0], 1.0)], product(1.0));
                gate(UnaryOp::GeluTanh, cubic(2.0), product(1.0));
            }
            _ => {}
        }
    }
    gates.extend(clamped(egraph, value).into_iter().map(|(argument, most)| Gate {
        argument,
        of_operand: vec![([0, 0], most / 2.0), ([1, 0], most / 6.0)],
        whole: product(1.0 / most),
        activation: UnaryOp::HardSwish,
    }));
    gates
}

/// `x` and `most` for each form of a value as `min(max(x, 0), most)`, in either order.
fn clamped(egraph: &EGraph, value: Id) -> Vec<(Id, f64)> {
    let mut found = Vec::new();
    for inner in at_least_zero(egraph, value) {
        found.extend(at_most(egraph, inner));
    }
    for (inner, most) in at_most(egraph, value) {
        found.extend(at_least_zero(egraph, inner).into_iter().map(|argument| (argument, most)));
    }
    found
}

fn at_least_zero(egraph: &EGraph, value: Id) -> Vec<Id> {
    let found = nodes(egraph, value).filter_map(|(op, operands)| match op {
        Op::Unary(UnaryOp::Relu) => Some(operands[0]),
        Op::Binary(BinaryOp::Max) => with_number(egraph, operands).filter(|&(_, least)| least == 0.0).map(|found| found.0),
        _ => None,
    });
    found.collect()
}

fn at_most(egraph: &EGraph, value: Id) -> Vec<(Id, f64)> {
    let found = nodes(egraph, value).filter_map(|(op, operands)| match op {
        Op::Binary(BinaryOp::Min) => with_number(egraph, operands).filter(|&(_, most)| most > 0.0),
        _ => None,
    });
    found.collect()
}

/// A value and a number, if the two operands are these.
fn with_number(egraph: &EGraph, operands: &[Id]) -> Option<(Id, f64)> {
    let &[a, b] = operands else { return None };
    let number = |id: Id| egraph[id].data.splat.map(f64::from);
    number(b).map(|b| (a, b)).or_else(|| number(a).map(|a| (b, a)))
}
