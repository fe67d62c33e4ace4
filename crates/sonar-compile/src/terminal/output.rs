//! Standard output, and files named on the command line. If the reader closes the pipe, as `head` does, the process ends
//! without a message. `print!` would panic, so it is not used.

use super::stderr::{self, Label, label};
use crate::exit::{Exit, Failure, fail};
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes a file.
pub fn save(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    std::fs::write(path, content).map_err(|e| fail(Exit::BadInput, format!("cannot write {}: {e}", path.display())))
}

/// Writes text to standard output, or ends the process if that is not possible.
pub fn write(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            stderr::say(format_args!("{}: cannot write to standard output: {error}", label(Label::Error, "error")));
            std::process::exit(Exit::BadInput as i32);
        }
    }
}

/// `print!` without panics.
macro_rules! out {
    ($($text:tt)*) => { $crate::terminal::output::write(format_args!($($text)*)) };
}

/// `println!` without panics.
macro_rules! outln {
    ($($text:tt)*) => { $crate::terminal::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {out, outln};
