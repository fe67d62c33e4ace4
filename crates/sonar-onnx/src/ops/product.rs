//! Matrix products.

use crate::build::layout::Layout;
use crate::build::{Builder, Value, broadcast};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::{BinaryOp, Op};

type Results = Result<Vec<Value>, Refusal>;

/// `α · A' · B' + β · C`; the factors are applied to weights if possible.
pub fn gemm(b: &mut Builder, call: &Call<'_>) -> Results {
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let mut matrix = |index: usize, transposed: bool| {
        let value = call.input(index)?;
        match (value.rank(), transposed) {
            (2, false) => Ok(value.clone()),
            (2, true) => b.transpose(value, &[1, 0]),
            (rank, _) => Err(Refusal::invalid(format!("expected a matrix, found a tensor of rank {rank}"))),
        }
    };
    let left = matrix(0, call.flag("transA", false)?)?;
    let right = matrix(1, call.flag("transB", false)?)?;
    let product = b.matmul(&left, &b_scaled(&right, alpha))?;
    let product = if matches!(right, Value::Known(_)) { product } else { b.scale(&product, alpha)? };
    match call.optional(2) {
        Some(bias) if beta != 0.0 => {
            let bias = b.scale(bias, beta)?;
            Ok(vec![b.binary(BinaryOp::Add, &product, &bias)?])
        }
        _ => Ok(vec![product]),
    }
}

/// Multiplies a known tensor by a factor; other values are returned unchanged.
fn b_scaled(value: &Value, factor: f32) -> Value {
    match value {
        Value::Known(known) if factor != 1.0 => Value::Known(known.map(|v| v * f64::from(factor), |v| v)),
        other => other.clone(),
    }
}

/// The matrix product of NumPy: a vector is a row on the left and a column on the right; leading axes broadcast.
pub fn matmul(b: &mut Builder, call: &Call<'_>) -> Results {
    let (left, right) = (call.input(0)?.clone(), call.input(1)?.clone());
    let (row, column) = (left.rank() == 1, right.rank() == 1);
    let left = if row { b.reshape(&left, &[1, left.shape()[0]])? } else { left };
    let right = if column { b.reshape(&right, &[right.shape()[0], 1])? } else { right };
    if left.rank() == 0 || right.rank() == 0 {
        return Err(Refusal::invalid("expected matrices, found a number"));
    }
    let product = b.matmul(&left, &right)?;
    let mut shape = product.shape().to_vec();
    if column {
        shape.pop();
    }
    if row {
        shape.remove(shape.len() - 1 - usize::from(!column));
    }
    Ok(vec![b.reshape(&product, &shape)?])
}

impl Builder {
    /// The product of two values of rank 2 or more over their last two axes; leading axes broadcast.
    pub fn matmul(&mut self, left: &Value, right: &Value) -> Result<Value, Refusal> {
        let (rows, columns) = (&left.shape()[left.rank() - 2..], &right.shape()[right.rank() - 2..]);
        let (rows, columns) = ([rows[0], rows[1]], [columns[0], columns[1]]);
        let leading = broadcast(&left.shape()[..left.rank() - 2], &right.shape()[..right.rank() - 2])?;
        let with_leading = |matrix: [usize; 2]| [&leading[..], &matrix].concat();
        // A right side whose leading extents are all 1 is one matrix for all leading indices.
        let one = right.shape()[..right.rank() - 2].iter().all(|&extent| extent == 1);
        let right = if one { self.reshape(right, &columns)? } else { self.expand(right, &with_leading(columns))? };
        let left = self.expand(left, &with_leading(rows))?;
        let operands = [self.in_file_order(&left)?, self.in_file_order(&right)?];
        let node = self.push(Op::MatMul, &operands)?;
        Ok(self.laid(node, Layout::file(leading.len() + 2)))
    }
}
