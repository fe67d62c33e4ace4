//! Shape inference: the one place that knows what type an operator gives.

use crate::graph::{Conv2dAttrs, Dim, Op, PoolAttrs, TensorType, Term};
use thiserror::Error;

/// Why an operator cannot be applied to its operands.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{0}")]
pub struct TypeError(pub String);

macro_rules! bail {
    ($($arg:tt)*) => { return Err(TypeError(format!($($arg)*))) };
}

/// The type of `op` applied to operands of these types.
pub fn infer(op: &Op, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
    let arity = match op {
        Op::Input | Op::Param(_) | Op::Splat(..) => 0,
        Op::Conv2d(_) | Op::Conv2dGradInput(..) | Op::Conv2dGradWeight(..) | Op::MatMul | Op::Binary(_) | Op::MaxPoolGrad(_) => 2,
        Op::BatchNorm { .. } => 5,
        Op::BatchNormTrain { .. } | Op::LayerNorm { .. } => 3,
        Op::Concat { .. } => operands.len().max(1),
        Op::Attention { .. } => operands.len().clamp(3, 4),
        Op::FusedSum { terms, .. } => terms.iter().map(Term::arity).sum(),
        _ => 1,
    };
    if operands.len() != arity {
        let plural = if arity == 1 { "" } else { "s" };
        bail!("expected {arity} operand{plural}, found {}", operands.len());
    }
    let x = operands.first().copied();
    let same = || x.expect("the arity was checked").clone();
    let shape = match op {
        Op::Input | Op::Param(_) => bail!("inputs and parameters have a declared type"),
        Op::Splat(_, shape) => shape.clone(),
        Op::Conv2d(attrs) => conv2d(attrs, operands[0], operands[1])?,
        Op::Conv2dGradInput(attrs, hw) => {
            let (dy, w) = (operands[0], fixed(operands[1])?);
            rank(dy, 4, "the gradient")?;
            if w.len() != 4 {
                bail!("expected a weight of rank 4, found {}", operands[1]);
            }
            let x =
                TensorType { shape: vec![dy.shape[0], Dim::Fixed(hw[0]), Dim::Fixed(hw[1]), Dim::Fixed(w[2] * attrs.groups)] };
            expect_same(&conv2d(attrs, &x, operands[1])?, &dy.shape, "the gradient")?;
            x.shape
        }
        Op::Conv2dGradWeight(attrs, k) => {
            let (x, dy) = (operands[0], operands[1]);
            rank(x, 4, "the image")?;
            rank(dy, 4, "the gradient")?;
            let (Some(c), Some(o)) = (x.shape[3].fixed(), dy.shape[3].fixed()) else { bail!("channels must be fixed") };
            if attrs.groups == 0 || c % attrs.groups != 0 {
                bail!("{c} channels do not divide into {} groups", attrs.groups);
            }
            let w = TensorType::fixed(&[k[0], k[1], c / attrs.groups, o]);
            expect_same(&conv2d(attrs, x, &w)?, &dy.shape, "the gradient")?;
            w.shape
        }
        Op::MatMul => matmul(operands[0], operands[1])?,
        Op::BatchNorm { .. } | Op::BatchNormTrain { .. } | Op::LayerNorm { .. } => {
            let x = operands[0];
            let Some(&channels) = x.shape.last() else { bail!("expected at least one axis, found {x}") };
            for (operand, what) in operands[1..].iter().zip(["gamma", "beta", "the mean", "the variance"]) {
                if operand.shape != [channels] {
                    bail!("expected {what} of type f32[{channels}], found {operand}");
                }
            }
            x.shape.clone()
        }
        Op::Unary(_) => same().shape,
        Op::Binary(_) => broadcast(&operands[0].shape, &operands[1].shape)?,
        Op::MaxPool(attrs) | Op::AvgPool(attrs) => pool(attrs, operands[0])?,
        Op::MaxPoolGrad(attrs) => {
            expect_same(&pool(attrs, operands[0])?, &operands[1].shape, "the gradient")?;
            same().shape
        }
        Op::AvgPoolGrad(attrs, hw) => {
            let dy = operands[0];
            rank(dy, 4, "the gradient")?;
            let x = TensorType { shape: vec![dy.shape[0], Dim::Fixed(hw[0]), Dim::Fixed(hw[1]), dy.shape[3]] };
            expect_same(&pool(attrs, &x)?, &dy.shape, "the gradient")?;
            x.shape
        }
        Op::GlobalAvgPool => {
            rank(operands[0], 4, "the image")?;
            vec![operands[0].shape[0], operands[0].shape[3]]
        }
        Op::Reshape(shape) => {
            let count = |shape: &[Dim]| shape.iter().filter_map(|d| d.fixed()).product::<usize>();
            let batch = |shape: &[Dim]| shape.iter().filter(|d| **d == Dim::Batch).count();
            let from = &operands[0].shape;
            if count(from) != count(shape) || batch(from) != batch(shape) {
                bail!("{} cannot be reshaped to {}", operands[0], TensorType { shape: shape.clone() });
            }
            shape.clone()
        }
        Op::Transpose(perm) => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if sorted != (0..operands[0].rank()).collect::<Vec<_>>() {
                bail!("{perm:?} is not a permutation of the {} axes of {}", operands[0].rank(), operands[0]);
            }
            perm.iter().map(|&p| operands[0].shape[p]).collect()
        }
        Op::Concat { axis } => {
            let Some(first) = x else { bail!("expected at least one operand") };
            check_axis(*axis, first)?;
            let mut total = 0;
            for operand in operands {
                let Some(extent) = operand.shape.get(*axis).and_then(|d| d.fixed()) else {
                    bail!("expected a fixed extent on axis {axis}, found {operand}")
                };
                total += extent;
                let mut shape = operand.shape.clone();
                shape[*axis] = first.shape[*axis];
                if shape != first.shape {
                    bail!("{first} and {operand} differ on an axis other than {axis}");
                }
            }
            let mut shape = first.shape.clone();
            shape[*axis] = Dim::Fixed(total);
            shape
        }
        Op::Slice { axis, start, end } => {
            let mut shape = same().shape;
            check_axis(*axis, operands[0])?;
            match shape[*axis] {
                Dim::Fixed(n) if start < end && *end <= n => shape[*axis] = Dim::Fixed(end - start),
                extent => bail!("{start}..{end} is not a part of axis {axis}, whose extent is {extent}"),
            }
            shape
        }
        Op::Pad(pads) => {
            if pads.len() != operands[0].rank() {
                bail!("expected {} pairs of paddings, found {}", operands[0].rank(), pads.len());
            }
            let mut shape = Vec::new();
            for (&dim, &(before, after)) in operands[0].shape.iter().zip(pads) {
                shape.push(match dim {
                    Dim::Fixed(n) => Dim::Fixed(n + before + after),
                    Dim::Batch if before + after == 0 => Dim::Batch,
                    Dim::Batch => bail!("the batch cannot be padded"),
                });
            }
            shape
        }
        Op::Softmax | Op::LogSoftmax => {
            if operands[0].rank() == 0 {
                bail!("expected at least one axis");
            }
            same().shape
        }
        Op::Attention { heads, .. } => attention(*heads, operands)?,
        Op::Reduce { axes, keep, .. } => {
            if axes.windows(2).any(|w| w[0] >= w[1]) || axes.is_empty() {
                bail!("axes {axes:?} are not sorted, distinct and at least one");
            }
            for &axis in axes {
                check_axis(axis, operands[0])?;
            }
            let dims = operands[0].shape.iter().enumerate();
            dims.filter(|(i, _)| *keep || !axes.contains(i))
                .map(|(i, &d)| if axes.contains(&i) { Dim::Fixed(1) } else { d })
                .collect()
        }
        Op::Broadcast(shape) => {
            if broadcast(&operands[0].shape, shape)? != *shape {
                bail!("{} does not broadcast to {}", operands[0], TensorType { shape: shape.clone() });
            }
            shape.clone()
        }
        Op::FusedSum { terms, .. } => {
            let mut rest = operands;
            let mut sum: Option<Vec<Dim>> = None;
            for term in terms {
                let (mine, others) = rest.split_at(term.arity());
                rest = others;
                let shape = match term {
                    Term::Conv2d { attrs, .. } => conv2d(attrs, mine[0], mine[1])?,
                    Term::MatMul { .. } => matmul(mine[0], mine[1])?,
                    Term::Add => mine[0].shape.clone(),
                };
                sum = Some(match sum {
                    None => shape,
                    Some(sum) => broadcast(&sum, &shape)?,
                });
            }
            match sum {
                Some(sum) => sum,
                None => bail!("expected at least one term"),
            }
        }
    };
    if shape.iter().skip(1).any(|d| *d == Dim::Batch) {
        bail!("the batch N may only be the leading axis, found {}", TensorType { shape });
    }
    Ok(TensorType { shape })
}

