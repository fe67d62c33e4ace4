//! Reverse-mode differentiation of graphs. The gradient is added as nodes of the same graph, so the same passes compile it.
//!
//! Nodes are visited from the loss backwards. Each node has an *adjoint*: the sum of the gradients that arrived at it, with its
//! own shape. The rule of its operator passes the adjoint on to its operands. Only nodes between the wanted values and the loss
//! get an adjoint, so nothing is computed that no gradient needs.
//!
//! If a derivative does not exist, a subgradient is used. `relu` has slope 0 at 0. `max` and `min` of two equal numbers pass
//! the gradient to the second one. A `max` or `min` reduction divides it equally between equal elements.

mod activation;
mod attention;
pub(crate) mod batch_norm;
mod layer_norm;

use crate::build::{add, div, extents, filled_like, mul, number, per_channel, scale, sub, unary, unbroadcast};
use crate::error::TrainError;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, Node, NodeId, Op};
use sonar_ir::{BinaryOp, Dim, ReduceOp, UnaryOp};

/// Appends the gradients of `loss` with respect to each node of `wrt` and returns them in that order. Each has the type of its
/// node.
///
/// The batch must be bound and `loss` must be a single number. If the loss does not depend on a value, the gradient is zero.
///
/// ```
/// use sonar_ir::{BinaryOp, Graph, Op, TensorType};
/// let mut graph = Graph::new("square");
/// let x = graph.input("x", TensorType::fixed(&[]));
/// let y = graph.push(Op::Binary(BinaryOp::Mul), &[x, x]).unwrap();
/// let dx = sonar_train::autodiff::gradients(&mut graph, y, &[x]).unwrap();
/// assert_eq!(graph.ty(dx[0]), graph.ty(x));
/// ```
pub fn gradients(graph: &mut Graph, loss: NodeId, wrt: &[NodeId]) -> Result<Vec<NodeId>, TrainError> {
    if let Some(node) = graph.nodes.iter().find(|n| n.ty.extents().is_none()) {
        return Err(TrainError::SymbolicBatch(node.ty.clone()));
    }
    if extents(graph, loss).iter().product::<usize>() != 1 {
        return Err(TrainError::NotScalar(graph.ty(loss).clone()));
    }

    let mut wanted = EntityVec::filled(false, graph.nodes.len());
    for &id in wrt {
        wanted[id] = true;
    }
    for (id, node) in graph.iter() {
        if node.operands.iter().any(|o| wanted[*o]) {
            wanted[id] = true;
        }
    }

    let mut adjoints: EntityVec<NodeId, Option<NodeId>> = EntityVec::filled(None, graph.nodes.len());
    adjoints[loss] = Some(filled_like(graph, 1.0, loss)?);
    for id in (0..=loss.0).rev().map(NodeId) {
        let Some(dy) = adjoints[id] else { continue };
        let node = graph.node(id).clone();
        if !node.operands.iter().any(|o| wanted[*o]) {
            continue;
        }
        let parts = pull_back(graph, id, &node, dy, &|id| wanted[id])?;
        for (&operand, part) in node.operands.iter().zip(parts) {
            let Some(part) = part.filter(|_| wanted[operand]) else { continue };
            let slot = &mut adjoints[operand];
            *slot = Some(match *slot {
                None => part,
                Some(sum) => add(graph, sum, part)?,
            });
        }
    }

    let zero_or = |graph: &mut Graph, id: NodeId| match adjoints[id] {
        Some(adjoint) => Ok(adjoint),
        None => filled_like(graph, 0.0, id),
    };
    wrt.iter().map(|&id| Ok(zero_or(graph, id)?)).collect()
}

