//! Operation counts of programs.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Bound, Expr, Program, Stmt, TileId, Var};
use sonar_ir::tile::{Inst, TileStmt};

/// Floating-point operations that one run of a scheduled program executes, including its tiles. All lanes of a vector count.
///
/// There may be more than the task has, because rows are padded to whole vectors. There may be fewer, because an algorithm such
/// as Winograd's needs fewer.
pub fn executed_flops(program: &Program) -> u64 {
    let calls = program.tiles.map(|(_, tile)| tile_flops(&tile.body, tile.lanes as u64));
    flops(&program.body, &calls, &mut Vec::new()).round() as u64
}

/// Floating-point operations of some statements without calls. A guarded value counts fully.
pub(crate) fn of(stmts: &[Stmt]) -> u64 {
    flops(stmts, &EntityVec::new(), &mut Vec::new()).round() as u64
}

/// The share of the iterations of loops with these extents for which a bound holds. It assumes that all values of the
/// expression between the smallest and the largest are equally frequent.
pub(crate) fn share(bound: &Bound, extent: impl Fn(Var) -> usize) -> f64 {
    let (mut least, mut most) = (bound.expr.offset, bound.expr.offset);
    for &(var, coefficient) in &bound.expr.terms {
        let reach = coefficient * (extent(var) as i64 - 1);
        least += reach.min(0);
        most += reach.max(0);
    }
    let inside = bound.high.min(most + 1) - bound.low.max(least);
    inside.max(0) as f64 / (most + 1 - least) as f64
}

/// Floating-point operations of statements inside of loops with these extents. `calls` gives the operations of one call of each
/// tile.
pub(crate) fn flops(stmts: &[Stmt], calls: &EntityVec<TileId, u64>, loops: &mut Vec<(Var, usize)>) -> f64 {
    let flops = stmts.iter().map(|stmt| match stmt {
        Stmt::For { var, extent, body, .. } => {
            loops.push((*var, *extent));
            let once = flops(body, calls, loops);
            loops.pop();
            *extent as f64 * once
        }
        Stmt::If { bounds, body } => {
            let extent = |var| loops.iter().find(|l| l.0 == var).map_or(1, |l| l.1);
            let share: f64 = bounds.iter().map(|bound| share(bound, extent)).product();
            share * flops(body, calls, loops)
        }
        Stmt::Store { value, .. } => operations(value) as f64,
        Stmt::Reduce(reduce) => {
            let updates = reduce.updates.iter().map(|update| {
                let points: u64 = update.loops.iter().map(|&(_, extent)| extent as u64).product();
                points * (operations(&update.value) + 1)
            });
            (operations(&reduce.init) + updates.sum::<u64>() + operations(&reduce.finish)) as f64
        }
        Stmt::Call { tile, .. } => calls.get(*tile).map_or(0.0, |&flops| flops as f64),
    });
    flops.sum()
}

/// Operations of one call of a tile.
pub(crate) fn tile_flops(body: &[TileStmt], lanes: u64) -> u64 {
    let each = body.iter().map(|stmt| match stmt {
        TileStmt::Loop { trips, body } => u64::from(*trips) * tile_flops(body, lanes),
        TileStmt::Inst(Inst::Fma { .. } | Inst::FmaBroadcast { .. }) => 2 * lanes,
        TileStmt::Inst(Inst::Unary { .. } | Inst::Binary { .. }) => lanes,
        TileStmt::Inst(_) | TileStmt::Advance { .. } => 0,
    });
    each.sum()
}

fn operations(expr: &Expr) -> u64 {
    match expr {
        Expr::Const(_) | Expr::Load(_) | Expr::Acc => 0,
        Expr::Unary(_, a) => 1 + operations(a),
        Expr::Binary(_, a, b) => 1 + operations(a) + operations(b),
        Expr::Guard { value, .. } => operations(value),
        Expr::Select { left, right, value, otherwise } => {
            1 + operations(left) + operations(right) + operations(value).max(operations(otherwise))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, TaskId, default_program, plan, tasks};
    use sonar_ir::plan::KernelId;
    use sonar_ir::{Graph, Init, Op, TensorType};

    #[test]
    fn tiles_execute_what_the_task_asks_for() {
        let mut graph = Graph::new("dense");
        let x = graph.input("x", TensorType::fixed(&[8, 64]));
        let w = graph.param("w", &[64, 32], Init::He);
        let y = graph.push(Op::MatMul, &[x, w]).expect("the shapes fit");
        graph.outputs = vec![y];
        let tasks = tasks(&graph).expect("it can be lowered");
        let programs = tasks.tasks.iter().map(|task| default_program(task, &Options::new(16)).1).collect();
        let plan = plan(&tasks, programs);
        // Thirty-two columns are whole vectors, so no lane is wasted.
        assert_eq!(executed_flops(&plan.kernels[KernelId(0)]), 2 * 8 * 64 * 32);
        assert!(!plan.kernels[KernelId(0)].tiles.is_empty());
        assert_eq!(executed_flops(&tasks.tasks[TaskId(0)].program), tasks.tasks[TaskId(0)].flops);
    }
}
