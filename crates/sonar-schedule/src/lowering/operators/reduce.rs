//! Reductions over axes.

use sonar_ir::loops::{Affine, Expr, Reduce, Stmt, Update};
use sonar_ir::{NodeId, ReduceOp};

use super::Lower;
use super::contract::scaled;
use crate::loops::build::{at, nest};
use crate::lowering::stage::TaskKind;

impl Lower<'_> {
    /// Reduces the operand over some axes. The other axes index the result, in order.
    pub(super) fn reduction(&mut self, anchor: NodeId, op: ReduceOp, reduced: &[usize]) {
        let x = self.operand(anchor, 0);
        let (source, shape) = (self.shape(x), self.shape(anchor));
        let kept: Vec<usize> = (0..source.len()).filter(|axis| !reduced.contains(axis)).collect();
        let axes = self.reduction_axes("i", &kept, &source);
        let over = self.reduction_axes("r", reduced, &source);
        let mut index = vec![Affine::default(); source.len()];
        for (&axis, i) in kept.iter().zip(&axes.index).chain(reduced.iter().zip(&over.index)) {
            index[axis] = i.clone();
        }
        // Kept axes of extent 1 have index 0, in the operand and in the result.
        let result: Vec<Affine> = if shape.len() == source.len() {
            (0..source.len()).map(|axis| if reduced.contains(&axis) { Affine::default() } else { index[axis].clone() }).collect()
        } else {
            axes.index.clone()
        };
        let count: usize = reduced.iter().map(|&axis| source[axis]).product();
        let (init, op, value) = match op {
            ReduceOp::Sum => (0.0, ReduceOp::Sum, Expr::Acc),
            ReduceOp::Mean => (0.0, ReduceOp::Sum, scaled(1.0 / count as f32)),
            ReduceOp::Max => (f32::NEG_INFINITY, ReduceOp::Max, Expr::Acc),
            ReduceOp::Min => (f32::INFINITY, ReduceOp::Min, Expr::Acc),
        };
        let update = Update { loops: over.loops, op, value: self.value(x, &index) };
        let finish = self.epilogue(anchor, value, &result);
        let target = at(self.output(), self.place(&result));
        let reduce = Reduce { target, init: Expr::Const(init), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.flatten(&axes);
        self.end(TaskKind::Reduction);
    }

    fn reduction_axes(&mut self, prefix: &str, axes: &[usize], shape: &[usize]) -> crate::loops::build::Axes {
        let names: Vec<String> = axes.iter().map(|axis| format!("{prefix}{axis}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let extents: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        self.builder.axes(&names, &extents)
    }
}
