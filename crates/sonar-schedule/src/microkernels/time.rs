//! Estimates the time of a nest as a micro-kernel from its expressions, before any code is generated.
//!
//! The time of a block of rows and vectors is the maximum of its arithmetic, its loads, its instructions, and its latency
//! chains. The time for reading its panel of columns is added and, if the rows are those of a matrix, the time for reading
//! their elements. The first block of rows waits for the panel, because nothing was prefetched. For the other blocks, the panel
//! is prefetched during computation. Elements of rows always cause waiting, because they are read from many addresses at once.

use sonar_ir::machine::{Core, at_once};

use super::RegisterTile;
use super::expression::{Counts, NestDag, UpdateDag};

/// Cycles to start and end a block, without its stores.
const BLOCK: f64 = 6.0;
/// Cycles of the loop around the copies of a reduction's body.
const LOOP: f64 = 2.0;
/// Cycles of a call, passing its pointers, and the return.
pub(crate) const CALL: f64 = 20.0;
/// Cycles to swap the halves of a vector and to combine them, one after the other.
const HALVING: f64 = 8.0;
/// The share of loads or arithmetic that delays the other.
const CONFLICTS: f64 = 0.1;
/// Bytes of a page. Prefetching stops at its end.
const PAGE: f64 = 4096.0;

/// Number of rows and columns of a nest.
pub(crate) struct Extents {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// How the weights of a nest are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Panels {
    /// Bytes touched between two runs that read the same panel. 0 if all runs compute one panel before the next panel.
    pub(crate) between: f64,
    /// Whether a panel is stored in the order in which it is read.
    pub(crate) packed: bool,
}

/// Where a block finds its data.
#[derive(Clone, Copy)]
struct Place {
    /// Bytes that were touched since the panel was read.
    panel: f64,
    /// Whether the panel is read for the first time in this run.
    first: bool,
    /// The factor for reading a panel across rows of weights: up to 2, if each row is on its own page.
    strided: f64,
    /// Bytes of all rows, which are read again for the next panel. 0 if the rows are not a matrix.
    rows: f64,
}

impl NestDag {
    /// Seconds of all rows and columns.
    pub(super) fn seconds(&self, extents: &Extents, shape: RegisterTile, panels: Panels, core: &Core) -> f64 {
        let &Extents { rows, cols } = extents;
        if self.across.is_some() {
            return rows as f64 * self.row_across(shape, core);
        }
        let vectors = cols.div_ceil(core.lanes);
        let image = self.row() * rows as f64;
        let strided = if panels.packed { 1.0 } else { 1.0 + (4.0 * cols as f64 / PAGE).min(1.0) };
        let mut total = 0.0;
        for (nv, col_blocks) in split(vectors, shape.nv) {
            let panel = self.panel(nv, core.lanes);
            let again = |mr: usize| Place { panel: panel + self.row() * mr as f64, first: false, strided, rows: image };
            let mut first = Some(panels.between.max(panel + image));
            let mut once = 0.0;
            for (mr, row_blocks) in split(rows, shape.mr) {
                let (block, again) = (RegisterTile { mr, nv, ..shape }, again(mr));
                let mut others = row_blocks;
                if let Some(between) = first.take() {
                    once += self.block(block, Place { panel: between, first: true, ..again }, core);
                    others -= 1;
                }
                once += others as f64 * self.block(block, again, core);
            }
            total += col_blocks as f64 * (once + CALL * core.cycle);
        }
        total
    }

    /// Bytes of a row, if the rows are those of a matrix. Then the reduction has one loop and reads each element once per
    /// panel. Windows of an image overlap, and the shared elements stay in the cache.
    fn row(&self) -> f64 {
        let bytes = |update: &UpdateDag| match update.trips[..] {
            [points] => 4 * points * update.value.counts(1, 0, true).broadcasts,
            _ => 0,
        };
        self.updates.iter().map(bytes).sum::<usize>() as f64
    }

    /// Bytes shared by the reductions of all rows, for this many vectors.
    fn panel(&self, vectors: usize, lanes: usize) -> f64 {
        let bytes =
            |update: &UpdateDag| update.trips.iter().product::<usize>() * update.value.shared_loads() * vectors * lanes * 4;
        self.updates.iter().map(bytes).sum::<usize>() as f64
    }

