//! The generator of tile programs: turns an inner loop nest into a micro-kernel.
//!
//! The nest is one reduction, or one or several stores, inside of a loop over **columns** (consecutive elements of the target)
//! and perhaps a loop over **rows**. Every load must read consecutive elements in the column variable, or not depend on it
//! (then it is broadcast). This covers batch-reduce matrix products, convolutions, depthwise convolutions, poolings,
//! statistics, the transforms of Winograd's filtering and elementwise rows:
//!
//! - each of `mr` rows × `nv` vectors has an accumulator that stays in a register from its first value to its last use;
//! - reduction loops become loops of the tile; neighbouring loops that walk through memory like one loop are merged; the
//!   innermost loop is unrolled, and its remainder follows;
//! - values that depend neither on the row nor on the reduction are computed once; values that do not depend on the row are
//!   shared by all rows; values that do not depend on the column are shared by all vectors of a row;
//! - a reduction **across** the columns, whose target does not move with them, first sums vectors and then the lanes of one
//!   vector;
//! - several stores share common subexpressions, but not loads, because a register is more expensive than a load;
//! - if there are few accumulators, each would wait for its previous result; so copies of the unrolled loop body take turns
//!   between several sets of accumulators;
//! - the tile itself loops over blocks of rows (or of columns, if there are no rows) and handles the remainder.

mod across;
mod emit;
mod expression;
mod functions;
mod pressure;
mod time;

use sonar_ir::loops::{Access, Affine, Reduce, Stmt, Var};
use sonar_ir::machine::Core;
use sonar_ir::tile::{Tile, TileStmt};

use crate::error::TileRefusal;
use emit::Emitter;
use expression::NestDag;
pub(crate) use pressure::pressure;
use time::Extents;
pub(crate) use time::{CALL, Panels, product_block, split};

/// The loops around the statements that become a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nest<'a> {
    /// Stores, or one reduction.
    pub(crate) stmts: &'a [Stmt],
    /// Loop over rows and its extent.
    pub(crate) rows: Option<(Var, usize)>,
    /// Loop over consecutive elements and its extent.
    pub(crate) cols: (Var, usize),
    /// Whether the columns are reduced: then the loop over them is the innermost one of the reduction.
    pub(crate) across: bool,
}

impl<'a> Nest<'a> {
    /// A reduction across the consecutive elements of its innermost loops. `None` if it is something else.
    pub(crate) fn across(stmts: &'a [Stmt], rows: Option<(Var, usize)>) -> Option<Nest<'a>> {
        let [update] = reduction(stmts)?.updates.as_slice() else { return None };
        let (trips, vars) = expression::merged(&update.loops, &update.value);
        Some(Nest { stmts, rows, cols: (*vars.last()?, *trips.last()?), across: true })
    }
}

/// The register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegisterTile {
    /// Rows.
    pub(crate) mr: usize,
    /// Vectors in a row.
    pub(crate) nv: usize,
    /// Number of copies of the innermost reduction loop's body.
    pub(crate) unroll: usize,
}

/// The columns that a tile computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Number of blocks of `nv` vectors.
    pub(crate) blocks: usize,
    /// Number of vectors after them. The last one is masked if `tail` is not 0.
    pub(crate) rest: usize,
    /// Lanes of the masked vector.
    pub(crate) tail: usize,
}

/// A tile with the start address of each pointer, for column 0 and row 0.
#[derive(Clone, Debug)]
pub(crate) struct MicroKernel {
    pub(crate) tile: Tile,
    /// The address, and whether it moves with the column.
    pub(crate) args: Vec<(Access, bool)>,
}

/// Generates the tile that computes all rows of some columns.
pub(crate) fn generate(
    name: &str,
    nest: Nest<'_>,
    shape: RegisterTile,
    columns: Columns,
    lanes: usize,
) -> Result<MicroKernel, TileRefusal> {
    let kernel = NestDag::new(nest).map_err(TileRefusal::Nest)?;
    let mut emitter = Emitter::new(&kernel, shape, lanes, columns.tail);
    let body = match nest.rows {
        Some((_, rows)) => {
            let vectors = if columns.blocks > 0 { shape.nv } else { columns.rest };
            by_rows(&mut emitter, rows, shape.mr, vectors)
        }
        None => by_columns(&mut emitter, columns, shape.nv, lanes),
    };
    finished(&kernel, &emitter, name, shape, lanes, columns.tail, body)
}

/// Generates the tile that reduces all rows across the columns.
pub(crate) fn generate_across(name: &str, nest: Nest<'_>, shape: RegisterTile, lanes: usize) -> Result<MicroKernel, TileRefusal> {
    let kernel = NestDag::new(nest).map_err(TileRefusal::Nest)?;
    let (rows, tail) = (nest.rows.map_or(1, |rows| rows.1), nest.cols.1 % lanes);
    let mut emitter = Emitter::new(&kernel, shape, lanes, tail);
    let body = blocks_of_rows(rows, shape.mr, &mut |mr, step| emitter.across(mr, step));
    finished(&kernel, &emitter, name, shape, lanes, tail, body)
}

