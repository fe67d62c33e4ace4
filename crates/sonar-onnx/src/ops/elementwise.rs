//! Functions of each element.

use crate::build::known::{Data, Int, Known, MAX_COMPUTED};
use crate::build::{Builder, Value, broadcast, elements};
use crate::error::Refusal;
use crate::file::proto::DataType;
use crate::import::call::Call;
use sonar_ir::{BinaryOp, UnaryOp};
use std::collections::BTreeSet;

type Results = Result<Vec<Value>, Refusal>;

/// The most different exponents of one `Pow`; each one adds its own operators.
const MAX_EXPONENTS: usize = 16;

/// Compositions of elementwise primitives.
impl Builder {
    fn add(&mut self, a: &Value, b: &Value) -> Result<Value, Refusal> {
        self.binary(BinaryOp::Add, a, b)
    }

    fn mul(&mut self, a: &Value, b: &Value) -> Result<Value, Refusal> {
        self.binary(BinaryOp::Mul, a, b)
    }

    /// `value · factor`; for a factor of 1 it is `value` itself.
    pub fn scale(&mut self, value: &Value, factor: f32) -> Result<Value, Refusal> {
        if factor == 1.0 { Ok(value.clone()) } else { self.mul(value, &Value::float(factor)) }
    }

    /// `value + number`.
    pub fn shift(&mut self, value: &Value, number: f32) -> Result<Value, Refusal> {
        if number == 0.0 { Ok(value.clone()) } else { self.add(value, &Value::float(number)) }
    }

    /// `max(value, lowest)`.
    fn at_least(&mut self, value: &Value, lowest: f32) -> Result<Value, Refusal> {
        if lowest == 0.0 { self.unary(UnaryOp::Relu, value) } else { self.binary(BinaryOp::Max, value, &Value::float(lowest)) }
    }

    /// `min(value, highest)`.
    fn at_most(&mut self, value: &Value, highest: f32) -> Result<Value, Refusal> {
        self.binary(BinaryOp::Min, value, &Value::float(highest))
    }

    /// `min(max(slope · value + offset, 0), 1)`.
    fn hard_sigmoid(&mut self, value: &Value, slope: f32, offset: f32) -> Result<Value, Refusal> {
        let line = self.scale(value, slope)?;
        let line = self.shift(&line, offset)?;
        let positive = self.at_least(&line, 0.0)?;
        self.at_most(&positive, 1.0)
    }

    /// `log(1 + e^value)`, computed as `max(value, 0) + log(1 + e^-|value|)`. It does not overflow, and it is accurate below 0.
    fn softplus(&mut self, value: &Value) -> Result<Value, Refusal> {
        let size = self.unary(UnaryOp::Abs, value)?;
        let negative = self.unary(UnaryOp::Neg, &size)?;
        let power = self.unary(UnaryOp::Exp, &negative)?;
        let log = self.unary(UnaryOp::Log1p, &power)?;
        let positive = self.at_least(value, 0.0)?;
        self.add(&positive, &log)
    }

    /// `value` where it is positive, `alpha · (e^value - 1)` elsewhere.
    fn elu(&mut self, value: &Value, alpha: f32) -> Result<Value, Refusal> {
        let negative = self.at_most(value, 0.0)?;
        let below = self.unary(UnaryOp::Expm1, &negative)?;
        let below = self.scale(&below, alpha)?;
        let positive = self.at_least(value, 0.0)?;
        self.add(&positive, &below)
    }

    /// The error function.
    fn erf(&mut self, value: &Value) -> Result<Value, Refusal> {
        match UnaryOp::from_name("erf") {
            Some(erf) => self.unary(erf, value),
            None => Err(Refusal::unsupported("the error function")),
        }
    }

    /// `value` to a power, in a shape that it already has.
    fn power_of(&mut self, value: &Value, exponent: f32, shape: &[usize]) -> Result<Value, Refusal> {
        let size = exponent.abs();
        let power = if exponent == 0.0 {
            return self.expand(&Value::float(1.0), shape);
        } else if size.fract() == 0.0 && size <= 64.0 {
            self.power(value, size as u32)?
        } else if size == 0.5 {
            self.unary(UnaryOp::Sqrt, value)?
        } else if size.fract() == 0.0 || !size.is_finite() {
            return Err(Refusal::unsupported(format!("the exponent {exponent}")));
        } else {
            // A fractional power of a negative number is NaN, except that of minus infinity: it is that of infinity.
            let magnitude = self.unary(UnaryOp::Abs, value)?;
            let log = self.unary(UnaryOp::Log, &magnitude)?;
            let scaled = self.scale(&log, size)?;
            let power = self.unary(UnaryOp::Exp, &scaled)?;
            let finite = self.at_least(value, f32::MIN)?;
            let negative = self.at_most(&finite, 0.0)?;
            let beyond = self.unary(UnaryOp::Neg, value)?;
            let beyond = self.shift(&beyond, f32::MIN)?;
            let beyond = self.unary(UnaryOp::Step, &beyond)?;
            let within = self.inverse(&beyond)?;
            let negative = self.binary(BinaryOp::Gate, &negative, &within)?;
            // NaN below 0, else 0.
            let refused = self.unary(UnaryOp::Sqrt, &negative)?;
            self.add(&power, &refused)?
        };
        if exponent < 0.0 { self.unary(UnaryOp::Recip, &power) } else { Ok(power) }
    }

