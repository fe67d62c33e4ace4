//! The arithmetic of shapes: operators on known values, computed at import.

use crate::build::known::{Data, Known, MAX_COMPUTED};
use crate::build::{Builder, Value, broadcast, elements};
use crate::error::Refusal;
use crate::file::{sparse, tensor};
use crate::import::call::Call;

type Results = Result<Vec<Value>, Refusal>;

fn int(shape: Vec<usize>, data: Vec<i64>) -> Results {
    Ok(vec![Value::Known(Known::ints(shape, data))])
}

/// A required argument, which must be known.
fn known<'a>(call: &'a Call<'_>, index: usize) -> Result<&'a Known, Refusal> {
    call.known(index)?.ok_or_else(|| Refusal::invalid(format!("argument {} is missing", index + 1)))
}

/// The operand's shape, or part of it.
pub fn shape(_: &mut Builder, call: &Call<'_>) -> Results {
    let shape = call.input(0)?.shape();
    let rank = shape.len() as i64;
    let bound = |index: i64| if index < 0 { index.saturating_add(rank).clamp(0, rank) } else { index.min(rank) } as usize;
    let (start, end) = (bound(call.int("start", 0)?), bound(call.int("end", rank)?));
    let part: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|&extent| extent as i64).collect();
    int(vec![part.len()], part)
}

pub fn size(_: &mut Builder, call: &Call<'_>) -> Results {
    int(vec![], vec![call.input(0)?.shape().iter().product::<usize>() as i64])
}

pub fn constant(_: &mut Builder, call: &Call<'_>) -> Results {
    if let Some(tensor) = call.tensor("value")? {
        return Ok(vec![Value::Known(tensor::elements(tensor, call.folders)?)]);
    }
    if let Some(tensor) = call.sparse_tensor("sparse_value")? {
        return Ok(vec![Value::Known(sparse::dense(tensor, call.folders)?)]);
    }
    if let Some(list) = call.floats("value_floats")? {
        return Ok(vec![Value::Known(Known::floats(vec![list.len()], list.to_vec()))]);
    }
    if call.has("value_ints") {
        let list = call.ints("value_ints", &[])?;
        return int(vec![list.len()], list);
    }
    if call.has("value_int") {
        return int(vec![], vec![call.int("value_int", 0)?]);
    }
    if call.has("value_float") {
        return Ok(vec![Value::float(call.float("value_float", 0.0)?)]);
    }
    Err(Refusal::unsupported("a constant that is no tensor of numbers"))
}

pub fn constant_of_shape(b: &mut Builder, call: &Call<'_>) -> Results {
    let shape = super::movement::extents(known(call, 0)?.as_ints()?)?;
    let value = match call.tensor("value")? {
        Some(tensor) => tensor::elements(tensor, call.folders)?,
        None => Known::float(0.0),
    };
    if value.len() != 1 {
        return Err(Refusal::invalid(format!("a value of {} elements", value.len())));
    }
    Ok(vec![b.expand(&Value::Known(value.reshaped(vec![])), &shape)?])
}

/// The numbers from a start up to a limit (exclusive), with a step.
pub fn range(_: &mut Builder, call: &Call<'_>) -> Results {
    let (start, limit, step) = (known(call, 0)?, known(call, 1)?, known(call, 2)?);
    let too_long = |count: f64| Err(Refusal::unsupported(format!("a range of {count} numbers")));
    match (&start.data, &limit.data, &step.data) {
        (Data::Int(start), Data::Int(limit), Data::Int(step)) => {
            let (&[start], &[limit], &[step]) = (&start[..], &limit[..], &step[..]) else {
                return Err(Refusal::invalid("expected single numbers"));
            };
            if step == 0 {
                return Err(Refusal::invalid("a range of step 0"));
            }
            let span = if step > 0 { i128::from(limit) - i128::from(start) } else { i128::from(start) - i128::from(limit) };
            let count = span.max(0).unsigned_abs().div_ceil(u128::from(step.unsigned_abs()));
            if count > MAX_COMPUTED as u128 {
                return too_long(count as f64);
            }
            let data: Vec<i64> = (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect();
            int(vec![data.len()], data)
        }
        (Data::Float(start), Data::Float(limit), Data::Float(step)) => {
            let (&[start], &[limit], &[step]) = (&start[..], &limit[..], &step[..]) else {
                return Err(Refusal::invalid("expected single numbers"));
            };
            let count = ((f64::from(limit) - f64::from(start)) / f64::from(step)).ceil().max(0.0);
            if count.is_nan() || count > MAX_COMPUTED as f64 {
                return too_long(count);
            }
            let data: Vec<f32> = (0..count as usize).map(|i| start + i as f32 * step).collect();
            Ok(vec![Value::Known(Known::floats(vec![data.len()], data))])
        }
        _ => Err(Refusal::invalid("start, limit and step differ in type")),
    }
}

/// The remainder has the sign of the divisor, or of the dividend with `fmod`.
pub fn modulo(_: &mut Builder, call: &Call<'_>) -> Results {
    let (a, b) = (known(call, 0)?, known(call, 1)?);
    let shape = broadcast(&a.shape, &b.shape)?;
    if elements(&shape).is_none_or(|count| count > MAX_COMPUTED) {
        return Err(Refusal::unsupported(format!("computing {shape:?} elements at import")));
    }
    let truncated = call.flag("fmod", false)?;
    let float = |a: f64, b: f64| if truncated { a % b } else { a - b * (a / b).floor() };
    let int = |a: i64, b: i64| {
        let rest = a.checked_rem(b)?;
        Some(if !truncated && rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
    };
    Ok(vec![Value::Known(a.zip(b, &shape, float, int)?)])
}

fn map(call: &Call<'_>, float: fn(f64) -> f64, int: fn(i64) -> i64) -> Results {
    Ok(vec![Value::Known(known(call, 0)?.map(float, int))])
}

pub fn floor(_: &mut Builder, call: &Call<'_>) -> Results {
    map(call, f64::floor, |v| v)
}

pub fn ceil(_: &mut Builder, call: &Call<'_>) -> Results {
    map(call, f64::ceil, |v| v)
}

/// Halves round to the even neighbour.
pub fn round(_: &mut Builder, call: &Call<'_>) -> Results {
    map(call, f64::round_ties_even, |v| v)
}
