//! The operators of the IR as nodes of ONNX.

use super::writer::{CHANNELS_FIRST, Order, Writer, float, int, ints};
use super::{ExportError, declares, unsupported};
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::{BinaryOp, Dim, Node, NodeId, Op, ReduceOp, Term, UnaryOp};

/// ONNX's number for 32-bit floating point.
const FLOAT: i64 = 1;

/// The position of an axis in the file, for a value in this order.
fn axis(order: Order, axis: usize) -> usize {
    match order {
        Order::Ours => axis,
        Order::ChannelsFirst => CHANNELS_FIRST[axis],
    }
}

/// Reorders one item per axis into the given order.
fn ordered<T: Copy>(order: Order, list: &[T]) -> Vec<T> {
    match order {
        Order::Ours => list.to_vec(),
        Order::ChannelsFirst => [0, 3, 1, 2].map(|axis| list[axis]).to_vec(),
    }
}

/// Writes one node; its operands are written already.
pub fn write(w: &mut Writer<'_>, id: NodeId, node: &Node) -> Result<(), ExportError> {
    if node.op == Op::Input {
        w.define(id, Order::Ours, node.name.clone().unwrap_or_default());
        return Ok(());
    }
    if declares(&node.op) {
        // A constant is written where it is used, in the form that is needed there.
        return Ok(());
    }
    let rank = node.ty.rank();
    let x = node.operands[0];
    let (order, name) = match &node.op {
        Op::Conv2d(attrs) => (Order::ChannelsFirst, conv(w, attrs, x, node.operands[1], false)?),
        Op::Conv2dGradInput(attrs, extents) => (Order::ChannelsFirst, conv_transpose(w, attrs, *extents, id, node)?),
        Op::MatMul => (Order::Ours, matmul(w, x, node.operands[1], false)?),
        Op::BatchNorm { eps } if rank == 4 => (Order::ChannelsFirst, batch_norm(w, *eps, node, Order::ChannelsFirst)?),
        Op::BatchNorm { eps } if rank == 2 => (Order::Ours, batch_norm(w, *eps, node, Order::Ours)?),
        Op::BatchNorm { eps } => (Order::Ours, batch_norm_of_rows(w, *eps, node)?),
        Op::Unary(op) => {
            let order = w.order(x);
            let value = w.value(x, order)?;
            (order, unary(w, *op, value))
        }
        Op::Binary(op) => {
            let order = common(w, &node.operands, rank);
            let y = node.operands[1];
            let full = |w: &Writer<'_>, other: NodeId| w.graph.ty(other) == &node.ty;
            let (fills_x, fills_y) = (full(w, y), full(w, x));
            let (a, b) = (operand(w, x, order, rank, fills_x)?, operand(w, y, order, rank, fills_y)?);
            (order, binary(w, *op, a, b))
        }
        Op::MaxPool(attrs) => (Order::ChannelsFirst, pool(w, "MaxPool", attrs, x, vec![])?),
        Op::AvgPool(attrs) => {
            let counted = vec![int("count_include_pad", attrs.count_include_pad.into())];
            (Order::ChannelsFirst, pool(w, "AveragePool", attrs, x, counted)?)
        }
        Op::GlobalAvgPool => {
            let image = w.value(x, Order::ChannelsFirst)?;
            let pooled = w.apply("GlobalAveragePool", vec![], &[image]);
            (Order::Ours, w.apply("Flatten", vec![], &[pooled]))
        }
        Op::Reshape(shape) => {
            let (value, shape) = (w.value(x, Order::Ours)?, w.shape(shape, 0));
            (Order::Ours, w.apply("Reshape", vec![], &[value, shape]))
        }
        Op::Transpose(permutation) => return transpose(w, id, x, permutation),
        Op::Concat { axis: along } => {
            let order = common(w, &node.operands, rank);
            let parts = node.operands.iter().map(|&part| w.value(part, order)).collect::<Result<Vec<_>, _>>()?;
            (order, w.apply("Concat", vec![int("axis", axis(order, *along) as i64)], &parts))
        }
        Op::Slice { axis: along, start, end } => {
            let order = w.order(x);
            let value = w.value(x, order)?;
            let bounds = [*start, *end, axis(order, *along)].map(|n| w.integers(&[n as i64]));
            (order, w.apply("Slice", vec![], &[&[value][..], &bounds].concat()))
        }
        Op::Pad(pads) => {
            let order = w.order(x);
            let value = w.value(x, order)?;
            let (before, after): (Vec<i64>, Vec<i64>) = ordered(order, pads).iter().map(|p| (p.0 as i64, p.1 as i64)).unzip();
            let pads = w.integers(&[before, after].concat());
            (order, w.apply("Pad", vec![], &[value, pads]))
        }
        Op::Softmax | Op::LogSoftmax => {
            let order = w.order(x);
            let value = w.value(x, order)?;
            let name = if node.op == Op::Softmax { "Softmax" } else { "LogSoftmax" };
            (order, w.apply(name, vec![int("axis", axis(order, rank - 1) as i64)], &[value]))
        }
        Op::Attention { heads, scale } => (Order::Ours, attention(w, *heads, *scale, node)?),
        Op::LayerNorm { eps } => {
            let operands = node.operands.iter().map(|&operand| w.value(operand, Order::Ours)).collect::<Result<Vec<_>, _>>()?;
            (Order::Ours, w.apply("LayerNormalization", vec![float("epsilon", *eps)], &operands))
        }
        Op::Reduce { op, axes, keep } => reduce(w, *op, axes, *keep, x)?,
        Op::Broadcast(shape) => {
            let bound = w.graph.ty(x).shape.first() == shape.first() && w.graph.ty(x).rank() == rank;
            if shape.first() == Some(&Dim::Batch) && !bound {
                return Err(unsupported(id, "a broadcast to a batch that is not bound"));
            }
            let (value, shape) = (w.value(x, Order::Ours)?, w.shape(shape, 1));
            (Order::Ours, w.apply("Expand", vec![], &[value, shape]))
        }
        Op::FusedSum { terms, relu } => fused_sum(w, terms, *relu, node)?,
        Op::Conv2dGradWeight(..) | Op::BatchNormTrain { .. } | Op::MaxPoolGrad(_) | Op::AvgPoolGrad(..) => {
            return Err(unsupported(id, "an operator of training"));
        }
        Op::Input | Op::Param(_) | Op::Splat(..) => return Ok(()),
    };
    w.define(id, order, name);
    Ok(())
}

