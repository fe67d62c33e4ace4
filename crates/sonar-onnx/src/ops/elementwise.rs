//! Functions of each element.

use crate::build::{Builder, Value};
use crate::call::Call;
use crate::error::Fault;
use crate::known::{Data, Known};
use crate::proto::DataType;
use sonar_ir::{BinaryOp, UnaryOp};

type Results = Result<Vec<Value>, Fault>;

/// Compositions of elementwise primitives.
impl Builder {
    fn add(&mut self, a: &Value, b: &Value) -> Result<Value, Fault> {
        self.binary(BinaryOp::Add, a, b)
    }

    fn mul(&mut self, a: &Value, b: &Value) -> Result<Value, Fault> {
        self.binary(BinaryOp::Mul, a, b)
    }

    /// `value · factor`, which is `value` itself for a factor of one.
    pub fn scale(&mut self, value: &Value, factor: f32) -> Result<Value, Fault> {
        if factor == 1.0 { Ok(value.clone()) } else { self.mul(value, &Value::float(factor)) }
    }

    /// `value + number`.
    pub fn shift(&mut self, value: &Value, number: f32) -> Result<Value, Fault> {
        if number == 0.0 { Ok(value.clone()) } else { self.add(value, &Value::float(number)) }
    }

    /// `max(value, lowest)`.
    fn at_least(&mut self, value: &Value, lowest: f32) -> Result<Value, Fault> {
        if lowest == 0.0 { self.unary(UnaryOp::Relu, value) } else { self.binary(BinaryOp::Max, value, &Value::float(lowest)) }
    }

    /// `min(value, highest)`.
    fn at_most(&mut self, value: &Value, highest: f32) -> Result<Value, Fault> {
        self.binary(BinaryOp::Min, value, &Value::float(highest))
    }

    /// `min(max(slope · value + offset, 0), 1)`.
    fn hard_sigmoid(&mut self, value: &Value, slope: f32, offset: f32) -> Result<Value, Fault> {
        let line = self.scale(value, slope)?;
        let line = self.shift(&line, offset)?;
        let positive = self.at_least(&line, 0.0)?;
        self.at_most(&positive, 1.0)
    }

    /// `log(1 + e^value)`, as `max(value, 0) + log(1 + e^-|value|)`, which does not overflow.
    fn softplus(&mut self, value: &Value) -> Result<Value, Fault> {
        let size = self.unary(UnaryOp::Abs, value)?;
        let negative = self.unary(UnaryOp::Neg, &size)?;
        let power = self.unary(UnaryOp::Exp, &negative)?;
        let shifted = self.shift(&power, 1.0)?;
        let log = self.unary(UnaryOp::Log, &shifted)?;
        let positive = self.at_least(value, 0.0)?;
        self.add(&positive, &log)
    }

    /// `value` where it is positive, `alpha · (e^value - 1)` elsewhere.
    fn elu(&mut self, value: &Value, alpha: f32) -> Result<Value, Fault> {
        let negative = self.at_most(value, 0.0)?;
        let power = self.unary(UnaryOp::Exp, &negative)?;
        let below = self.shift(&power, -1.0)?;
        let below = self.scale(&below, alpha)?;
        let positive = self.at_least(value, 0.0)?;
        self.add(&positive, &below)
    }

    /// The error function.
    fn erf(&mut self, value: &Value) -> Result<Value, Fault> {
        match UnaryOp::from_name("erf") {
            Some(erf) => self.unary(erf, value),
            None => Err(Fault::unsupported("the error function")),
        }
    }

