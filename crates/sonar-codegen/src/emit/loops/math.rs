//! Scalar functions of the C library that loop programs call.

use sonar_ir::scalar::UnaryOp;

/// A function that is called instead of being emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MathFunction {
    Exp,
    Expm1,
    Log,
    Log1p,
    Tanh,
    Erf,
    /// `1 - erf(x)`, accurate where it is small.
    Erfc,
}

impl MathFunction {
    /// The function that an operation calls, if it calls one.
    pub(crate) fn of(op: UnaryOp) -> Option<MathFunction> {
        Some(match op {
            UnaryOp::Exp | UnaryOp::Sigmoid | UnaryOp::Silu | UnaryOp::GeluTanh => MathFunction::Exp,
            UnaryOp::Expm1 => MathFunction::Expm1,
            UnaryOp::Log => MathFunction::Log,
            UnaryOp::Log1p => MathFunction::Log1p,
            UnaryOp::Tanh => MathFunction::Tanh,
            UnaryOp::Erf => MathFunction::Erf,
            UnaryOp::Gelu => MathFunction::Erfc,
            UnaryOp::Neg | UnaryOp::Relu | UnaryOp::Step | UnaryOp::Abs | UnaryOp::Sqrt => return None,
            UnaryOp::Rsqrt | UnaryOp::Recip | UnaryOp::HardSwish => return None,
        })
    }

    /// All of them.
    pub(crate) const ALL: [MathFunction; 7] = [
        MathFunction::Exp,
        MathFunction::Expm1,
        MathFunction::Log,
        MathFunction::Log1p,
        MathFunction::Tanh,
        MathFunction::Erf,
        MathFunction::Erfc,
    ];

    /// The symbol of the C library: object files link with it.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            MathFunction::Exp => "expf",
            MathFunction::Expm1 => "expm1f",
            MathFunction::Log => "logf",
            MathFunction::Log1p => "log1pf",
            MathFunction::Tanh => "tanhf",
            MathFunction::Erf => "erff",
            MathFunction::Erfc => "erfcf",
        }
    }

    /// The implementation that code in memory calls.
    pub(crate) fn implementation(self) -> extern "C" fn(f32) -> f32 {
        match self {
            MathFunction::Exp => implementations::exp,
            MathFunction::Expm1 => implementations::expm1,
            MathFunction::Log => implementations::log,
            MathFunction::Log1p => implementations::log1p,
            MathFunction::Tanh => implementations::tanh,
            MathFunction::Erf => implementations::erf,
            MathFunction::Erfc => implementations::erfc,
        }
    }
}

mod implementations {
    pub(super) extern "C" fn exp(x: f32) -> f32 {
        x.exp()
    }

    pub(super) extern "C" fn expm1(x: f32) -> f32 {
        x.exp_m1()
    }

    pub(super) extern "C" fn log(x: f32) -> f32 {
        x.ln()
    }

    pub(super) extern "C" fn log1p(x: f32) -> f32 {
        x.ln_1p()
    }

    pub(super) extern "C" fn tanh(x: f32) -> f32 {
        x.tanh()
    }

    pub(super) extern "C" fn erf(x: f32) -> f32 {
        libm::erff(x)
    }

    pub(super) extern "C" fn erfc(x: f32) -> f32 {
        libm::erfcf(x)
    }
}