    /// Seconds of one block.
    fn block(&self, shape: RegisterTile, place: Place, core: &Core) -> f64 {
        let RegisterTile { mr, nv, unroll } = shape;
        let sets = self.sets(mr, nv, unroll);
        let mut total = BLOCK * core.cycle + (mr * nv) as f64 * core.store;
        for update in &self.updates {
            let points: usize = update.trips.iter().product();
            let mut counts = update.value.counts(mr, nv, true);
            let panel = (nv * update.value.shared_loads() * core.lanes * 4) as f64;
            let panel = core.fetch(panel * place.strided, place.panel * place.strided);
            let rows = if place.rows > 0.0 { core.fetch(4.0 * counts.broadcasts as f64, place.rows) } else { 0.0 };
            counts.operations += mr * nv * update.combining();
            // Wide vectors can use one element as a broadcast operand.
            let merged = if core.lanes == 16 && nv == 1 { mr.min(counts.broadcasts) } else { 0 };
            let busy = busy(counts, merged, core).max(core.latency / sets as f64);
            let each = rows + if place.first { busy + panel } else { at_once(busy, panel) };
            total += points as f64 * (each + LOOP / unroll as f64 * core.cycle);
        }
        let outside = self.init.iter().chain([&self.finish]);
        total + outside.map(|dag| busy(dag.counts(mr, nv, false), 0, core)).sum::<f64>()
    }

    /// Seconds of one row of a reduction across columns.
    fn row_across(&self, shape: RegisterTile, core: &Core) -> f64 {
        let vectors: f64 = self.updates.iter().map(|update| update.trips.iter().product::<usize>()).sum::<usize>() as f64;
        let mut counts = Counts { operations: 1, ..Counts::default() };
        for update in &self.updates {
            let own = update.value.counts(1, 1, true);
            counts.operations += own.operations + update.combining().saturating_sub(1);
            counts.loads += own.loads;
            counts.broadcasts += own.broadcasts;
        }
        let each = busy(counts, 0, core).max(core.latency / self.sets(shape.mr, 1, shape.unroll) as f64);
        // Each halving of a vector waits for the previous one. Rows do not wait for each other.
        let halvings = core.lanes.ilog2() as f64 * HALVING / shape.mr as f64;
        (vectors / core.lanes as f64).ceil() * each + (halvings + LOOP) * core.cycle
    }
}

/// Seconds of a block of a matrix product with sums of `depth` products. Its rows are a part of `rows` bytes.
pub(crate) fn product_block(shape: RegisterTile, depth: usize, rows: f64, core: &Core) -> f64 {
    let RegisterTile { mr, nv, unroll } = shape;
    let counts = Counts { operations: mr * nv, loads: nv, broadcasts: mr };
    let [vectors, elements] = [4 * nv * core.lanes, 4 * mr].map(|bytes| bytes as f64);
    let panel = core.fetch(vectors, (vectors + elements) * depth as f64);
    let each = core.fetch(elements, rows) + at_once(busy(counts, 0, core).max(core.latency), panel);
    depth as f64 * (each + LOOP / unroll as f64 * core.cycle) + (mr * nv) as f64 * core.store + BLOCK * core.cycle
}

/// Seconds of independent instructions. `merged` loads are part of other instructions.
fn busy(counts: Counts, merged: usize, core: &Core) -> f64 {
    let Counts { operations, loads, broadcasts } = counts;
    let arithmetic = operations as f64 * core.operation;
    let loading = loads as f64 * core.load + broadcasts as f64 * core.broadcast;
    let longest = arithmetic.max(loading).max((operations + loads + broadcasts - merged) as f64 * core.instruction);
    longest + CONFLICTS * arithmetic.min(loading)
}

/// Splits an extent into whole blocks and the remainder: the size and the number of each.
pub(crate) fn split(extent: usize, block: usize) -> impl Iterator<Item = (usize, usize)> {
    let block = block.clamp(1, extent.max(1));
    let rest = extent % block;
    [(block, extent / block), (rest, 1)].into_iter().filter(|&(size, count)| size > 0 && count > 0)
}
