//! The analytic model of time: which schedule to take when nothing has been measured.
//!
//! All numbers are cycles of a core with two vector units, two load ports and a store port, and a first-level cache of
//! 32 KiB or more. They rank schedules; they do not predict times.

use sonar_ir::UnaryOp;
use sonar_ir::loops::{BufferKind, Expr, LoopKind, Program, Stmt};
use sonar_ir::machine::is_gain;
use sonar_ir::schedule::Schedule;
use sonar_ir::tile::{Inst, Tile, TileStmt};

use crate::error::ScheduleError;
use crate::footprints::flops;
use crate::loops::visit;
use crate::lowering::Task;
use crate::microkernels::{Nest, NestShape, RegisterTile};
use crate::primitives::{apply, filterable};
use crate::spaces::compose::{Choice, Filter, Replay};
use crate::spaces::innermost::{Leaf, leaves, main_leaf};
use crate::spaces::register_tiles::filter_tile_fits;
use crate::spaces::space::{Options, Point, ScheduleSpace, space};

/// Cycles to hand work to other threads and to wait for them.
const FORK: f64 = 4_000.0;
/// How much longer it takes to read a large weight across its rows than in panels.
const STRIDED: f64 = 1.5;
/// Copies of the innermost reduction loop's body where nothing has been measured.
const UNROLL: usize = 4;
/// Cycles of a call of a micro-kernel, with its pointers.
const CALL: f64 = 20.0;
/// Bytes of a temporary or a panel that stays in the first-level cache next to other data.
const FIRST_LEVEL: usize = 32 << 10;
/// Bytes that stay in the second-level cache.
const SECOND_LEVEL: usize = 1 << 20;

/// Bytes that stay in the third-level cache next to the rest of a network.
const THIRD_LEVEL: usize = 6 << 20;

/// The schedule that the model finds best.
pub fn default_schedule(task: &Task, options: &Options) -> Schedule {
    default_program(task, options).0
}

/// The same with the program that it gives.
pub fn default_program(task: &Task, options: &Options) -> (Schedule, Program) {
    let space = space(task, options);
    space.scheduled(&default_point(&space))
}

/// The point of a space that the model finds best: that of the [`default_schedule`].
pub fn default_point(space: &ScheduleSpace) -> Point {
    let &Options { lanes, threads, .. } = space.options();
    let (fuse, tile) = best_tile(space, lanes);
    let mut choice = Choice { fuse, block: 0, tile, order: false, pack: true, parallel: threads > 1, filter: None };
    choice.order = panel_bytes(space) > FIRST_LEVEL;
    let blocks = space.blocks().iter().map(|&block| {
        let choice = Choice { block, ..choice };
        (outline_cycles(space, choice, lanes, threads), choice)
    });
    let filters = filters(space).map(|(cycles, filter, tile)| (cycles, Choice { filter: Some(filter), tile, ..choice }));
    let best = blocks.chain(filters).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(choice, |best| best.1);
    space.point_of(best)
}

/// Cycles of a task under a schedule.
pub fn estimate(task: &Task, schedule: &Schedule, lanes: usize, threads: usize) -> Result<f64, ScheduleError> {
    Ok(estimate_program(&apply(&task.program, schedule, lanes)?, threads))
}

/// Cycles of a scheduled program.
pub fn estimate_program(program: &Program, threads: usize) -> f64 {
    let tiles: Vec<f64> = program.tiles.iter().map(tile_cycles).collect();
    stmt_cycles(&program.body, &tiles, threads, &visit::extents(&program.body, program.vars.len()))
}

