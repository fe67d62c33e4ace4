//! Emits the instructions of a block of rows and vectors.

use sonar_ir::tile::{Addr, Inst, Ptr, Reg, TileStmt};
use sonar_ir::{BinaryOp, ReduceOp};
use std::collections::HashMap;

use super::RegisterTile;
use super::expression::{Dag, Kind, Location, NestDag, UpdateDag};

/// Emits blocks. Every register is new.
pub(super) struct Emitter<'a> {
    pub(super) kernel: &'a NestDag,
    pub(super) shape: RegisterTile,
    pub(super) lanes: usize,
    pub(super) tail: usize,
    next: u32,
    overflow: bool,
}

/// The block that is being emitted.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) rows: usize,
    pub(super) vectors: usize,
    /// Whether the last vector is masked.
    pub(super) masked: bool,
}

/// A position in a block: copy of the loop body, row and vector.
#[derive(Clone, Copy)]
pub(super) struct BlockPosition {
    pub(super) copy: usize,
    pub(super) row: usize,
    pub(super) vector: usize,
}

/// A copy of the body of the innermost loop, by its number.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    Whole(usize),
    /// The copy for the masked vector after the others.
    Masked(usize),
}

/// Registers of computed values, by node, row and vector (if the value depends on them).
pub(super) type Known = HashMap<(usize, usize, usize), Reg>;

/// Accumulators by set, row and vector.
pub(super) struct Accumulators {
    pub(super) regs: Vec<Reg>,
    pub(super) block: Block,
}

impl Accumulators {
    pub(super) fn at(&self, set: usize, row: usize, vector: usize) -> Reg {
        self.regs[(set * self.block.rows + row) * self.block.vectors + vector]
    }
}

impl<'a> Emitter<'a> {
    pub(super) fn new(kernel: &'a NestDag, shape: RegisterTile, lanes: usize, tail: usize) -> Self {
        Emitter { kernel, shape, lanes, tail, next: 0, overflow: false }
    }

    /// Whether an address or a step did not fit an instruction.
    pub(super) fn out_of_range(&self) -> bool {
        self.overflow
    }

    /// The code of one block. `full` means that no vector is masked. `step` is the distance to the next block in rows and in
    /// elements of columns, by which pointers are moved.
    pub(super) fn block(&mut self, rows: usize, vectors: usize, full: bool, step: Option<(i64, i64)>) -> Vec<TileStmt> {
        let block = Block { rows, vectors, masked: !full && self.tail > 0 };
        let mut out = Vec::new();
        let mut moved = vec![0; self.kernel.pointer_count()];
        let accumulators = self.accumulate(block, &mut moved, &mut out);
        let mut known = Known::new();
        for row in 0..rows {
            known.retain(|&(node, _, _), _| !self.kernel.finish.nodes[node].rows);
            for vector in 0..vectors {
                let place = BlockPosition { copy: 0, row, vector };
                let acc = accumulators.as_ref().map(|a| a.at(0, row, vector));
                let masked = block.masked && vector + 1 == vectors;
                let kernel = self.kernel;
                for target in &kernel.targets {
                    let src = self.node(&kernel.finish, target.value, place, block, acc, &mut known, &mut out);
                    out.push(TileStmt::Inst(Inst::Store { src, addr: self.addr(&target.at, place), masked }));
                }
            }
        }
        if let Some((rows, cols)) = step {
            for (pointer, moved) in moved.into_iter().enumerate() {
                let (row, col) = self.kernel.moves(pointer);
                self.advance(pointer, rows * row + cols * col - moved, &mut out);
            }
        }
        out
    }

