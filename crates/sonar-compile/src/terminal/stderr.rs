//! Standard error: permanent lines and, at a terminal, one line below them that changes.
//!
//! Colours and the changing line are only used at terminals. `TERM=dumb` turns both off, `NO_COLOR` turns colours off. Without
//! colours, no escape code is written. If writing fails, the text is lost, because an error could not be shown either.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

/// Width of a terminal that does not report its width.
const COLUMNS: usize = 80;

/// How many characters of the changing line are on the screen.
static SHOWN: Mutex<usize> = Mutex::new(0);

/// The meaning of a label, which determines its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The command failed.
    Error,
    /// The command continues, but something may be wrong.
    Warning,
    /// For information only.
    Note,
}

/// Whether standard error is a terminal that can move its cursor.
pub fn is_live() -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    std::io::stderr().is_terminal() && !term.is_empty() && term != "dumb"
}

/// Whether standard error supports colours.
pub fn has_colour() -> bool {
    // <https://no-color.org>: an empty value counts as unset.
    is_live() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Width of the terminal at standard error, or 80.
pub fn columns() -> usize {
    super::columns(std::io::stderr()).unwrap_or(COLUMNS)
}

/// A word such as `error`, coloured if colours are supported.
pub fn label(kind: Label, word: &str) -> String {
    let code = match kind {
        Label::Error => "1;31",
        Label::Warning => "33",
        Label::Note => "2",
    };
    if has_colour() { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_string() }
}

/// Writes a permanent line.
pub fn say(text: impl fmt::Display) {
    write(&format!("{text}\n"));
}

/// Writes a line that begins with `warning:`.
pub fn warn(text: impl fmt::Display) {
    say(format_args!("{}: {text}", label(Label::Warning, "warning")));
}

/// Writes whole permanent lines.
pub fn write(lines: &str) {
    let mut shown = shown();
    put(&format!("{}{lines}", erased(*shown)));
    *shown = 0;
}

/// Shows a text in the changing line, cut to the width of the terminal. Writes nothing if there is no terminal.
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

/// Ends the changing line. The next output begins a new line.
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

/// The text that erases this many characters of the changing line.
fn erased(shown: usize) -> String {
    if shown == 0 { String::new() } else { format!("\r{}\r", " ".repeat(shown)) }
}

/// A text shorter than `columns`: a character in the last column would move the cursor to the next line.
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
