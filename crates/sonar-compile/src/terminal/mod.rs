//! Terminal output: results on standard output; errors, warnings and progress on standard error.

pub mod ask;
pub mod interrupt;
pub mod log;
pub mod output;
pub mod progress;
pub mod side_by_side;
pub mod stderr;
pub mod table;

use std::os::fd::AsFd;

/// Width of the terminal of a stream in columns: as the terminal reports it, or else from the environment variable `COLUMNS`.
fn columns(stream: impl AsFd) -> Option<usize> {
    let asked = rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0);
    asked.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok().filter(|&columns| columns > 0))
}