/// A tile with its arguments, or the reason why there is none.
fn finished(
    kernel: &NestDag,
    emitter: &Emitter<'_>,
    name: &str,
    shape: RegisterTile,
    lanes: usize,
    tail: usize,
    body: Vec<TileStmt>,
) -> Result<MicroKernel, TileRefusal> {
    let args = kernel.pointers();
    if args.len() > Tile::MAX_POINTERS {
        return Err(TileRefusal::Pointers { needed: args.len(), available: Tile::MAX_POINTERS });
    }
    let tile = Tile { name: name.to_owned(), lanes, tail, pointers: args.len(), body };
    if depth(&tile.body) > Tile::MAX_DEPTH {
        return Err(TileRefusal::Depth);
    }
    let (needed, available) = (pressure(&tile.body), Tile::registers(lanes));
    // The emitter needs one register for constants of instructions.
    if needed >= available {
        return Err(TileRefusal::Registers { mr: shape.mr, nv: shape.nv, needed, available });
    }
    if emitter.out_of_range() {
        return Err(TileRefusal::Offset);
    }
    Ok(MicroKernel { tile, args })
}

/// A nest that can be a tile, judged by its expressions and pointers.
pub(crate) struct NestShape {
    kernel: NestDag,
    rows: usize,
    cols: usize,
}

impl NestShape {
    /// Analyses a nest. `None` if it cannot be a tile at all.
    pub(crate) fn new(nest: Nest<'_>) -> Option<NestShape> {
        let kernel = NestDag::new(nest).ok()?;
        let (rows, cols) = (nest.rows.map_or(1, |rows| rows.1), nest.cols.1);
        let fits = kernel.pointer_count() <= Tile::MAX_POINTERS && kernel.depth() < Tile::MAX_DEPTH;
        fits.then_some(NestShape { kernel, rows, cols })
    }

    /// Whether it has several stores. Then a block is one row of one vector.
    pub(crate) fn is_bundle(&self) -> bool {
        self.kernel.targets.len() > 1
    }

    /// Whether a register tile certainly fits the registers. It uses an upper bound; for several stores, the result is exact.
    pub(crate) fn fits(&self, shape: RegisterTile, lanes: usize) -> bool {
        if self.is_bundle() {
            let block = Emitter::new(&self.kernel, shape, lanes, 0).block(1, 1, true, None);
            return (shape.mr, shape.nv) == (1, 1) && pressure(&block) < Tile::registers(lanes);
        }
        if self.kernel.across.is_some() {
            let block = Emitter::new(&self.kernel, shape, lanes, self.cols % lanes).across(shape.mr, None);
            return shape.nv == 1 && pressure(&block) < Tile::registers(lanes);
        }
        let shape = RegisterTile { mr: shape.mr.min(self.rows), nv: shape.nv.min(self.cols.div_ceil(lanes)), ..shape };
        self.kernel.registers(shape) < Tile::registers(lanes)
    }

    /// Seconds of the whole nest. `panels` says how its weights are read.
    pub(crate) fn seconds(&self, shape: RegisterTile, panels: Panels, core: &Core) -> f64 {
        self.kernel.seconds(&Extents { rows: self.rows, cols: self.cols }, shape, panels, core)
    }
}

fn by_rows(emitter: &mut Emitter<'_>, rows: usize, mr: usize, vectors: usize) -> Vec<TileStmt> {
    blocks_of_rows(rows, mr, &mut |mr, step| emitter.block(mr, vectors, false, step))
}

/// Blocks of `mr` rows and one block of the remaining rows. `block` gets the distance to the next block, if there is one.
fn blocks_of_rows(rows: usize, mr: usize, block: &mut dyn FnMut(usize, Option<(i64, i64)>) -> Vec<TileStmt>) -> Vec<TileStmt> {
    let (blocks, rest) = (rows / mr, rows % mr);
    let mut body = Vec::new();
    if blocks > 0 {
        let step = (blocks > 1 || rest > 0).then_some((mr as i64, 0));
        body.extend(repeat(blocks, block(mr, step)));
    }
    if rest > 0 {
        body.extend(block(rest, None));
    }
    body
}

fn by_columns(emitter: &mut Emitter<'_>, columns: Columns, nv: usize, lanes: usize) -> Vec<TileStmt> {
    let mut body = Vec::new();
    if columns.blocks > 0 {
        let step = (columns.blocks > 1 || columns.rest > 0).then_some((0, (nv * lanes) as i64));
        body.extend(repeat(columns.blocks, emitter.block(1, nv, true, step)));
    }
    if columns.rest > 0 {
        body.extend(emitter.block(1, columns.rest, false, None));
    }
    body
}

fn repeat(trips: usize, body: Vec<TileStmt>) -> Vec<TileStmt> {
    if trips == 1 { body } else { vec![TileStmt::Loop { trips: trips as u32, body }] }
}

/// Nesting depth of the loops of a tile.
pub(crate) fn depth(stmts: &[TileStmt]) -> usize {
    let loops = stmts.iter().map(|stmt| match stmt {
        TileStmt::Loop { body, .. } => 1 + depth(body),
        _ => 0,
    });
    loops.max().unwrap_or(0)
}

/// The reduction, if the statements are a single one.
fn reduction(stmts: &[Stmt]) -> Option<&Reduce> {
    match stmts {
        [Stmt::Reduce(reduce)] => Some(reduce),
        _ => None,
    }
}

/// An affine expression without some of its variables.
fn without(affine: &Affine, vars: &[Var]) -> Affine {
    Affine { terms: affine.terms.iter().filter(|t| !vars.contains(&t.0)).copied().collect(), offset: affine.offset }
}