    /// Initialises the accumulators and runs every update. `None` for a store.
    fn accumulate(&mut self, block: Block, moved: &mut [i64], out: &mut Vec<TileStmt>) -> Option<Accumulators> {
        let init = self.kernel.init.as_ref()?;
        let sets = self.kernel.sets(block.rows, block.vectors, self.shape.unroll);
        let regs = (0..sets * block.rows * block.vectors).map(|_| self.fresh()).collect();
        let accumulators = Accumulators { regs, block };
        let mut known = Known::new();
        for row in 0..block.rows {
            known.retain(|&(node, _, _), _| !init.nodes[node].rows);
            for vector in 0..block.vectors {
                let place = BlockPosition { copy: 0, row, vector };
                self.compute(init, init.root(), accumulators.at(0, row, vector), place, block, None, &mut known, out);
            }
        }
        let op = self.kernel.updates.first().map_or(ReduceOp::Sum, |update| update.op);
        for set in 1..sets {
            self.each(block, |_, row, vector| {
                let dst = accumulators.at(set, row, vector);
                out.push(TileStmt::Inst(Inst::Const { dst, value: identity(op) }));
            });
        }
        let kernel = self.kernel;
        for (i, update) in kernel.updates.iter().enumerate() {
            self.update(i, update, block, &accumulators, sets, moved, out);
        }
        for set in 1..sets {
            self.each(block, |emitter, row, vector| {
                emitter.combine(op, accumulators.at(0, row, vector), accumulators.at(set, row, vector), out);
            });
        }
        Some(accumulators)
    }

    fn each(&mut self, block: Block, mut f: impl FnMut(&mut Self, usize, usize)) {
        for row in 0..block.rows {
            for vector in 0..block.vectors {
                f(self, row, vector);
            }
        }
    }

    /// One update: first the values that are constant in its loops, then the loops.
    #[allow(clippy::too_many_arguments)]
    fn update(
        &mut self,
        number: usize,
        update: &UpdateDag,
        block: Block,
        accumulators: &Accumulators,
        sets: usize,
        moved: &mut [i64],
        out: &mut Vec<TileStmt>,
    ) {
        let hoisted = self.hoisted(update, block, out);
        let body = |emitter: &mut Self, copy: Copy, out: &mut Vec<TileStmt>| {
            let (Copy::Whole(copy) | Copy::Masked(copy)) = copy;
            emitter.copy(update, copy, block, accumulators, copy % sets, &hoisted, out);
        };
        self.level(number, &update.trips, 0, &body, moved, out);
    }

    /// Values of an update that are constant in its loops.
    pub(super) fn hoisted(&mut self, update: &UpdateDag, block: Block, out: &mut Vec<TileStmt>) -> Known {
        let mut hoisted = Known::new();
        for node in update.value.hoisted() {
            self.each(block, |emitter, row, vector| {
                let place = BlockPosition { copy: 0, row, vector };
                emitter.node(&update.value, node, place, block, None, &mut hoisted, out);
            });
        }
        hoisted
    }

    /// Loop `level` of an update and the loops inside of it. Adds the total movement of each pointer to `moved`. If the last
    /// loop runs over vectors and a masked vector follows, its code is an additional copy of the body.
    pub(super) fn level(
        &mut self,
        number: usize,
        trips: &[usize],
        level: usize,
        body: &dyn Fn(&mut Self, Copy, &mut Vec<TileStmt>),
        moved: &mut [i64],
        out: &mut Vec<TileStmt>,
    ) {
        let all = trips;
        let Some(&trips) = all.get(level) else {
            return body(self, Copy::Whole(0), out);
        };
        if level + 1 == all.len() {
            let (wide, tail) = match self.kernel.across {
                Some(_) => (self.lanes as i64, usize::from(self.tail > 0)),
                None => (1, 0),
            };
            if trips == 0 {
                return body(self, Copy::Masked(0), out);
            }
            let copies = self.shape.unroll.clamp(1, trips);
            let (blocks, rest) = (trips / copies, trips % copies);
            if blocks == 1 {
                (0..trips).for_each(|copy| body(self, Copy::Whole(copy), out));
                (0..tail).for_each(|_| body(self, Copy::Masked(trips), out));
                return;
            }
            let mut inside = Vec::new();
            (0..copies).for_each(|copy| body(self, Copy::Whole(copy), &mut inside));
            for (pointer, moved) in moved.iter_mut().enumerate() {
                let step = self.kernel.step(pointer, number, level) * wide;
                self.advance(pointer, step * copies as i64, &mut inside);
                *moved += step * (copies * blocks) as i64;
            }
            out.push(TileStmt::Loop { trips: blocks as u32, body: inside });
            (0..rest).for_each(|copy| body(self, Copy::Whole(copy), out));
            (0..tail).for_each(|_| body(self, Copy::Masked(rest), out));
            return;
        }
        let mut inside = Vec::new();
        let mut moved_inside = vec![0; moved.len()];
        self.level(number, all, level + 1, body, &mut moved_inside, &mut inside);
        for (pointer, moved) in moved.iter_mut().enumerate() {
            let step = self.kernel.step(pointer, number, level);
            self.advance(pointer, step - moved_inside[pointer], &mut inside);
            *moved += step * trips as i64;
        }
        out.push(TileStmt::Loop { trips: trips as u32, body: inside });
    }

