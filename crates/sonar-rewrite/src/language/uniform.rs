//! Constant folding of tensors whose elements are all one value.
//!
//! That is all the folding an e-graph needs: values that depend on parameters are computed elsewhere, once, before the
//! first run. Zero times anything counts as zero, which holds in real arithmetic (soundness class *real*).

use sonar_ir::graph::Op;
use sonar_ir::scalar::{BinaryOp, ReduceOp};

/// The one value of every element of `op` applied to operands of which those in `operands` have one known value.
pub fn eval(op: &Op, operands: &[Option<f32>]) -> Option<f32> {
    let first = operands.first().copied().flatten();
    let any_zero = operands.contains(&Some(0.0));
    let zero = any_zero.then_some(0.0);
    let value = match op {
        Op::Splat(value, _) => Some(*value),
        Op::Unary(f) => first.map(|x| f.eval(f64::from(x)) as f32),
        Op::Binary(f) => match (first, operands[1]) {
            (Some(a), Some(b)) => Some(f.eval(f64::from(a), f64::from(b)) as f32),
            _ if *f == BinaryOp::Mul => zero,
            _ => None,
        },
        Op::Conv2d(_) | Op::MatMul => zero,
        Op::AvgPool(attrs) if attrs.count_include_pad && attrs.pad != [0; 4] => zero,
        Op::AvgPool(_) | Op::MaxPool(_) | Op::GlobalAvgPool => first,
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice { .. } | Op::Broadcast(_) => first,
        Op::Concat { .. } => first.filter(|_| operands.iter().all(|x| *x == first)),
        Op::Pad(pads) if pads.iter().all(|pad| *pad == (0, 0)) => first,
        Op::Pad(_) => zero,
        Op::Reduce { op: ReduceOp::Sum, .. } => zero,
        Op::Reduce { .. } => first,
        Op::FusedSum { relu, .. } if op.is_sum() => {
            let sum: Option<f64> = operands.iter().map(|x| x.map(f64::from)).sum();
            sum.map(|x| if *relu { x.max(0.0) } else { x } as f32)
        }
        _ => None,
    };
    value.filter(|x| x.is_finite())
}