/// The order for an operator of several values: channels first if an operand of full rank has only this order.
fn common(w: &Writer<'_>, operands: &[NodeId], rank: usize) -> Order {
    let first = |&id: &NodeId| w.graph.ty(id).rank() == rank && w.order(id) == Order::ChannelsFirst;
    if rank == 4 && operands.iter().any(first) { Order::ChannelsFirst } else { Order::Ours }
}

/// An operand of an elementwise operator whose result has the given rank and order. `filled` means that another operand has the
/// shape of the result; then a constant of one value is written as a scalar.
fn operand(w: &mut Writer<'_>, id: NodeId, order: Order, rank: usize, filled: bool) -> Result<String, ExportError> {
    let node = w.graph.node(id);
    if let (Op::Splat(value, _), true) = (&node.op, filled) {
        return Ok(w.constant("", vec![], &[*value]));
    }
    let own = node.ty.rank();
    if order == Order::Ours || own == rank {
        return w.value(id, order);
    }
    // Broadcasting would add leading axes. They must exist before the channels can be moved first.
    let full: Vec<Dim> = std::iter::repeat_n(Dim::Fixed(1), rank - own).chain(node.ty.shape.iter().copied()).collect();
    let moved = ordered(order, &full);
    let in_place = own <= 1;
    if let Some(shape) = moved.iter().map(|d| d.fixed()).collect::<Option<Vec<usize>>>()
        && in_place
    {
        if matches!(node.op, Op::Param(_)) {
            return w.form(id, None, Some(&shape));
        }
        let (value, shape) = (w.value(id, Order::Ours)?, w.shape(&moved, 0));
        return Ok(w.apply("Reshape", vec![], &[value, shape]));
    }
    let (value, shape) = (w.value(id, Order::Ours)?, w.shape(&full, 0));
    let spaced = w.apply("Reshape", vec![], &[value, shape]);
    Ok(w.apply("Transpose", vec![ints("perm", &[0, 3, 1, 2])], &[spaced]))
}

/// The weight of a convolution, `[KH, KW, C, O]`, in ONNX's order `[O, C, KH, KW]`.
fn weight(w: &mut Writer<'_>, id: NodeId) -> Result<String, ExportError> {
    const PERMUTATION: [usize; 4] = [3, 2, 0, 1];
    if matches!(w.graph.node(id).op, Op::Param(_) | Op::Splat(..)) {
        return w.form(id, Some(&PERMUTATION), None);
    }
    let value = w.value(id, Order::Ours)?;
    Ok(w.apply("Transpose", vec![ints("perm", &PERMUTATION)], &[value]))
}