    /// `value` to an integer power of at least 1.
    fn power(&mut self, value: &Value, exponent: u32) -> Result<Value, Refusal> {
        if exponent == 1 {
            return Ok(value.clone());
        }
        let root = self.power(value, exponent / 2)?;
        let square = self.mul(&root, &root)?;
        if exponent.is_multiple_of(2) { Ok(square) } else { self.mul(&square, value) }
    }
}

fn apply(op: UnaryOp, b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![b.unary(op, call.input(0)?)?])
}

fn combine(op: BinaryOp, b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![b.binary(op, call.input(0)?, call.input(1)?)?])
}

fn fold(op: BinaryOp, b: &mut Builder, call: &Call<'_>) -> Results {
    let values = call.all()?;
    let mut total = values[0].clone();
    for value in &values[1..] {
        total = b.binary(op, &total, value)?;
    }
    Ok(vec![total])
}

pub fn relu(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Relu, b, call)
}

pub fn sigmoid(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Sigmoid, b, call)
}

pub fn tanh(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Tanh, b, call)
}

pub fn exp(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Exp, b, call)
}

pub fn log(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Log, b, call)
}

pub fn sqrt(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Sqrt, b, call)
}

pub fn reciprocal(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::Recip, b, call)
}

pub fn erf(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![b.erf(call.input(0)?)?])
}

pub fn abs(b: &mut Builder, call: &Call<'_>) -> Results {
    match call.input(0)? {
        Value::Known(known) if known.as_ints().is_ok() => Ok(vec![Value::Known(known.map(f64::abs, i64::wrapping_abs))]),
        _ => apply(UnaryOp::Abs, b, call),
    }
}

pub fn neg(b: &mut Builder, call: &Call<'_>) -> Results {
    match call.input(0)? {
        Value::Known(known) if known.as_ints().is_ok() => Ok(vec![Value::Known(known.map(|v| -v, i64::wrapping_neg))]),
        _ => apply(UnaryOp::Neg, b, call),
    }
}

pub fn add(b: &mut Builder, call: &Call<'_>) -> Results {
    combine(BinaryOp::Add, b, call)
}

pub fn sub(b: &mut Builder, call: &Call<'_>) -> Results {
    combine(BinaryOp::Sub, b, call)
}

pub fn mul(b: &mut Builder, call: &Call<'_>) -> Results {
    combine(BinaryOp::Mul, b, call)
}

pub fn div(b: &mut Builder, call: &Call<'_>) -> Results {
    combine(BinaryOp::Div, b, call)
}

pub fn min(b: &mut Builder, call: &Call<'_>) -> Results {
    fold(BinaryOp::Min, b, call)
}

pub fn max(b: &mut Builder, call: &Call<'_>) -> Results {
    fold(BinaryOp::Max, b, call)
}

pub fn sum(b: &mut Builder, call: &Call<'_>) -> Results {
    fold(BinaryOp::Add, b, call)
}

pub fn mean(b: &mut Builder, call: &Call<'_>) -> Results {
    let count = call.all()?.len();
    let total = fold(BinaryOp::Add, b, call)?;
    Ok(vec![b.scale(&total[0], 1.0 / count as f32)?])
}

/// `max(x, αx)` for slopes above 0 and up to 1, else `max(x, 0) + α · min(x, 0)`.
pub fn leaky_relu(b: &mut Builder, call: &Call<'_>) -> Results {
    let (x, alpha) = (call.input(0)?, call.float("alpha", 0.01)?);
    let line = b.scale(x, alpha)?;
    // A slope of 0 times infinity would be NaN.
    if alpha > 0.0 && alpha <= 1.0 {
        return Ok(vec![b.binary(BinaryOp::Max, x, &line)?]);
    }
    let below = b.at_most(x, 0.0)?;
    let below = b.scale(&below, alpha)?;
    let above = b.at_least(x, 0.0)?;
    Ok(vec![b.add(&above, &below)?])
}

