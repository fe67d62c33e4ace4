//! Standard error: lines that stay and, at a terminal, one line below them that changes.
//!
//! Colours and the changing line are for terminals only. `TERM=dumb` turns both off, `NO_COLOR` the colours. Without colours no
//! escape code is written at all. Text that cannot be written is lost: there is no other place to complain.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// How many characters of the changing line are on the screen.
static SHOWN: Mutex<usize> = Mutex::new(0);

/// What a label means, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The command failed.
    Error,
    /// The command goes on, but something may not be as expected.
    Warning,
    /// For information only.
    Note,
}

/// Whether standard error is a terminal that can move its cursor.
pub fn is_live() -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    std::io::stderr().is_terminal() && !term.is_empty() && term != "dumb"
}

/// Whether standard error takes colours.
pub fn has_colour() -> bool {
    // <https://no-color.org>: an empty value means nothing.
    is_live() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal at standard error, or 80.
pub fn columns() -> usize {
    super::columns(std::io::stderr()).unwrap_or(COLUMNS)
}

/// A word such as `error`, in its colour where there are colours.
pub fn label(kind: Label, word: &str) -> String {
    let code = match kind {
        Label::Error => "1;31",
        Label::Warning => "33",
        Label::Note => "2",
    };
    if has_colour() { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_string() }
}

/// Writes a line that stays.
pub fn say(text: impl fmt::Display) {
    write(&format!("{text}\n"));
}

/// Writes a line that begins with `warning:`.
pub fn warn(text: impl fmt::Display) {
    say(format_args!("{}: {text}", label(Label::Warning, "warning")));
}

/// Writes whole lines that stay.
pub fn write(lines: &str) {
    let mut shown = shown();
    put(&format!("{}{lines}", erased(*shown)));
    *shown = 0;
}

/// Shows a text in the line that changes, cut to the width of the terminal. Elsewhere than at a terminal nothing is written.
pub fn show(text: &str) {
    if !is_live() {
        return;
    }
    let mut shown = shown();
    let line = fitted(text, columns());
    let length = line.chars().count();
    put(&format!("\r{line}{}", " ".repeat(shown.saturating_sub(length))));
    *shown = (*shown).max(length);
}

/// Leaves the line that changes: what is written next begins a new line.
pub fn leave() {
    let mut shown = shown();
    if *shown > 0 {
        put("\n");
        *shown = 0;
    }
}

fn shown() -> std::sync::MutexGuard<'static, usize> {
    SHOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn put(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// What removes so many characters of the changing line.
fn erased(shown: usize) -> String {
    if shown == 0 { String::new() } else { format!("\r{}\r", " ".repeat(shown)) }
}

/// A text in fewer than so many columns: a character in the last one would move the cursor to the next line.
fn fitted(text: &str, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    if text.chars().count() <= room {
        return text.to_string();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_leave_the_last_column_free() {
        assert_eq!(fitted("12345", 6), "12345");
        assert_eq!(fitted("123456", 6), "1234…");
        assert_eq!(fitted("µs → ×", 7), "µs → ×");
        assert_eq!(fitted("abc def", 6), "abc…");
        assert_eq!(fitted("abc", 1), "…");
    }
}
