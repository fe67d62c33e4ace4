//! Dense arrays in double precision, and walks over them by strides.

use crate::tensor::Tensor;

/// A dense row-major array.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f64>,
}

impl Array {
    pub(super) fn full(shape: Vec<usize>, value: f64) -> Self {
        let len = shape.iter().product();
        Array { shape, data: vec![value; len] }
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|&v| f(v)).collect() }
    }

    /// Rounded to single precision.
    pub(super) fn round(&self) -> Tensor {
        Tensor { shape: self.shape.clone(), data: self.data.iter().map(|&v| v as f32).collect() }
    }

    /// Extent of the last axis; 1 for a scalar.
    pub(super) fn last_extent(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Distance in elements between neighbours along each axis.
    pub(super) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.shape.len()];
        for i in (1..self.shape.len()).rev() {
            strides[i - 1] = strides[i] * self.shape[i];
        }
        strides
    }

    /// An array of `shape` with elements of this one: the first is at `offset`, the others follow by `strides`.
    pub(super) fn gather(&self, shape: &[usize], strides: &[usize], offset: usize) -> Self {
        let mut result = Array::full(shape.to_vec(), 0.0);
        walk(shape, strides, offset, |to, from| result.data[to] = self.data[from]);
        result
    }

    /// Writes all of `block`, an array of the same rank, into this one with its first element at `offset`.
    pub(super) fn scatter(&mut self, block: &Array, offset: usize) {
        walk(&block.shape, &self.strides(), offset, |from, to| self.data[to] = block.data[from]);
    }

    /// This array, broadcast to `shape`.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self.clone();
        }
        self.gather(shape, &broadcast_strides(&self.shape, shape.len()), 0)
    }
}

/// Strides of an array of `shape` seen with `rank` axes, aligned at the last axis; the stride of a repeated axis is 0.
pub(super) fn broadcast_strides(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut strides = vec![0; rank];
    let mut stride = 1;
    for (i, &extent) in shape.iter().enumerate().rev() {
        if extent != 1 {
            strides[i + rank - shape.len()] = stride;
        }
        stride *= extent;
    }
    strides
}

/// Calls `visit(i, address)` for each index of `shape` in row-major order, where `i` counts the calls and
/// `address = offset + Σ index · stride`.
pub(super) fn walk(shape: &[usize], strides: &[usize], offset: usize, mut visit: impl FnMut(usize, usize)) {
    let Some((&extent, outer)) = shape.split_last() else {
        return visit(0, offset);
    };
    let stride = strides[outer.len()];
    let rows: usize = outer.iter().product();
    let mut index = vec![0; outer.len()];
    let mut start = offset;
    for row in 0..rows {
        for i in 0..extent {
            visit(row * extent + i, start + i * stride);
        }
        for axis in (0..outer.len()).rev() {
            index[axis] += 1;
            start += strides[axis];
            if index[axis] < outer[axis] {
                break;
            }
            start -= strides[axis] * outer[axis];
            index[axis] = 0;
        }
    }
}

/// `to += factor · from`, element by element.
pub(super) fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}