/// The number of fused loops and the register tile with the fewest cycles for the main nest.
fn best_tile(space: &ScheduleSpace, lanes: usize) -> (usize, RegisterTile) {
    let fusions = space.fusions();
    let mut best = (fusions, space.tiles()[0]);
    let mut fewest = f64::INFINITY;
    for fuse in (0..=fusions).rev() {
        let mut replay = Replay::new(space.program(), lanes);
        replay.fuse(fuse);
        let Some(leaf) = main_leaf(&replay.program) else { continue };
        let Some((nest, candidate)) = leaf.candidate() else { continue };
        let outside = outside(&leaf, &nest);
        let panels_matter = panel_bytes(space) > FIRST_LEVEL;
        for &tile in space.tiles() {
            let tile = RegisterTile { unroll: UNROLL, ..tile };
            let whole_panels = nest.cols.1.is_multiple_of(tile.nv * lanes) || nest.cols.1 <= tile.nv * lanes;
            let strided = if panels_matter && !whole_panels { STRIDED } else { 1.0 };
            let cycles = outside * candidate.cycles(tile, lanes) * strided;
            // A choice must pay: with equal cycles, the first one stays.
            if is_gain(cycles, fewest) && candidate.fits(tile, lanes) {
                (best, fewest) = ((fuse, tile), cycles);
            }
        }
    }
    best
}

/// How often a nest runs.
fn outside(leaf: &Leaf, nest: &Nest<'_>) -> f64 {
    let reduced = if nest.across { 1 } else { nest.cols.1 };
    leaf.trips() as f64 / (nest.rows.map_or(1, |rows| rows.1) * reduced) as f64
}

/// Every way to compute a convolution by Winograd's filtering, with its cycles and the best register tile for it.
fn filters(space: &ScheduleSpace) -> impl Iterator<Item = (f64, Filter, RegisterTile)> + '_ {
    let &Options { lanes, threads, .. } = space.options();
    space.filters().filter_map(move |filter| {
        let conv = filterable(space.program(), filter.tile)?;
        let [down, across] = conv.result.map(|extent| extent.div_ceil(filter.tile));
        let rows = (1..=filter.rows.min(down)).rev().find(|rows| down.is_multiple_of(*rows))?;
        let (strips, tiles) = (down / rows * conv.images, rows * across);
        let [outputs, inputs] = conv.channels;
        let vectors = |channels: usize| channels.div_ceil(lanes) as f64;
        let side = filter.tile + 2;
        let matrices = (side * side) as f64;
        // Columns and rows of a square pass the transform, and everything is loaded and stored; more than once from images.
        let image = matrices * if filter.tile == 2 { 1.2 } else { 2.4 };
        let result = matrices * if filter.tile == 2 { 1.2 } else { 1.9 };
        let transforms = tiles as f64 * (image * vectors(inputs) + result * vectors(outputs / filter.parts));
        let weights = matrices * (inputs * outputs * 4) as f64;
        let (outputs, stream) = (outputs / filter.parts, stream(weights));
        let weights = weights / filter.parts as f64;
        let product = |tile: &RegisterTile| {
            let panels = outputs.div_ceil(tile.nv * lanes) as f64;
            let blocks = |rows: usize| product_cycles(rows, tile.nv, inputs);
            let products = (tiles / tile.mr) as f64 * blocks(tile.mr) + blocks(tiles % tile.mr);
            (matrices * panels * products).max(weights / stream)
        };
        let shapes = space.tiles().iter().filter(|tile| tile.mr <= tiles && (tile.nv - 1) * lanes < outputs);
        let whole = |nv: usize| filter.parts == 1 || outputs.is_multiple_of(nv * lanes);
        let shapes = shapes.filter(move |tile| whole(tile.nv));
        let shapes = shapes.filter(|tile| filter_tile_fits(tile, lanes));
        let (product, tile) = shapes.map(|tile| (product(tile), *tile)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        let total = (filter.parts * strips) as f64 * (transforms + product + 4.0 * CALL);
        let pieces = if filter.parts > 1 {
            filter.parts
        } else if conv.images > 1 {
            conv.images
        } else {
            down / rows
        };
        let total = if threads > 1 { total / speedup(pieces, threads) + FORK } else { total };
        Some((total, filter, RegisterTile { unroll: UNROLL, ..tile }))
    })
}