/// `max(x, 0) + slope · min(x, 0)`.
pub fn prelu(b: &mut Builder, call: &Call<'_>) -> Results {
    let (x, slope) = (call.input(0)?, call.input(1)?);
    let below = b.at_most(x, 0.0)?;
    let below = b.mul(slope, &below)?;
    let above = b.at_least(x, 0.0)?;
    Ok(vec![b.add(&above, &below)?])
}

/// Bounds are attributes before version 11 and arguments since.
pub fn clip(b: &mut Builder, call: &Call<'_>) -> Results {
    let bound = |index: usize, name: &'static str| match call.optional(index) {
        Some(value) => Ok::<_, Refusal>(Some(value.clone())),
        None if call.has(name) => Ok(Some(Value::float(call.float(name, 0.0)?))),
        None => Ok(None),
    };
    let (lowest, highest) = (bound(1, "min")?, bound(2, "max")?);
    let mut value = call.input(0)?.clone();
    if let Some(lowest) = lowest {
        value = match &lowest {
            Value::Known(known) if known.uniform() == Some(0.0) && known.len() == 1 => b.at_least(&value, 0.0)?,
            _ => b.binary(BinaryOp::Max, &value, &lowest)?,
        };
    }
    if let Some(highest) = highest {
        value = b.binary(BinaryOp::Min, &value, &highest)?;
    }
    Ok(vec![value])
}

pub fn hard_sigmoid(b: &mut Builder, call: &Call<'_>) -> Results {
    let (slope, offset) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    Ok(vec![b.hard_sigmoid(call.input(0)?, slope, offset)?])
}

pub fn hard_swish(b: &mut Builder, call: &Call<'_>) -> Results {
    apply(UnaryOp::HardSwish, b, call)
}

/// `x/2 · (1 + erf(x/√2))`, or its approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
pub fn gelu(b: &mut Builder, call: &Call<'_>) -> Results {
    match call.text("approximate", "none")?.as_str() {
        "none" => apply(UnaryOp::Gelu, b, call),
        "tanh" => apply(UnaryOp::GeluTanh, b, call),
        other => Err(Refusal::invalid(format!("the approximation `{other}`"))),
    }
}

/// `x · sigmoid(αx)`.
pub fn swish(b: &mut Builder, call: &Call<'_>) -> Results {
    let alpha = call.float("alpha", 1.0)?;
    if alpha == 1.0 {
        return apply(UnaryOp::Silu, b, call);
    }
    let x = call.input(0)?;
    let scaled = b.scale(x, alpha)?;
    let gate = b.unary(UnaryOp::Sigmoid, &scaled)?;
    Ok(vec![b.mul(x, &gate)?])
}

pub fn elu(b: &mut Builder, call: &Call<'_>) -> Results {
    let alpha = call.float("alpha", 1.0)?;
    Ok(vec![b.elu(call.input(0)?, alpha)?])
}

pub fn selu(b: &mut Builder, call: &Call<'_>) -> Results {
    let (alpha, gamma) = (call.float("alpha", 1.673_263_2)?, call.float("gamma", 1.050_701)?);
    let elu = b.elu(call.input(0)?, alpha)?;
    Ok(vec![b.scale(&elu, gamma)?])
}

pub fn softplus(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![b.softplus(call.input(0)?)?])
}

/// `x / (1 + |x|)`.
pub fn softsign(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let size = b.unary(UnaryOp::Abs, x)?;
    let divisor = b.shift(&size, 1.0)?;
    Ok(vec![b.binary(BinaryOp::Div, x, &divisor)?])
}

/// `x · tanh(softplus(x))`.
pub fn mish(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let gate = b.softplus(x)?;
    let gate = b.unary(UnaryOp::Tanh, &gate)?;
    Ok(vec![b.mul(x, &gate)?])
}