    /// `value` to an integer power of at least 1.
    fn power(&mut self, value: &Value, exponent: u32) -> Result<Value, Fault> {
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

/// `max(x, αx)` for slopes of up to one, else `max(x, 0) + α · min(x, 0)`.
pub fn leaky_relu(b: &mut Builder, call: &Call<'_>) -> Results {
    let (x, alpha) = (call.input(0)?, call.float("alpha", 0.01)?);
    let line = b.scale(x, alpha)?;
    if (0.0..=1.0).contains(&alpha) {
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
        Some(value) => Ok::<_, Fault>(Some(value.clone())),
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
    let x = call.input(0)?;
    let gate = b.hard_sigmoid(x, 1.0 / 6.0, 0.5)?;
    Ok(vec![b.mul(x, &gate)?])
}

/// `x/2 · (1 + erf(x/√2))`, or its approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
pub fn gelu(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let gate = match call.text("approximate", "none")?.as_str() {
        "none" => {
            let scaled = b.scale(x, std::f32::consts::FRAC_1_SQRT_2)?;
            b.erf(&scaled)?
        }
        "tanh" => {
            let cube = b.power(x, 3)?;
            let cube = b.scale(&cube, 0.044715)?;
            let inner = b.add(x, &cube)?;
            let inner = b.scale(&inner, (2.0 / std::f32::consts::PI).sqrt())?;
            b.unary(UnaryOp::Tanh, &inner)?
        }
        other => return Err(Fault::invalid(format!("the approximation `{other}`"))),
    };
    let gate = b.shift(&gate, 1.0)?;
    let gate = b.scale(&gate, 0.5)?;
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

/// Small integer exponents are products, ±½ are roots; others need `x ≥ 0`, and are supported for known values only.
pub fn pow(b: &mut Builder, call: &Call<'_>) -> Results {
    let (x, exponent) = (call.input(0)?, call.input(1)?);
    let Value::Known(exponents) = exponent else {
        return Err(Fault::unsupported("exponents that are not known at import"));
    };
    let exponents = match &exponents.data {
        Data::Float(_) => exponents.clone(),
        Data::Int(data) => Known::floats(exponents.shape.clone(), data.iter().map(|&v| v as f32).collect()),
    };
    if let Value::Known(base) = x {
        let shape = crate::build::broadcast(&base.shape, &exponents.shape)?;
        let int = base.as_ints().is_ok();
        let base = if int { base.map(|v| v, |v| v) } else { base.clone() };
        let base = match &base.data {
            Data::Int(data) => Known::floats(base.shape.clone(), data.iter().map(|&v| v as f32).collect()),
            Data::Float(_) => base,
        };
        let power = base.zip(&exponents, &shape, f64::powf, |a, _| Some(a))?;
        let power = if int { Known::ints(shape, power.as_floats()?.iter().map(|&v| v as i64).collect()) } else { power };
        return Ok(vec![Value::Known(power)]);
    }
    let Some(exponent) = exponents.uniform() else { return Err(Fault::unsupported("exponents that differ")) };
    let shape = crate::build::broadcast(x.shape(), &exponents.shape)?;
    let x = b.expand(x, &shape)?;
    let size = exponent.abs();
    let power = if exponent == 0.0 {
        b.expand(&Value::float(1.0), &shape)?
    } else if size.fract() == 0.0 && size <= 64.0 {
        b.power(&x, size as u32)?
    } else if size == 0.5 {
        b.unary(UnaryOp::Sqrt, &x)?
    } else {
        // A power of a negative number with a broken exponent is not a number, and so is its logarithm.
        if size.fract() == 0.0 {
            return Err(Fault::unsupported(format!("the exponent {exponent}")));
        }
        let log = b.unary(UnaryOp::Log, &x)?;
        let scaled = b.scale(&log, size)?;
        b.unary(UnaryOp::Exp, &scaled)?
    };
    Ok(vec![if exponent < 0.0 { b.unary(UnaryOp::Recip, &power)? } else { power }])
}

pub fn select(b: &mut Builder, call: &Call<'_>) -> Results {
    let Some(condition) = call.known(0)? else { return Err(Fault::invalid("argument 1 is missing")) };
    Ok(vec![b.select(condition, call.input(1)?, call.input(2)?)?])
}

pub fn identity(_: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![call.input(0)?.clone()])
}

/// Nothing is dropped at inference.
pub fn dropout(_: &mut Builder, call: &Call<'_>) -> Results {
    call.ignore(&["ratio", "seed"]);
    call.one_output()?;
    if let Some(training) = call.known(2)?
        && training.as_ints()?.iter().any(|&v| v != 0)
    {
        return Err(Fault::unsupported("dropout in training mode"));
    }
    Ok(vec![call.input(0)?.clone()])
}

/// Floating-point types are one here; what is computed at a run stays floating-point.
pub fn cast(_: &mut Builder, call: &Call<'_>) -> Results {
    use DataType::*;
    call.ignore(&["saturate", "round_mode"]);
    let code = call.int("to", 0)?;
    let to = i32::try_from(code).ok().and_then(|c| DataType::try_from(c).ok()).unwrap_or(Undefined);
    let float = matches!(to, Float | Double | Float16 | Bfloat16);
    let integer = matches!(to, Bool | Int8 | Uint8 | Int16 | Uint16 | Int32 | Uint32 | Int64 | Uint64);
    if !float && !integer {
        return Err(Fault::unsupported(format!("a cast to type {code}")));
    }
    let known = match call.input(0)? {
        value @ Value::Run(_) if float => return Ok(vec![value.clone()]),
        Value::Run(_) => return Err(Fault::unsupported(format!("a cast to {to:?} of what is not known at import"))),
        Value::Known(known) => known,
    };
    let shape = known.shape.clone();
    let narrow = |v: i64| match to {
        Bool => i64::from(v != 0),
        Int8 => i64::from(v as i8),
        Uint8 => i64::from(v as u8),
        Int16 => i64::from(v as i16),
        Uint16 => i64::from(v as u16),
        Int32 => i64::from(v as i32),
        Uint32 => i64::from(v as u32),
        _ => v,
    };
    let cast = match &known.data {
        Data::Float(_) if float => known.clone(),
        Data::Int(data) if float => Known::floats(shape, data.iter().map(|&v| v as f32).collect()),
        Data::Int(data) => Known::ints(shape, data.iter().map(|&v| narrow(v)).collect()),
        Data::Float(data) if to == Bool => Known::ints(shape, data.iter().map(|&v| i64::from(v != 0.0)).collect()),
        Data::Float(data) => Known::ints(shape, data.iter().map(|&v| narrow(v as i64)).collect()),
    };
    Ok(vec![Value::Known(cast)])
}
