//! Exit codes, and which error gives which.

use crate::terminal::stderr::{self, Label, label};
use miette::MietteHandlerOpts;
use std::fmt;

/// How a command ends, as a process exit code. Scripts rely on these numbers: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Our own fault.
    Internal = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A file is missing, malformed, or asks for something that is not supported.
    BadInput = 3,
    /// No candidate could be trained, compiled and measured.
    NoCandidate = 4,
    /// Compiled code and the reference disagree.
    Mismatch = 5,
    /// The budget ended before there was a result.
    Budget = 6,
    /// Stopped from outside, after saving.
    Interrupted = 130,
}

/// An error with the exit code it stands for.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What to print; a diagnostic with source text where there is one.
    pub report: Report,
}

/// What is printed for an error.
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

/// Errors that point into a source text are drawn in the width of the terminal, and in colours if it has any.
pub fn set_look() {
    let (colour, columns) = (stderr::has_colour(), stderr::columns());
    // It can be set once, which is here.
    let _ = miette::set_hook(Box::new(move |_| {
        let options = MietteHandlerOpts::new().color(colour).unicode(true).terminal_links(false).width(columns);
        Box::new(options.build())
    }));
}

/// A message and its causes, but for those that the message before them already ends with.
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