/// The shape that two shapes broadcast to: aligned at the last axis, equal extents or 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, TypeError> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| if i + s.len() < rank { Dim::Fixed(1) } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (Dim::Fixed(1), y) => Ok(y),
            (x, Dim::Fixed(1)) => Ok(x),
            (x, y) => Err(TypeError(format!("extents {x} and {y} do not broadcast"))),
        })
        .collect()
}

/// Extent of a sliding window's result: `(extent + pads - dilation · (kernel - 1) - 1) / stride + 1`.
pub fn window(extent: usize, pads: usize, kernel: usize, dilation: usize, stride: usize) -> Option<usize> {
    let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    (extent + pads).checked_sub(reach)?.checked_div(stride).map(|n| n + 1)
}

fn windows(
    x: &TensorType,
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 4],
    dilation: [usize; 2],
) -> Result<[Dim; 2], TypeError> {
    let mut hw = [Dim::Batch; 2];
    for i in 0..2 {
        let Some(extent) = x.shape[1 + i].fixed() else { bail!("height and width must be fixed, found {x}") };
        if dilation[i] == 0 || kernel[i] == 0 || stride[i] == 0 {
            bail!("kernel, stride and dilation must be at least 1");
        }
        match window(extent, pad[i] + pad[i + 2], kernel[i], dilation[i], stride[i]) {
            Some(n) => hw[i] = Dim::Fixed(n),
            None => bail!("a window of {} does not fit into {extent} with padding {}", kernel[i], pad[i] + pad[i + 2]),
        }
    }
    Ok(hw)
}

