//! Scaled-dot-product attention, one row of one head after another.

use super::data::{self, Array};
use super::softmax;

/// The heads lie side by side in the last axis of each operand and of the result.
pub(super) fn attention(heads: usize, scale: f64, operands: &[&Array], shape: Vec<usize>) -> Array {
    let [q, k, v] = [0, 1, 2].map(|i| operands[i]);
    let leading = shape.len() - 2;
    let (rows, keys) = (shape[leading], k.shape[leading]);
    let (depth, width) = (q.last_extent() / heads, v.last_extent() / heads);
    let mask = operands.get(3).map(|mask| mask.broadcast(&[&shape[..leading], &[heads, rows, keys]].concat()));
    let mut result = Array::full(shape, 0.0);
    for (row, out) in result.data.chunks_exact_mut(width).enumerate() {
        let (token, head) = (row / heads, row % heads);
        let image = token / rows;
        let query = &q.data[row * depth..][..depth];
        let place = |s: usize| (image * keys + s) * heads + head;
        let first = ((image * heads + head) * rows + token % rows) * keys;
        let score = |s: usize| {
            let key = &k.data[place(s) * depth..][..depth];
            let dot: f64 = query.iter().zip(key).map(|(a, b)| a * b).sum();
            scale * dot + mask.as_ref().map_or(0.0, |mask| mask.data[first + s])
        };
        let mut weights: Vec<f64> = (0..keys).map(score).collect();
        softmax(&mut weights);
        for (s, &weight) in weights.iter().enumerate() {
            data::add_scaled(out, weight, &v.data[place(s) * width..][..width]);
        }
    }
    result
}
