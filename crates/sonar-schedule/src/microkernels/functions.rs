//! Mathematical functions without an instruction, composed of instructions that every instruction set has.
//!
//! Each is range reduction and a polynomial. Here `max` and `min` are single instructions: if either operand is NaN, the result
//! is the second operand. Results for infinities, zeros and NaN are the same as [`UnaryOp::eval`].
//!
//! The largest errors, in units of the last place of the result, are 1 for `exp` and `log`, 2 for `expm1` and `log1p`, 2.5 for
//! `tanh`, 2.1 for `sigmoid` and 3 for `erf`. Results below 2⁻¹²⁶ are within two times the smallest number. Activations can be
//! small differences of larger numbers, so their errors are in units of the last place of 1 or of larger results.
//! `tests/functions.rs` tests the whole range.
//!
//! The coefficients interpolate the functions at Chebyshev nodes of the intervals in the comments.

use sonar_ir::tile::BitsOp;
use sonar_ir::{BinaryOp, UnaryOp};

use super::expression::{Dag, Kind};

/// `(eʳ − 1 − r) / r²` for `|r| ≤ ln 2 / 2`, lowest power first.
const EXP: [f32; 5] = [0.5, 0.166_665_76, 0.041_666_556, 0.008_363_195, 0.001_392_620_4];
/// `(ln(1 + f) − f + f²/2) / f³` for `√½ ≤ 1 + f ≤ √2`.
const LOG: [f32; 9] = [
    0.333_333_3,
    -0.249_999_97,
    0.200_007_17,
    -0.166_678_09,
    0.142_490_09,
    -0.124_254_87,
    0.116_857_19,
    -0.114_814_77,
    0.069_730_71,
];
/// `ln(1 − erf(x)) / x` for `0 ≤ x ≤ 4`.
const ERF: [f32; 11] = [
    -std::f32::consts::FRAC_2_SQRT_PI,
    -0.636_619_57,
    -0.102_773_36,
    0.019_121_386,
    0.000_258_150_4,
    -0.001_823_030_8,
    0.000_771_879_74,
    -0.000_188_092_18,
    0.000_028_743_581,
    -0.000_002_558_765_1,
    0.000_000_101_397_724,
];

/// `|x| · (1 − erf(|x|/√2)) / 2` for `|x| ≤ 5.5`, by powers of `|x| / 2.75 − 1`.
const GELU: [f32; 18] = [
    0.008_194_369,
    -0.060_575_757,
    0.191_263_53,
    -0.308_787_5,
    0.178_944_36,
    0.261_908_56,
    -0.628_298_2,
    0.450_340_63,
    0.151_289_87,
    -0.514_117_5,
    0.272_407_62,
    0.173_531_16,
    -0.257_131_4,
    0.025_895_178,
    0.099_060_17,
    -0.036_703_628,
    -0.015_730_277,
    0.008_508_884,
];

/// `ln 2` in two parts. The product of the first part and an integer below 2⁹ is exact.
const LN_2: [f32; 2] = [0.693_359_4, -0.000_212_194_44];
/// Adding it to a number below 2²² and subtracting it again rounds to an integer. The last bits of the sum are that integer.
const ROUND: f32 = 12_582_912.0;
/// The exponent of 1 in the bits of a float.
const BIAS: f32 = 127.0;
/// The sign bit.
const SIGN: u32 = 1 << 31;
/// Number of bits after the exponent.
const FRACTION: u32 = 23;
/// From this number on, `erf` is 1.
const ERF_END: f32 = 4.0;
/// From this number on, `gelu` is approximately the identity.
const GELU_END: f32 = 5.5;

impl Dag {
    /// Appends nodes that compute a function of node `x`. `None` if there is no such sequence.
    pub(super) fn function(&mut self, op: UnaryOp, x: usize) -> Option<usize> {
        Some(match op {
            UnaryOp::Exp => self.exp(x),
            UnaryOp::Expm1 => self.expm1(x),
            UnaryOp::Log => self.log(x),
            UnaryOp::Log1p => self.log1p(x),
            UnaryOp::Tanh => self.tanh(x),
            UnaryOp::Sigmoid => self.sigmoid(x),
            UnaryOp::Erf => self.erf(x),
            UnaryOp::Gelu => self.gelu(x),
            UnaryOp::GeluTanh => self.gelu_tanh(x),
            UnaryOp::Silu => {
                let gate = self.sigmoid(x);
                self.binary(BinaryOp::Mul, x, gate)
            }
            UnaryOp::HardSwish => self.hard_swish(x),
            _ => return None,
        })
    }

