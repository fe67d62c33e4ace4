//! Reductions over axes.

use crate::build::known::Known;
use crate::build::layout::Layout;
use crate::build::{Builder, Value, axes};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::{BinaryOp, Op, ReduceOp, UnaryOp};

type Results = Result<Vec<Value>, Refusal>;

/// The axes, and whether they are kept; `None` if nothing is reduced.
fn attributes(call: &Call<'_>, rank: usize) -> Result<(Option<Vec<usize>>, bool), Refusal> {
    let keep = call.flag("keepdims", true)?;
    let given = call.ints_of(1, "axes")?.unwrap_or_default();
    let none = call.flag("noop_with_empty_axes", false)? && given.is_empty();
    let axes = if given.is_empty() { (0..rank).collect() } else { axes(&given, rank)? };
    Ok(((!none && rank > 0).then_some(axes), keep))
}

fn reduce(op: ReduceOp, b: &mut Builder, value: &Value, axes: Option<&[usize]>, keep: bool) -> Result<Value, Refusal> {
    match (axes, value) {
        (None, _) => Ok(value.clone()),
        (Some(axes), Value::Known(known)) if known.as_ints().is_ok() => Ok(Value::Known(reduce_ints(op, known, axes, keep)?)),
        (Some(axes), _) => b.reduce(op, value, axes, keep),
    }
}

/// A reduction of known integers; a mean is rounded towards zero.
fn reduce_ints(op: ReduceOp, known: &Known, axes: &[usize], keep: bool) -> Result<Known, Refusal> {
    let rest: Vec<usize> = (0..known.shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = rest.iter().chain(axes).copied().collect();
    let count: usize = axes.iter().map(|&axis| known.shape[axis]).product();
    if count == 0 {
        return Err(Refusal::unsupported("a reduction of no elements"));
    }
    let moved = known.transposed(&order);
    let results = moved.as_ints()?.chunks_exact(count).map(|group| {
        let all = group.iter().copied();
        let sum = all.clone().fold(0i64, i64::wrapping_add);
        match op {
            ReduceOp::Sum => sum,
            ReduceOp::Mean => sum / count as i64,
            ReduceOp::Max => all.max().unwrap_or_default(),
            ReduceOp::Min => all.min().unwrap_or_default(),
        }
    });
    let kept = (0..known.shape.len()).filter(|axis| keep || !axes.contains(axis));
    let shape = kept.map(|axis| if axes.contains(&axis) { 1 } else { known.shape[axis] }).collect();
    Ok(Known::typed(known.int, shape, results))
}

/// A reduction; `before` is applied to the elements first.
fn operator(
    op: ReduceOp,
    b: &mut Builder,
    call: &Call<'_>,
    before: impl Fn(&mut Builder, &Value) -> Result<Value, Refusal>,
) -> Result<Value, Refusal> {
    let x = call.input(0)?;
    let (axes, keep) = attributes(call, x.rank())?;
    let x = before(b, x)?;
    reduce(op, b, &x, axes.as_deref(), keep)
}

fn same(_: &mut Builder, value: &Value) -> Result<Value, Refusal> {
    Ok(value.clone())
}

fn square(b: &mut Builder, value: &Value) -> Result<Value, Refusal> {
    b.binary(BinaryOp::Mul, value, value)
}

pub fn mean(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![operator(ReduceOp::Mean, b, call, same)?])
}

pub fn sum(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![operator(ReduceOp::Sum, b, call, same)?])
}

pub fn max(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![operator(ReduceOp::Max, b, call, same)?])
}

pub fn min(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![operator(ReduceOp::Min, b, call, same)?])
}

pub fn sum_square(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![operator(ReduceOp::Sum, b, call, square)?])
}

pub fn l1(b: &mut Builder, call: &Call<'_>) -> Results {
    Ok(vec![operator(ReduceOp::Sum, b, call, |b, value| b.unary(UnaryOp::Abs, value))?])
}

pub fn l2(b: &mut Builder, call: &Call<'_>) -> Results {
    let sum = operator(ReduceOp::Sum, b, call, square)?;
    Ok(vec![b.unary(UnaryOp::Sqrt, &sum)?])
}

/// Product of all elements of a known tensor, for the arithmetic of shapes only.
pub fn product(_: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let (axes, keep) = attributes(call, x.rank())?;
    let whole = axes.as_ref().is_none_or(|axes| axes.len() == x.rank());
    let (Some(known), true) = (call.known(0)?, whole) else { return Err(Refusal::unsupported("a product over some axes")) };
    let product = known.as_ints()?.iter().fold(1i64, |product, &v| product.wrapping_mul(v));
    Ok(vec![Value::Known(Known::ints(if keep { vec![1; x.rank()] } else { vec![] }, vec![product]))])
}

pub fn global_average_pool(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let [n, c, _, _] = *x.shape() else { return global(ReduceOp::Mean, b, call) };
    let image = b.in_channels_last(x)?;
    let node = b.push(Op::GlobalAvgPool, &[image])?;
    let pooled = b.laid(node, Layout::file(2));
    Ok(vec![b.reshape(&pooled, &[n, c, 1, 1])?])
}

pub fn global_max_pool(b: &mut Builder, call: &Call<'_>) -> Results {
    global(ReduceOp::Max, b, call)
}

fn global(op: ReduceOp, b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    if x.rank() < 3 {
        return Err(Refusal::invalid(format!("expected channels and spatial axes, found the shape {:?}", x.shape())));
    }
    Ok(vec![b.reduce(op, x, &(2..x.rank()).collect::<Vec<_>>(), true)?])
}
