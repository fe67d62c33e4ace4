//! Operators that slide a window over an image: convolutions, pools, and their gradients.
//!
//! All of them walk the same [`taps`]: pairs of an input pixel and an output pixel that one kernel element connects. They differ
//! only in what they compute on the channels of a pair.

use super::data::{Array, add_scaled};
use crate::graph::{Conv2dAttrs, PoolAttrs};

/// Geometry of a sliding window.
struct Window {
    batch: usize,
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Padding at the top and on the left; the padding at the bottom and on the right only changes `output`.
    pad: [usize; 2],
    dilation: [usize; 2],
}

/// An input pixel that a kernel element reads for an output pixel, each counted in row-major order.
struct Tap {
    input: usize,
    output: usize,
    kernel: usize,
}

impl Window {
    /// The window between images of shapes `[N,H,W,_]` and `[N,H',W',_]`.
    fn conv(attrs: &Conv2dAttrs, input: &[usize], output: &[usize], kernel: [usize; 2]) -> Self {
        Window {
            batch: input[0],
            input: [input[1], input[2]],
            output: [output[1], output[2]],
            kernel,
            stride: attrs.stride,
            pad: [attrs.pad[0], attrs.pad[1]],
            dilation: attrs.dilation,
        }
    }

    fn pool(attrs: &PoolAttrs, input: &[usize], output: &[usize]) -> Self {
        let conv = Conv2dAttrs { stride: attrs.stride, pad: attrs.pad, ..Conv2dAttrs::default() };
        Window::conv(&conv, input, output, attrs.kernel)
    }

    /// The input coordinate along one axis that a kernel element reads for an output coordinate, unless it is padding.
    fn source(&self, axis: usize, output: usize, kernel: usize) -> Option<usize> {
        let padded = output * self.stride[axis] + kernel * self.dilation[axis];
        padded.checked_sub(self.pad[axis]).filter(|&i| i < self.input[axis])
    }
}

/// Visits every tap, one output pixel after another, in the order of the kernel elements.
fn taps(window: &Window, mut visit: impl FnMut(Tap)) {
    let [height, width] = window.output;
    for n in 0..window.batch {
        for y in 0..height {
            for x in 0..width {
                let output = (n * height + y) * width + x;
                for ky in 0..window.kernel[0] {
                    let Some(iy) = window.source(0, y, ky) else { continue };
                    for kx in 0..window.kernel[1] {
                        let Some(ix) = window.source(1, x, kx) else { continue };
                        let input = (n * window.input[0] + iy) * window.input[1] + ix;
                        visit(Tap { input, output, kernel: ky * window.kernel[1] + kx });
                    }
                }
            }
        }
    }
}

/// Visits every input channel of every tap of a convolution, with the ranges of elements that it connects:
/// `visit(element of x, first element of y, first element of w, how many of y and w)`.
fn channels(window: &Window, groups: usize, w: &[usize], mut visit: impl FnMut(usize, usize, usize, usize)) {
    let (inputs, outputs) = (w[2], w[3]);
    let per_group = outputs / groups;
    taps(window, |tap| {
        for group in 0..groups {
            for c in 0..inputs {
                let x = tap.input * inputs * groups + group * inputs + c;
                let y = tap.output * outputs + group * per_group;
                let w = (tap.kernel * inputs + c) * outputs + group * per_group;
                visit(x, y, w, per_group);
            }
        }
    });
}

pub(super) fn conv2d(attrs: &Conv2dAttrs, x: &Array, w: &Array, shape: Vec<usize>) -> Array {
    let window = Window::conv(attrs, &x.shape, &shape, [w.shape[0], w.shape[1]]);
    let mut result = Array::full(shape, 0.0);
    channels(&window, attrs.groups, &w.shape, |xi, yi, wi, n| {
        add_scaled(&mut result.data[yi..yi + n], x.data[xi], &w.data[wi..wi + n]);
    });
    result
}