fn conv2d(attrs: &Conv2dAttrs, x: &TensorType, w: &TensorType) -> Result<Vec<Dim>, TypeError> {
    rank(x, 4, "the image")?;
    rank(w, 4, "the weight")?;
    let weight = fixed(w)?;
    let Some(channels) = x.shape[3].fixed() else { bail!("channels must be fixed, found {x}") };
    let groups = attrs.groups;
    if groups == 0 || channels % groups != 0 {
        bail!("{channels} input channels cannot be split into {groups} groups");
    }
    if weight[2] * groups != channels || weight[3] % groups != 0 {
        let multiple = if groups == 1 { String::new() } else { format!(" with O a multiple of {groups}") };
        bail!("expected a weight of type f32[KH,KW,{},O]{multiple}, found {w}", channels / groups);
    }
    let [h, wd] = windows(x, [weight[0], weight[1]], attrs.stride, attrs.pad, attrs.dilation)?;
    Ok(vec![x.shape[0], h, wd, Dim::Fixed(weight[3])])
}

fn pool(attrs: &PoolAttrs, x: &TensorType) -> Result<Vec<Dim>, TypeError> {
    rank(x, 4, "the image")?;
    if (0..4).any(|i| attrs.pad[i] >= attrs.kernel[i % 2]) {
        bail!("padding {:?} must be smaller than the kernel {:?}", attrs.pad, attrs.kernel);
    }
    let [h, w] = windows(x, attrs.kernel, attrs.stride, attrs.pad, [1, 1])?;
    Ok(vec![x.shape[0], h, w, x.shape[3]])
}

