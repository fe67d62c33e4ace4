//! `search` and `resume`.
use crate::args::{ResumeArgs, SearchArgs};
use crate::exit::{Exit, Failure, fail};
/// Runs `search`.
pub fn search(_args: &SearchArgs, _quiet: bool) -> Result<(), Failure> {
    Err(fail(Exit::Internal, "todo"))
}
/// Runs `resume`.
pub fn resume(_args: &ResumeArgs, _quiet: bool) -> Result<(), Failure> {
    Err(fail(Exit::Internal, "todo"))
}
