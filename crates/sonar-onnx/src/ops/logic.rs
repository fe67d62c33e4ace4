//! Comparisons, logical operators and selections.
//!
//! Truth values are 0 and 1. They are integers if they are known at import, and floating-point numbers otherwise.

use crate::build::known::{Data, Int, Known, MAX_COMPUTED};
use crate::build::{Builder, Value, broadcast, elements};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::{BinaryOp, UnaryOp};

type Results = Result<Vec<Value>, Refusal>;

/// Two operands, with the shape that they broadcast to.
type Both<'a> = (&'a Known, &'a Known, Vec<usize>);

/// The two operands, if both are known at import; then a result that is too large is refused.
fn both<'a>(call: &'a Call<'_>) -> Result<Option<Both<'a>>, Refusal> {
    let (Value::Known(a), Value::Known(b)) = (call.input(0)?, call.input(1)?) else { return Ok(None) };
    let shape = broadcast(&a.shape, &b.shape)?;
    match elements(&shape) {
        Some(count) if count <= MAX_COMPUTED => Ok(Some((a, b, shape))),
        _ => Err(Refusal::unsupported(format!("comparing {shape:?} elements at import"))),
    }
}

/// A comparison or logical operator on two known tensors.
fn known((a, b, shape): Both<'_>, float: fn(f64, f64) -> bool, int: fn(i64, i64) -> bool) -> Results {
    let mixed = matches!(a.data, Data::Int(_)) != matches!(b.data, Data::Int(_));
    if mixed {
        return Err(Refusal::invalid("one operand has integers, the other floating-point numbers"));
    }
    let (a, b) = (a.broadcast(&shape), b.broadcast(&shape));
    let result: Vec<i64> = match (&a.data, &b.data) {
        (Data::Int(a), Data::Int(b)) => a.iter().zip(&b[..]).map(|(&a, &b)| int(a, b).into()).collect(),
        _ => {
            let pairs = a.as_floats()?.iter().zip(&b.as_floats()?[..]);
            pairs.map(|(&a, &b)| float(a.into(), b.into()).into()).collect()
        }
    };
    Ok(vec![Value::Known(Known::typed(Int::Bool, shape, result))])
}

impl Builder {
    /// Known integers as floating-point numbers, for use at every run.
    fn number(&mut self, value: &Value) -> Value {
        match value {
            Value::Known(known) => Value::Known(known.to_floats()),
            run => run.clone(),
        }
    }

    /// 1 where `a > b`, else 0.
    fn exceeds(&mut self, a: &Value, b: &Value) -> Result<Value, Refusal> {
        let (a, b) = (self.number(a), self.number(b));
        let difference = self.binary(BinaryOp::Sub, &a, &b)?;
        self.unary(UnaryOp::Step, &difference)
    }

    /// 1 where the condition does not hold, else 0.
    pub fn inverse(&mut self, condition: &Value) -> Result<Value, Refusal> {
        let condition = self.number(condition);
        self.binary(BinaryOp::Sub, &Value::float(1.0), &condition)
    }

    /// 1 where neither operand is NaN: `step(|a| + |b| + 1)`.
    fn ordered(&mut self, a: &Value, b: &Value) -> Result<Value, Refusal> {
        let (a, b) = (self.number(a), self.number(b));
        let (a, b) = (self.unary(UnaryOp::Abs, &a)?, self.unary(UnaryOp::Abs, &b)?);
        let size = self.binary(BinaryOp::Add, &a, &b)?;
        let size = self.shift(&size, 1.0)?;
        self.unary(UnaryOp::Step, &size)
    }

    /// 1 where `a >= b`: both are numbers, and `b` is not larger than `a`.
    fn reaches(&mut self, a: &Value, b: &Value) -> Result<Value, Refusal> {
        let (ordered, less) = (self.ordered(a, b)?, self.exceeds(b, a)?);
        self.binary(BinaryOp::Sub, &ordered, &less)
    }

    /// 1 where `a = b`: both are numbers, and neither is larger.
    pub fn equals(&mut self, a: &Value, b: &Value) -> Result<Value, Refusal> {
        let (ordered, above, below) = (self.ordered(a, b)?, self.exceeds(a, b)?, self.exceeds(b, a)?);
        let differs = self.binary(BinaryOp::Max, &above, &below)?;
        self.binary(BinaryOp::Sub, &ordered, &differs)
    }

