//! Normalisations.

use crate::build::layout::Layout;
use crate::build::{Builder, Value, axis};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::{BinaryOp, Dim, Init, NodeId, Op, ReduceOp, UnaryOp};

type Results = Result<Vec<Value>, Refusal>;

/// Batch normalisation with given statistics, or with those of the batch in training mode.
pub fn batch(b: &mut Builder, call: &Call<'_>) -> Results {
    if call.flag("training_mode", false)? {
        return batch_training(b, call);
    }
    call.ignore(&["momentum"]);
    if !call.flag("spatial", true)? {
        return Err(Refusal::unsupported("batch normalisation of each element by itself"));
    }
    call.one_output()?;
    let eps = call.float("epsilon", 1e-5)?;
    let x = call.input(0)?;
    let image = b.in_channels_last(x)?;
    let inits = [Init::Ones, Init::Zeros, Init::Zeros, Init::Ones];
    let mut operands = vec![image];
    for (index, init) in inits.into_iter().enumerate() {
        operands.push(vector(b, call.input(index + 1)?, init)?);
    }
    let node = b.push(Op::BatchNorm { eps }, &operands)?;
    Ok(vec![b.laid(node, Layout::channels_last(x.rank()))])
}

/// Uses the mean and the biased variance of each channel over the batch, and updates the running ones.
fn batch_training(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    if x.rank() < 2 {
        return Err(Refusal::invalid(format!("expected channels on axis 1, found the shape {:?}", x.shape())));
    }
    let (eps, momentum) = (call.float("epsilon", 1e-5)?, call.float("momentum", 0.9)?);
    let axes: Vec<usize> = (0..x.rank()).filter(|&axis| axis != 1).collect();
    let channels = x.shape()[1];
    let mut shape = vec![1; x.rank()];
    shape[1] = channels;
    let standard = b.standardise(x, &axes, eps)?;
    let scale = b.reshape(call.input(1)?, &shape)?;
    let bias = b.reshape(call.input(2)?, &shape)?;
    let scaled = b.binary(BinaryOp::Mul, &standard.value, &scale)?;
    let mut results = vec![b.binary(BinaryOp::Add, &scaled, &bias)?];
    for (index, current) in [(3, standard.mean), (4, standard.variance)] {
        let current = b.reshape(&current, &[channels])?;
        let (old, new) = (b.scale(call.input(index)?, momentum)?, b.scale(&current, 1.0 - momentum)?);
        results.push(b.binary(BinaryOp::Add, &old, &new)?);
    }
    Ok(results)
}

/// A vector as a value of the IR.
fn vector(b: &mut Builder, value: &Value, init: Init) -> Result<NodeId, Refusal> {
    match value {
        Value::Known(known) => b.lift(known, &Layout::file(known.shape.len()), init),
        Value::Run(laid) => Ok(laid.node),
    }
}

/// The result of [`Builder::standardise`].
struct Standardised {
    /// `(x - mean) / sqrt(variance + eps)`
    value: Value,
    /// The mean, with its axes kept.
    mean: Value,
    /// The biased variance, with its axes kept.
    variance: Value,
    /// `1 / sqrt(variance + eps)`
    inverse: Value,
}

impl Builder {
    /// Scales to mean 0 and variance 1 over some axes.
    fn standardise(&mut self, x: &Value, axes: &[usize], eps: f32) -> Result<Standardised, Refusal> {
        let mean = self.reduce(ReduceOp::Mean, x, axes, true)?;
        let centred = self.binary(BinaryOp::Sub, x, &mean)?;
        let squares = self.binary(BinaryOp::Mul, &centred, &centred)?;
        let variance = self.reduce(ReduceOp::Mean, &squares, axes, true)?;
        let shifted = self.shift(&variance, eps)?;
        let inverse = self.unary(UnaryOp::Rsqrt, &shifted)?;
        let value = self.binary(BinaryOp::Mul, &centred, &inverse)?;
        Ok(Standardised { value, mean, variance, inverse })
    }
}