/// Cycles of a product of some rows of `depth` elements with a panel of `nv` vectors.
fn product_cycles(rows: usize, nv: usize, depth: usize) -> f64 {
    if rows == 0 {
        return 0.0;
    }
    let fmas = (rows * nv) as f64;
    let loads = if nv == 1 { (rows + 1) as f64 } else { (rows + nv) as f64 };
    depth as f64 * (fmas / 2.0).max(loads / 2.0).max(4.0) + fmas + 8.0
}

/// Bytes in a cycle from the cache that some bytes stay in.
fn stream(bytes: f64) -> f64 {
    match bytes as usize {
        0..=SECOND_LEVEL => 48.0,
        n if n <= THIRD_LEVEL => 24.0,
        _ => 9.0,
    }
}

/// Bytes of the weights of the main nest: what every row of the result needs again.
fn panel_bytes(space: &ScheduleSpace) -> usize {
    let buffers = space.program().buffers.iter().filter(|buffer| space.weights().contains(&buffer.name));
    buffers.map(|buffer| buffer.len * 4).max().unwrap_or(0)
}

/// Cycles of a whole program before nests become micro-kernels.
fn outline_cycles(space: &ScheduleSpace, choice: Choice, lanes: usize, threads: usize) -> f64 {
    let program = space.outline(choice);
    let main = main_leaf(&program).map_or(0.0, |leaf| {
        let cycles = |(nest, candidate): (Nest<'_>, NestShape)| outside(&leaf, &nest) * candidate.cycles(choice.tile, lanes);
        leaf.candidate().map_or(leaf.work() as f64, cycles)
    });
    let temporaries: usize = program.buffers.iter().filter(|b| b.kind == BufferKind::Temp).map(|b| b.len * 4).sum();
    let (read, write) = match temporaries {
        0..=FIRST_LEVEL => (1.0, 1.0),
        n if n <= SECOND_LEVEL => (1.05, 2.0),
        _ => (1.15, 4.0),
    };
    let all = leaves(&program.body);
    let most = all.iter().map(Leaf::work).max().unwrap_or(0);
    let side: f64 = all
        .iter()
        .filter(|leaf| leaf.work() < most)
        .map(|leaf| {
            let inner = leaf.loops.last().map_or(1, |l| l.1);
            let calls = leaf.trips() as f64 / inner as f64;
            leaf.trips() as f64 / lanes as f64 * write + calls * CALL
        })
        .sum();
    let main_loops = all.iter().find(|leaf| leaf.work() == most).map_or(0, |leaf| leaf.loops.len().saturating_sub(2));
    let calls: usize = all
        .iter()
        .filter(|leaf| leaf.work() == most)
        .map(|leaf| leaf.loops.iter().take(main_loops).map(|l| l.1).product::<usize>())
        .sum();
    let total = main * read + side + calls as f64 * CALL;
    match program.body.as_slice() {
        [Stmt::For { extent, kind: LoopKind::Parallel, .. }] => total / speedup(*extent, threads) + FORK,
        _ => total,
    }
}

/// How many times faster a parallel loop is on some threads.
fn speedup(extent: usize, threads: usize) -> f64 {
    extent as f64 / extent.div_ceil(threads.max(1)).max(1) as f64
}

fn stmt_cycles(stmts: &[Stmt], tiles: &[f64], threads: usize, extents: &[usize]) -> f64 {
    let cycles = stmts.iter().map(|stmt| match stmt {
        Stmt::For { extent, kind, body, .. } => {
            let all = *extent as f64 * (1.0 + stmt_cycles(body, tiles, threads, extents));
            if *kind == LoopKind::Parallel { all / speedup(*extent, threads) + FORK } else { all }
        }
        Stmt::If { bounds, body } => {
            let share: f64 = bounds.iter().map(|bound| flops::share(bound, |var| extents[var.0 as usize])).product();
            1.0 + share * stmt_cycles(body, tiles, threads, extents)
        }
        Stmt::Store { value, .. } => 1.0 + expr_cycles(value),
        Stmt::Reduce(reduce) => {
            let updates = reduce.updates.iter().map(|update| {
                let points: usize = update.loops.iter().map(|l| l.1).product();
                // Each element waits for the one before.
                points as f64 * (4.0 + expr_cycles(&update.value))
            });
            2.0 + expr_cycles(&reduce.init) + updates.sum::<f64>() + expr_cycles(&reduce.finish)
        }
        Stmt::Call { tile, .. } => CALL + tiles.get(*tile).copied().unwrap_or(0.0),
    });
    cycles.sum()
}

fn expr_cycles(expr: &Expr) -> f64 {
    match expr {
        Expr::Const(_) | Expr::Acc => 0.0,
        Expr::Load(_) => 1.0,
        Expr::Unary(op, a) => {
            let own = match op {
                UnaryOp::Neg | UnaryOp::Relu | UnaryOp::Step | UnaryOp::Abs => 1.0,
                UnaryOp::HardSwish => 4.0,
                UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Recip => 8.0,
                UnaryOp::Exp | UnaryOp::Log | UnaryOp::Tanh | UnaryOp::Sigmoid | UnaryOp::Erf => 30.0,
                UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu => 32.0,
            };
            own + expr_cycles(a)
        }
        Expr::Binary(_, a, b) => 1.0 + expr_cycles(a) + expr_cycles(b),
        Expr::Guard { value, .. } => 2.0 + expr_cycles(value),
        Expr::Select { left, right, value, otherwise } => {
            [left, right, value, otherwise].into_iter().map(|part| expr_cycles(part)).sum::<f64>() + 1.0
        }
    }
}

fn tile_cycles(tile: &Tile) -> f64 {
    block_cycles(&tile.body)
}

fn block_cycles(stmts: &[TileStmt]) -> f64 {
    let (mut vector, mut loads, mut stores, mut all, mut loops) = (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0.0);
    for stmt in stmts {
        match stmt {
            TileStmt::Loop { trips, body } => loops += f64::from(*trips) * (block_cycles(body).max(latency(body)) + 1.0),
            TileStmt::Advance { .. } => all += 1.0,
            TileStmt::Inst(inst) => {
                all += 1.0;
                match inst {
                    Inst::Load { .. } | Inst::Broadcast { .. } => loads += 1.0,
                    Inst::FmaBroadcast { .. } => {
                        loads += 1.0;
                        vector += 1.0;
                    }
                    Inst::Store { .. } | Inst::StoreFirst { .. } => stores += 1.0,
                    Inst::Unary { op: UnaryOp::Sqrt, .. } | Inst::Binary { op: sonar_ir::BinaryOp::Div, .. } => vector += 16.0,
                    Inst::Const { .. } | Inst::Copy { .. } => {}
                    Inst::Unary { .. } | Inst::Bits { .. } | Inst::Fill { .. } | Inst::Swap { .. } => vector += 1.0,
                    Inst::Binary { .. } | Inst::Fma { .. } => vector += 1.0,
                }
            }
        }
    }
    loops + (vector / 2.0).max(loads / 2.0).max(stores).max(all / 6.0)
}

/// The longest chain of operations on one accumulator, at four cycles each.
fn latency(stmts: &[TileStmt]) -> f64 {
    let mut chains = std::collections::HashMap::new();
    for stmt in stmts {
        if let TileStmt::Inst(inst) = stmt {
            let carried = match *inst {
                Inst::Fma { acc, .. } | Inst::FmaBroadcast { acc, .. } => Some(acc),
                Inst::Binary { dst, a, .. } if dst == a => Some(dst),
                _ => None,
            };
            if let Some(reg) = carried {
                *chains.entry(reg).or_insert(0.0) += 4.0;
            }
        }
    }
    chains.into_values().fold(0.0, f64::max)
}
