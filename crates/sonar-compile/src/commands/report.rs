//! `report`.
use crate::args::ReportArgs;
use crate::exit::{Exit, Failure, fail};
/// Runs the subcommand.
pub fn report(_args: &ReportArgs) -> Result<(), Failure> {
    Err(fail(Exit::Internal, "todo"))
}
