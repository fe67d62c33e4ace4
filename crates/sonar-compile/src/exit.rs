//! Exit codes of errors.

use crate::terminal::stderr::{self, Label, label};
use miette::MietteHandlerOpts;
use std::fmt;

/// How a command ends, as a process exit code. Scripts rely on these numbers: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A bug of this program.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file is missing, malformed, or asks for something that is not supported.
    BadInput = 3,
    /// No candidate could be trained, compiled and measured.
    NoCandidate = 4,
    /// Compiled code and the reference disagree.
    Mismatch = 5,
    /// The budget ran out before there was a result.
    Budget = 6,
    /// Stopped by the user or the system, after saving.
    Interrupted = 130,
}

/// An error with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// The message, with a piece of source text if there is one.
    pub report: Report,
}

/// The message for an error.
#[derive(Debug)]
pub enum Report {
    /// A message with its chain of causes.
    Plain(anyhow::Error),
    /// An error that points into a source text.
    Source(Box<miette::Report>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.report {
            Report::Plain(error) => write!(f, "{}: {}", label(Label::Error, "error"), chain(error)),
            Report::Source(report) => write!(f, "{report:?}"),
        }
    }
}

/// Prints errors with source text in the width of the terminal, and in colour if it supports colours.
pub fn set_look() {
    let (colour, columns) = (stderr::has_colour(), stderr::columns());
    // The hook can be set only once, and this is the only place.
    let _ = miette::set_hook(Box::new(move |_| {
        let options = MietteHandlerOpts::new().color(colour).unicode(true).terminal_links(false).width(columns);
        Box::new(options.build())
    }));
}

/// A message and its causes. A cause is left out if the message before it already ends with it.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => said.to_string(),
        said => format!("{said}: {cause}"),
    })
}

/// Attaches an exit code to an error.
pub trait OrExit<T> {
    /// The value, or a failure with this code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, report: Report::Plain(error.into()) })
    }
}

/// A failure from a message.
pub fn fail(exit: Exit, message: impl fmt::Display) -> Failure {
    Failure { exit, report: Report::Plain(anyhow::anyhow!("{message}")) }
}
