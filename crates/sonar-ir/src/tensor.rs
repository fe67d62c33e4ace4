//! Dense `f32` tensors in row-major order: what goes into and comes out of a program.

/// A dense row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// Elements, last axis fastest; `data.len()` is the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor from its parts.
    ///
    /// # Panics
    /// If the number of elements is not the product of `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} does not hold {} elements", data.len());
        Tensor { shape, data }
    }

    /// A tensor whose elements are all `value`.
    pub fn full(shape: Vec<usize>, value: f32) -> Self {
        let len = shape.iter().product();
        Tensor { shape, data: vec![value; len] }
    }

    /// The largest absolute difference to `reference`, as a share of the largest absolute value of `reference`.
    ///
    /// NaN equals NaN, and an infinity equals an infinity of the same sign. Compared with any other number they give an infinite
    /// error, and so do different shapes. The error is never NaN.
    pub fn relative_error(&self, reference: &Tensor) -> f64 {
        if self.shape != reference.shape {
            return f64::INFINITY;
        }
        let scale = reference.data.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
        let mut worst = 0.0f64;
        for (&a, &b) in self.data.iter().zip(&reference.data) {
            if a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) {
                continue;
            }
            let difference = (f64::from(a) - f64::from(b)).abs();
            if !difference.is_finite() {
                return f64::INFINITY;
            }
            worst = worst.max(difference);
        }
        if worst == 0.0 { 0.0 } else { worst / scale.max(f64::from(f32::MIN_POSITIVE)) }
    }
}

/// Tensors by name: the inputs and parameters of a graph.
pub type Values = std::collections::BTreeMap<String, Tensor>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_equals_only_its_like() {
        let error = |found: f32, expected: f32| {
            let tensor = |v| Tensor::new(vec![2], vec![1.0, v]);
            tensor(found).relative_error(&tensor(expected))
        };
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for (found, expected) in [(nan, nan), (-nan, nan), (inf, inf), (-inf, -inf), (0.0, -0.0)] {
            assert_eq!(error(found, expected), 0.0, "{found} {expected}");
        }
        for (found, expected) in [(nan, 1.0), (1.0, nan), (nan, inf), (inf, nan), (inf, -inf), (inf, f32::MAX), (1.0, -inf)] {
            assert_eq!(error(found, expected), f64::INFINITY, "{found} {expected}");
        }
        assert_eq!(error(1.5, 1.0), 0.5);
    }
}