/// The gradient of each operand of `node` (whose id is `y`), given the gradient `dy` of its result. `None` if the operand has
/// no gradient or nobody needs it.
fn pull_back(
    graph: &mut Graph,
    y: NodeId,
    node: &Node,
    dy: NodeId,
    wanted: &dyn Fn(NodeId) -> bool,
) -> Result<Vec<Option<NodeId>>, TrainError> {
    let operands = &node.operands;
    let x = operands[0];
    let x_shape = graph.ty(x).shape.clone();
    let x_extents = extents(graph, x);
    // Height and width of an image or a kernel. Shape inference has checked that the operand has rank 4.
    let image_hw = |graph: &Graph, id| {
        let e = extents(graph, id);
        [e[1], e[2]]
    };
    let kernel_hw = |graph: &Graph, id| {
        let e = extents(graph, id);
        [e[0], e[1]]
    };
    let needs = |i: usize| wanted(operands[i]);

    let parts = match &node.op {
        Op::Input | Op::Param(_) | Op::Splat(..) => vec![],

        Op::Conv2d(attrs) => {
            let (w, hw) = (operands[1], image_hw(graph, x));
            let dx = when(needs(0), || graph.push(Op::Conv2dGradInput(*attrs, hw), &[dy, w]))?;
            let k = kernel_hw(graph, w);
            let dw = when(needs(1), || graph.push(Op::Conv2dGradWeight(*attrs, k), &[x, dy]))?;
            vec![dx, dw]
        }
        Op::Conv2dGradInput(attrs, _) => {
            let w = operands[1];
            let through = when(needs(0), || graph.push(Op::Conv2d(*attrs), &[dy, w]))?;
            let k = kernel_hw(graph, w);
            let dw = when(needs(1), || graph.push(Op::Conv2dGradWeight(*attrs, k), &[dy, x]))?;
            vec![through, dw]
        }
        Op::Conv2dGradWeight(attrs, _) => {
            let hw = image_hw(graph, x);
            let dx = when(needs(0), || graph.push(Op::Conv2dGradInput(*attrs, hw), &[operands[1], dy]))?;
            let through = when(needs(1), || graph.push(Op::Conv2d(*attrs), &[x, dy]))?;
            vec![dx, through]
        }
        Op::MatMul => matmul(graph, [x, operands[1]], dy, [needs(0), needs(1)])?.into(),

        Op::BatchNorm { eps } => batch_norm_given(graph, operands, *eps, dy)?.map(Some).into(),
        Op::BatchNormTrain { eps } => batch_norm::gradients(graph, [x, operands[1]], *eps, dy)?.map(Some).into(),

        Op::Unary(op) => vec![apply_unary(graph, *op, x, y, dy)?],
        Op::Binary(op) => {
            let parts = apply_binary(graph, *op, [x, operands[1]], dy, [needs(0), needs(1)])?;
            let mut reduced = Vec::with_capacity(2);
            for (part, &operand) in parts.into_iter().zip(operands) {
                let shape = graph.ty(operand).shape.clone();
                reduced.push(part.map(|p| unbroadcast(graph, p, &shape)).transpose()?);
            }
            reduced
        }

        Op::MaxPool(attrs) => vec![Some(graph.push(Op::MaxPoolGrad(*attrs), &[x, dy])?)],
        Op::AvgPool(attrs) => {
            let hw = image_hw(graph, x);
            vec![Some(graph.push(Op::AvgPoolGrad(*attrs, hw), &[dy])?)]
        }
        Op::AvgPoolGrad(attrs, _) => vec![Some(graph.push(Op::AvgPool(*attrs), &[dy])?)],
        Op::GlobalAvgPool => {
            let small = graph.push(Op::Reshape(vec![x_shape[0], Dim::Fixed(1), Dim::Fixed(1), x_shape[3]]), &[dy])?;
            let small = scale(graph, small, 1.0 / (x_extents[1] * x_extents[2]) as f64)?;
            vec![Some(graph.push(Op::Broadcast(x_shape), &[small])?)]
        }

        Op::Reshape(_) => vec![Some(graph.push(Op::Reshape(x_shape), &[dy])?)],
        Op::Transpose(perm) => {
            let mut inverse = vec![0; perm.len()];
            for (i, &p) in perm.iter().enumerate() {
                inverse[p] = i;
            }
            vec![Some(graph.push(Op::Transpose(inverse), &[dy])?)]
        }
        Op::Concat { axis } => {
            let mut start = 0;
            let mut parts = Vec::with_capacity(operands.len());
            for &operand in operands {
                let end = start + extents(graph, operand)[*axis];
                parts.push(Some(graph.push(Op::Slice { axis: *axis, start, end }, &[dy])?));
                start = end;
            }
            parts
        }
        Op::Slice { axis, start, end } => {
            let mut pads = vec![(0, 0); x_shape.len()];
            pads[*axis] = (*start, x_extents[*axis] - end);
            vec![Some(graph.push(Op::Pad(pads), &[dy])?)]
        }
        Op::Pad(pads) => {
            let mut inner = dy;
            for (axis, &(before, after)) in pads.iter().enumerate() {
                if before + after > 0 {
                    inner = graph.push(Op::Slice { axis, start: before, end: before + x_extents[axis] }, &[inner])?;
                }
            }
            vec![Some(inner)]
        }
        Op::Broadcast(_) => vec![Some(unbroadcast(graph, dy, &x_shape)?)],

        Op::Attention { heads, scale } => {
            attention::gradients(graph, operands, *heads, *scale, dy)?.into_iter().map(Some).collect()
        }
        Op::LayerNorm { eps } => layer_norm::gradients(graph, [x, operands[1]], *eps, dy)?.map(Some).into(),
        Op::Softmax => {
            let weighted = mul(graph, dy, y)?;
            let total = sum_last(graph, weighted)?;
            let centred = sub(graph, dy, total)?;
            vec![Some(mul(graph, y, centred)?)]
        }
        Op::LogSoftmax => {
            let total = sum_last(graph, dy)?;
            let softmax = unary(graph, UnaryOp::Exp, y)?;
            let pulled = mul(graph, softmax, total)?;
            vec![Some(sub(graph, dy, pulled)?)]
        }
        Op::Reduce { op, axes, .. } => vec![Some(reduction(graph, *op, axes, x, y, dy)?)],

        Op::MaxPoolGrad(_) => return Err(TrainError::NotDifferentiable("max_pool_grad".into())),
        Op::FusedSum { .. } => return Err(TrainError::NotDifferentiable("fused_sum".into())),
    };
    Ok(parts)
}

