//! Visits all parts of a loop program.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, Affine, Bound, Expr, Stmt, TileId, Var};
use std::sync::Arc;

/// Calls `f` for every access in these statements, with whether it is a write.
pub(crate) fn accesses(stmts: &[Stmt], f: &mut impl FnMut(&Access, bool)) {
    for stmt in stmts {
        match stmt {
            Stmt::For { body, .. } | Stmt::If { body, .. } => accesses(body, f),
            Stmt::Store { target, value } => {
                reads(value, &mut |access| f(access, false));
                f(target, true);
            }
            Stmt::Reduce(reduce) => {
                reads(&reduce.init, &mut |access| f(access, false));
                for update in &reduce.updates {
                    reads(&update.value, &mut |access| f(access, false));
                }
                reads(&reduce.finish, &mut |access| f(access, false));
                f(&reduce.target, true);
            }
            Stmt::Call { args, .. } => args.iter().for_each(|access| f(access, true)),
        }
    }
}

/// Calls `f` for every load in an expression.
pub(crate) fn reads(expr: &Expr, f: &mut impl FnMut(&Access)) {
    match expr {
        Expr::Const(_) | Expr::Acc => {}
        Expr::Load(access) => f(access),
        Expr::Unary(_, a) => reads(a, f),
        Expr::Binary(_, a, b) => {
            reads(a, f);
            reads(b, f);
        }
        Expr::Guard { value, .. } => reads(value, f),
        Expr::Select { left, right, value, otherwise } => {
            for part in [left, right, value, otherwise] {
                reads(part, f);
            }
        }
    }
}

/// Calls `f` for every access in these statements, to change it.
pub(crate) fn accesses_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut Access)) {
    for stmt in stmts {
        match stmt {
            Stmt::For { body, .. } | Stmt::If { body, .. } => accesses_mut(body, f),
            Stmt::Store { target, value } => {
                f(target);
                reads_mut(value, f);
            }
            Stmt::Reduce(reduce) => {
                f(&mut reduce.target);
                reads_mut(&mut reduce.init, f);
                for update in &mut reduce.updates {
                    reads_mut(&mut update.value, f);
                }
                reads_mut(&mut reduce.finish, f);
            }
            Stmt::Call { args, .. } => args.iter_mut().for_each(&mut *f),
        }
    }
}

fn reads_mut(expr: &mut Expr, f: &mut impl FnMut(&mut Access)) {
    match expr {
        Expr::Const(_) | Expr::Acc => {}
        Expr::Load(access) => f(access),
        Expr::Unary(_, a) => reads_mut(Arc::make_mut(a), f),
        Expr::Binary(_, a, b) => {
            reads_mut(Arc::make_mut(a), f);
            reads_mut(Arc::make_mut(b), f);
        }
        Expr::Guard { value, .. } => reads_mut(Arc::make_mut(value), f),
        Expr::Select { left, right, value, otherwise } => {
            for part in [left, right, value, otherwise] {
                reads_mut(Arc::make_mut(part), f);
            }
        }
    }
}

/// Calls `f` for the tile of every call in these statements, to change it.
pub(crate) fn calls_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut TileId)) {
    for stmt in stmts {
        match stmt {
            Stmt::For { body, .. } | Stmt::If { body, .. } => calls_mut(body, f),
            Stmt::Call { tile, .. } => f(tile),
            Stmt::Store { .. } | Stmt::Reduce(_) => {}
        }
    }
}

/// Calls `f` for every bound of `If` and of `Guard` in these statements, to change it.
pub(crate) fn bounds_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut Bound)) {
    for stmt in stmts {
        match stmt {
            Stmt::For { body, .. } => bounds_mut(body, f),
            Stmt::If { bounds, body } => {
                bounds.iter_mut().for_each(&mut *f);
                bounds_mut(body, f);
            }
            Stmt::Store { value, .. } => guard_bounds_mut(value, f),
            Stmt::Reduce(reduce) => {
                guard_bounds_mut(&mut reduce.init, f);
                for update in &mut reduce.updates {
                    guard_bounds_mut(&mut update.value, f);
                }
                guard_bounds_mut(&mut reduce.finish, f);
            }
            Stmt::Call { .. } => {}
        }
    }
}

