//! Derivatives of the activations of the form operand times gate.

use crate::build::{add, mul, number, scale, sub, unary};
use sonar_ir::UnaryOp;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

/// The derivative of an activation at `x`. At the two kinks of `hard_swish` it is the left derivative.
pub(crate) fn slope(graph: &mut Graph, op: UnaryOp, x: NodeId) -> Result<NodeId, TypeError> {
    match op {
        // Φ(x) + x·φ(x)
        UnaryOp::Gelu => {
            let scaled = scale(graph, x, FRAC_1_SQRT_2)?;
            let erf = unary(graph, UnaryOp::Erf, scaled)?;
            let gate = plus(graph, erf, 1.0)?;
            let gate = scale(graph, gate, 0.5)?;
            let square = mul(graph, x, x)?;
            let exponent = scale(graph, square, -0.5)?;
            let density = unary(graph, UnaryOp::Exp, exponent)?;
            let density = scale(graph, density, 1.0 / (2.0 * PI).sqrt())?;
            let moved = mul(graph, x, density)?;
            add(graph, gate, moved)
        }
        // The gate is a logistic function of `v = x·(linear + cubic·x²)`, whose slope is `linear + 3·cubic·x²`.
        UnaryOp::GeluTanh => {
            let linear = 2.0 * FRAC_2_PI.sqrt();
            let square = mul(graph, x, x)?;
            let bend = scale(graph, square, linear * UnaryOp::GELU_CUBIC)?;
            let factor = plus(graph, bend, linear)?;
            let v = mul(graph, x, factor)?;
            let bend = scale(graph, bend, 3.0)?;
            let inner = plus(graph, bend, linear)?;
            let inner = mul(graph, x, inner)?;
            gated(graph, v, inner)
        }
        UnaryOp::Silu => gated(graph, x, x),
        // 0 below −3, x/3 + 1/2 up to 3, and 1 above.
        UnaryOp::HardSwish => {
            let low = plus(graph, x, 3.0)?;
            let low = unary(graph, UnaryOp::Step, low)?;
            let high = plus(graph, x, -3.0)?;
            let high = unary(graph, UnaryOp::Step, high)?;
            let inside = sub(graph, low, high)?;
            let line = scale(graph, x, 1.0 / 3.0)?;
            let line = plus(graph, line, 0.5)?;
            let line = mul(graph, inside, line)?;
            add(graph, line, high)
        }
        other => unary(graph, other, x),
    }
}

/// `s + moved·s·(1 − s)`, where `s` is the logistic function of `v`.
fn gated(graph: &mut Graph, v: NodeId, moved: NodeId) -> Result<NodeId, TypeError> {
    let gate = unary(graph, UnaryOp::Sigmoid, v)?;
    let one = number(graph, 1.0)?;
    let rest = sub(graph, one, gate)?;
    let rest = mul(graph, moved, rest)?;
    let factor = plus(graph, rest, 1.0)?;
    mul(graph, gate, factor)
}

fn plus(graph: &mut Graph, x: NodeId, constant: f64) -> Result<NodeId, TypeError> {
    let constant = number(graph, constant)?;
    add(graph, x, constant)
}
