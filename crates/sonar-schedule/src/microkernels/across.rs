//! Reductions across columns: first over vectors, then over the lanes of the resulting vector.

use sonar_ir::ReduceOp;
use sonar_ir::tile::{Inst, TileStmt};

use super::emit::{Accumulators, Block, BlockPosition, Copy, Emitter, Known, identity};
use super::expression::{Dag, Kind};

impl Emitter<'_> {
    /// The code of some rows. `step` is the distance to the next block of rows, by which pointers are moved.
    pub(super) fn across(&mut self, rows: usize, step: Option<(i64, i64)>) -> Vec<TileStmt> {
        let kernel = self.kernel;
        let mut out = Vec::new();
        let (Some(cols), Some(init), [update]) = (kernel.across, &kernel.init, kernel.updates.as_slice()) else { return out };
        let (vectors, op) = (cols / self.lanes, update.op);
        let block = Block { rows, vectors: 1, masked: false };
        let sets = kernel.sets(rows, 1, self.shape.unroll.min(vectors.max(1)));
        let accumulators = Accumulators { regs: (0..sets * rows).map(|_| self.fresh()).collect(), block };
        for &dst in &accumulators.regs {
            out.push(TileStmt::Inst(Inst::Const { dst, value: identity(op) }));
        }

        let mut moved = vec![0; kernel.pointer_count()];
        let mut trips = update.trips.clone();
        if let Some(last) = trips.last_mut() {
            *last = vectors;
        }
        let hoisted = self.hoisted(update, block, &mut out);
        let body = |emitter: &mut Self, copy: Copy, out: &mut Vec<TileStmt>| match copy {
            Copy::Whole(copy) => emitter.copy(update, copy, block, &accumulators, copy % sets, &hoisted, out),
            Copy::Masked(copy) => emitter.masked(&update.value, op, copy, &accumulators, &hoisted, out),
        };
        self.level(0, &trips, 0, &body, &mut moved, &mut out);

        for row in 0..rows {
            let acc = accumulators.at(0, row, 0);
            for set in 1..sets {
                self.combine(op, acc, accumulators.at(set, row, 0), &mut out);
            }
        }
        let mut distance = self.lanes / 2;
        while distance > 0 {
            // All rows take each halving step together, because a halving waits for the previous one of its row.
            for row in 0..rows {
                let (acc, swapped) = (accumulators.at(0, row, 0), self.fresh());
                out.push(TileStmt::Inst(Inst::Swap { dst: swapped, a: acc, distance: distance as u32 }));
                self.combine(op, acc, swapped, &mut out);
            }
            distance /= 2;
        }
        self.finish_rows(init, op, block, &accumulators, &mut out);
        if let Some((rows, _)) = step {
            for (pointer, moved) in moved.into_iter().enumerate() {
                self.advance(pointer, rows * kernel.moves(pointer).0 - moved, &mut out);
            }
        }
        out
    }

    /// The value of the masked vector. Inactive lanes do not change the result.
    fn masked(
        &mut self,
        dag: &Dag,
        op: ReduceOp,
        copy: usize,
        accumulators: &Accumulators,
        hoisted: &Known,
        out: &mut Vec<TileStmt>,
    ) {
        let block = Block { masked: true, ..accumulators.block };
        let mut known = hoisted.clone();
        for row in 0..block.rows {
            known.retain(|&(node, _, _), _| !dag.nodes[node].rows || !dag.nodes[node].reduced);
            let value = self.node(dag, dag.root(), BlockPosition { copy, row, vector: 0 }, block, None, &mut known, out);
            let (filled, acc) = (self.fresh(), accumulators.at(0, row, 0));
            out.push(TileStmt::Inst(Inst::Fill { dst: filled, a: value, value: identity(op) }));
            self.combine(op, acc, filled, out);
        }
    }

    /// Combines each row with its initial value, applies the epilogue and stores the result.
    fn finish_rows(&mut self, init: &Dag, op: ReduceOp, block: Block, accumulators: &Accumulators, out: &mut Vec<TileStmt>) {
        let kernel = self.kernel;
        let neutral = matches!(init.nodes[init.root()].kind, Kind::Const(value) if value == identity(op));
        let (mut first, mut known) = (Known::new(), Known::new());
        for row in 0..block.rows {
            first.retain(|&(node, _, _), _| !init.nodes[node].rows);
            known.retain(|&(node, _, _), _| !kernel.finish.nodes[node].rows);
            let (place, acc) = (BlockPosition { copy: 0, row, vector: 0 }, accumulators.at(0, row, 0));
            if !neutral {
                let b = self.node(init, init.root(), place, block, None, &mut first, out);
                self.combine(op, acc, b, out);
            }
            for target in &kernel.targets {
                let src = self.node(&kernel.finish, target.value, place, block, Some(acc), &mut known, out);
                let addr = self.addr(&target.at, place);
                out.push(TileStmt::Inst(Inst::StoreFirst { src, addr }));
            }
        }
    }
}