fn guard_bounds_mut(expr: &mut Expr, f: &mut impl FnMut(&mut Bound)) {
    // A shared expression is copied if it may change.
    if !has_guard(expr) {
        return;
    }
    match expr {
        Expr::Const(_) | Expr::Acc | Expr::Load(_) => {}
        Expr::Unary(_, a) => guard_bounds_mut(Arc::make_mut(a), f),
        Expr::Binary(_, a, b) => {
            guard_bounds_mut(Arc::make_mut(a), f);
            guard_bounds_mut(Arc::make_mut(b), f);
        }
        Expr::Guard { bounds, value, .. } => {
            bounds.iter_mut().for_each(&mut *f);
            guard_bounds_mut(Arc::make_mut(value), f);
        }
        Expr::Select { left, right, value, otherwise } => {
            for part in [left, right, value, otherwise] {
                guard_bounds_mut(Arc::make_mut(part), f);
            }
        }
    }
}

fn has_guard(expr: &Expr) -> bool {
    match expr {
        Expr::Const(_) | Expr::Acc | Expr::Load(_) => false,
        Expr::Unary(_, a) => has_guard(a),
        Expr::Binary(_, a, b) => has_guard(a) || has_guard(b),
        Expr::Guard { .. } => true,
        Expr::Select { left, right, value, otherwise } => [left, right, value, otherwise].into_iter().any(|part| has_guard(part)),
    }
}

/// Calls `f` for every affine expression in these statements: addresses and bounds.
pub(crate) fn affines_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut Affine)) {
    accesses_mut(stmts, &mut |access| f(&mut access.index));
    bounds_mut(stmts, &mut |bound| f(&mut bound.expr));
}

/// Replaces a variable in these statements.
pub(crate) fn substitute(stmts: &mut [Stmt], var: Var, by: &Affine) {
    affines_mut(stmts, &mut |affine| *affine = affine.substitute(var, by));
}

/// Calls `f` for every loop in these statements with its extent, outermost first. Loops of reductions are not included.
pub(crate) fn loops(stmts: &[Stmt], f: &mut impl FnMut(Var, usize)) {
    for stmt in stmts {
        match stmt {
            Stmt::For { var, extent, body, .. } => {
                f(*var, *extent);
                loops(body, f);
            }
            Stmt::If { body, .. } => loops(body, f),
            _ => {}
        }
    }
}

/// The extent of every variable of the program, by index. It is 1 for variables without a loop.
pub(crate) fn extents(stmts: &[Stmt], vars: usize) -> EntityVec<Var, usize> {
    fn visit(stmts: &[Stmt], extents: &mut EntityVec<Var, usize>) {
        for stmt in stmts {
            match stmt {
                Stmt::For { var, extent, body, .. } => {
                    extents[*var] = *extent;
                    visit(body, extents);
                }
                Stmt::If { body, .. } => visit(body, extents),
                Stmt::Reduce(reduce) => {
                    for (var, extent) in reduce.updates.iter().flat_map(|update| &update.loops) {
                        extents[*var] = *extent;
                    }
                }
                Stmt::Store { .. } | Stmt::Call { .. } => {}
            }
        }
    }
    let mut all = EntityVec::filled(1, vars);
    visit(stmts, &mut all);
    all
}

/// Applies `f` to the loop over `var`, wherever it is: `f` gets the list that contains it and its position. Returns `None` if
/// there is no such loop.
pub(crate) fn at_loop<T>(stmts: &mut Vec<Stmt>, var: Var, f: &mut impl FnMut(&mut Vec<Stmt>, usize) -> T) -> Option<T> {
    for i in 0..stmts.len() {
        match &mut stmts[i] {
            Stmt::For { var: here, .. } if *here == var => return Some(f(stmts, i)),
            Stmt::For { body, .. } | Stmt::If { body, .. } => {
                if let Some(result) = at_loop(body, var, f) {
                    return Some(result);
                }
            }
            _ => {}
        }
    }
    None
}
