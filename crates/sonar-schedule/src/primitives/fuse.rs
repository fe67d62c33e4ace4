//! Fuses two perfectly nested loops.

use sonar_ir::loops::{LoopKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::loops::build::fresh_var;
use crate::loops::visit;
use crate::primitives::find;

/// Makes one loop of two.
///
/// ```text
/// for y in 0..H { for x in 0..W { … } }   -->   for y_x in 0..H·W { … }
/// ```
///
/// Legal if `x` is the only statement in `y`, both have the same kind, and in every address and bound the coefficient of `y` is
/// `W` times that of `x`, so that the address stays affine.
pub fn fuse(program: &Program, outer: &str, inner: &str) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let (y, x) = (find(&program, outer)?, find(&program, inner)?);
    let name = format!("{outer}_{inner}");
    fuse_into(&mut program, y, x, &name)?;
    Ok(program)
}

/// [`fuse`] in place. The new loop gets `name`. After an error, the program is unchanged.
pub(crate) fn fuse_into(program: &mut Program, y: Var, x: Var, name: &str) -> Result<Var, ScheduleError> {
    let names = |v: Var| program.vars[v].clone();
    let (outer, inner) = (names(y), names(x));
    let mut probe = program.body.clone();
    let checked = visit::at_loop(&mut probe, y, &mut |stmts, i| fusable(&mut stmts[i], x));
    match checked {
        None => return Err(ScheduleError::NoLoop(outer)),
        Some(None) => return Err(ScheduleError::NotPerfect { outer, inner }),
        Some(Some(false)) => return Err(ScheduleError::NotAffine { outer, inner }),
        Some(Some(true)) => {}
    }
    let fused = fresh_var(program, name);
    visit::at_loop(&mut program.body, y, &mut |stmts, i| {
        if let Stmt::For { var, extent: h, body, .. } = &mut stmts[i] {
            let Some(Stmt::For { extent: w, body: inside, .. }) = body.pop() else { return };
            *var = fused;
            *h *= w;
            *body = inside;
            visit::affines_mut(body, &mut |affine| {
                let coefficient = affine.coefficient(x);
                *affine = std::mem::take(affine).plus(y, -affine_coefficient(w, coefficient)).plus(x, -coefficient);
                *affine = std::mem::take(affine).plus(fused, coefficient);
            });
        }
    });
    Ok(fused)
}

fn affine_coefficient(extent: usize, coefficient: i64) -> i64 {
    extent as i64 * coefficient
}

/// `None` if `x` is not the only statement of the loop; otherwise whether every affine expression allows fusing.
fn fusable(stmt: &mut Stmt, x: Var) -> Option<bool> {
    let Stmt::For { var: y, kind: outer_kind, body, .. } = stmt else { return None };
    let y = *y;
    let [Stmt::For { var, extent, kind, body }] = body.as_mut_slice() else { return None };
    if *var != x || kind != outer_kind || *kind == LoopKind::Unrolled {
        return None;
    }
    let w = *extent as i64;
    let mut affine = true;
    visit::affines_mut(body, &mut |a| affine &= a.coefficient(y) == w * a.coefficient(x));
    Some(affine)
}
