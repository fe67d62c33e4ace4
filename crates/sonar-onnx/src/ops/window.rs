//! Convolutions and poolings.
//!
//! The IR has two-dimensional ones only; a one-dimensional signal is an image of height one.

use crate::build::known::Known;
use crate::build::layout::Layout;
use crate::build::{Builder, Value};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::{BinaryOp, NodeId, Op};

type Results = Result<Vec<Value>, Refusal>;

/// How a window slides along one spatial axis.
#[derive(Clone, Copy)]
struct Slide {
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Padding before the operand.
    before: usize,
    /// Padding after the operand.
    after: usize,
    /// Additional padding at the end because the number of positions is rounded up.
    extra: usize,
}

/// The largest extent of a window that is expanded into its elements.
const MAX_APART: usize = 64;

/// Two numbers for an image, from those of its spatial axes. A signal has one number, the one of the width.
fn pair(list: &[usize], height: usize) -> [usize; 2] {
    match list {
        [width] => [height, *width],
        [height, width, ..] => [*height, *width],
        [] => [height; 2],
    }
}

/// The number of spatial axes of an operand.
fn spatial(value: &Value) -> Result<usize, Refusal> {
    match value.rank() {
        rank @ (3 | 4) => Ok(rank - 2),
        rank => Err(Refusal::unsupported(format!("windows over a tensor of rank {rank}; images and signals have 4 and 3"))),
    }
}

/// The operand as an image of the IR.
fn image(b: &mut Builder, value: &Value) -> Result<NodeId, Refusal> {
    let node = b.in_channels_last(value)?;
    match *value.shape() {
        [n, c, w] => b.reshape_node(node, &[n, 1, w, c]),
        _ => Ok(node),
    }
}

/// An image of the IR as a value of the operand's rank.
fn value(b: &mut Builder, node: NodeId, rank: usize) -> Result<Value, Refusal> {
    let image = b.laid(node, Layout::channels_last(4));
    match (rank, image.shape()) {
        (3, &[n, c, _, w]) => b.reshape(&image, &[n, c, w]),
        _ => Ok(image),
    }
}

/// How a window slides along each spatial axis of an operand; `ceil` rounds its number of positions up.
fn slides(call: &Call<'_>, x: &Value, kernel: &[usize], ceil: bool) -> Result<Vec<Slide>, Refusal> {
    let axes = kernel.len();
    let stride = call.sizes("strides", axes, 1)?;
    let dilation = call.sizes("dilations", axes, 1)?;
    let auto = call.text("auto_pad", "NOTSET")?;
    let explicit = call.sizes("pads", 2 * axes, 0)?;
    let mut slides = Vec::new();
    for axis in 0..axes {
        let extent = x.shape()[2 + axis];
        let (kernel, stride, dilation) = (kernel[axis], stride[axis], dilation[axis]);
        if kernel == 0 || stride == 0 || dilation == 0 {
            return Err(Refusal::invalid("kernel, stride and dilation must be at least 1"));
        }
        let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
        let (before, after) = match auto.as_str() {
            "NOTSET" | "" => (explicit[axis], explicit[axes + axis]),
            "VALID" => (0, 0),
            "SAME_UPPER" | "SAME_LOWER" => {
                let total = ((extent.div_ceil(stride) - 1) * stride).saturating_add(reach).saturating_sub(extent);
                let less = total / 2;
                if auto == "SAME_UPPER" { (less, total - less) } else { (total - less, less) }
            }
            other => return Err(Refusal::invalid(format!("the padding mode `{other}`"))),
        };
        let padded = extent + before + after;
        let mut extra = 0;
        if ceil && padded >= reach {
            let positions = (padded - reach).div_ceil(stride) + 1;
            // A window that starts in the padding at the end does not count.
            let positions = if (positions - 1) * stride >= extent + before { positions - 1 } else { positions };
            extra = ((positions - 1) * stride + reach).saturating_sub(padded);
        }
        slides.push(Slide { kernel, stride, dilation, before, after, extra });
    }
    Ok(slides)
}

/// One property of a window, for both axes of an image.
fn both(slides: &[Slide], of: impl Fn(&Slide) -> usize, height: usize) -> [usize; 2] {
    pair(&slides.iter().map(of).collect::<Vec<_>>(), height)
}

/// Padding on top, left, bottom, right.
fn pads(slides: &[Slide]) -> [usize; 4] {
    let ([top, left], [bottom, right]) = (both(slides, |s| s.before, 0), both(slides, |s| s.after + s.extra, 0));
    [top, left, bottom, right]
}

