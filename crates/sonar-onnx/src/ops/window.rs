//! Convolutions and poolings.
//!
//! The IR's are two-dimensional; a signal of one dimension is an image of height one.

use crate::build::{Builder, Value};
use crate::call::Call;
use crate::error::Fault;
use crate::layout::Layout;
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::{BinaryOp, NodeId, Op};

type Results = Result<Vec<Value>, Fault>;

/// How a window slides, for each spatial axis of an image.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Top, left, bottom, right.
    pad: [usize; 4],
}

/// Two numbers for an image, from those for its spatial axes: one of a signal is that of the width.
fn pair(list: &[usize], height: usize) -> [usize; 2] {
    match list {
        [width] => [height, *width],
        [height, width, ..] => [*height, *width],
        [] => [height; 2],
    }
}

/// The number of spatial axes of an operand.
fn spatial(value: &Value) -> Result<usize, Fault> {
    match value.rank() {
        rank @ (3 | 4) => Ok(rank - 2),
        rank => Err(Fault::unsupported(format!("windows over a tensor of rank {rank}; images and signals have 4 and 3"))),
    }
}

/// The operand as an image of the IR.
fn image(b: &mut Builder, value: &Value) -> Result<NodeId, Fault> {
    let node = b.in_channels_last(value)?;
    match *value.shape() {
        [n, c, w] => b.reshape_node(node, &[n, 1, w, c]),
        _ => Ok(node),
    }
}

/// An image of the IR as a value of as many axes as an operand had.
fn value(b: &mut Builder, node: NodeId, rank: usize) -> Result<Value, Fault> {
    let image = b.laid(node, Layout::channels_last(4));
    match (rank, image.shape()) {
        (3, &[n, c, _, w]) => b.reshape(&image, &[n, c, w]),
        _ => Ok(image),
    }
}

/// Attributes of a window over an operand; `ceil` rounds its number of positions up.
fn window(call: &Call<'_>, x: &Value, kernel: &[usize], ceil: bool) -> Result<Window, Fault> {
    let axes = spatial(x)?;
    let stride = call.sizes("strides", axes, 1)?;
    let dilation = call.sizes("dilations", axes, 1)?;
    let auto = call.text("auto_pad", "NOTSET")?;
    let explicit = call.sizes("pads", 2 * axes, 0)?;
    let (mut before, mut after) = (vec![0; axes], vec![0; axes]);
    for axis in 0..axes {
        let extent = x.shape()[2 + axis];
        let (kernel, stride) = (kernel[axis], stride[axis]);
        if kernel == 0 || stride == 0 || dilation[axis] == 0 {
            return Err(Fault::invalid("kernel, stride and dilation must be at least 1"));
        }
        let reach = dilation[axis].saturating_mul(kernel - 1).saturating_add(1);
        match auto.as_str() {
            "NOTSET" | "" => (before[axis], after[axis]) = (explicit[axis], explicit[axes + axis]),
            "VALID" => {}
            "SAME_UPPER" | "SAME_LOWER" => {
                let total = ((extent.div_ceil(stride) - 1) * stride).saturating_add(reach).saturating_sub(extent);
                before[axis] = if auto == "SAME_UPPER" { total / 2 } else { total.div_ceil(2) };
                after[axis] = total - before[axis];
            }
            other => return Err(Fault::invalid(format!("the padding mode `{other}`"))),
        }
        let padded = extent + before[axis] + after[axis];
        if ceil && padded >= reach {
            let positions = (padded - reach).div_ceil(stride) + 1;
            // A window that would begin in the padding behind the operand is none.
            let positions = if (positions - 1) * stride >= extent + before[axis] { positions - 1 } else { positions };
            after[axis] += ((positions - 1) * stride + reach).saturating_sub(padded);
        }
    }
    let (before, after) = (pair(&before, 0), pair(&after, 0));
    Ok(Window {
        kernel: pair(kernel, 1),
        stride: pair(&stride, 1),
        dilation: pair(&dilation, 1),
        pad: [before[0], before[1], after[0], after[1]],
    })
}

/// A convolution's weight as the IR has it, `[height, width, inputs, outputs]`, and its spatial extents in the file.
///
/// `permutation` brings the weight of an image from the file's order to the IR's.
fn weight(b: &mut Builder, call: &Call<'_>, axes: usize, permutation: &[usize]) -> Result<(NodeId, Vec<usize>), Fault> {
    let w = call.input(1)?;
    if w.rank() != axes + 2 {
        return Err(Fault::invalid(format!("a weight of shape {:?} for {axes} spatial axes", w.shape())));
    }
    let kernel = w.shape()[2..].to_vec();
    if call.has("kernel_shape") && call.sizes("kernel_shape", axes, 1)? != kernel {
        return Err(Fault::invalid(format!("kernel_shape differs from the weight's shape {:?}", w.shape())));
    }
    let as_image = match *w.shape() {
        [o, i, width] => b.reshape(w, &[o, i, 1, width])?,
        _ => w.clone(),
    };
    let moved = b.transpose(&as_image, permutation)?;
    Ok((b.in_file_order(&moved)?, kernel))
}