    /// One copy of the innermost loop's body, for all rows and vectors.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn copy(
        &mut self,
        update: &UpdateDag,
        copy: usize,
        block: Block,
        accumulators: &Accumulators,
        set: usize,
        hoisted: &Known,
        out: &mut Vec<TileStmt>,
    ) {
        let dag = &update.value;
        let mut known = hoisted.clone();
        for row in 0..block.rows {
            known.retain(|&(node, _, _), _| !dag.nodes[node].rows || !dag.nodes[node].reduced);
            for vector in 0..block.vectors {
                let place = BlockPosition { copy, row, vector };
                let acc = accumulators.at(set, row, vector);
                match dag.nodes[dag.root()].kind {
                    Kind::Binary(_, a, b) if update.multiplies() => {
                        self.multiply_add(dag, [a, b], acc, place, block, &mut known, out);
                    }
                    _ => {
                        let b = self.node(dag, dag.root(), place, block, None, &mut known, out);
                        self.combine(update.op, acc, b, out);
                    }
                }
            }
        }
    }

    /// `acc += a · b`. If a factor is one element of memory and is used for one vector only, the instruction itself broadcasts
    /// it.
    #[allow(clippy::too_many_arguments)]
    fn multiply_add(
        &mut self,
        dag: &Dag,
        [a, b]: [usize; 2],
        acc: Reg,
        place: BlockPosition,
        block: Block,
        known: &mut Known,
        out: &mut Vec<TileStmt>,
    ) {
        if self.lanes == 16 && block.vectors == 1 {
            for (element, vector) in [(a, b), (b, a)] {
                let node = &dag.nodes[element];
                let shared = !node.rows && block.rows > 1;
                if let Kind::Load(location) = node.kind
                    && !node.cols
                    && node.reduced
                    && !shared
                    && dag.nodes[vector].cols
                {
                    let b = self.node(dag, vector, place, block, None, known, out);
                    let addr = self.addr(&location, place);
                    out.push(TileStmt::Inst(Inst::FmaBroadcast { acc, addr, b }));
                    return;
                }
            }
        }
        let a = self.node(dag, a, place, block, None, known, out);
        let b = self.node(dag, b, place, block, None, known, out);
        out.push(TileStmt::Inst(Inst::Fma { acc, a, b }));
    }

    /// The register of a node's value. It is computed unless it is known.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn node(
        &mut self,
        dag: &Dag,
        id: usize,
        place: BlockPosition,
        block: Block,
        acc: Option<Reg>,
        known: &mut Known,
        out: &mut Vec<TileStmt>,
    ) -> Reg {
        let node = &dag.nodes[id];
        if let (Kind::Acc, Some(acc)) = (node.kind, acc) {
            return acc;
        }
        let key = (id, if node.rows { place.row } else { 0 }, if node.cols { place.vector } else { 0 });
        if let Some(&reg) = known.get(&key) {
            return reg;
        }
        let dst = self.fresh();
        self.compute(dag, id, dst, place, block, acc, known, out);
        if !self.anew(dag, id) {
            known.insert(key, dst);
        }
        dst
    }

    /// Whether to compute a value at every use, because that is cheaper than keeping it in a register.
    fn anew(&self, dag: &Dag, id: usize) -> bool {
        dag.anew(id) || (self.kernel.targets.len() > 1 && matches!(dag.nodes[id].kind, Kind::Load(_)))
    }

    /// Computes a node's value into a given register.
    #[allow(clippy::too_many_arguments)]
    fn compute(
        &mut self,
        dag: &Dag,
        id: usize,
        dst: Reg,
        place: BlockPosition,
        block: Block,
        acc: Option<Reg>,
        known: &mut Known,
        out: &mut Vec<TileStmt>,
    ) {
        let inst = match dag.nodes[id].kind {
            Kind::Const(value) => Inst::Const { dst, value },
            Kind::Load(location) => {
                let addr = self.addr(&location, place);
                if location.col {
                    Inst::Load { dst, addr, masked: block.masked && place.vector + 1 == block.vectors }
                } else {
                    Inst::Broadcast { dst, addr }
                }
            }
            // Only the value of a reduction refers to the accumulator, and there it is known.
            Kind::Acc => Inst::Const { dst, value: 0.0 },
            Kind::Fma(a, b, c) => {
                let a = self.node(dag, a, place, block, acc, known, out);
                let b = self.node(dag, b, place, block, acc, known, out);
                if self.anew(dag, c) || (dag.only_for(c, id) && dag.nodes[c].kind != Kind::Acc) {
                    self.compute(dag, c, dst, place, block, acc, known, out);
                } else {
                    let c = self.node(dag, c, place, block, acc, known, out);
                    out.push(TileStmt::Inst(Inst::Copy { dst, a: c }));
                }
                Inst::Fma { acc: dst, a, b }
            }
            Kind::Bits(op, a, constant) => {
                let a = self.node(dag, a, place, block, acc, known, out);
                Inst::Bits { op, dst, a, constant }
            }
            Kind::Or(a, b) => {
                let a = self.node(dag, a, place, block, acc, known, out);
                let b = self.node(dag, b, place, block, acc, known, out);
                Inst::Or { dst, a, b }
            }
            Kind::Unary(op, a) => Inst::Unary { op, dst, a: self.node(dag, a, place, block, acc, known, out) },
            Kind::Binary(op, a, b) => {
                let a = self.node(dag, a, place, block, acc, known, out);
                let b = self.node(dag, b, place, block, acc, known, out);
                Inst::Binary { op, dst, a, b }
            }
        };
        out.push(TileStmt::Inst(inst));
    }

    /// Combines `b` into the accumulator. `max` and `min` keep NaN like [`Dag::extreme`](super::expression::Dag).
    pub(super) fn combine(&mut self, op: ReduceOp, acc: Reg, b: Reg, out: &mut Vec<TileStmt>) {
        let instruction = op.combine();
        if instruction == BinaryOp::Add {
            return out.push(TileStmt::Inst(Inst::Binary { op: instruction, dst: acc, a: acc, b }));
        }
        let back = self.fresh();
        out.push(TileStmt::Inst(Inst::Binary { op: instruction, dst: back, a: b, b: acc }));
        out.push(TileStmt::Inst(Inst::Binary { op: instruction, dst: acc, a: acc, b }));
        out.push(TileStmt::Inst(Inst::Or { dst: acc, a: acc, b: back }));
    }

    pub(super) fn addr(&mut self, location: &Location, place: BlockPosition) -> Addr {
        let column = if location.col { (place.vector * self.lanes) as i64 } else { 0 };
        let wide = if self.kernel.across.is_some() { self.lanes as i64 } else { 1 };
        let inner = place.copy as i64 * location.inner * wide;
        let offset = location.offset + place.row as i64 * location.row + inner + column;
        Addr { ptr: Ptr(location.pointer as u32), offset: self.narrow(offset) }
    }

    pub(super) fn advance(&mut self, pointer: usize, by: i64, out: &mut Vec<TileStmt>) {
        if by != 0 {
            out.push(TileStmt::Advance { ptr: Ptr(pointer as u32), by: self.narrow(by) });
        }
    }

    /// A number of elements whose byte value fits 32 bits.
    fn narrow(&mut self, elements: i64) -> i32 {
        match i32::try_from(elements.saturating_mul(4)) {
            Ok(_) => elements as i32,
            Err(_) => {
                self.overflow = true;
                0
            }
        }
    }

    pub(super) fn fresh(&mut self) -> Reg {
        self.next += 1;
        Reg(self.next - 1)
    }
}

/// The identity element of an operation.
pub(super) fn identity(op: ReduceOp) -> f32 {
    match op {
        ReduceOp::Sum | ReduceOp::Mean => 0.0,
        ReduceOp::Max => f32::NEG_INFINITY,
        ReduceOp::Min => f32::INFINITY,
    }
}