/// The weight of a convolution in the IR's order, `[height, width, inputs, outputs]`, and its spatial extents in the file.
///
/// `permutation` brings the weight of an image from the file's order to the IR's.
fn weight(b: &mut Builder, call: &Call<'_>, axes: usize, permutation: &[usize]) -> Result<(NodeId, Vec<usize>), Refusal> {
    let w = call.input(1)?;
    if w.rank() != axes + 2 {
        return Err(Refusal::invalid(format!("a weight of shape {:?} for {axes} spatial axes", w.shape())));
    }
    let kernel = w.shape()[2..].to_vec();
    if call.has("kernel_shape") && call.sizes("kernel_shape", axes, 1)? != kernel {
        return Err(Refusal::invalid(format!("kernel_shape differs from the weight's shape {:?}", w.shape())));
    }
    let as_image = match *w.shape() {
        [o, i, width] => b.reshape(w, &[o, i, 1, width])?,
        _ => w.clone(),
    };
    let moved = b.transpose(&as_image, permutation)?;
    Ok((b.in_file_order(&moved)?, kernel))
}

fn groups(call: &Call<'_>) -> Result<usize, Refusal> {
    let groups = call.int("group", 1)?;
    usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| Refusal::invalid(format!("{groups} groups")))
}

/// Adds a bias for each channel, if the file has one.
fn with_bias(b: &mut Builder, call: &Call<'_>, y: Value) -> Result<Value, Refusal> {
    let Some(bias) = call.optional(2) else { return Ok(y) };
    let mut shape = vec![1; y.rank()];
    shape[1] = y.shape()[1];
    let bias = b.reshape(bias, &shape)?;
    b.binary(BinaryOp::Add, &y, &bias)
}

pub fn conv(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let (w, kernel) = weight(b, call, spatial(x)?, &[2, 3, 1, 0])?;
    let slides = slides(call, x, &kernel, false)?;
    let attrs = Conv2dAttrs {
        stride: both(&slides, |s| s.stride, 1),
        pad: pads(&slides),
        dilation: both(&slides, |s| s.dilation, 1),
        groups: groups(call)?,
    };
    let input = image(b, x)?;
    let node = b.push(Op::Conv2d(attrs), &[input, w])?;
    let y = value(b, node, x.rank())?;
    Ok(vec![with_bias(b, call, y)?])
}