fn when(wanted: bool, make: impl FnOnce() -> Result<NodeId, TypeError>) -> Result<Option<NodeId>, TypeError> {
    if wanted { make().map(Some) } else { Ok(None) }
}

/// `da = dy·bᵀ` and `db = aᵀ·dy`. If `b` has rank 2, its gradient is summed over all leading indices of `a`.
fn matmul(graph: &mut Graph, [a, b]: [NodeId; 2], dy: NodeId, needs: [bool; 2]) -> Result<[Option<NodeId>; 2], TypeError> {
    let da = if needs[0] {
        let bt = swap_last(graph, b)?;
        Some(graph.push(Op::MatMul, &[dy, bt])?)
    } else {
        None
    };
    let db = if needs[1] {
        let shared = graph.ty(b).rank() == 2;
        let [a, dy] = if shared { [as_matrix(graph, a)?, as_matrix(graph, dy)?] } else { [a, dy] };
        let at = swap_last(graph, a)?;
        Some(graph.push(Op::MatMul, &[at, dy])?)
    } else {
        None
    };
    Ok([da, db])
}

fn swap_last(graph: &mut Graph, x: NodeId) -> Result<NodeId, TypeError> {
    let rank = graph.ty(x).rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    graph.push(Op::Transpose(perm), &[x])
}

/// Joins all axes but the last into one.
fn as_matrix(graph: &mut Graph, x: NodeId) -> Result<NodeId, TypeError> {
    let extents = extents(graph, x);
    if extents.len() == 2 {
        return Ok(x);
    }
    let columns = extents[extents.len() - 1];
    let rows = extents[..extents.len() - 1].iter().product();
    graph.push(Op::Reshape(vec![Dim::Fixed(rows), Dim::Fixed(columns)]), &[x])
}

/// Gradients of `gamma·(x − mean)·rstd + beta` with respect to x, gamma, beta, mean and variance, if the statistics are
/// operands.
fn batch_norm_given(graph: &mut Graph, operands: &[NodeId], eps: f32, dy: NodeId) -> Result<[NodeId; 5], TypeError> {
    let [x, gamma, mean, variance] = [operands[0], operands[1], operands[3], operands[4]];
    let rstd = batch_norm::reciprocal_deviation(graph, variance, eps)?;
    let gain = mul(graph, gamma, rstd)?;
    let dx = mul(graph, dy, gain)?;
    let sum = per_channel(graph, ReduceOp::Sum, dy)?;
    let centred = sub(graph, x, mean)?;
    let product = mul(graph, dy, centred)?;
    let correlation = per_channel(graph, ReduceOp::Sum, product)?;
    let dgamma = mul(graph, correlation, rstd)?;
    let dmean = mul(graph, sum, gain)?;
    let dmean = unary(graph, UnaryOp::Neg, dmean)?;
    let dvariance = mul(graph, dgamma, gain)?;
    let dvariance = mul(graph, dvariance, rstd)?;
    let dvariance = scale(graph, dvariance, -0.5)?;
    Ok([dx, dgamma, sum, dmean, dvariance])
}

