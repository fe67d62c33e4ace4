//! Primitives that only move elements.

use super::{Builder, MAX_REPEATS, Value, broadcast, dims, elements};
use crate::build::known::Known;
use crate::build::layout::Layout;
use crate::error::Refusal;
use sonar_ir::{NodeId, Op};

impl Builder {
    /// A value of the IR under another shape; a reshape of a reshape becomes one reshape.
    pub fn reshape_node(&mut self, node: NodeId, shape: &[usize]) -> Result<NodeId, Refusal> {
        if self.extents(node) == shape {
            return Ok(node);
        }
        let from = match &self.graph.node(node).op {
            Op::Reshape(_) => self.graph.node(node).operands[0],
            _ => node,
        };
        if self.extents(from) == shape { Ok(from) } else { self.push(Op::Reshape(dims(shape)), &[from]) }
    }

    /// The same elements, in the file's order, under another shape.
    pub fn reshape(&mut self, value: &Value, shape: &[usize]) -> Result<Value, Refusal> {
        if elements(shape).is_none() || elements(shape) != elements(value.shape()) {
            return Err(Refusal::invalid(format!("a tensor of shape {:?} cannot have the shape {shape:?}", value.shape())));
        }
        let laid = match value {
            Value::Known(known) => return Ok(Value::Known(known.reshaped(shape.to_vec()))),
            Value::Run(laid) => laid,
        };
        let (node, layout) = match laid.layout.respaced(&laid.shape, shape) {
            Some(layout) => (laid.node, layout),
            None => (self.in_file_order(value)?, Layout::file(shape.len())),
        };
        let node = self.reshape_node(node, &layout.to_ir(shape))?;
        Ok(self.laid(node, layout))
    }

    /// Axis `j` of the result is axis `permutation[j]` of the value.
    pub fn transpose(&mut self, value: &Value, permutation: &[usize]) -> Result<Value, Refusal> {
        Ok(match value {
            Value::Known(known) => Value::Known(known.transposed(permutation)),
            Value::Run(laid) => self.laid(laid.node, laid.layout.transposed(permutation)),
        })
    }

    /// `count` elements of an axis, from `start` on in steps of `step`.
    pub fn slice(&mut self, value: &Value, axis: usize, start: usize, step: i64, count: usize) -> Result<Value, Refusal> {
        if (start, step, count) == (0, 1, value.shape()[axis]) {
            return Ok(value.clone());
        }
        let laid = match value {
            Value::Known(known) => {
                let mut strides = known.strides();
                let mut shape = known.shape.clone();
                let offset = start as isize * strides[axis];
                strides[axis] = strides[axis].saturating_mul(step as isize);
                shape[axis] = count;
                return Ok(Value::Known(known.gather(&shape, &strides, offset as usize)));
            }
            Value::Run(laid) => laid,
        };
        match step {
            _ if count == 0 => Err(Refusal::unsupported("a tensor without elements")),
            1 => {
                let op = Op::Slice { axis: laid.layout.position(axis), start, end: start + count };
                let node = self.push(op, &[laid.node])?;
                Ok(self.laid(node, laid.layout.clone()))
            }
            _ => {
                let index = |i: usize| (start as i64 + step * i as i64) as usize;
                let rows: Vec<usize> = (0..count).map(index).collect();
                self.rows(value, axis, &rows)
            }
        }
    }

    /// Repeats every element of an axis `factor` times in a row.
    pub fn repeat(&mut self, value: &Value, axis: usize, factor: usize) -> Result<Value, Refusal> {
        let mut shape = value.shape().to_vec();
        shape[axis] = shape[axis].saturating_mul(factor);
        let laid = match value {
            Value::Known(known) => {
                let rows: Vec<usize> = (0..shape[axis]).map(|i| i / factor).collect();
                return Ok(Value::Known(known.rows(axis, &rows)?));
            }
            Value::Run(laid) => laid,
        };
        if elements(&shape).is_none() {
            return Err(Refusal::invalid(format!("axis {axis} of the shape {:?} repeated {factor} times", value.shape())));
        }
        let position = laid.layout.position(axis);
        let mut apart = laid.layout.to_ir(value.shape());
        apart.insert(position + 1, 1);
        let mut repeated = apart.clone();
        repeated[position + 1] = factor;
        let apart = self.reshape_node(laid.node, &apart)?;
        let repeated = self.push(Op::Broadcast(dims(&repeated)), &[apart])?;
        let together = self.reshape_node(repeated, &laid.layout.to_ir(&shape))?;
        Ok(self.laid(together, laid.layout.clone()))
    }

