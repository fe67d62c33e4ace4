//! Scaled-dot-product attention.

use sonar_ir::loops::{Affine, BufferKind, Expr, Reduce, Stmt, Update};
use sonar_ir::{BinaryOp, NodeId, ReduceOp, UnaryOp};

use super::Lower;
use crate::loops::build::{add, at, binary, load, mul, nest, product, unary};
use crate::lowering::stage::TaskKind;

/// Most scores of one head that are in memory at the same time, if its rows can be divided like that.
const SCORES: usize = 1 << 14;

/// Smallest block, in rows, that is worth it.
const LEAST_ROWS: usize = 8;

impl Lower<'_> {
    /// For each head: transposes the keys. Then for each block of rows: the scores, the maximum of each row, the exponentials,
    /// one over their sum, and the weighted sums of the values.
    ///
    /// Operands and the result are accessed in place: a head is a part of their last axis.
    pub(super) fn attention(&mut self, anchor: NodeId, heads: usize, scale: f32) {
        let [q, k, v] = [0, 1, 2].map(|i| self.operand(anchor, i));
        let mask = self.graph.node(anchor).operands.get(3).copied();
        let (shape, key_shape) = (self.shape(anchor), self.shape(k));
        let leading = shape.len() - 2;
        let (rows, keys) = (shape[leading], key_shape[leading]);
        let (depth, width) = (key_shape[leading + 1] / heads, shape[leading + 1] / heads);
        let block = rows_at_once(rows, keys);

        let names: Vec<String> = (0..leading).map(|i| format!("b{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["h"]).collect();
        let outer = self.builder.axes(&names, &[&shape[..leading], &[heads]].concat());
        let (lead, head) = (outer.index[..leading].to_vec(), outer.index[leading].clone());
        let within = |token: &Affine, part: &Affine, width: usize| -> Vec<Affine> {
            let last = head.scale(width as i64).add(part);
            lead.iter().chain([token, &last]).cloned().collect()
        };

        let [turned, scores] = [("keys", depth * keys), ("scores", block * keys)]
            .map(|(name, len)| self.builder.buffer(name, len, BufferKind::Temp));
        let [largest, total] = ["largest", "total"].map(|name| self.builder.buffer(name, block, BufferKind::Temp));
        let out = self.output();
        let turned_at = |d: &Affine, s: &Affine| at(turned, d.scale(keys as i64).add(s));
        let score_at = |t: &Affine, s: &Affine| at(scores, t.scale(keys as i64).add(s));

        let axes = self.builder.axes(&["d", "s"], &[depth, keys]);
        let value = self.value(k, &within(&axes.index[1], &axes.index[0], depth));
        let mut body = nest(&axes.loops, vec![Stmt::Store { target: turned_at(&axes.index[0], &axes.index[1]), value }]);

        let blocks = self.builder.axes(&["tb"], &[rows / block]);
        let first = blocks.index[0].scale(block as i64);
        let mut of_block = Vec::new();

        let axes = self.builder.axes(&["t", "s"], &[block, keys]);
        let (t, s) = (&axes.index[0], &axes.index[1]);
        let token = first.add(t);
        let over = self.builder.axes(&["d"], &[depth]);
        let query = self.value(q, &within(&token, &over.index[0], depth));
        let scaled = mul(Expr::Acc, Expr::Const(scale));
        let finish = match mask {
            Some(mask) => {
                let index: Vec<Affine> = lead.iter().chain([&head, &token, s]).cloned().collect();
                add(scaled, self.broadcast(mask, &index))
            }
            None => scaled,
        };
        let updates = vec![product(over.loops, query, Expr::Load(turned_at(&over.index[0], s)))];
        let dot = Reduce { target: score_at(t, s), init: Expr::Const(0.0), updates, finish };
        of_block.extend(nest(&axes.loops, vec![Stmt::Reduce(dot)]));

        let reduced = |lower: &mut Self, buffer, op: ReduceOp, init: f32, finish: Expr| {
            let (row, over) = (lower.builder.axes(&["t"], &[block]), lower.builder.axes(&["s"], &[keys]));
            let value = Expr::Load(score_at(&row.index[0], &over.index[0]));
            let updates = vec![Update { loops: over.loops, op, value }];
            let reduce = Reduce { target: at(buffer, row.index[0].clone()), init: Expr::Const(init), updates, finish };
            nest(&row.loops, vec![Stmt::Reduce(reduce)])
        };
        of_block.extend(reduced(self, largest, ReduceOp::Max, f32::NEG_INFINITY, Expr::Acc));
        let axes = self.builder.axes(&["t", "s"], &[block, keys]);
        let place = score_at(&axes.index[0], &axes.index[1]);
        let distance = binary(BinaryOp::Sub, Expr::Load(place.clone()), load(largest, axes.index[0].clone()));
        of_block.extend(nest(&axes.loops, vec![Stmt::Store { target: place, value: unary(UnaryOp::Exp, distance) }]));
        of_block.extend(reduced(self, total, ReduceOp::Sum, 0.0, unary(UnaryOp::Recip, Expr::Acc)));

        let axes = self.builder.axes(&["t", "c"], &[block, width]);
        let t = &axes.index[0];
        let index = within(&first.add(t), &axes.index[1], width);
        let over = self.builder.axes(&["s"], &[keys]);
        let value = self.value(v, &within(&over.index[0], &axes.index[1], width));
        let updates = vec![product(over.loops, Expr::Load(score_at(t, &over.index[0])), value)];
        let finish = self.epilogue(anchor, mul(Expr::Acc, load(total, t.clone())), &index);
        let sum = Reduce { target: at(out, self.place(&index)), init: Expr::Const(0.0), updates, finish };
        of_block.extend(nest(&axes.loops, vec![Stmt::Reduce(sum)]));

        body.extend(nest(&blocks.loops, of_block));
        self.emit(nest(&outer.loops, body));
        self.end(TaskKind::Contraction);
    }
}

/// The most rows in a block, such that all blocks have the same size.
fn rows_at_once(rows: usize, keys: usize) -> usize {
    let most = (SCORES / keys).max(LEAST_ROWS);
    let fitting = (1..=rows.min(most)).rev().find(|block| rows.is_multiple_of(*block)).unwrap_or(rows);
    if fitting < LEAST_ROWS { rows } else { fitting }
}

#[cfg(test)]
mod tests {
    use super::rows_at_once;

    #[test]
    fn blocks_divide_the_rows_and_bound_the_scores() {
        assert_eq!(rows_at_once(64, 64), 64);
        assert_eq!(rows_at_once(512, 512), 32);
        assert_eq!(rows_at_once(1024, 4096), 8);
        assert_eq!(rows_at_once(5, 100_000), 5);
        assert_eq!(rows_at_once(997, 997), 997);
    }
}
