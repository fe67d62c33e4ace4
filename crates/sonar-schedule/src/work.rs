//! How much a program computes.

use sonar_ir::loops::{Expr, Stmt};

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Floating-point operations; a guard counts as always true.
    pub(crate) flops: u64,
}

/// The work of some statements without calls.
pub(crate) fn of(stmts: &[Stmt]) -> Work {
    let flops = stmts.iter().map(|stmt| match stmt {
        Stmt::For { extent, body, .. } => *extent as u64 * of(body).flops,
        Stmt::If { body, .. } => of(body).flops,
        Stmt::Store { value, .. } => operations(value),
        Stmt::Reduce(reduce) => {
            let updates = reduce.updates.iter().map(|update| {
                let points: u64 = update.loops.iter().map(|&(_, extent)| extent as u64).product();
                points * (operations(&update.value) + 1)
            });
            operations(&reduce.init) + updates.sum::<u64>() + operations(&reduce.finish)
        }
        Stmt::Call { .. } => 0,
    });
    Work { flops: flops.sum() }
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