fn conv(w: &mut Writer<'_>, attrs: &Conv2dAttrs, x: NodeId, kernel: NodeId, relu: bool) -> Result<String, ExportError> {
    let mut image = w.value(x, Order::ChannelsFirst)?;
    if relu {
        image = w.apply("Relu", vec![], &[image]);
    }
    let kernel = weight(w, kernel)?;
    Ok(w.apply("Conv", conv_attributes(attrs), &[image, kernel]))
}

fn conv_attributes(attrs: &Conv2dAttrs) -> Vec<crate::file::proto::AttributeProto> {
    vec![
        ints("strides", &attrs.stride),
        ints("pads", &attrs.pad),
        ints("dilations", &attrs.dilation),
        int("group", attrs.groups as i64),
    ]
}

/// The gradient of a convolution with respect to its input is a transposed convolution. The pixels that no window reads are at the
/// end.
fn conv_transpose(
    w: &mut Writer<'_>,
    attrs: &Conv2dAttrs,
    extents: [usize; 2],
    id: NodeId,
    node: &Node,
) -> Result<String, ExportError> {
    let extent = |id: NodeId, axis: usize| w.graph.ty(id).shape[axis].fixed();
    let mut missing = [0; 2];
    for i in 0..2 {
        let (Some(from), Some(kernel)) = (extent(node.operands[0], 1 + i), extent(node.operands[1], i)) else {
            return Err(unsupported(id, "an image of open extents"));
        };
        let reached = (from - 1) * attrs.stride[i] + attrs.dilation[i] * (kernel - 1) + 1;
        missing[i] = (extents[i] + attrs.pad[i] + attrs.pad[i + 2]).saturating_sub(reached);
    }
    let (image, kernel) = (w.value(node.operands[0], Order::ChannelsFirst)?, weight(w, node.operands[1])?);
    let attributes = [conv_attributes(attrs), vec![ints("output_padding", &missing)]].concat();
    Ok(w.apply("ConvTranspose", attributes, &[image, kernel]))
}

fn matmul(w: &mut Writer<'_>, a: NodeId, b: NodeId, relu: bool) -> Result<String, ExportError> {
    let (mut left, right) = (w.value(a, Order::Ours)?, w.value(b, Order::Ours)?);
    if relu {
        left = w.apply("Relu", vec![], &[left]);
    }
    Ok(w.apply("MatMul", vec![], &[left, right]))
}

fn batch_norm(w: &mut Writer<'_>, eps: f32, node: &Node, order: Order) -> Result<String, ExportError> {
    let mut inputs = vec![w.value(node.operands[0], order)?];
    for &id in &node.operands[1..] {
        inputs.push(w.value(id, Order::Ours)?);
    }
    Ok(w.apply("BatchNormalization", vec![float("epsilon", eps)], &inputs))
}

/// A batch normalisation whose channels are not on axis 1, written as elementwise operators.
fn batch_norm_of_rows(w: &mut Writer<'_>, eps: f32, node: &Node) -> Result<String, ExportError> {
    let inputs = node.operands.iter().map(|&id| w.value(id, Order::Ours)).collect::<Result<Vec<_>, _>>()?;
    let [x, gamma, beta, mean, variance] = &inputs[..] else { return Err(unsupported(node.operands[0], "its normalisation")) };
    let eps = w.constant("", vec![], &[eps]);
    let shifted = w.apply("Add", vec![], &[variance.clone(), eps]);
    let deviation = w.apply("Sqrt", vec![], &[shifted]);
    let scale = w.apply("Div", vec![], &[gamma.clone(), deviation]);
    let centred = w.apply("Sub", vec![], &[x.clone(), mean.clone()]);
    let scaled = w.apply("Mul", vec![], &[centred, scale]);
    Ok(w.apply("Add", vec![], &[scaled, beta.clone()]))
}