/// Normalises each channel of each sample separately.
pub fn instance(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    if x.rank() < 3 {
        return Err(Refusal::invalid(format!("expected channels and spatial axes, found the shape {:?}", x.shape())));
    }
    let eps = call.float("epsilon", 1e-5)?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    let mut shape = vec![1; x.rank()];
    shape[1] = x.shape()[1];
    let scale = b.reshape(call.input(1)?, &shape)?;
    let bias = b.reshape(call.input(2)?, &shape)?;
    let normal = b.standardise(x, &axes, eps)?.value;
    let scaled = b.binary(BinaryOp::Mul, &normal, &scale)?;
    Ok(vec![b.binary(BinaryOp::Add, &scaled, &bias)?])
}

/// Normalises all axes from a given one on. If this is one axis and only the result is used, it is an operator of the IR.
pub fn layer(b: &mut Builder, call: &Call<'_>) -> Results {
    if call.int("stash_type", 1)? != 1 {
        return Err(Refusal::unsupported("statistics in another type than 32-bit floating point"));
    }
    let x = call.input(0)?;
    let eps = call.float("epsilon", 1e-5)?;
    let axes: Vec<usize> = (axis(call.int("axis", -1)?, x.rank())?..x.rank()).collect();
    let channels = [x.shape()[x.rank() - 1]];
    let given = |value: &Value| value.shape() == channels;
    if axes.len() == 1 && call.one_output().is_ok() && given(call.input(1)?) && call.optional(2).is_none_or(given) {
        return Ok(vec![rows(b, call, eps)?]);
    }
    let Standardised { value, mean, inverse, .. } = b.standardise(x, &axes, eps)?;
    let mut result = b.binary(BinaryOp::Mul, &value, call.input(1)?)?;
    if let Some(bias) = call.optional(2) {
        result = b.binary(BinaryOp::Add, &result, bias)?;
    }
    Ok(vec![result, mean, inverse])
}

/// Normalises the last axis of a value; each other operand is a vector.
fn rows(b: &mut Builder, call: &Call<'_>, eps: f32) -> Result<Value, Refusal> {
    let laid = b.run(call.input(0)?)?;
    let layout = laid.layout.with_last(laid.shape.len() - 1);
    let x = b.in_layout(&Value::Run(laid), &layout)?;
    let gamma = vector(b, call.input(1)?, Init::Ones)?;
    let beta = match call.optional(2) {
        Some(beta) => vector(b, beta, Init::Zeros)?,
        None => {
            let shape = call.input(1)?.shape().iter().map(|&extent| Dim::Fixed(extent)).collect();
            b.push(Op::Splat(0.0, shape), &[])?
        }
    };
    let node = b.push(Op::LayerNorm { eps }, &[x, gamma, beta])?;
    Ok(b.laid(node, layout))
}

pub fn softmax(b: &mut Builder, call: &Call<'_>) -> Results {
    along_axis(Op::Softmax, b, call)
}

pub fn log_softmax(b: &mut Builder, call: &Call<'_>) -> Results {
    along_axis(Op::LogSoftmax, b, call)
}

/// Before version 13, the axis and all that follow are treated as one.
fn along_axis(op: Op, b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let since_13 = call.opset >= 13;
    let axis = axis(call.int("axis", if since_13 { -1 } else { 1 })?, x.rank())?;
    if since_13 || axis + 1 == x.rank() {
        return Ok(vec![last_axis(op, b, x, axis)?]);
    }
    let (outer, inner) = x.shape().split_at(axis);
    let matrix = b.reshape(x, &[outer.iter().product(), inner.iter().product()])?;
    let result = last_axis(op, b, &matrix, 1)?;
    Ok(vec![b.reshape(&result, x.shape())?])
}

fn last_axis(op: Op, b: &mut Builder, x: &Value, axis: usize) -> Result<Value, Refusal> {
    let laid = b.run(x)?;
    let layout = laid.layout.with_last(axis);
    let node = b.in_layout(&Value::Run(laid), &layout)?;
    let node = b.push(op, &[node])?;
    Ok(b.laid(node, layout))
}