/// Integer exponents become products, ±½ roots. Other powers are exponentials of logarithms, and NaN where `x < 0`.
pub fn pow(b: &mut Builder, call: &Call<'_>) -> Results {
    let (x, exponent) = (call.input(0)?, call.input(1)?);
    let Value::Known(exponents) = exponent else {
        return Err(Refusal::unsupported("exponents that are not known at import"));
    };
    let shape = broadcast(x.shape(), &exponents.shape)?;
    if let Value::Known(base) = x {
        if !b.may_compute(&shape) {
            return Err(Refusal::unsupported(format!("powers of {shape:?} known numbers")));
        }
        let power = |a: i64, e: i64| match u32::try_from(e) {
            Ok(e) => Some(a.wrapping_pow(e)),
            Err(_) => Some((a as f64).powf(e as f64) as i64),
        };
        let both_ints = base.as_ints().is_ok() && exponents.as_ints().is_ok();
        let power = match both_ints {
            true => base.zip(exponents, &shape, f64::powf, power)?,
            false => base.to_floats().zip(&exponents.to_floats(), &shape, f64::powf, |a, _| Some(a))?,
        };
        let power = match (&power.data, base.as_ints()) {
            (Data::Float(data), Ok(_)) => Known::typed(base.int, shape, data.iter().map(|&v| v as i64)),
            _ => power,
        };
        return Ok(vec![Value::Known(power)]);
    }
    let x = b.expand(x, &shape)?;
    let exponents = exponents.to_floats();
    match exponents.uniform() {
        Some(exponent) => Ok(vec![b.power_of(&x, exponent, &shape)?]),
        None => {
            // One power for each distinct exponent; then each element selects its own.
            let all = exponents.as_floats()?;
            let distinct: BTreeSet<u32> = all.iter().map(|e| e.to_bits()).collect();
            if distinct.len() > MAX_EXPONENTS {
                return Err(Refusal::unsupported(format!("{} different exponents", distinct.len())));
            }
            let mut result = b.power_of(&x, all[0], &shape)?;
            for bits in distinct.into_iter().filter(|&bits| bits != all[0].to_bits()) {
                let power = b.power_of(&x, f32::from_bits(bits), &shape)?;
                let here = all.iter().map(|e| i64::from(e.to_bits() == bits));
                let here = Known::typed(Int::Bool, exponents.shape.clone(), here);
                result = b.select(&here, &power, &result)?;
            }
            Ok(vec![result])
        }
    }
}

pub fn identity(_: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![call.input(0)?.clone()])
}

/// The identity: nothing is dropped at inference, or with the ratio 0. The mask is all true.
pub fn dropout(_: &mut Builder, call: &Call<'_>) -> Results {
    call.ignore(&["ratio", "seed"]);
    let x = call.input(0)?;
    let training = call.known(2)?.map(Known::as_ints).transpose()?.is_some_and(|flags| flags.iter().any(|&v| v != 0));
    let nothing = matches!(call.optional(1), Some(Value::Known(ratio)) if ratio.uniform() == Some(0.0));
    if training && !nothing {
        return Err(Refusal::unsupported("dropout in training mode"));
    }
    let mut results = vec![x.clone()];
    if call.wants(1) {
        let count = elements(x.shape()).filter(|&count| count <= MAX_COMPUTED);
        let count = count.ok_or_else(|| Refusal::unsupported("the mask of so large a tensor"))?;
        results.push(Value::Known(Known::typed(Int::Bool, x.shape().to_vec(), vec![1; count])));
    }
    Ok(results)
}

/// All floating-point types are the same here; values computed at every run stay floating-point.
pub fn cast(b: &mut Builder, call: &Call<'_>) -> Results {
    use DataType::*;
    call.ignore(&["saturate", "round_mode"]);
    let code = call.int("to", 0)?;
    let to = i32::try_from(code).ok().and_then(|c| DataType::try_from(c).ok()).unwrap_or(Undefined);
    let float = matches!(to, Float | Double | Float16 | Bfloat16);
    if !float && (Int::of(to).is_none() || matches!(to, Int4 | Uint4)) {
        return Err(Refusal::unsupported(format!("a cast to type {code}")));
    }
    let known = match (call.input(0)?, to) {
        (value @ Value::Run(_), _) if float => return Ok(vec![value.clone()]),
        // A value other than 0 is true, and so is NaN.
        (value @ Value::Run(_), Bool) => {
            let zero = b.equals(value, &Value::float(0.0))?;
            return Ok(vec![b.inverse(&zero)?]);
        }
        (Value::Run(_), _) => return Err(Refusal::unsupported(format!("a cast to {to:?} of what is not known at import"))),
        (Value::Known(known), _) => known,
    };
    let shape = known.shape.clone();
    let cast = match (&known.data, Int::of(to)) {
        (_, None) => known.to_floats(),
        (Data::Int(data), Some(int)) => Known::typed(int, shape, data.iter().copied()),
        (Data::Float(data), Some(Int::Bool)) => Known::typed(Int::Bool, shape, data.iter().map(|&v| i64::from(v != 0.0))),
        (Data::Float(data), Some(int)) => Known::typed(int, shape, data.iter().map(|&v| v as i64)),
    };
    Ok(vec![Value::Known(cast)])
}