/// Attention, written as simpler operators: ONNX has `Attention` only since version 23.
fn attention(w: &mut Writer<'_>, heads: usize, scale: f32, node: &Node) -> Result<String, ExportError> {
    let leading = node.ty.rank() - 2;
    let perm = |moved: [usize; 3]| (0..leading).chain(moved.map(|axis| leading + axis)).collect::<Vec<usize>>();
    let mut parts = Vec::new();
    for (i, &id) in node.operands[..3].iter().enumerate() {
        let mut shape = w.graph.ty(id).shape.clone();
        if let Some(Dim::Fixed(last)) = shape.pop() {
            shape.extend([Dim::Fixed(heads), Dim::Fixed(last / heads)]);
        }
        let (value, shape) = (w.value(id, Order::Ours)?, w.shape(&shape, 0));
        let split = w.apply("Reshape", vec![], &[value, shape]);
        let turned = perm(if i == 1 { [1, 2, 0] } else { [1, 0, 2] });
        parts.push(w.apply("Transpose", vec![ints("perm", &turned)], &[split]));
    }
    let dots = w.apply("MatMul", vec![], &parts[..2]);
    let mut scores = by_number(w, "Mul", &dots, f64::from(scale));
    if let Some(&mask) = node.operands.get(3) {
        let mask = w.value(mask, Order::Ours)?;
        scores = w.apply("Add", vec![], &[scores, mask]);
    }
    let weights = w.apply("Softmax", vec![int("axis", -1)], &[scores]);
    let mixed = w.apply("MatMul", vec![], &[weights, parts[2].clone()]);
    let joined = w.apply("Transpose", vec![ints("perm", &perm([1, 0, 2]))], &[mixed]);
    let shape = w.shape(&node.ty.shape, 0);
    Ok(w.apply("Reshape", vec![], &[joined, shape]))
}

fn unary(w: &mut Writer<'_>, op: UnaryOp, value: String) -> String {
    let name = match op {
        UnaryOp::Neg => "Neg",
        UnaryOp::Relu => "Relu",
        UnaryOp::Abs => "Abs",
        UnaryOp::Exp => "Exp",
        UnaryOp::Log => "Log",
        UnaryOp::Sqrt => "Sqrt",
        UnaryOp::Recip => "Reciprocal",
        UnaryOp::Tanh => "Tanh",
        UnaryOp::Sigmoid => "Sigmoid",
        UnaryOp::Erf => "Erf",
        UnaryOp::HardSwish => "HardSwish",
        UnaryOp::Silu => {
            let gate = w.apply("Sigmoid", vec![], std::slice::from_ref(&value));
            return w.apply("Mul", vec![], &[value, gate]);
        }
        // ONNX has `Gelu` only since version 20.
        UnaryOp::Gelu => {
            let scaled = by_number(w, "Mul", &value, std::f64::consts::FRAC_1_SQRT_2);
            let bell = w.apply("Erf", vec![], &[scaled]);
            return half_gated(w, &value, &bell);
        }
        UnaryOp::GeluTanh => {
            let square = w.apply("Mul", vec![], &[value.clone(), value.clone()]);
            let bend = by_number(w, "Mul", &square, UnaryOp::GELU_CUBIC);
            let factor = by_number(w, "Add", &bend, 1.0);
            let moved = w.apply("Mul", vec![], &[value.clone(), factor]);
            let argument = by_number(w, "Mul", &moved, std::f64::consts::FRAC_2_PI.sqrt());
            let bell = w.apply("Tanh", vec![], &[argument]);
            return half_gated(w, &value, &bell);
        }
        UnaryOp::Rsqrt => {
            let root = w.apply("Sqrt", vec![], &[value]);
            return w.apply("Reciprocal", vec![], &[root]);
        }
        UnaryOp::Expm1 => {
            let power = w.apply("Exp", vec![], &[value]);
            return by_number(w, "Add", &power, -1.0);
        }
        UnaryOp::Log1p => {
            let shifted = by_number(w, "Add", &value, 1.0);
            return w.apply("Log", vec![], &[shifted]);
        }
        UnaryOp::Step => {
            let zero = w.constant("", vec![], &[0.0]);
            let positive = w.apply("Greater", vec![], &[value, zero]);
            return w.apply("Cast", vec![int("to", FLOAT)], &[positive]);
        }
    };
    w.apply(name, vec![], &[value])
}

/// `value / 2 · (1 + bell)`
fn half_gated(w: &mut Writer<'_>, value: &str, bell: &str) -> String {
    let half = by_number(w, "Mul", value, 0.5);
    let gate = by_number(w, "Add", bell, 1.0);
    w.apply("Mul", vec![], &[half, gate])
}

/// An operator of a value and a number.
fn by_number(w: &mut Writer<'_>, name: &str, value: &str, number: f64) -> String {
    let number = w.constant("", vec![], &[number as f32]);
    w.apply(name, vec![], &[value.to_string(), number])
}

