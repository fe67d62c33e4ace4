//! The log on standard error: a label and a message, in the same format as all other lines.

use super::stderr::{self, Label, label};
use crate::exit::{Exit, Failure, fail};
use std::fmt;
use std::io::Write;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable with the filter of the log, in the syntax of `tracing`.
const FILTER: &str = "SONAR_LOG";

/// Starts the log: warnings, and more with each `-v`. `SONAR_LOG` takes filters such as `sonar_tune=debug`.
pub fn begin(verbose: u8, quiet: bool) -> Result<(), Failure> {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    let filter = match std::env::var(FILTER) {
        Ok(text) if !text.trim().is_empty() => text
            .parse::<Targets>()
            .map_err(|error| fail(Exit::Usage, format!("{FILTER}={text}: {error}; expected a filter such as `info`")))?,
        _ => Targets::new().with_default(level),
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(Lines).with_writer(Stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// `warning: text`. Messages for developers also name their module.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        match *metadata.level() {
            Level::ERROR => write!(writer, "{}: ", label(Label::Error, "error"))?,
            Level::WARN => write!(writer, "{}: ", label(Label::Warning, "warning"))?,
            Level::INFO => write!(writer, "{}: ", label(Label::Note, "info"))?,
            _ => write!(writer, "{}: {}: ", label(Label::Note, "debug"), metadata.target())?,
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Standard error, through [`stderr::write`].
#[derive(Clone, Copy)]
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        stderr::write(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        *self
    }
}
