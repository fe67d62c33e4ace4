//! Convolutions and poolings of every kind against sums over their windows.

use super::support::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::Tensor;
use sonar_onnx::proto::AttributeProto;

/// A random way in which a window slides along some axes.
#[derive(Clone, Debug)]
pub struct Window {
    pub kernel: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
    ceil: bool,
}

impl Window {
    /// A window that fits into these extents.
    pub fn random(r: &mut StdRng, extents: &[usize]) -> Window {
        let axes = extents.len();
        let mut many = |below: usize, from: usize| (0..axes).map(|_| r.random_range(from..below)).collect::<Vec<_>>();
        let (stride, dilation, wanted) = (many(4, 1), many(3, 1), many(4, 1));
        let (before, after) = (many(3, 0), many(3, 0));
        let fits = |i: usize| (1..=wanted[i]).rev().find(|k| (k - 1) * dilation[i] < extents[i]).unwrap_or(1);
        let kernel: Vec<usize> = (0..axes).map(fits).collect();
        // Every window sees an element: paddings are smaller than the window.
        let less = |pad: &[usize]| (0..axes).map(|i| pad[i].min(kernel[i] - 1)).collect::<Vec<_>>();
        let (before, after) = (less(&before), less(&after));
        Window { kernel, stride, dilation, before, after, ceil: false }
    }

    /// As attributes of a node.
    pub fn attributes(&self) -> Vec<AttributeProto> {
        let list = |values: &[usize]| values.iter().map(|&v| v as i64).collect::<Vec<_>>();
        let mut attributes = vec![
            ints("kernel_shape", &list(&self.kernel)),
            ints("strides", &list(&self.stride)),
            ints("dilations", &list(&self.dilation)),
            ints("pads", &[list(&self.before), list(&self.after)].concat()),
        ];
        if self.ceil {
            attributes.push(int("ceil_mode", 1));
        }
        attributes
    }