fn binary(w: &mut Writer<'_>, op: BinaryOp, a: String, b: String) -> String {
    let name = match op {
        BinaryOp::Gate => {
            let zero = w.constant("", vec![], &[0.0]);
            let above = w.apply("Greater", vec![], &[b, zero.clone()]);
            return w.apply("Where", vec![], &[above, a, zero]);
        }
        BinaryOp::Add => "Add",
        BinaryOp::Sub => "Sub",
        BinaryOp::Mul => "Mul",
        BinaryOp::Div => "Div",
        BinaryOp::Max => "Max",
        BinaryOp::Min => "Min",
    };
    w.apply(name, vec![], &[a, b])
}

fn pool(
    w: &mut Writer<'_>,
    name: &str,
    attrs: &PoolAttrs,
    x: NodeId,
    more: Vec<crate::file::proto::AttributeProto>,
) -> Result<String, ExportError> {
    let image = w.value(x, Order::ChannelsFirst)?;
    let own = vec![ints("kernel_shape", &attrs.kernel), ints("strides", &attrs.stride), ints("pads", &attrs.pad)];
    Ok(w.apply(name, [own, more].concat(), &[image]))
}

/// A transposition between the two orders of an image only adds a second name for the image.
fn transpose(w: &mut Writer<'_>, id: NodeId, x: NodeId, permutation: &[usize]) -> Result<(), ExportError> {
    if permutation == CHANNELS_FIRST
        && let Some(name) = w.find(x, Order::Ours).cloned()
    {
        w.define(id, Order::ChannelsFirst, name);
        return Ok(());
    }
    if permutation == [0, 3, 1, 2]
        && let Some(name) = w.find(x, Order::ChannelsFirst).cloned()
    {
        w.define(id, Order::Ours, name);
        return Ok(());
    }
    let value = w.value(x, Order::Ours)?;
    let name = w.apply("Transpose", vec![ints("perm", permutation)], &[value]);
    w.define(id, Order::Ours, name);
    Ok(())
}

/// A reduction. It keeps the operand's order if the remaining axes have the same order in both.
fn reduce(w: &mut Writer<'_>, op: ReduceOp, axes: &[usize], keep: bool, x: NodeId) -> Result<(Order, String), ExportError> {
    let channels_alone = axes.contains(&3) || (axes.contains(&1) && axes.contains(&2));
    let order = if keep || channels_alone { w.order(x) } else { Order::Ours };
    let value = w.value(x, order)?;
    let mut axes: Vec<usize> = axes.iter().map(|&a| axis(order, a)).collect();
    axes.sort_unstable();
    let kept = int("keepdims", keep.into());
    let name = match op {
        ReduceOp::Sum => {
            let axes = w.integers(&axes.iter().map(|&a| a as i64).collect::<Vec<_>>());
            w.apply("ReduceSum", vec![kept], &[value, axes])
        }
        ReduceOp::Mean => w.apply("ReduceMean", vec![ints("axes", &axes), kept], &[value]),
        ReduceOp::Max => w.apply("ReduceMax", vec![ints("axes", &axes), kept], &[value]),
        ReduceOp::Min => w.apply("ReduceMin", vec![ints("axes", &axes), kept], &[value]),
    };
    Ok((if keep { order } else { Order::Ours }, name))
}

/// A fused sum, written as its terms, an addition and an activation.
fn fused_sum(w: &mut Writer<'_>, terms: &[Term], relu: bool, node: &Node) -> Result<(Order, String), ExportError> {
    let rank = node.ty.rank();
    let convolves = terms.iter().any(|t| matches!(t, Term::Conv2d { .. }));
    let order = if convolves { Order::ChannelsFirst } else { Order::Ours };
    let mut rest = &node.operands[..];
    let mut sum: Option<String> = None;
    for term in terms {
        let (mine, others) = rest.split_at(term.arity());
        rest = others;
        let value = match term {
            Term::Conv2d { attrs, relu } => conv(w, attrs, mine[0], mine[1], *relu)?,
            Term::MatMul { relu } => {
                let product = matmul(w, mine[0], mine[1], *relu)?;
                match order {
                    Order::Ours => product,
                    Order::ChannelsFirst if w.graph.ty(mine[0]).rank() == 4 => {
                        w.apply("Transpose", vec![ints("perm", &[0, 3, 1, 2])], &[product])
                    }
                    Order::ChannelsFirst => return Err(unsupported(mine[0], "a sum of images and matrices")),
                }
            }
            Term::Add => operand(w, mine[0], order, rank, false)?,
        };
        sum = Some(match sum {
            None => value,
            Some(sum) => w.apply("Add", vec![], &[sum, value]),
        });
    }
    let sum = sum.ok_or_else(|| unsupported(node.operands[0], "an empty sum"))?;
    Ok((order, if relu { w.apply("Relu", vec![], &[sum]) } else { sum }))
}
