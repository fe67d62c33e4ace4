//! Constant folding of tensors whose elements are all equal.
//!
//! An e-graph needs no other folding: values that depend on parameters are computed elsewhere, once, before the first run.

use sonar_ir::graph::Op;
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};

/// The value of every element of `op`, if they are equal and known. `operands` has such a value for each operand, if known.
///
/// Values that are not finite are not folded. Unless the result must be `exact`, zero times anything is zero. This holds for all
/// real numbers, but not for infinity and NaN.
pub fn eval(op: &Op, operands: &[Option<f32>], exact: bool) -> Option<f32> {
    let first = operands.first().copied().flatten();
    let zero_factor = if exact { None } else { operands.contains(&Some(0.0)).then_some(0.0) };
    // Sums and means start from a positive zero.
    let mean = first.map(|x| x + 0.0);
    let sum = first.filter(|x| *x == 0.0).map(|_| 0.0);
    let padded = first.filter(|x| x.to_bits() == 0 || !exact && *x == 0.0);
    let value = match op {
        Op::Splat(value, _) => Some(*value),
        Op::Unary(f) => first.map(|x| f.eval(f64::from(x)) as f32),
        Op::Binary(f) => match (first, operands[1]) {
            (Some(a), Some(b)) => Some(f.eval(f64::from(a), f64::from(b)) as f32),
            _ if *f == BinaryOp::Mul => zero_factor,
            _ => None,
        },
        Op::Conv2d(_) | Op::MatMul => zero_factor,
        Op::AvgPool(attrs) if attrs.count_include_pad && attrs.pad != [0; 4] => sum,
        Op::AvgPool(_) | Op::GlobalAvgPool | Op::Reduce { op: ReduceOp::Mean, .. } => mean,
        Op::Reduce { op: ReduceOp::Sum, .. } => sum,
        Op::MaxPool(_) | Op::Reduce { .. } => first,
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice { .. } | Op::Broadcast(_) => first,
        Op::Concat { .. } => first.filter(|x| operands.iter().all(|other| other.map(f32::to_bits) == Some(x.to_bits()))),
        Op::Pad(pads) if pads.iter().all(|pad| *pad == (0, 0)) => first,
        Op::Pad(_) => padded,
        Op::FusedSum { relu, .. } if op.is_sum() => {
            let sum = operands.iter().try_fold(0.0f64, |sum, x| x.map(|x| sum + f64::from(x)));
            sum.map(|x| if *relu { UnaryOp::Relu.eval(x) } else { x } as f32)
        }
        _ => None,
    };
    value.filter(|x| x.is_finite())
}
