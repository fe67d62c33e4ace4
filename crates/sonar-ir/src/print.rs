//! Text of loop programs, tiles and schedules, by `Display`.
//!
//! Schedules also parse back. Loop programs and tiles are only printed, for people and as keys: see
//! [`Program::canonical_text`](crate::loops::Program::canonical_text).

mod loops;
mod schedule;
mod tile;

use std::cell::Cell;
use std::fmt::{self, Formatter};

pub(crate) use loops::access;
pub use schedule::ParseScheduleError;

/// Comments for the lines that open loops and tiles, in printing order.
struct Notes<'a> {
    texts: &'a [String],
    next: Cell<usize>,
}

/// The column at which comments start, in characters.
const COMMENTS: usize = 36;

/// Writes a line that opens a loop or a tile, with the next comment if there is one. `written` characters of the line are already
/// printed.
fn opening(f: &mut Formatter<'_>, written: usize, line: &str, notes: Option<&Notes<'_>>) -> fmt::Result {
    let note = notes.and_then(|notes| notes.texts.get(notes.next.replace(notes.next.get() + 1)));
    match note.filter(|note| !note.is_empty()) {
        Some(note) => writeln!(f, "{line:<width$}  // {note}", width = COMMENTS.saturating_sub(written)),
        None => writeln!(f, "{line}"),
    }
}
