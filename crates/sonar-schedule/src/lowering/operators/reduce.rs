//! Reductions over axes.

use sonar_ir::loops::{Affine, Expr, Reduce, Stmt, Update};
use sonar_ir::{NodeId, ReduceOp};

use super::Lower;
use super::contract::scaled;
use crate::loops::build::{at, flat, load, nest};
use crate::lowering::stage::{TaskKind, Value};

impl Lower<'_> {
    /// Reduces the operand over some axes. The other axes index the result, in order.
    ///
    /// A result of few elements gives threads nothing to share. Then the first axis is cut into blocks, which run in parallel: each
    /// has a result of its own, and a second stage combines them.
    pub(super) fn reduction(&mut self, anchor: NodeId, op: ReduceOp, reduced: &[usize]) {
        let x = self.operand(anchor, 0);
        let (source, shape) = (self.shape(x), self.shape(anchor));
        let kept: Vec<usize> = (0..source.len()).filter(|axis| !reduced.contains(axis)).collect();
        let len: usize = shape.iter().product();
        let blocks = if reduced.first() == Some(&0) { blocks(source[0], source.iter().product(), len) } else { 1 };
        let partial = (blocks > 1).then(|| self.internal(blocks * len));

        let block = self.builder.axes(&["b"], &[blocks]);
        let axes = self.reduction_axes("i", &kept, &source);
        let mut within = source.clone();
        if partial.is_some() {
            within[0] /= blocks;
        }
        let over = self.reduction_axes("r", reduced, &within);
        let mut index = vec![Affine::default(); source.len()];
        for (&axis, i) in kept.iter().zip(&axes.index).chain(reduced.iter().zip(&over.index)) {
            index[axis] = i.clone();
        }
        if partial.is_some() {
            index[0] = index[0].add(&block.index[0].scale(within[0] as i64));
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
        if let Some((internal, out)) = partial {
            let place = block.index[0].scale(len as i64).add(&flat(&shape, &result));
            let reduce = Reduce { target: at(out, place), init: Expr::Const(init), updates: vec![update], finish: Expr::Acc };
            let loops: Vec<_> = block.loops.into_iter().chain(axes.loops).collect();
            self.emit(nest(&loops, vec![Stmt::Reduce(reduce)]));
            self.end_stage(internal, TaskKind::Reduction);
            return self.combine_blocks(anchor, internal, blocks, &shape, (init, op, value));
        }
        let finish = self.epilogue(anchor, value, &result);
        let target = at(self.output(), self.place(&result));
        let reduce = Reduce { target, init: Expr::Const(init), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.flatten(&axes);
        self.end(TaskKind::Reduction);
    }

    /// The last stage of a node that is computed in blocks: combines the results of all blocks, one after the other in memory, into
    /// the result, whose extents are `shape`. The combination has a first value, an operator, and a function of the whole.
    pub(super) fn combine_blocks(
        &mut self,
        anchor: NodeId,
        partial: Value,
        blocks: usize,
        shape: &[usize],
        (init, op, value): (f32, ReduceOp, Expr),
    ) {
        let len: usize = shape.iter().product();
        let partial = self.input(partial, blocks * len);
        let names: Vec<String> = (0..shape.len()).map(|axis| format!("i{axis}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let axes = self.builder.axes(&names, shape);
        let block = self.builder.axes(&["b"], &[blocks]);
        let source = block.index[0].scale(len as i64).add(&flat(shape, &axes.index));
        let update = Update { loops: block.loops, op, value: load(partial, source) };
        let finish = self.epilogue(anchor, value, &axes.index);
        let target = at(self.output(), self.place(&axes.index));
        let reduce = Reduce { target, init: Expr::Const(init), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end(TaskKind::Reduction);
    }

    fn reduction_axes(&mut self, prefix: &str, axes: &[usize], shape: &[usize]) -> crate::loops::build::Axes {
        let names: Vec<String> = axes.iter().map(|axis| format!("{prefix}{axis}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let extents: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        self.builder.axes(&names, &extents)
    }
}

/// Blocks of a reduction at most.
const BLOCKS: usize = 16;
/// Elements of the result of a reduction in blocks at most.
const SMALL: usize = 512;
/// Elements of each block at least: two stages must cost less than they save.
const WORTHWHILE: usize = 1 << 12;

/// How many blocks the first axis, which is reduced, is cut into: 1 if cutting is not worthwhile.
fn blocks(first: usize, elements: usize, result: usize) -> usize {
    let fits = |blocks: &usize| first.is_multiple_of(*blocks) && elements / blocks >= WORTHWHILE.max(16 * result);
    if result > SMALL { 1 } else { (2..=BLOCKS).filter(fits).max().unwrap_or(1) }
}