fn groups(call: &Call<'_>) -> Result<usize, Fault> {
    let groups = call.int("group", 1)?;
    usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| Fault::invalid(format!("{groups} groups")))
}

/// Adds a number for each channel, if the file gives some.
fn with_bias(b: &mut Builder, call: &Call<'_>, y: Value) -> Result<Value, Fault> {
    let Some(bias) = call.optional(2) else { return Ok(y) };
    let mut shape = vec![1; y.rank()];
    shape[1] = y.shape()[1];
    let bias = b.reshape(bias, &shape)?;
    b.binary(BinaryOp::Add, &y, &bias)
}

pub fn conv(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let (w, kernel) = weight(b, call, spatial(x)?, &[2, 3, 1, 0])?;
    let window = window(call, x, &kernel, false)?;
    let attrs = Conv2dAttrs { stride: window.stride, pad: window.pad, dilation: window.dilation, groups: groups(call)? };
    let input = image(b, x)?;
    let node = b.push(Op::Conv2d(attrs), &[input, w])?;
    let y = value(b, node, x.rank())?;
    Ok(vec![with_bias(b, call, y)?])
}

/// The transposed convolution is the gradient of a convolution by its input.
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
            Some(target) => {
                let total = full.saturating_sub(target);
                let less = total / 2;
                if auto == "SAME_UPPER" { (less, total - less) } else { (total - less, less) }
            }
            None if auto == "VALID" => (0, 0),
            None => (explicit[axis], explicit[axes + axis]),
        };
        let cut = before[axis].saturating_add(after[axis]);
        extents[axis] =
            full.checked_sub(cut).filter(|&n| n > 0).ok_or_else(|| Fault::invalid("paddings leave nothing of the result"))?;
        if target.is_some_and(|target| target != extents[axis]) {
            return Err(Fault::unsupported("an output_shape larger than what the input reaches"));
        }
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
fn pool(call: &Call<'_>, x: &Value) -> Result<Window, Fault> {
    let axes = spatial(x)?;
    if !call.has("kernel_shape") {
        return Err(Fault::invalid("the attribute `kernel_shape` is missing"));
    }
    let kernel = call.sizes("kernel_shape", axes, 1)?;
    let window = window(call, x, &kernel, call.flag("ceil_mode", false)?)?;
    match window.dilation {
        [1, 1] => Ok(window),
        _ => Err(Fault::unsupported("a pooling with dilation")),
    }
}

pub fn max_pool(b: &mut Builder, call: &Call<'_>) -> Results {
    call.ignore(&["storage_order"]);
    call.one_output()?;
    let x = call.input(0)?;
    let Window { kernel, stride, pad, .. } = pool(call, x)?;
    let input = image(b, x)?;
    let node = b.push(Op::MaxPool(PoolAttrs { kernel, stride, pad, count_include_pad: false }), &[input])?;
    Ok(vec![value(b, node, x.rank())?])
}

/// The mean of each window. Paddings of the file may count in the divisor; what only rounding up adds never does, so if
/// there are both, those of the file become elements.
pub fn average_pool(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let count_include_pad = call.flag("count_include_pad", false)?;
    let Window { kernel, stride, mut pad, .. } = pool(call, x)?;
    let ceil = call.flag("ceil_mode", false)?;
    let mut padded = x.clone();
    if count_include_pad && ceil && call.has("pads") {
        let axes = spatial(x)?;
        let explicit = call.sizes("pads", 2 * axes, 0)?;
        let mut pads = vec![(0, 0); 2];
        pads.extend((0..axes).map(|axis| (explicit[axis], explicit[axes + axis])));
        padded = b.pad(x, &pads, 0.0)?;
        let after = pair(&explicit[axes..], 0);
        pad = [0, 0, pad[2].saturating_sub(after[0]), pad[3].saturating_sub(after[1])];
    }
    let input = image(b, &padded)?;
    let attrs = PoolAttrs { kernel, stride, pad, count_include_pad: count_include_pad && !ceil };
    let node = b.push(Op::AvgPool(attrs), &[input])?;
    Ok(vec![value(b, node, x.rank())?])
}