fn apply_unary(graph: &mut Graph, op: UnaryOp, x: NodeId, y: NodeId, dy: NodeId) -> Result<Option<NodeId>, TypeError> {
    let slope = match op {
        UnaryOp::Neg => return unary(graph, UnaryOp::Neg, dy).map(Some),
        UnaryOp::Step => return Ok(None),
        UnaryOp::Log => return div(graph, dy, x).map(Some),
        // The result is positive exactly where the operand is, and it is kept anyway if a convolution reads it.
        UnaryOp::Relu => return graph.push(Op::Binary(BinaryOp::Gate), &[dy, y]).map(Some),
        UnaryOp::Abs => {
            let above = unary(graph, UnaryOp::Step, x)?;
            let negated = unary(graph, UnaryOp::Neg, x)?;
            let below = unary(graph, UnaryOp::Step, negated)?;
            sub(graph, above, below)?
        }
        UnaryOp::Exp => y,
        UnaryOp::Expm1 => {
            let one = number(graph, 1.0)?;
            add(graph, y, one)?
        }
        UnaryOp::Log1p => {
            let one = number(graph, 1.0)?;
            let shifted = add(graph, x, one)?;
            unary(graph, UnaryOp::Recip, shifted)?
        }
        UnaryOp::Sqrt => {
            let inverse = unary(graph, UnaryOp::Recip, y)?;
            scale(graph, inverse, 0.5)?
        }
        UnaryOp::Rsqrt => {
            let square = mul(graph, y, y)?;
            let cube = mul(graph, square, y)?;
            scale(graph, cube, -0.5)?
        }
        UnaryOp::Recip => {
            let square = mul(graph, y, y)?;
            unary(graph, UnaryOp::Neg, square)?
        }
        UnaryOp::Tanh => {
            let square = mul(graph, y, y)?;
            let one = number(graph, 1.0)?;
            sub(graph, one, square)?
        }
        UnaryOp::Sigmoid => {
            let one = number(graph, 1.0)?;
            let rest = sub(graph, one, y)?;
            mul(graph, y, rest)?
        }
        UnaryOp::Erf => {
            let square = mul(graph, x, x)?;
            let exponent = unary(graph, UnaryOp::Neg, square)?;
            let density = unary(graph, UnaryOp::Exp, exponent)?;
            scale(graph, density, std::f64::consts::FRAC_2_SQRT_PI)?
        }
        UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu | UnaryOp::HardSwish => activation::slope(graph, op, x)?,
    };
    mul(graph, dy, slope).map(Some)
}

/// Gradients with respect to both operands, still with the shape of the result.
fn apply_binary(
    graph: &mut Graph,
    op: BinaryOp,
    [a, b]: [NodeId; 2],
    dy: NodeId,
    needs: [bool; 2],
) -> Result<[Option<NodeId>; 2], TypeError> {
    Ok(match op {
        BinaryOp::Add => [Some(dy), Some(dy)],
        BinaryOp::Sub => [Some(dy), when(needs[1], || unary(graph, UnaryOp::Neg, dy))?],
        BinaryOp::Mul => [when(needs[0], || mul(graph, dy, b))?, when(needs[1], || mul(graph, dy, a))?],
        BinaryOp::Div => {
            let da = div(graph, dy, b)?;
            let ratio = div(graph, a, b)?;
            let db = mul(graph, da, ratio)?;
            [Some(da), Some(unary(graph, UnaryOp::Neg, db)?)]
        }
        BinaryOp::Max | BinaryOp::Min => {
            let difference = if op == BinaryOp::Max { sub(graph, a, b)? } else { sub(graph, b, a)? };
            let da = graph.push(Op::Binary(BinaryOp::Gate), &[dy, difference])?;
            [Some(da), Some(sub(graph, dy, da)?)]
        }
        // The gate operand has no slope.
        BinaryOp::Gate => [when(needs[0], || graph.push(Op::Binary(BinaryOp::Gate), &[dy, b]))?, None],
    })
}

fn sum_last(graph: &mut Graph, x: NodeId) -> Result<NodeId, TypeError> {
    let axis = graph.ty(x).rank() - 1;
    graph.push(Op::Reduce { op: ReduceOp::Sum, axes: vec![axis], keep: true }, &[x])
}

/// Gradient of `y = reduce(x)`: `dy` broadcast over the reduced axes, weighted by the influence of each element.
fn reduction(graph: &mut Graph, op: ReduceOp, axes: &[usize], x: NodeId, y: NodeId, dy: NodeId) -> Result<NodeId, TypeError> {
    let shape = graph.ty(x).shape.clone();
    let kept: Vec<Dim> = shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { Dim::Fixed(1) } else { d }).collect();
    let keep_axes = |graph: &mut Graph, id: NodeId| {
        if graph.ty(id).shape == kept { Ok(id) } else { graph.push(Op::Reshape(kept.clone()), &[id]) }
    };
    let dy = keep_axes(graph, dy)?;
    match op {
        ReduceOp::Sum => graph.push(Op::Broadcast(shape), &[dy]),
        ReduceOp::Mean => {
            let count: usize = axes.iter().filter_map(|&a| shape[a].fixed()).product();
            let share = scale(graph, dy, 1.0 / count as f64)?;
            graph.push(Op::Broadcast(shape), &[share])
        }
        ReduceOp::Max | ReduceOp::Min => {
            let y = keep_axes(graph, y)?;
            let distance = if op == ReduceOp::Max { sub(graph, y, x)? } else { sub(graph, x, y)? };
            let worse = unary(graph, UnaryOp::Step, distance)?;
            let one = number(graph, 1.0)?;
            let chosen = sub(graph, one, worse)?;
            let ties = graph.push(Op::Reduce { op: ReduceOp::Sum, axes: axes.to_vec(), keep: true }, &[chosen])?;
            let share = div(graph, dy, ties)?;
            mul(graph, chosen, share)
        }
    }
}