    /// The given indices of an axis, in any order; consecutive ones become one slice.
    pub fn rows(&mut self, value: &Value, axis: usize, rows: &[usize]) -> Result<Value, Refusal> {
        let mut parts = Vec::new();
        let mut rest = rows;
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(row, expected)| **row == *expected).count();
            parts.push((first, run));
            rest = &rest[run..];
        }
        if parts.len() > MAX_REPEATS {
            return Err(Refusal::unsupported(format!("{} separate parts of an axis", parts.len())));
        }
        let parts =
            parts.into_iter().map(|(first, run)| self.slice(value, axis, first, 1, run)).collect::<Result<Vec<_>, _>>()?;
        match &parts[..] {
            [] => self.slice(value, axis, 0, 1, 0),
            [one] => Ok(one.clone()),
            _ => self.concat(&parts.iter().collect::<Vec<_>>(), axis),
        }
    }

    /// Concatenates values along an axis.
    pub fn concat(&mut self, values: &[&Value], axis: usize) -> Result<Value, Refusal> {
        let parts: Vec<&Value> = values.iter().copied().filter(|v| elements(v.shape()) != Some(0)).collect();
        let (first, parts) = match &parts[..] {
            [] => (values[0], values),
            [one] => return Ok((*one).clone()),
            parts => (parts[0], parts),
        };
        let mut shape = first.shape().to_vec();
        if parts.iter().any(|p| p.rank() != shape.len() || (0..shape.len()).any(|i| i != axis && p.shape()[i] != shape[i])) {
            let shapes: Vec<&[usize]> = parts.iter().map(|p| p.shape()).collect();
            return Err(Refusal::invalid(format!("the shapes {shapes:?} differ on an axis other than {axis}")));
        }
        shape[axis] = parts.iter().fold(0, |total: usize, part| total.saturating_add(part.shape()[axis]));
        let known: Option<Vec<&Known>> =
            parts.iter().map(|p| if let Value::Known(known) = p { Some(known) } else { None }).collect();
        if let Some(known) = known
            && self.may_compute(&shape)
        {
            return Ok(Value::Known(Known::concat(&known, axis, shape)?));
        }
        let layout = self.common_layout(parts, shape.len());
        let nodes = parts.iter().map(|part| self.in_layout(part, &layout)).collect::<Result<Vec<_>, _>>()?;
        let node = self.push(Op::Concat { axis: layout.position(axis) }, &nodes)?;
        Ok(self.laid(node, layout))
    }

    /// Repeats along axes of extent 1, and along new leading axes.
    pub fn expand(&mut self, value: &Value, shape: &[usize]) -> Result<Value, Refusal> {
        if value.shape() == shape {
            return Ok(value.clone());
        }
        if broadcast(value.shape(), shape)? != shape {
            return Err(Refusal::invalid(format!("the shape {:?} does not broadcast to {shape:?}", value.shape())));
        }
        if let Value::Known(known) = value
            && self.may_compute(shape)
        {
            return Ok(Value::Known(known.broadcast(shape)));
        }
        if elements(shape) == Some(0) {
            return Err(Refusal::unsupported("a tensor without elements"));
        }
        let value = self.with_rank(value, shape.len())?;
        let laid = self.run(&value)?;
        let node = self.push(Op::Broadcast(dims(&laid.layout.to_ir(shape))), &[laid.node])?;
        Ok(self.laid(node, laid.layout))
    }

    /// The value with leading axes of extent 1 added up to the given rank.
    pub fn with_rank(&mut self, value: &Value, rank: usize) -> Result<Value, Refusal> {
        let mut shape = vec![1; rank.saturating_sub(value.rank())];
        shape.extend(value.shape());
        self.reshape(value, &shape)
    }

    /// The value padded with `with`; `pads` are `(before, after)` for each axis.
    pub fn pad(&mut self, value: &Value, pads: &[(usize, usize)], with: f32) -> Result<Value, Refusal> {
        if pads.iter().all(|&pad| pad == (0, 0)) {
            return Ok(value.clone());
        }
        let padded: Vec<usize> = value.shape().iter().zip(pads).map(|(n, p)| n.saturating_add(p.0).saturating_add(p.1)).collect();
        if elements(&padded).is_none() {
            return Err(Refusal::invalid(format!("paddings {pads:?}")));
        }
        if with == 0.0 {
            let laid = self.run(value)?;
            let node = self.push(Op::Pad(laid.layout.to_ir(pads)), &[laid.node])?;
            return Ok(self.laid(node, laid.layout));
        }
        let mut result = value.clone();
        for (axis, &(before, after)) in pads.iter().enumerate() {
            let mut border = |extent: usize, like: &Value| {
                let mut shape = like.shape().to_vec();
                shape[axis] = extent;
                let layout = self.common_layout(&[like], shape.len());
                let node = self.push(Op::Splat(with, dims(&layout.to_ir(&shape))), &[])?;
                Ok::<_, Refusal>(self.laid(node, layout))
            };
            let mut parts = Vec::new();
            if before > 0 {
                parts.push(border(before, &result)?);
            }
            parts.push(result.clone());
            if after > 0 {
                parts.push(border(after, &result)?);
            }
            result = self.concat(&parts.iter().collect::<Vec<_>>(), axis)?;
        }
        Ok(result)
    }
}
