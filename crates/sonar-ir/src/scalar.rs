//! Scalar functions, shared by every language: graph operators, loop expressions and tile instructions name the same ones.

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
        /// `max(x, 0)`
        Relu = "relu",
        /// `1` where `x > 0`, else `0`: the derivative of [`UnaryOp::Relu`].
        Step = "step",
        /// `|x|`
        Abs = "abs",
        /// `e^x`
        Exp = "exp",
        /// natural logarithm
        Log = "log",
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
        /// [`UnaryOp::Gelu`] by way of a hyperbolic tangent: `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`
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
        /// the larger
        Max = "max",
        /// the smaller
        Min = "min",
    }
}

named_ops! {
    /// How a reduction combines its elements.
    ReduceOp {
        /// sum
        Sum = "sum",
        /// arithmetic mean
        Mean = "mean",
        /// largest
        Max = "max",
        /// smallest
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
            UnaryOp::Relu => x.max(0.0),
            UnaryOp::Step => f64::from(u8::from(x > 0.0)),
            UnaryOp::Abs => x.abs(),
            UnaryOp::Exp => x.exp(),
            UnaryOp::Log => x.ln(),
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
            BinaryOp::Max => a.max(b),
            BinaryOp::Min => a.min(b),
        }
    }
}

/// Serde form of an `f32` that formats without infinities, such as JSON, keep too: what is not finite becomes its name.
pub mod any_f32 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes a number, or `"inf"`, `"-inf"` or `"NaN"`.
    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f32(*value) } else { serializer.collect_str(value) }
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