pub(super) fn conv2d_grad_input(attrs: &Conv2dAttrs, dy: &Array, w: &Array, shape: Vec<usize>) -> Array {
    let window = Window::conv(attrs, &shape, &dy.shape, [w.shape[0], w.shape[1]]);
    let mut result = Array::full(shape, 0.0);
    channels(&window, attrs.groups, &w.shape, |xi, yi, wi, n| {
        let products = dy.data[yi..yi + n].iter().zip(&w.data[wi..wi + n]).map(|(dy, w)| dy * w);
        result.data[xi] += products.sum::<f64>();
    });
    result
}

pub(super) fn conv2d_grad_weight(attrs: &Conv2dAttrs, x: &Array, dy: &Array, shape: Vec<usize>) -> Array {
    let window = Window::conv(attrs, &x.shape, &dy.shape, [shape[0], shape[1]]);
    let mut result = Array::full(shape.clone(), 0.0);
    channels(&window, attrs.groups, &shape, |xi, yi, wi, n| {
        add_scaled(&mut result.data[wi..wi + n], x.data[xi], &dy.data[yi..yi + n]);
    });
    result
}

pub(super) fn max_pool(attrs: &PoolAttrs, x: &Array, shape: Vec<usize>) -> Array {
    let largest = largest(attrs, x, &shape);
    Array { shape, data: largest.into_iter().map(|i| x.data[i]).collect() }
}

pub(super) fn max_pool_grad(attrs: &PoolAttrs, x: &Array, dy: &Array) -> Array {
    let mut result = Array::full(x.shape.clone(), 0.0);
    for (i, dy) in largest(attrs, x, &dy.shape).into_iter().zip(&dy.data) {
        result.data[i] += dy;
    }
    result
}

/// For each element of a max pool's result, the element of `x` that it takes: the first NaN of its window, or else the first
/// maximum.
fn largest(attrs: &PoolAttrs, x: &Array, shape: &[usize]) -> Vec<usize> {
    let channels = shape[3];
    let mut result: Vec<Option<usize>> = vec![None; shape.iter().product()];
    taps(&Window::pool(attrs, &x.shape, shape), |tap| {
        for c in 0..channels {
            let (best, i) = (&mut result[tap.output * channels + c], tap.input * channels + c);
            let replaces = |best: usize| !x.data[best].is_nan() && (x.data[i].is_nan() || x.data[i] > x.data[best]);
            if best.is_none_or(replaces) {
                *best = Some(i);
            }
        }
    });
    // Padding is smaller than the kernel, so every window holds at least one element.
    result.into_iter().flatten().collect()
}

pub(super) fn avg_pool(attrs: &PoolAttrs, x: &Array, shape: Vec<usize>) -> Array {
    let window = Window::pool(attrs, &x.shape, &shape);
    let shares = shares(attrs, &window);
    let channels = shape[3];
    let mut result = Array::full(shape, 0.0);
    taps(&window, |tap| {
        let to = &mut result.data[tap.output * channels..][..channels];
        add_scaled(to, shares[tap.output], &x.data[tap.input * channels..][..channels]);
    });
    result
}

pub(super) fn avg_pool_grad(attrs: &PoolAttrs, dy: &Array, shape: Vec<usize>) -> Array {
    let window = Window::pool(attrs, &shape, &dy.shape);
    let shares = shares(attrs, &window);
    let channels = shape[3];
    let mut result = Array::full(shape, 0.0);
    taps(&window, |tap| {
        let to = &mut result.data[tap.input * channels..][..channels];
        add_scaled(to, shares[tap.output], &dy.data[tap.output * channels..][..channels]);
    });
    result
}

/// The weight of one element in the mean of each output pixel's window.
fn shares(attrs: &PoolAttrs, window: &Window) -> Vec<f64> {
    let outputs = window.batch * window.output[0] * window.output[1];
    if attrs.count_include_pad {
        return vec![1.0 / (attrs.kernel[0] * attrs.kernel[1]) as f64; outputs];
    }
    let mut counts = vec![0usize; outputs];
    taps(window, |tap| counts[tap.output] += 1);
    counts.into_iter().map(|count| 1.0 / count as f64).collect()
}
