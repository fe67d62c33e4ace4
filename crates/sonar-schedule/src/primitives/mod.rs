//! The steps of schedules. Each step turns a program into an equivalent one, or refuses.
//!
//! There is one file for each primitive. Each documents `before --> after` and when it is legal.

mod compute_at;
mod fuse;
mod pack;
mod parallel;
mod reorder;
mod split;
mod tensorize;
mod tensorize_across;
mod unroll;
mod winograd;

pub use compute_at::compute_at;
pub use fuse::fuse;
pub(crate) use fuse::fuse_into;
pub use pack::pack;
pub use parallel::parallel;
pub use reorder::reorder;
pub use split::split;
pub use tensorize::tensorize;
pub use tensorize_across::tensorize_across;
pub use unroll::unroll;
pub use winograd::winograd;
pub(crate) use winograd::{PART, STRIP, filterable};

use sonar_ir::loops::{Affine, BufId, BufferKind, Program, Stmt, Var};
use sonar_ir::schedule::{Schedule, Step};

use crate::error::ScheduleError;
use crate::loops::build::fresh_var;
use crate::loops::visit;

/// Replays a schedule on an unscheduled program, for a target with vectors of `lanes` elements.
pub fn apply(program: &Program, schedule: &Schedule, lanes: usize) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    for step in &schedule.steps {
        program = apply_step(&program, step, lanes)?;
    }
    Ok(program)
}

/// One step of a schedule.
pub fn apply_step(program: &Program, step: &Step, lanes: usize) -> Result<Program, ScheduleError> {
    match step {
        Step::Split { r#loop, factor } => split(program, r#loop, *factor),
        Step::Fuse { outer, inner } => fuse(program, outer, inner),
        Step::Reorder { loops } => reorder(program, loops),
        Step::Parallel { r#loop } => parallel(program, r#loop),
        Step::Unroll { r#loop } => unroll(program, r#loop),
        Step::ComputeAt { buffer, r#loop } => compute_at(program, buffer, r#loop),
        Step::Pack { buffer, width } => pack(program, buffer, *width),
        Step::Winograd { tile, rows, width, parts } => winograd(program, [*tile, *rows, *width, *parts]),
        Step::TensorizeAcross { rows, over, mr, unroll } => tensorize_across(program, rows, over, [*mr, *unroll], lanes),
        Step::Tensorize { rows, cols, mr, nv, unroll } => tensorize(program, rows, cols, [*mr, *nv, *unroll], lanes),
    }
}

/// The variable of the loop with this name in the body.
pub(crate) fn find(program: &Program, name: &str) -> Result<Var, ScheduleError> {
    let mut found = None;
    visit::loops(&program.body, &mut |var, _| {
        if program.vars[var] == name {
            found = Some(var);
        }
    });
    found.ok_or_else(|| ScheduleError::NoLoop(name.to_owned()))
}

/// The buffer with this name. It must have this kind.
fn buffer_named(program: &Program, name: &str, kind: BufferKind, wanted: &'static str) -> Result<BufId, ScheduleError> {
    let position = program.buffers.iter().position(|buffer| buffer.name == name && buffer.kind == kind);
    position.map(|i| BufId(i as u32)).ok_or_else(|| ScheduleError::NoBuffer { name: name.to_owned(), wanted })
}

/// Gives every loop in these statements, which are a copy, a new variable. Names get a suffix.
fn rename_below(program: &mut Program, stmts: &mut [Stmt], suffix: &str) {
    for stmt in stmts {
        match stmt {
            Stmt::For { var, body, .. } => {
                let old = *var;
                *var = renamed(program, old, suffix);
                visit::substitute(body, old, &Affine::var(*var, 1));
                rename_below(program, body, suffix);
            }
            Stmt::If { body, .. } => rename_below(program, body, suffix),
            Stmt::Reduce(reduce) => {
                for update in &mut reduce.updates {
                    for (var, _) in &mut update.loops {
                        let old = *var;
                        *var = renamed(program, old, suffix);
                        let by = Affine::var(*var, 1);
                        let mut probe = [Stmt::Store {
                            target: crate::loops::build::at(BufId(0), Affine::default()),
                            value: update.value.clone(),
                        }];
                        visit::substitute(&mut probe, old, &by);
                        let [Stmt::Store { value, .. }] = probe else { continue };
                        update.value = value;
                    }
                }
            }
            Stmt::Store { .. } | Stmt::Call { .. } => {}
        }
    }
}

fn renamed(program: &mut Program, var: Var, suffix: &str) -> Var {
    let name = format!("{}{suffix}", program.vars[var]);
    fresh_var(program, &name)
}

/// The greatest common divisor of two non-negative numbers.
fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
