//! Changes the order of perfectly nested loops.

use sonar_ir::loops::{LoopKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::loops::visit;
use crate::primitives::find;

/// Puts perfectly nested loops into another order.
///
/// ```text
/// for a { for b { for c { … } } }   -->   for c { for a { for b { … } } }        with loops = [c, a, b]
/// ```
///
/// Legal if the loops are directly nested in each other and none of them is parallel. The body must be one reduction or one
/// store, or each element must be written before it is read in the same iteration: then iterations may run in any order.
pub fn reorder(program: &Program, names: &[String]) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let wanted = names.iter().map(|name| find(&program, name)).collect::<Result<Vec<Var>, _>>()?;
    let Some(outermost) = outermost(&program.body, &wanted) else {
        return Err(ScheduleError::NoLoop(String::new()));
    };
    let taken = visit::at_loop(&mut program.body, outermost, &mut |stmts, i| take_nest(&mut stmts[i], &wanted));
    let Some(Some((found, body))) = taken else {
        let name = |i: usize| names.get(i).cloned().unwrap_or_default();
        return Err(ScheduleError::NotPerfect { outer: name(0), inner: name(1) });
    };
    if !matches!(body.as_slice(), [Stmt::Store { .. } | Stmt::Reduce(_) | Stmt::For { .. }]) {
        let reason = "the body is more than one store or reduction".to_owned();
        return Err(ScheduleError::Illegal { step: "reorder", name: names.join(", "), reason });
    }
    let extent = |var: Var| found.iter().find(|(v, _)| *v == var).map_or(1, |f| f.1);
    let nest = crate::loops::build::nest(&wanted.iter().map(|&v| (v, extent(v))).collect::<Vec<_>>(), body);
    let mut nest = Some(nest);
    visit::at_loop(&mut program.body, outermost, &mut |stmts, i| {
        stmts.splice(i..=i, nest.take().unwrap_or_default()).for_each(drop);
    });
    Ok(program)
}

/// The outermost of the loops.
fn outermost(stmts: &[Stmt], wanted: &[Var]) -> Option<Var> {
    let mut first = None;
    visit::loops(stmts, &mut |var, _| {
        if first.is_none() && wanted.contains(&var) {
            first = Some(var);
        }
    });
    first
}

/// The loops of a perfect nest, if it consists of exactly the wanted ones, and the body. The outermost loop stays, without
/// body.
#[allow(clippy::type_complexity)]
fn take_nest(stmt: &mut Stmt, wanted: &[Var]) -> Option<(Vec<(Var, usize)>, Vec<Stmt>)> {
    let mut found = Vec::new();
    let mut here = &*stmt;
    while let Stmt::For { var, extent, kind, body } = here {
        if !wanted.contains(var) || *kind != LoopKind::Serial {
            break;
        }
        found.push((*var, *extent));
        if found.len() == wanted.len() {
            return Some((found, body.clone()));
        }
        let [only] = body.as_slice() else { return None };
        here = only;
    }
    None
}