    /// How many positions it has along an axis.
    fn positions(&self, axis: usize, extent: usize) -> usize {
        let room = extent + self.before[axis] + self.after[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1;
        let floor = room / self.stride[axis] + 1;
        let another =
            self.ceil && !room.is_multiple_of(self.stride[axis]) && floor * self.stride[axis] < extent + self.before[axis];
        floor + usize::from(another)
    }

    /// Where element `k` of the window is at position `p`: an index of the operand, if it is one.
    fn source(&self, p: &[usize], k: &[usize], extents: &[usize]) -> Option<Vec<usize>> {
        let at =
            |i: usize| (p[i] * self.stride[i] + k[i] * self.dilation[i]).checked_sub(self.before[i]).filter(|&v| v < extents[i]);
        (0..extents.len()).map(at).collect()
    }

    /// Whether element `k` of the window is at position `p` within the paddings of the file.
    fn padded(&self, p: &[usize], k: &[usize], extents: &[usize]) -> bool {
        let end = |i: usize| self.before[i] + extents[i] + self.after[i];
        (0..extents.len()).all(|i| p[i] * self.stride[i] + k[i] * self.dilation[i] < end(i))
    }

    fn result(&self, x: &Tensor, channels: usize) -> Vec<usize> {
        let spatial = (0..self.kernel.len()).map(|i| self.positions(i, x.shape[2 + i]));
        [x.shape[0], channels].into_iter().chain(spatial).collect()
    }

    /// A convolution by definition.
    pub fn conv(&self, x: &Tensor, w: &Tensor, groups: usize) -> Tensor {
        let (extents, per_group) = (&x.shape[2..], w.shape[1]);
        tabulate(&self.result(x, w.shape[0]), |o| {
            let group = o[1] / (w.shape[0] / groups);
            let mut sum = 0.0;
            for c in 0..per_group {
                for k in indices(&self.kernel) {
                    if let Some(source) = self.source(&o[2..], &k, extents) {
                        let x_at = [&[o[0], group * per_group + c], &source[..]].concat();
                        sum += at(x, &x_at) * at(w, &[&[o[1], c], &k[..]].concat());
                    }
                }
            }
            sum
        })
    }

    /// A convolution's transpose: everything that an element of the operand is multiplied into.
    fn conv_transpose(&self, x: &Tensor, w: &Tensor, groups: usize, extra: &[usize]) -> Tensor {
        let axes = self.kernel.len();
        let extent = |i: usize| {
            (x.shape[2 + i] - 1) * self.stride[i] + (self.kernel[i] - 1) * self.dilation[i] + 1 + extra[i]
                - self.before[i]
                - self.after[i]
        };
        let extents: Vec<usize> = (0..axes).map(extent).collect();
        let per_group = w.shape[1];
        let mut y = Tensor::full([&[x.shape[0], groups * per_group], &extents[..]].concat(), 0.0);
        for i in indices(&x.shape) {
            let group = i[1] / (x.shape[1] / groups);
            for c in 0..per_group {
                for k in indices(&self.kernel) {
                    let Some(target) = self.source(&i[2..], &k, &extents) else { continue };
                    let to = [&[i[0], group * per_group + c], &target[..]].concat();
                    let flat = to.iter().zip(&y.shape).fold(0, |flat, (i, n)| flat * n + i);
                    y.data[flat] += (at(x, &i) * at(w, &[&[i[1], c], &k[..]].concat())) as f32;
                }
            }
        }
        y
    }

    pub fn max(&self, x: &Tensor) -> Tensor {
        tabulate(&self.result(x, x.shape[1]), |o| {
            let inside = indices(&self.kernel).collect::<Vec<_>>();
            let sources = inside.iter().filter_map(|k| self.source(&o[2..], k, &x.shape[2..]));
            sources.map(|s| at(x, &[&o[..2], &s].concat())).fold(f64::NEG_INFINITY, f64::max)
        })
    }

    pub fn mean(&self, x: &Tensor, count_include_pad: bool) -> Tensor {
        tabulate(&self.result(x, x.shape[1]), |o| {
            let (mut sum, mut count) = (0.0, 0);
            for k in indices(&self.kernel) {
                let source = self.source(&o[2..], &k, &x.shape[2..]);
                if let Some(s) = &source {
                    sum += at(x, &[&o[..2], &s[..]].concat());
                }
                count += usize::from(if count_include_pad { self.padded(&o[2..], &k, &x.shape[2..]) } else { source.is_some() });
            }
            sum / count as f64
        })
    }
}

fn extents(r: &mut StdRng, axes: usize) -> Vec<usize> {
    (0..axes).map(|_| r.random_range(3..9)).collect()
}

#[test]
fn convolutions() {
    for seed in 0..60 {
        let mut r = StdRng::seed_from_u64(seed);
        let spatial = extents(&mut r, 1 + seed as usize % 2);
        let window = Window::random(&mut r, &spatial);
        let groups = [1, 2, 3][r.random_range(0..3)];
        let (n, c, o) = (r.random_range(1..3), groups * r.random_range(1..3), groups * r.random_range(1..3));
        let x = ramp(&[&[n, c], &spatial[..]].concat());
        let w = ramp(&[&[o, c / groups], &window.kernel[..]].concat());
        let bias = ramp(&[o]);
        let mut expected = window.conv(&x, &w, groups);
        let attributes = [window.attributes(), vec![int("group", groups as i64)]].concat();
        check(11, "Conv", &attributes, &[Arg::Run(x.clone()), Arg::Known(w.clone())], expected.clone());
        expected = tabulate(&expected.shape.clone(), |i| at(&expected, i) + at(&bias, &[i[1]]));
        check(11, "Conv", &attributes, &[Arg::Run(x), Arg::Run(w), Arg::Known(bias)], expected);
    }
}

#[test]
fn transposed_convolutions() {
    for seed in 0..60 {
        let mut r = StdRng::seed_from_u64(seed);
        let spatial = extents(&mut r, 1 + seed as usize % 2);
        let window = Window::random(&mut r, &spatial);
        let groups = [1, 2][r.random_range(0..2)];
        let (c, o) = (groups * r.random_range(1..3), r.random_range(1..3));
        let extra: Vec<usize> = window.stride.iter().map(|&s| r.random_range(0..s)).collect();
        let x = ramp(&[&[2, c], &spatial[..]].concat());
        let w = ramp(&[&[c, o], &window.kernel[..]].concat());
        let expected = window.conv_transpose(&x, &w, groups, &extra);
        let list: Vec<i64> = extra.iter().map(|&v| v as i64).collect();
        let attributes = [window.attributes(), vec![int("group", groups as i64), ints("output_padding", &list)]].concat();
        check(11, "ConvTranspose", &attributes, &[Arg::Run(x), Arg::Known(w)], expected);
    }
    // The extents of the result instead of paddings.
    let (x, w) = (ramp(&[1, 1, 3, 3]), ramp(&[1, 2, 3, 3]));
    let window = Window {
        kernel: vec![3; 2],
        stride: vec![2; 2],
        dilation: vec![1; 2],
        before: vec![0; 2],
        after: vec![1; 2],
        ceil: false,
    };
    let attributes = [ints("strides", &[2, 2]), ints("output_shape", &[6, 6]), text("auto_pad", "SAME_UPPER")];
    let expected = window.conv_transpose(&x, &w, 1, &[0, 0]);
    check(11, "ConvTranspose", &attributes, &[Arg::Run(x), Arg::Known(w)], expected);
}

#[test]
fn poolings() {
    for seed in 0..150 {
        let mut r = StdRng::seed_from_u64(seed);
        let spatial = extents(&mut r, 1 + seed as usize % 3);
        let mut window = Window::random(&mut r, &spatial);
        window.ceil = r.random();
        let x = ramp(&[&[2, 3], &spatial[..]].concat());
        let arg = [Arg::Run(x.clone())];
        check(19, "MaxPool", &window.attributes(), &arg, window.max(&x));
        check(19, "AveragePool", &window.attributes(), &arg, window.mean(&x, false));
        let attributes = [window.attributes(), vec![int("count_include_pad", 1)]].concat();
        let ambiguous = "engines disagree";
        match apply(19, "AveragePool", &attributes, &arg, 1) {
            Ok(found) => same(&format!("AveragePool {window:?}"), &found, &[window.mean(&x, true)]),
            Err(error) => assert!(error.to_string().contains(ambiguous) && window.ceil, "{window:?}: {error}"),
        }
    }
    let x = ramp(&[2, 3, 4, 5]);
    let mean = tabulate(&[2, 3, 1, 1], |i| indices(&[4, 5]).map(|k| at(&x, &[&i[..2], &k].concat())).sum::<f64>() / 20.0);
    check(13, "GlobalAveragePool", &[], &[Arg::Run(x.clone())], mean);
    let max = tabulate(&[2, 3, 1, 1], |i| indices(&[4, 5]).map(|k| at(&x, &[&i[..2], &k].concat())).fold(f64::MIN, f64::max));
    check(13, "GlobalMaxPool", &[], &[Arg::Run(x.clone())], max);
    refused(13, "MaxPool", &[], &[Arg::Run(x.clone())], "`kernel_shape` is missing");
    refused(13, "MaxPool", &[ints("kernel_shape", &[2, 0])], &[Arg::Run(x)], "must be at least 1");
}

/// `SAME` gives `⌈extent / stride⌉` positions, with an odd padding at the end or at the beginning.
#[test]
fn automatic_padding() {
    let x = ramp(&[1, 1, 5, 6]);
    for (auto, odd_at_end) in [("SAME_UPPER", true), ("SAME_LOWER", false)] {
        let (before, after) = if odd_at_end { (vec![1, 0], vec![1, 1]) } else { (vec![1, 1], vec![1, 0]) };
        let window = Window { kernel: vec![3, 3], stride: vec![2, 2], dilation: vec![1; 2], before, after, ceil: false };
        let attributes = [text("auto_pad", auto), ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
        let w = ramp(&[2, 1, 3, 3]);
        check(11, "Conv", &attributes, &[Arg::Run(x.clone()), Arg::Known(w.clone())], window.conv(&x, &w, 1));
        check(11, "MaxPool", &attributes, &[Arg::Run(x.clone())], window.max(&x));
    }
    let valid = Window {
        kernel: vec![2, 2],
        stride: vec![1; 2],
        dilation: vec![1; 2],
        before: vec![0; 2],
        after: vec![0; 2],
        ceil: false,
    };
    let attributes = [text("auto_pad", "VALID"), ints("kernel_shape", &[2, 2])];
    check(11, "AveragePool", &attributes, &[Arg::Run(x.clone())], valid.mean(&x, false));
    refused(11, "MaxPool", &[text("auto_pad", "NONE"), ints("kernel_shape", &[2, 2])], &[Arg::Run(x)], "the padding mode");
}
