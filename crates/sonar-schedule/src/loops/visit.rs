//! Visits all parts of a loop program.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, Affine, Bound, Expr, Stmt, TileId, Var};

/// Calls `f` for every access in these statements, with whether it is a write.
pub(crate) fn accesses(stmts: &[Stmt], f: &mut impl FnMut(&Access, bool)) {
    for stmt in stmts {
        for expr in stmt.exprs() {
            reads(expr, &mut |access| f(access, false));
        }
        stmt.targets().iter().for_each(|access| f(access, true));
        accesses(stmt.children(), f);
    }
}

/// Calls `f` for every load in an expression.
pub(crate) fn reads(expr: &Expr, f: &mut impl FnMut(&Access)) {
    if let Expr::Load(access) = expr {
        f(access);
    }
    expr.children().for_each(|child| reads(child, f));
}

/// Calls `f` for every access in these statements, to change it.
pub(crate) fn accesses_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut Access)) {
    for stmt in stmts {
        stmt.targets_mut().iter_mut().for_each(&mut *f);
        for expr in stmt.exprs_mut() {
            reads_mut(expr, f);
        }
        accesses_mut(stmt.children_mut(), f);
    }
}

fn reads_mut(expr: &mut Expr, f: &mut impl FnMut(&mut Access)) {
    if let Expr::Load(access) = expr {
        f(access);
    }
    expr.children_mut().for_each(|child| reads_mut(child, f));
}

/// Calls `f` for the tile of every call in these statements, to change it.
pub(crate) fn calls_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut TileId)) {
    for stmt in stmts {
        if let Stmt::Call { tile, .. } = stmt {
            f(tile);
        }
        calls_mut(stmt.children_mut(), f);
    }
}

/// Calls `f` for every bound of `If` and of `Guard` in these statements, to change it.
pub(crate) fn bounds_mut(stmts: &mut [Stmt], f: &mut impl FnMut(&mut Bound)) {
    for stmt in stmts {
        if let Stmt::If { bounds, .. } = stmt {
            bounds.iter_mut().for_each(&mut *f);
        }
        for expr in stmt.exprs_mut() {
            guard_bounds_mut(expr, f);
        }
        bounds_mut(stmt.children_mut(), f);
    }
}

fn guard_bounds_mut(expr: &mut Expr, f: &mut impl FnMut(&mut Bound)) {
    // A shared expression is copied before it changes.
    if !has_guard(expr) {
        return;
    }
    if let Expr::Guard { bounds, .. } = expr {
        bounds.iter_mut().for_each(&mut *f);
    }
    expr.children_mut().for_each(|child| guard_bounds_mut(child, f));
}

fn has_guard(expr: &Expr) -> bool {
    matches!(expr, Expr::Guard { .. }) || expr.children().any(has_guard)
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
        if let Stmt::For { var, extent, .. } = stmt {
            f(*var, *extent);
        }
        loops(stmt.children(), f);
    }
}

/// The extent of every variable of the program, by index. It is 1 for variables without a loop.
pub(crate) fn extents(stmts: &[Stmt], vars: usize) -> EntityVec<Var, usize> {
    fn visit(stmts: &[Stmt], extents: &mut EntityVec<Var, usize>) {
        for stmt in stmts {
            match stmt {
                Stmt::For { var, extent, .. } => extents[*var] = *extent,
                Stmt::Reduce(reduce) => {
                    for (var, extent) in reduce.updates.iter().flat_map(|update| &update.loops) {
                        extents[*var] = *extent;
                    }
                }
                Stmt::If { .. } | Stmt::Store { .. } | Stmt::Call { .. } => {}
            }
            visit(stmt.children(), extents);
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