/// The transposed convolution is the gradient of a convolution with respect to its input.
pub fn conv_transpose(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let axes = spatial(x)?;
    let (w, kernel) = weight(b, call, axes, &[2, 3, 1, 0])?;
    let stride = call.sizes("strides", axes, 1)?;
    let dilation = call.sizes("dilations", axes, 1)?;
    let explicit = call.sizes("pads", 2 * axes, 0)?;
    let extra = call.sizes("output_padding", axes, 0)?;
    let wanted = if call.has("output_shape") { Some(call.sizes("output_shape", axes, 0)?) } else { None };
    let auto = call.text("auto_pad", "NOTSET")?;
    let (mut extents, mut before, mut after) = (vec![0; axes], vec![0; axes], vec![0; axes]);
    for axis in 0..axes {
        let reach = dilation[axis].saturating_mul(kernel[axis].saturating_sub(1)).saturating_add(1);
        // Extent of the result without any padding.
        let full = (x.shape()[2 + axis] - 1).saturating_mul(stride[axis]).saturating_add(reach).saturating_add(extra[axis]);
        let target = match (&wanted, auto.as_str()) {
            (Some(wanted), _) => Some(wanted[axis]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(x.shape()[2 + axis].saturating_mul(stride[axis])),
            _ => None,
        };
        (before[axis], after[axis]) = match target {
            // Pixels that the input does not reach are zeros at the end.
            Some(target) if target > full => (0, 0),
            Some(target) => {
                let total = full - target;
                let less = total / 2;
                if auto == "SAME_UPPER" { (less, total - less) } else { (total - less, less) }
            }
            None if auto == "VALID" => (0, 0),
            None => (explicit[axis], explicit[axes + axis]),
        };
        let cut = before[axis].saturating_add(after[axis]);
        let extent = target.or(full.checked_sub(cut)).filter(|&n| n > 0);
        extents[axis] = extent.ok_or_else(|| Refusal::invalid("paddings leave nothing of the result"))?;
    }
    let (top, bottom) = (pair(&before, 0), pair(&after, 0));
    let attrs = Conv2dAttrs {
        stride: pair(&stride, 1),
        pad: [top[0], top[1], bottom[0], bottom[1]],
        dilation: pair(&dilation, 1),
        groups: groups(call)?,
    };
    let input = image(b, x)?;
    let node = b.push(Op::Conv2dGradInput(attrs, pair(&extents, 1)), &[input, w])?;
    let y = value(b, node, x.rank())?;
    Ok(vec![with_bias(b, call, y)?])
}

/// A pooling's window; its kernel is an attribute.
fn pool(call: &Call<'_>, x: &Value) -> Result<Vec<Slide>, Refusal> {
    if x.rank() < 3 {
        return Err(Refusal::invalid(format!("expected channels and spatial axes, found the shape {:?}", x.shape())));
    }
    if !call.has("kernel_shape") {
        return Err(Refusal::invalid("the attribute `kernel_shape` is missing"));
    }
    let kernel = call.sizes("kernel_shape", x.rank() - 2, 1)?;
    slides(call, x, &kernel, call.flag("ceil_mode", false)?)
}

/// The window as a pooling of the IR, if possible: on an image or a signal, without dilation, with less padding than its extent.
fn attributes(slides: &[Slide]) -> Option<PoolAttrs> {
    let plain = |s: &Slide| s.dilation == 1 && s.before < s.kernel && s.after + s.extra < s.kernel;
    (slides.len() <= 2 && slides.iter().all(plain)).then(|| PoolAttrs {
        kernel: both(slides, |s| s.kernel, 1),
        stride: both(slides, |s| s.stride, 1),
        pad: pads(slides),
        count_include_pad: false,
    })
}

/// The sum or the maximum of each window, one axis after the other. It combines shifted copies of the operand, one for each element
/// of the window.
fn apart(b: &mut Builder, x: &Value, slides: &[Slide], op: BinaryOp, outside: f32) -> Result<Value, Refusal> {
    let mut value = x.clone();
    for (axis, s) in (2..).zip(slides) {
        if s.kernel > MAX_APART {
            return Err(Refusal::unsupported(format!(
                "a window of extent {} with dilation or over more than two axes",
                s.kernel
            )));
        }
        let mut around = vec![(0, 0); x.rank()];
        around[axis] = (s.before, s.after.saturating_add(s.extra));
        let padded = b.pad(&value, &around, outside)?;
        let reach = (s.kernel - 1).saturating_mul(s.dilation);
        let places = padded.shape()[axis].checked_sub(reach).filter(|&n| n > 0);
        let places = places.ok_or_else(|| Refusal::invalid("a window larger than the padded operand"))?;
        let mut total = b.slice(&padded, axis, 0, 1, places)?;
        for k in 1..s.kernel {
            let shifted = b.slice(&padded, axis, k * s.dilation, 1, places)?;
            total = b.binary(op, &total, &shifted)?;
        }
        value = b.slice(&total, axis, 0, s.stride as i64, (places - 1) / s.stride + 1)?;
    }
    Ok(value)
}

pub fn max_pool(b: &mut Builder, call: &Call<'_>) -> Results {
    call.ignore(&["storage_order"]);
    call.one_output()?;
    let x = call.input(0)?;
    let slides = pool(call, x)?;
    let Some(attrs) = attributes(&slides) else {
        return Ok(vec![apart(b, x, &slides, BinaryOp::Max, f32::NEG_INFINITY)?]);
    };
    let input = image(b, x)?;
    let node = b.push(Op::MaxPool(attrs), &[input])?;
    Ok(vec![value(b, node, x.rank())?])
}

/// The mean of each window. The file's padding may count in the divisor; additional padding from rounding up never does. So if
/// there are both, the file's padding becomes elements.
pub fn average_pool(b: &mut Builder, call: &Call<'_>) -> Results {
    let mut x = call.input(0)?.clone();
    let mut slides = pool(call, &x)?;
    let mut count_include_pad = call.flag("count_include_pad", false)?;
    if count_include_pad && slides.iter().any(|s| s.extra > 0) {
        if slides.iter().any(|s| s.dilation > 1) {
            let what = "count_include_pad with ceil_mode and dilations: engines disagree on the divisor";
            return Err(Refusal::unsupported(what));
        }
        let around: Vec<(usize, usize)> = [(0, 0); 2].into_iter().chain(slides.iter().map(|s| (s.before, s.after))).collect();
        x = b.pad(&x, &around, 0.0)?;
        slides.iter_mut().for_each(|s| (s.before, s.after) = (0, 0));
        count_include_pad = false;
    }
    if let Some(attrs) = attributes(&slides) {
        let input = image(b, &x)?;
        let node = b.push(Op::AvgPool(PoolAttrs { count_include_pad, ..attrs }), &[input])?;
        return Ok(vec![value(b, node, x.rank())?]);
    }
    let mut mean = apart(b, &x, &slides, BinaryOp::Add, 0.0)?;
    for (axis, s) in (2..).zip(&slides) {
        // The number of window elements that count, at each position.
        let end = x.shape()[axis] + s.before;
        let counted = if count_include_pad { 0..end + s.after } else { s.before..end };
        let count = |i: usize| (0..s.kernel).filter(|k| counted.contains(&(i * s.stride + k * s.dilation))).count();
        let shares: Vec<f32> = (0..mean.shape()[axis]).map(|i| 1.0 / count(i) as f32).collect();
        let mut shape = vec![1; x.rank()];
        shape[axis] = shares.len();
        mean = b.binary(BinaryOp::Mul, &mean, &Value::Known(Known::floats(shape, shares)))?;
    }
    Ok(vec![mean])
}
