//! Scalar functions that loop programs call: those of the C library.

use sonar_ir::scalar::UnaryOp;

/// A scalar function in Rust.
pub(crate) type MathFunction = extern "C" fn(f32) -> f32;

/// Scalar functions that are called instead of being emitted: operation, symbol, implementation. The symbols are those of
/// the C library, so that object files link with it; code in memory is given the implementations.
pub(crate) const MATH: [(UnaryOp, &str, MathFunction); 4] = [
    (UnaryOp::Exp, "expf", math::exp),
    (UnaryOp::Log, "logf", math::log),
    (UnaryOp::Tanh, "tanhf", math::tanh),
    (UnaryOp::Erf, "erff", math::erf),
];

/// The function that an operation calls, if it does.
pub(crate) fn called(op: UnaryOp) -> Option<UnaryOp> {
    // Some functions are put together from others.
    let function = match op {
        UnaryOp::Sigmoid | UnaryOp::Silu | UnaryOp::GeluTanh => UnaryOp::Exp,
        UnaryOp::Gelu => UnaryOp::Erf,
        _ => op,
    };
    MATH.iter().any(|(known, ..)| *known == function).then_some(function)
}

/// Implementations of [`MATH`].
mod math {
    pub(super) extern "C" fn exp(x: f32) -> f32 {
        x.exp()
    }

    pub(super) extern "C" fn log(x: f32) -> f32 {
        x.ln()
    }

    pub(super) extern "C" fn tanh(x: f32) -> f32 {
        x.tanh()
    }

    pub(super) extern "C" fn erf(x: f32) -> f32 {
        super::UnaryOp::Erf.eval(f64::from(x)) as f32
    }
}