    /// `2ⁿ · eʳ`. The power of two is applied in two halves, so only the last product can round, overflow or underflow.
    fn exp(&mut self, x: usize) -> usize {
        let (n, r) = self.reduced(x, -105.0, 89.0);
        let square = self.binary(BinaryOp::Mul, r, r);
        let tail = self.polynomial(&EXP, r);
        let power = self.fma(tail, square, r);
        let power = self.plus(power, 1.0);
        let half = self.times(n, 0.5);
        let half = self.round(half);
        let rest = self.binary(BinaryOp::Sub, n, half);
        let (half, rest) = (self.power_of_two(half), self.power_of_two(rest));
        let power = self.binary(BinaryOp::Mul, power, half);
        self.binary(BinaryOp::Mul, power, rest)
    }

    /// `eˣ − 1` without cancellation, for `|x| ≤ limit`. Larger `|x|` are clamped to the limit.
    fn exp_less_one(&mut self, x: usize, limit: f32) -> usize {
        let (n, r) = self.reduced(x, -limit, limit);
        let square = self.binary(BinaryOp::Mul, r, r);
        let tail = self.polynomial(&EXP, r);
        let rest = self.fma(tail, square, r);
        let power = self.power_of_two(n);
        let less = self.plus(power, -1.0);
        self.fma(rest, power, less)
    }

    /// `eˣ − 1` without cancellation. It is twice a result that was computed at half size, so a large result overflows only at
    /// the end.
    fn expm1(&mut self, x: usize) -> usize {
        let (n, r) = self.reduced(x, -20.0, 89.0);
        let square = self.binary(BinaryOp::Mul, r, r);
        let tail = self.polynomial(&EXP, r);
        let rest = self.fma(tail, square, r);
        let n = self.plus(n, -1.0);
        let half = self.power_of_two(n);
        let less = self.plus(half, -0.5);
        let half = self.fma(rest, half, less);
        self.binary(BinaryOp::Add, half, half)
    }

    /// `n` and `r` with `x = n · ln 2 + r`, `n` an integer and `|r| ≤ ln 2 / 2`, where `x` is clamped to the limits.
    fn reduced(&mut self, x: usize, low: f32, high: f32) -> (usize, usize) {
        let (low, high) = (self.constant(low), self.constant(high));
        // If either operand is NaN, the result is the second operand.
        let x = self.binary(BinaryOp::Min, high, x);
        let x = self.binary(BinaryOp::Max, low, x);
        let n = self.times(x, std::f32::consts::LOG2_E);
        let n = self.round(n);
        let r = LN_2.into_iter().fold(x, |r, part| {
            let part = self.constant(-part);
            self.fma(n, part, r)
        });
        (n, r)
    }

