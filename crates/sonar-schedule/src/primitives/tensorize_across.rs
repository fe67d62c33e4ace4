//! Replaces a reduction of consecutive elements by a micro-kernel.

use sonar_ir::loops::{Affine, LoopKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::microkernels::{Nest, RegisterTile, generate_across};
use crate::primitives::find;
use crate::primitives::tensorize::{absorb, call, drop_unused};

/// Computes a reduction of consecutive elements with vectors, `mr` rows at a time. At the end, the lanes of the last vector are
/// combined.
///
/// ```text
/// for y { out[y] = Σ x[y, k] }   -->   call tile(mr)(…)
/// ```
///
/// Legal if the loop over rows contains only one reduction of one term over `over`, its innermost variable. The loads must read
/// consecutive elements in `over` or not depend on it, every operator must have a vector instruction, and the tile must fit the
/// registers. Without rows (`-`), it is a single reduction.
pub fn tensorize_across(
    program: &Program,
    rows: &str,
    over: &str,
    [mr, unroll]: [usize; 2],
    lanes: usize,
) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let over = program.vars.find(|name| name == over).ok_or_else(|| ScheduleError::NoLoop(over.to_owned()))?;
    let rows = if rows == "-" { None } else { Some(find(&program, rows)?) };
    if mr == 0 || unroll == 0 {
        return Err(ScheduleError::BadFactor { name: program.vars[over].clone(), extent: 0, factor: 0 });
    }
    let mut body = std::mem::take(&mut program.body);
    let name = format!("{}_{mr}", program.name);
    let place = place(&mut body, over, rows).ok_or_else(|| ScheduleError::NoLoop(program.vars[over].clone()))?;
    let (stmts, extent) = match (&*place, rows) {
        (Stmt::For { extent, kind: LoopKind::Serial, body, .. }, Some(var)) => (body.as_slice(), Some((var, *extent))),
        (stmt, _) => (std::slice::from_ref(stmt), None),
    };
    let refuse = || ScheduleError::Illegal {
        step: "tensorize_across",
        name: program.vars[over].clone(),
        reason: "it is not the innermost variable of a reduction of one term".to_owned(),
    };
    let nest = Nest::across(stmts, extent).ok_or_else(refuse)?;
    let shape = RegisterTile { mr: mr.min(extent.map_or(1, |rows| rows.1)), nv: 1, unroll };
    let no_tile = |refusal| ScheduleError::NoTile { step: "tensorize_across", name: name.clone(), refusal };
    let kernel = generate_across(&name, nest, shape, lanes).map_err(no_tile)?;
    *place = call(&mut program, kernel, &Affine::default());
    absorb(&mut body, &mut program.tiles);
    program.body = body;
    drop_unused(&mut program);
    Ok(program)
}

/// The statement to replace: the reduction over a variable, or the loop over rows that contains only this reduction.
fn place(stmts: &mut [Stmt], over: Var, rows: Option<Var>) -> Option<&mut Stmt> {
    let reduces = |stmt: &Stmt| {
        let Stmt::Reduce(reduce) = stmt else { return false };
        reduce.updates.iter().any(|update| update.loops.last().is_some_and(|l| l.0 == over))
    };
    for stmt in stmts {
        let here = match (&*stmt, rows) {
            (Stmt::For { var, body, .. }, Some(rows)) => *var == rows && matches!(body.as_slice(), [only] if reduces(only)),
            (stmt, None) => reduces(stmt),
            _ => false,
        };
        if here {
            return Some(stmt);
        }
        if let Stmt::For { body, .. } | Stmt::If { body, .. } = stmt
            && let Some(found) = place(body, over, rows)
        {
            return Some(found);
        }
    }
    None
}
