//! Scalar functions, shared by every language: graph operators, loop expressions and tile instructions name the same ones.
//!
//! This is the only definition of the results for infinities and NaN: `eval` follows IEEE 754, as ONNX does, and every emitter
//! is tested against it. In short: every function returns NaN for NaN, also `relu`, `max` and `min`. A comparison with NaN is
//! false, so `step` of NaN is 0, and `gate` is 0 if its second operand is NaN. The sign of a zero and the payload of a NaN are
//! not defined.

use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
use std::fmt;

macro_rules! named_ops {
    ($(#[$doc:meta])* $ty:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $ty { $($(#[$vdoc])* $variant,)* }

        impl $ty {
            /// Every variant, in declaration order.
            pub const ALL: &'static [$ty] = &[$($ty::$variant,)*];

            /// The name used in every text format.
            pub fn name(self) -> &'static str {
                match self { $($ty::$variant => $name,)* }
            }

            /// The inverse of [`name`](Self::name).
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some($ty::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named_ops;

named_ops! {
    /// A function of one number.
    UnaryOp {
        /// `-x`
        Neg = "neg",
        /// `max(x, 0)`; NaN stays NaN
        Relu = "relu",
        /// 1 where `x > 0`, else 0, also for NaN: the derivative of [`UnaryOp::Relu`]
        Step = "step",
        /// `|x|`
        Abs = "abs",
        /// `e^x`
        Exp = "exp",
        /// `e^x - 1`, with all digits near 0
        Expm1 = "expm1",
        /// natural logarithm
        Log = "log",
        /// natural logarithm of `1 + x`, with all digits near 0
        Log1p = "log1p",
        /// square root
        Sqrt = "sqrt",
        /// `1 / sqrt(x)`
        Rsqrt = "rsqrt",
        /// `1 / x`
        Recip = "recip",
        /// hyperbolic tangent
        Tanh = "tanh",
        /// `1 / (1 + e^-x)`
        Sigmoid = "sigmoid",
        /// the error function `2/√π · ∫₀ˣ e^(−t²) dt`
        Erf = "erf",
        /// `x · Φ(x)`, with `Φ` the normal distribution: `x/2 · (1 + erf(x / √2))`; at −∞ its limit 0
        Gelu = "gelu",
        /// [`UnaryOp::Gelu`] approximated with a hyperbolic tangent: `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`
        GeluTanh = "gelu_tanh",
        /// `x / (1 + e^-x)`
        Silu = "silu",
        /// `x · min(max(x + 3, 0), 6) / 6`
        HardSwish = "hard_swish",
    }
}

named_ops! {
    /// A function of two numbers.
    BinaryOp {
        /// `a + b`
        Add = "add",
        /// `a - b`
        Sub = "sub",
        /// `a * b`
        Mul = "mul",
        /// `a / b`
        Div = "div",
        /// the larger; NaN if either is NaN
        Max = "max",
        /// the smaller; NaN if either is NaN
        Min = "min",
        /// `a` where `b > 0`, else 0 for any `a`
        Gate = "gate",
    }
}

named_ops! {
    /// How a reduction combines its elements.
    ReduceOp {
        /// sum
        Sum = "sum",
        /// arithmetic mean
        Mean = "mean",
        /// largest; NaN if any element is NaN
        Max = "max",
        /// smallest; NaN if any element is NaN
        Min = "min",
    }
}

impl UnaryOp {
    /// The factor of `x³` in the argument of the tangent of [`UnaryOp::GeluTanh`].
    pub const GELU_CUBIC: f64 = 0.044715;

    /// The value in double precision.
    pub fn eval(self, x: f64) -> f64 {
        match self {
            UnaryOp::Neg => -x,
            UnaryOp::Relu => BinaryOp::Max.eval(x, 0.0),
            UnaryOp::Step => f64::from(u8::from(x > 0.0)),
            UnaryOp::Abs => x.abs(),
            UnaryOp::Exp => x.exp(),
            UnaryOp::Expm1 => x.exp_m1(),
            UnaryOp::Log => x.ln(),
            UnaryOp::Log1p => x.ln_1p(),
            UnaryOp::Sqrt => x.sqrt(),
            UnaryOp::Rsqrt => 1.0 / x.sqrt(),
            UnaryOp::Recip => 1.0 / x,
            UnaryOp::Tanh => x.tanh(),
            UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            UnaryOp::Erf => libm::erf(x),
            UnaryOp::Gelu if x == f64::NEG_INFINITY => 0.0,
            UnaryOp::Gelu => x * 0.5 * libm::erfc(-x * FRAC_1_SQRT_2),
            UnaryOp::GeluTanh => x * 0.5 * (1.0 + (FRAC_2_PI.sqrt() * (x + Self::GELU_CUBIC * x * x * x)).tanh()),
            UnaryOp::Silu => x * UnaryOp::Sigmoid.eval(x),
            UnaryOp::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        }
    }
}

impl BinaryOp {
    /// The value in double precision.
    pub fn eval(self, a: f64, b: f64) -> f64 {
        match self {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Max | BinaryOp::Min if a.is_nan() || b.is_nan() => f64::NAN,
            BinaryOp::Max => a.max(b),
            BinaryOp::Min => a.min(b),
            BinaryOp::Gate if b > 0.0 => a,
            BinaryOp::Gate => 0.0,
        }
    }
}

impl ReduceOp {
    /// The operation that combines an element into the accumulator. A mean is a sum first.
    pub fn combine(self) -> BinaryOp {
        match self {
            ReduceOp::Sum | ReduceOp::Mean => BinaryOp::Add,
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
        }
    }
}

/// Clamps a double to the range of single precision: it keeps its digits, but becomes infinite, zero or denormal where its `f32`
/// does. So an interpreter overflows and underflows exactly where compiled code does.
pub fn in_f32_range(x: f64) -> f64 {
    let normal = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
    if normal.contains(&x.abs()) { x } else { f64::from(x as f32) }
}

/// The name of a number that is not finite, for formats without such numbers, as JSON: `NaN`, `Infinity` or `-Infinity`.
/// `None` if it is finite.
pub fn name_if_not_finite(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_finite() => None,
        v if v.is_nan() => Some("NaN"),
        v if v > 0.0 => Some("Infinity"),
        _ => Some("-Infinity"),
    }
}

/// Serde form of an `f32` for formats without infinities and NaN, such as JSON: such a number is written as its name.
pub mod any_f32 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes a number, or the [name](super::name_if_not_finite) of one that is not finite.
    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        match super::name_if_not_finite(f64::from(*value)) {
            None => serializer.serialize_f32(*value),
            Some(name) => serializer.serialize_str(name),
        }
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f32),
            Name(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(value) => Ok(value),
            Form::Name(name) => name.parse().map_err(|_| de::Error::custom(format!("`{name}` is no number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    fn same(a: f64, b: f64) -> bool {
        a == b || (a.is_nan() && b.is_nan())
    }

    #[test]
    fn not_a_number_goes_through_every_function_but_comparisons() {
        for &op in UnaryOp::ALL {
            assert!(op == UnaryOp::Step || op.eval(NAN).is_nan(), "{op}");
        }
        for &op in BinaryOp::ALL {
            assert!(op == BinaryOp::Gate || (op.eval(NAN, 1.0).is_nan() && op.eval(1.0, NAN).is_nan()), "{op}");
        }
        assert_eq!(UnaryOp::Step.eval(NAN), 0.0);
        assert_eq!(BinaryOp::Gate.eval(NAN, 0.0), 0.0);
        assert_eq!(BinaryOp::Gate.eval(1.0, NAN), 0.0);
        assert!(BinaryOp::Gate.eval(NAN, 1.0).is_nan());
    }

    #[test]
    fn functions_at_infinity() {
        let cases = [
            (UnaryOp::Relu, INF, 0.0),
            (UnaryOp::Step, 1.0, 0.0),
            (UnaryOp::Exp, INF, 0.0),
            (UnaryOp::Expm1, INF, -1.0),
            (UnaryOp::Log, INF, NAN),
            (UnaryOp::Log1p, INF, NAN),
            (UnaryOp::Tanh, 1.0, -1.0),
            (UnaryOp::Sigmoid, 1.0, 0.0),
            (UnaryOp::Erf, 1.0, -1.0),
            (UnaryOp::Sqrt, INF, NAN),
            (UnaryOp::Recip, 0.0, 0.0),
            (UnaryOp::Gelu, INF, 0.0),
            // As a product with a gate that is 0.
            (UnaryOp::Silu, INF, NAN),
            (UnaryOp::HardSwish, INF, NAN),
        ];
        for (op, at_inf, at_minus_inf) in cases {
            assert!(same(op.eval(INF), at_inf) && same(op.eval(-INF), at_minus_inf), "{op}");
        }
        assert_eq!(BinaryOp::Gate.eval(INF, -1.0), 0.0);
        assert_eq!(UnaryOp::Log1p.eval(-1.0), -INF);
    }

    #[test]
    fn the_range_is_that_of_single_precision() {
        assert_eq!(in_f32_range(1e39), INF);
        assert_eq!(in_f32_range(-1e-60), 0.0);
        assert_eq!(in_f32_range(0.1), 0.1);
        assert!(in_f32_range(NAN).is_nan());
    }
}