    /// `e · ln 2 + ln m`, where `√½ ≤ m < √2` and `x = 2ᵉ · m`, plus corrections if `x` is not a positive finite number.
    fn log(&mut self, x: usize) -> usize {
        // Denormal numbers are multiplied by 2²³ first.
        let smallest = self.constant(f32::MIN_POSITIVE);
        let below = self.binary(BinaryOp::Sub, smallest, x);
        let below = self.unary(UnaryOp::Step, below);
        let scale = self.times(below, 8_388_607.0);
        let scale = self.plus(scale, 1.0);
        let scaled = self.binary(BinaryOp::Mul, x, scale);
        let shift = self.times(below, FRACTION as f32);
        let exponent = self.bits(BitsOp::Shr, scaled, FRACTION);
        let exponent = self.bits(BitsOp::Or, exponent, ROUND.to_bits());
        let exponent = self.plus(exponent, -(ROUND + BIAS));
        let exponent = self.binary(BinaryOp::Sub, exponent, shift);
        let m = self.bits(BitsOp::And, scaled, (1 << FRACTION) - 1);
        let m = self.bits(BitsOp::Or, m, 1f32.to_bits());
        let large = self.plus(m, -std::f32::consts::SQRT_2);
        let large = self.unary(UnaryOp::Step, large);
        let exponent = self.binary(BinaryOp::Add, exponent, large);
        let halved = self.times(large, -0.5);
        let halved = self.plus(halved, 1.0);
        let m = self.binary(BinaryOp::Mul, m, halved);
        let f = self.plus(m, -1.0);
        let square = self.binary(BinaryOp::Mul, f, f);
        let tail = self.polynomial(&LOG, f);
        let tail = self.binary(BinaryOp::Mul, tail, f);
        let tail = self.plus(tail, -0.5);
        let tail = self.binary(BinaryOp::Mul, tail, square);
        let low = self.times(exponent, LN_2[1]);
        let tail = self.binary(BinaryOp::Add, tail, low);
        let sum = self.binary(BinaryOp::Add, f, tail);
        let high = self.times(exponent, LN_2[0]);
        let sum = self.binary(BinaryOp::Add, sum, high);
        // 0 for finite numbers. Infinity and NaN stay unchanged.
        let largest = self.constant(f32::MAX);
        let finite = self.binary(BinaryOp::Min, largest, x);
        let finite = self.binary(BinaryOp::Min, finite, largest);
        let excess = self.binary(BinaryOp::Sub, x, finite);
        // 0 for positive numbers, minus infinity at 0.
        let positive = self.unary(UnaryOp::Step, x);
        let one = self.constant(1.0);
        let inverse = self.binary(BinaryOp::Div, one, positive);
        let pole = self.binary(BinaryOp::Sub, one, inverse);
        // 0 for numbers from 0 on, NaN for negative numbers.
        let zero = self.constant(0.0);
        let negative = self.binary(BinaryOp::Min, x, zero);
        let root = self.unary(UnaryOp::Sqrt, negative);
        let sum = self.binary(BinaryOp::Add, sum, excess);
        let sum = self.binary(BinaryOp::Add, sum, pole);
        self.binary(BinaryOp::Add, sum, root)
    }

    /// `ln u + (x − (u − 1)) / u` with `u = 1 + x`. The second term corrects the rounding error of `u`. If `x` is large or `u`
    /// is exact, it does not matter, and a clamped `x` is used for it.
    fn log1p(&mut self, x: usize) -> usize {
        let u = self.plus(x, 1.0);
        let logarithm = self.log(u);
        let (low, high) = (self.constant(-0.5), self.constant(1e10));
        let x = self.binary(BinaryOp::Min, high, x);
        let x = self.binary(BinaryOp::Max, low, x);
        let u = self.plus(x, 1.0);
        let kept = self.plus(u, -1.0);
        let lost = self.binary(BinaryOp::Sub, x, kept);
        let lost = self.binary(BinaryOp::Div, lost, u);
        self.binary(BinaryOp::Add, logarithm, lost)
    }

    /// `e / (e + 2)` with `e = e²ˣ − 1`.
    fn tanh(&mut self, x: usize) -> usize {
        let double = self.binary(BinaryOp::Add, x, x);
        let e = self.exp_less_one(double, 20.0);
        let sum = self.plus(e, 2.0);
        self.binary(BinaryOp::Div, e, sum)
    }

    /// `1 / (1 + e)` above 0 and `e / (1 + e)` below, with `e` the exponential of `−|x|`.
    fn sigmoid(&mut self, x: usize) -> usize {
        let distance = self.unary(UnaryOp::Abs, x);
        let distance = self.unary(UnaryOp::Neg, distance);
        let e = self.exp(distance);
        let above = self.unary(UnaryOp::Step, x);
        let one = self.constant(1.0);
        let numerator = self.mix(above, one, e);
        let denominator = self.plus(e, 1.0);
        self.binary(BinaryOp::Div, numerator, denominator)
    }

    /// `1 − e^(ln(1 − erf(|x|)))` without cancellation, with the sign of `x`.
    fn erf(&mut self, x: usize) -> usize {
        let end = self.constant(ERF_END);
        let distance = self.unary(UnaryOp::Abs, x);
        let distance = self.binary(BinaryOp::Min, end, distance);
        let slope = self.polynomial(&ERF, distance);
        let logarithm = self.binary(BinaryOp::Mul, slope, distance);
        let less = self.exp_less_one(logarithm, 40.0);
        let opposite = self.unary(UnaryOp::Neg, x);
        let sign = self.bits(BitsOp::And, opposite, SIGN);
        let sign = self.bits(BitsOp::Or, sign, 1f32.to_bits());
        self.binary(BinaryOp::Mul, less, sign)
    }