fn matmul(a: &TensorType, b: &TensorType) -> Result<Vec<Dim>, TypeError> {
    if a.rank() < 2 || b.rank() < 2 {
        bail!("expected operands of rank 2 or more, found {a} and {b}");
    }
    let (ra, rb) = (a.rank(), b.rank());
    if a.shape[ra - 1] != b.shape[rb - 2] || a.shape[ra - 1] == Dim::Batch {
        bail!("the inner extents of {a} and {b} differ");
    }
    if rb > 2 && a.shape[..ra - 2] != b.shape[..rb - 2] {
        bail!("the leading axes of {a} and {b} differ");
    }
    let mut shape = a.shape[..ra - 1].to_vec();
    shape.push(b.shape[rb - 1]);
    Ok(shape)
}

fn attention(heads: usize, operands: &[&TensorType]) -> Result<Vec<Dim>, TypeError> {
    let [q, k, v] = [0, 1, 2].map(|i| operands[i]);
    let Some(leading) = q.rank().checked_sub(2) else { bail!("expected queries of rank 2 or more, found {q}") };
    rank(k, leading + 2, "the keys")?;
    rank(v, leading + 2, "the values")?;
    if q.shape[..leading] != k.shape[..leading] || k.shape[..=leading] != v.shape[..=leading] {
        bail!("the leading axes of {q}, {k} and {v} differ");
    }
    let extents = |ty: &TensorType| Some((ty.shape[leading].fixed()?, ty.shape[leading + 1].fixed()?));
    let (Some((rows, depth)), Some((keys, key_depth)), Some((_, width))) = (extents(q), extents(k), extents(v)) else {
        bail!("expected fixed extents of the last two axes, found {q}, {k} and {v}");
    };
    if depth != key_depth {
        bail!("the depths of {q} and {k} differ");
    }
    if heads == 0 || depth % heads != 0 || width % heads != 0 {
        bail!("the last axes of {q} and {v} do not divide into {heads} heads");
    }
    if let Some(mask) = operands.get(3) {
        let scores = [&q.shape[..leading], &[heads, rows, keys].map(Dim::Fixed)].concat();
        if broadcast(&mask.shape, &scores)? != scores {
            bail!("the mask {mask} does not broadcast to {}", TensorType { shape: scores });
        }
    }
    Ok([&q.shape[..=leading], &v.shape[leading + 1..]].concat())
}

fn rank(ty: &TensorType, rank: usize, what: &str) -> Result<(), TypeError> {
    if ty.rank() != rank {
        bail!("expected {what} of rank {rank}, found {ty}");
    }
    Ok(())
}

fn fixed(ty: &TensorType) -> Result<Vec<usize>, TypeError> {
    ty.extents().ok_or_else(|| TypeError(format!("expected fixed extents, found {ty}")))
}

fn check_axis(axis: usize, ty: &TensorType) -> Result<(), TypeError> {
    if axis >= ty.rank() {
        bail!("axis {axis} is not one of the {} axes of {ty}", ty.rank());
    }
    Ok(())
}

fn expect_same(expected: &[Dim], found: &[Dim], what: &str) -> Result<(), TypeError> {
    if expected != found {
        let show = |shape: &[Dim]| TensorType { shape: shape.to_vec() };
        bail!("expected {what} of type {}, found {}", show(expected), show(found));
    }
    Ok(())
}
