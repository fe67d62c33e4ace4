//! The steps of schedules: each takes a program and gives another with the same meaning, or refuses.
//!
//! One file for each primitive; each documents `before --> after` and when it is legal.

mod fuse;

pub use fuse::fuse;
pub(crate) use fuse::fuse_into;

use sonar_ir::loops::{Program, Var};

use crate::error::ScheduleError;
use crate::walk;

/// The variable of the loop with this name in the body.
pub(crate) fn find(program: &Program, name: &str) -> Result<Var, ScheduleError> {
    let mut found = None;
    walk::loops(&program.body, &mut |var, _| {
        if program.vars[var.0 as usize] == name {
            found = Some(var);
        }
    });
    found.ok_or_else(|| ScheduleError::NoLoop(name.to_owned()))
}