    /// `max(x, 0) − |x| · (1 − erf(|x|/√2)) / 2`, without cancellation. The second term is not changed if it is below 2⁻²³.
    fn gelu(&mut self, x: usize) -> usize {
        let end = self.constant(GELU_END);
        let distance = self.unary(UnaryOp::Abs, x);
        let distance = self.binary(BinaryOp::Min, end, distance);
        let (scale, less) = (self.constant(2.0 / GELU_END), self.constant(-1.0));
        let place = self.fma(distance, scale, less);
        let lost = self.polynomial(&GELU, place);
        let positive = self.relu(x);
        self.binary(BinaryOp::Sub, positive, lost)
    }

    /// `x · sigmoid(2 · √(2/π) · (x + 0.044715 x³))`, which equals the formula with a hyperbolic tangent.
    fn gelu_tanh(&mut self, x: usize) -> usize {
        let slope = 2.0 * std::f64::consts::FRAC_2_PI.sqrt();
        let square = self.binary(BinaryOp::Mul, x, x);
        let (cubic, linear) = (self.constant((slope * UnaryOp::GELU_CUBIC) as f32), self.constant(slope as f32));
        let slope = self.fma(square, cubic, linear);
        let argument = self.binary(BinaryOp::Mul, slope, x);
        let gate = self.sigmoid(argument);
        self.binary(BinaryOp::Mul, x, gate)
    }

    /// `x · min(max(x/6 + 1/2, 0), 1)`
    fn hard_swish(&mut self, x: usize) -> usize {
        let (sixth, half, one) = (self.constant(1.0 / 6.0), self.constant(0.5), self.constant(1.0));
        let line = self.fma(x, sixth, half);
        let gate = self.relu(line);
        let gate = self.binary(BinaryOp::Min, one, gate);
        self.binary(BinaryOp::Mul, x, gate)
    }

    /// `yes` if `flag` is 1, `no` if it is 0. Both must be finite.
    fn mix(&mut self, flag: usize, yes: usize, no: usize) -> usize {
        let one = self.constant(1.0);
        let rest = self.binary(BinaryOp::Sub, one, flag);
        let (yes, no) = (self.binary(BinaryOp::Mul, yes, flag), self.binary(BinaryOp::Mul, no, rest));
        self.binary(BinaryOp::Add, yes, no)
    }

    /// `Σ coefficient[i] · xⁱ`.
    fn polynomial(&mut self, coefficients: &[f32], x: usize) -> usize {
        let [rest @ .., highest] = coefficients else { return self.constant(0.0) };
        let highest = self.constant(*highest);
        rest.iter().rev().fold(highest, |sum, &c| {
            let c = self.constant(c);
            self.fma(sum, x, c)
        })
    }

    /// The nearest integer of a number below 2²².
    fn round(&mut self, x: usize) -> usize {
        let x = self.plus(x, ROUND);
        self.plus(x, -ROUND)
    }

    /// `2ⁿ` for an integer from −126 to 127.
    fn power_of_two(&mut self, n: usize) -> usize {
        let exponent = self.plus(n, ROUND + BIAS);
        self.bits(BitsOp::Shl, exponent, FRACTION)
    }

    /// `a · b + c`.
    fn fma(&mut self, a: usize, b: usize, c: usize) -> usize {
        self.push(Kind::Fma(a, b, c), &[a, b, c])
    }

    fn plus(&mut self, x: usize, constant: f32) -> usize {
        let constant = self.constant(constant);
        self.binary(BinaryOp::Add, x, constant)
    }

    fn times(&mut self, x: usize, constant: f32) -> usize {
        let constant = self.constant(constant);
        self.binary(BinaryOp::Mul, x, constant)
    }

    fn unary(&mut self, op: UnaryOp, a: usize) -> usize {
        self.push(Kind::Unary(op, a), &[a])
    }

    fn binary(&mut self, op: BinaryOp, a: usize, b: usize) -> usize {
        self.push(Kind::Binary(op, a, b), &[a, b])
    }

    fn bits(&mut self, op: BitsOp, a: usize, constant: u32) -> usize {
        self.push(Kind::Bits(op, a, constant), &[a])
    }

    fn constant(&mut self, value: f32) -> usize {
        self.push(Kind::Const(value), &[])
    }
}
