//! How much a program computes.

use sonar_ir::loops::{Bound, Expr, Stmt, Var};

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Floating-point operations; a guarded value counts as always there.
    pub(crate) flops: u64,
}

/// The work of some statements without calls.
pub(crate) fn of(stmts: &[Stmt]) -> Work {
    Work { flops: flops(stmts, &mut Vec::new()).round() as u64 }
}

/// The share of iterations of loops with these extents for which a bound holds, if each value of its expression between
/// the least and the largest occurs as often as another.
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

/// Floating-point operations of statements inside of loops with these extents.
fn flops(stmts: &[Stmt], loops: &mut Vec<(Var, usize)>) -> f64 {
    let flops = stmts.iter().map(|stmt| match stmt {
        Stmt::For { var, extent, body, .. } => {
            loops.push((*var, *extent));
            let once = flops(body, loops);
            loops.pop();
            *extent as f64 * once
        }
        Stmt::If { bounds, body } => {
            let extent = |var| loops.iter().find(|l| l.0 == var).map_or(1, |l| l.1);
            let share: f64 = bounds.iter().map(|bound| share(bound, extent)).product();
            share * flops(body, loops)
        }
        Stmt::Store { value, .. } => operations(value) as f64,
        Stmt::Reduce(reduce) => {
            let updates = reduce.updates.iter().map(|update| {
                let points: u64 = update.loops.iter().map(|&(_, extent)| extent as u64).product();
                points * (operations(&update.value) + 1)
            });
            (operations(&reduce.init) + updates.sum::<u64>() + operations(&reduce.finish)) as f64
        }
        Stmt::Call { .. } => 0.0,
    });
    flops.sum()
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
