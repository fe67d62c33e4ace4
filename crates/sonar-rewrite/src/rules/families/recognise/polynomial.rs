//! Values as polynomials of other values: one normal form for all arrangements of factors and summands.

use crate::language::{EGraph, is_sum, is_weight, nodes};
use egg::Id;
use sonar_ir::graph::Op;
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// A polynomial of up to two values: the coefficient of each pair of powers, sorted, without zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polynomial(Vec<(Powers, f64)>);

/// The power of each value.
pub type Powers = [u8; 2];

/// The largest relative error of a coefficient. Programs write constants with five digits or more.
const TOLERANCE: f64 = 1e-5;
/// The highest sum of powers.
const DEGREE: u8 = 4;
/// The most operators between a value and the variables of its polynomial.
const DEPTH: usize = 7;

impl Polynomial {
    /// Whether the coefficients are approximately these.
    pub fn is(&self, wanted: &[(Powers, f64)]) -> bool {
        let near = |&(powers, value): &(Powers, f64)| (self.coefficient(powers) - value).abs() <= TOLERANCE * value.abs();
        self.0.len() == wanted.len() && wanted.iter().all(near)
    }

    fn coefficient(&self, powers: Powers) -> f64 {
        self.0.iter().find(|term| term.0 == powers).map_or(0.0, |term| term.1)
    }

    fn constant(value: f64) -> Self {
        Polynomial::default().plus([0, 0], value)
    }

    fn plus(mut self, powers: Powers, value: f64) -> Self {
        match self.0.binary_search_by_key(&powers, |term| term.0) {
            Ok(i) => {
                self.0[i].1 += value;
                if self.0[i].1 == 0.0 {
                    self.0.remove(i);
                }
            }
            Err(i) if value != 0.0 => self.0.insert(i, (powers, value)),
            Err(_) => {}
        }
        self
    }

    fn add(self, other: &Self, scale: f64) -> Self {
        other.0.iter().fold(self, |sum, &(powers, value)| sum.plus(powers, value * scale))
    }

    /// The product, unless its degree is too high.
    fn times(&self, other: &Self) -> Option<Self> {
        let mut product = Polynomial::default();
        for &([i, j], a) in &self.0 {
            for &([k, l], b) in &other.0 {
                if i + j + k + l > DEGREE {
                    return None;
                }
                product = product.plus([i + k, j + l], a * b);
            }
        }
        Some(product)
    }

    /// The value, if it is a number.
    fn number(&self) -> Option<f64> {
        match self.0[..] {
            [] => Some(0.0),
            [([0, 0], value)] => Some(value),
            _ => None,
        }
    }
}

/// A class as a polynomial of other classes, if it is one; all must have one type.
pub fn of_class(egraph: &EGraph, class: Id, values: &[Id]) -> Option<Polynomial> {
    within(egraph, class, values, DEPTH)
}

/// An e-node as a polynomial of classes, if it is one.
pub fn of_node(egraph: &EGraph, op: &Op, operands: &[Id], values: &[Id]) -> Option<Polynomial> {
    node_within(egraph, op, operands, values, DEPTH)
}

fn within(egraph: &EGraph, class: Id, values: &[Id], depth: usize) -> Option<Polynomial> {
    let class = egraph.find(class);
    if let Some(position) = values.iter().position(|&value| egraph.find(value) == class) {
        return Some(Polynomial::default().plus(if position == 0 { [1, 0] } else { [0, 1] }, 1.0));
    }
    if let Some(value) = egraph[class].data.splat {
        return Some(Polynomial::constant(f64::from(value)));
    }
    if depth == 0 || is_weight(egraph, class) || egraph[class].data.ty != egraph[*values.first()?].data.ty {
        return None;
    }
    nodes(egraph, class).find_map(|(op, operands)| node_within(egraph, op, operands, values, depth - 1))
}

fn node_within(egraph: &EGraph, op: &Op, operands: &[Id], values: &[Id], depth: usize) -> Option<Polynomial> {
    let operand = |i: usize| within(egraph, operands[i], values, depth);
    match op {
        Op::Unary(UnaryOp::Neg) => Some(Polynomial::default().add(&operand(0)?, -1.0)),
        Op::Binary(BinaryOp::Mul) => operand(0)?.times(&operand(1)?),
        Op::Binary(BinaryOp::Sub) => Some(operand(0)?.add(&operand(1)?, -1.0)),
        Op::Binary(BinaryOp::Div) => {
            let divisor = operand(1)?.number().filter(|&value| value != 0.0)?;
            Some(Polynomial::default().add(&operand(0)?, 1.0 / divisor))
        }
        op if is_sum(op) => (0..operands.len()).try_fold(Polynomial::default(), |sum, i| Some(sum.add(&operand(i)?, 1.0))),
        _ => None,
    }
}

/// The classes that an e-node is computed from by operators of polynomials, the nearest first. Intermediate classes are included;
/// constants are not.
pub fn ingredients(egraph: &EGraph, op: &Op, operands: &[Id]) -> Vec<Id> {
    let mut found: Vec<Id> = Vec::new();
    let mut level = if is_arithmetic(op) { operands.to_vec() } else { vec![] };
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for class in level {
            let class = egraph.find(class);
            if is_weight(egraph, class) || found.contains(&class) {
                continue;
            }
            found.push(class);
            for (op, operands) in nodes(egraph, class).filter(|(op, _)| is_arithmetic(op)) {
                // A long sum is not part of a formula.
                if operands.len() <= 3 || !is_sum(op) {
                    next.extend_from_slice(operands);
                }
            }
        }
        level = next;
    }
    found
}

fn is_arithmetic(op: &Op) -> bool {
    matches!(op, Op::Unary(UnaryOp::Neg) | Op::Binary(BinaryOp::Mul | BinaryOp::Sub | BinaryOp::Div)) || is_sum(op)
}
