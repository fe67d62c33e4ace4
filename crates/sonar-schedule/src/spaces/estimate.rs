//! Estimates the time of a scheduled program from its statements and tiles, without running it.
//!
//! It ranks schedules of one program. It ignores where data are in the memory hierarchy.

use std::collections::HashMap;

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Expr, LoopKind, Program, Stmt, TileId, Var};
use sonar_ir::machine::Core;
use sonar_ir::schedule::Schedule;
use sonar_ir::tile::{Inst, Reg, TileStmt};
use sonar_ir::{BinaryOp, UnaryOp};

use crate::error::ScheduleError;
use crate::footprints::flops;
use crate::loops::visit;
use crate::lowering::Task;
use crate::microkernels::CALL;
use crate::primitives::apply;
use crate::spaces::space::Options;

/// Cycles of a vector division or square root, which are not well pipelined.
const DIVISION: f64 = 16.0;
/// The overhead of a parallel loop, in forks. It is more than one, because threads also have to fetch data that another thread
/// computed.
const FORKS: f64 = 16.0;

/// Seconds of a task with a schedule.
pub fn estimate(task: &Task, schedule: &Schedule, options: &Options) -> Result<f64, ScheduleError> {
    Ok(estimate_program(&apply(&task.program, schedule, options.lanes)?, options))
}

/// Seconds of a scheduled program.
pub fn estimate_program(program: &Program, options: &Options) -> f64 {
    let core = options.core();
    let tiles = program.tiles.map(|(_, tile)| block(&tile.body, &core));
    let extents = visit::extents(&program.body, program.vars.len());
    Scheduled { core, threads: options.threads, tiles, extents }.stmts(&program.body)
}

/// Seconds of a parallel loop whose iterations take `seconds` in total.
pub(super) fn parallel(seconds: f64, extent: usize, threads: usize, core: &Core) -> f64 {
    let rounds = extent.div_ceil(threads.max(1)).max(1);
    seconds * rounds as f64 / extent as f64 + FORKS * core.machine.fork
}

/// A program with data for the estimate.
struct Scheduled {
    core: Core,
    threads: usize,
    /// Seconds of one call of each tile.
    tiles: EntityVec<TileId, f64>,
    /// Number of iterations of the loop of each variable.
    extents: EntityVec<Var, usize>,
}

impl Scheduled {
    fn stmts(&self, stmts: &[Stmt]) -> f64 {
        let cycle = self.core.cycle;
        let seconds = stmts.iter().map(|stmt| match stmt {
            Stmt::For { extent, kind, body, .. } => {
                let all = *extent as f64 * (cycle + self.stmts(body));
                if *kind == LoopKind::Parallel { parallel(all, *extent, self.threads, &self.core) } else { all }
            }
            Stmt::If { bounds, body } => {
                let share: f64 = bounds.iter().map(|bound| flops::share(bound, |var| self.extents[var])).product();
                cycle + share * self.stmts(body)
            }
            Stmt::Store { value, .. } => cycle * (1.0 + cycles(value)),
            Stmt::Reduce(reduce) => {
                let updates = reduce.updates.iter().map(|update| {
                    let points: usize = update.loops.iter().map(|l| l.1).product();
                    // Each element waits for the previous one.
                    points as f64 * (self.core.latency + cycle * cycles(&update.value))
                });
                cycle * (2.0 + cycles(&reduce.init) + cycles(&reduce.finish)) + updates.sum::<f64>()
            }
            Stmt::Call { tile, .. } => CALL * cycle + self.tiles.get(*tile).copied().unwrap_or(0.0),
        });
        seconds.sum()
    }
}

/// Cycles of a scalar expression.
fn cycles(expr: &Expr) -> f64 {
    match expr {
        Expr::Const(_) | Expr::Acc => 0.0,
        Expr::Load(_) => 1.0,
        Expr::Unary(op, a) => {
            let own = match op {
                UnaryOp::Neg | UnaryOp::Relu | UnaryOp::Step | UnaryOp::Abs => 1.0,
                UnaryOp::HardSwish => 4.0,
                UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Recip => 8.0,
                UnaryOp::Exp | UnaryOp::Expm1 | UnaryOp::Log | UnaryOp::Tanh | UnaryOp::Sigmoid | UnaryOp::Erf => 30.0,
                UnaryOp::Log1p => 40.0,
                UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu => 32.0,
            };
            own + cycles(a)
        }
        Expr::Binary(_, a, b) => 1.0 + cycles(a) + cycles(b),
        Expr::Guard { value, .. } => 2.0 + cycles(value),
        Expr::Select { left, right, value, otherwise } => {
            [left, right, value, otherwise].into_iter().map(|part| cycles(part)).sum::<f64>() + 1.0
        }
    }
}

/// Seconds of the statements of a tile.
fn block(stmts: &[TileStmt], core: &Core) -> f64 {
    let (mut arithmetic, mut loading, mut storing, mut instructions, mut loops) = (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0.0);
    for stmt in stmts {
        let inst = match stmt {
            TileStmt::Loop { trips, body } => {
                loops += f64::from(*trips) * (block(body, core).max(chain(body, core)) + core.cycle);
                continue;
            }
            TileStmt::Advance { .. } => {
                instructions += core.instruction;
                continue;
            }
            TileStmt::Inst(inst) => inst,
        };
        instructions += core.instruction;
        match inst {
            Inst::Load { .. } => loading += core.load,
            Inst::Broadcast { .. } => loading += core.broadcast,
            Inst::FmaBroadcast { .. } => {
                loading += core.broadcast;
                arithmetic += core.operation;
            }
            Inst::Store { .. } | Inst::StoreFirst { .. } => storing += core.store,
            Inst::Unary { op: UnaryOp::Sqrt, .. } | Inst::Binary { op: BinaryOp::Div, .. } => {
                arithmetic += DIVISION * core.operation
            }
            Inst::Const { .. } | Inst::Copy { .. } => {}
            _ => arithmetic += core.operation,
        }
    }
    loops + arithmetic.max(loading).max(storing).max(instructions)
}

/// Seconds of the longest chain of operations on one accumulator.
fn chain(stmts: &[TileStmt], core: &Core) -> f64 {
    let mut chains: HashMap<Reg, f64> = HashMap::new();
    for stmt in stmts {
        if let TileStmt::Inst(inst) = stmt {
            let carried = match *inst {
                Inst::Fma { acc, .. } | Inst::FmaBroadcast { acc, .. } => Some(acc),
                Inst::Binary { dst, a, .. } if dst == a => Some(dst),
                _ => None,
            };
            if let Some(reg) = carried {
                *chains.entry(reg).or_insert(0.0) += core.latency;
            }
        }
    }
    chains.into_values().fold(0.0, f64::max)
}