    /// `yes` where the condition holds and `no` elsewhere. The value that is not chosen has no effect, even if it is NaN.
    pub fn choose(&mut self, condition: &Value, yes: &Value, no: &Value) -> Result<Value, Refusal> {
        let otherwise = self.inverse(condition)?;
        let (condition, yes, no) = (self.number(condition), self.number(yes), self.number(no));
        let yes = self.binary(BinaryOp::Gate, &yes, &condition)?;
        let no = self.binary(BinaryOp::Gate, &no, &otherwise)?;
        self.binary(BinaryOp::Add, &yes, &no)
    }
}

pub fn select(b: &mut Builder, call: &Call<'_>) -> Results {
    let (condition, yes, no) = (call.input(0)?, call.input(1)?, call.input(2)?);
    if let Value::Known(condition) = condition {
        return Ok(vec![b.select(condition, yes, no)?]);
    }
    Ok(vec![b.choose(condition, yes, no)?])
}

pub fn equal(b: &mut Builder, call: &Call<'_>) -> Results {
    if let Some(both) = both(call)? {
        return known(both, |a, b| a == b, |a, b| a == b);
    }
    Ok(vec![b.equals(call.input(0)?, call.input(1)?)?])
}

pub fn greater(b: &mut Builder, call: &Call<'_>) -> Results {
    match both(call)? {
        Some(both) => known(both, |a, b| a > b, |a, b| a > b),
        None => Ok(vec![b.exceeds(call.input(0)?, call.input(1)?)?]),
    }
}

pub fn less(b: &mut Builder, call: &Call<'_>) -> Results {
    match both(call)? {
        Some(both) => known(both, |a, b| a < b, |a, b| a < b),
        None => Ok(vec![b.exceeds(call.input(1)?, call.input(0)?)?]),
    }
}

pub fn greater_or_equal(b: &mut Builder, call: &Call<'_>) -> Results {
    if let Some(both) = both(call)? {
        return known(both, |a, b| a >= b, |a, b| a >= b);
    }
    Ok(vec![b.reaches(call.input(0)?, call.input(1)?)?])
}

pub fn less_or_equal(b: &mut Builder, call: &Call<'_>) -> Results {
    if let Some(both) = both(call)? {
        return known(both, |a, b| a <= b, |a, b| a <= b);
    }
    Ok(vec![b.reaches(call.input(1)?, call.input(0)?)?])
}

/// A logical operator, as an arithmetic operator on 0 and 1.
fn connect(b: &mut Builder, call: &Call<'_>, op: BinaryOp) -> Results {
    let (x, y) = (b.number(call.input(0)?), b.number(call.input(1)?));
    Ok(vec![b.binary(op, &x, &y)?])
}

pub fn and(b: &mut Builder, call: &Call<'_>) -> Results {
    match both(call)? {
        Some(both) => known(both, |a, b| a != 0.0 && b != 0.0, |a, b| a != 0 && b != 0),
        None => connect(b, call, BinaryOp::Min),
    }
}

pub fn or(b: &mut Builder, call: &Call<'_>) -> Results {
    match both(call)? {
        Some(both) => known(both, |a, b| a != 0.0 || b != 0.0, |a, b| a != 0 || b != 0),
        None => connect(b, call, BinaryOp::Max),
    }
}

pub fn not(b: &mut Builder, call: &Call<'_>) -> Results {
    match call.input(0)? {
        Value::Known(x) => {
            let inverse = x.as_ints()?.iter().map(|&v| i64::from(v == 0));
            Ok(vec![Value::Known(Known::typed(Int::Bool, x.shape.clone(), inverse))])
        }
        run => Ok(vec![b.inverse(run)?]),
    }
}

pub fn sign(b: &mut Builder, call: &Call<'_>) -> Results {
    match call.input(0)? {
        Value::Known(x) => {
            let float = |v: f64| if v == 0.0 || v.is_nan() { v } else { v.signum() };
            Ok(vec![Value::Known(x.map(float, i64::signum))])
        }
        run => {
            let zero = Value::float(0.0);
            let (above, below) = (b.exceeds(run, &zero)?, b.exceeds(&zero, run)?);
            let sign = b.binary(BinaryOp::Sub, &above, &below)?;
            // 0 for every number; NaN stays NaN.
            let rest = b.unary(UnaryOp::Relu, run)?;
            let rest = b.binary(BinaryOp::Min, &rest, &zero)?;
            Ok(vec![b.binary(BinaryOp::Add, &sign, &rest)?])
        }
    }
}
