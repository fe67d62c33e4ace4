//! Errors in a text: what is wrong, where, and what was expected.

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use std::fmt;
use std::ops::Range;

/// Byte range of a text.
pub type Span = Range<usize>;

/// An error in a text. [`miette`] renders it with the source line; as a message it has line and column only.
#[derive(Clone, Debug)]
pub struct Error(Box<Report>);

#[derive(Clone, Debug)]
struct Report {
    fault: Fault,
    text: String,
    source: NamedSource<String>,
}

/// An error without its text.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Of the form `expected X, found Y` where that makes sense.
    pub message: String,
    /// Where, with a short remark: first the fault itself, then the calls that led to it, innermost first.
    pub labels: Vec<(Span, String)>,
    /// How to correct it.
    pub help: Option<String>,
}

/// The most call sites shown under an error.
const MAX_LABELS: usize = 4;

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Fault { message: message.into(), labels: vec![(span, "here".into())], help: None }
    }

    /// `expected X, found Y`, with Y underlined.
    pub(crate) fn expected(span: Span, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Fault {
            message: format!("expected {expected}, found {found}"),
            labels: vec![(span, format!("expected {expected}"))],
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn called_from(mut self, span: Span) -> Self {
        if self.labels.len() < MAX_LABELS {
            self.labels.push((span, "in this call".into()));
        }
        self
    }

    pub(crate) fn in_text(self, text: &str) -> Error {
        let source = NamedSource::new("input", text.to_string());
        Error(Box::new(Report { fault: self, text: text.to_string(), source }))
    }
}

impl Error {
    /// The same error, shown with this file name.
    pub fn in_file(mut self, name: impl AsRef<str>) -> Self {
        self.0.source = NamedSource::new(name, self.0.text.clone());
        self
    }

    /// Where the fault begins, as bytes of the text.
    pub fn span(&self) -> Span {
        self.0.fault.labels.first().map_or(0..0, |(span, _)| span.clone())
    }

    /// Line and column of the fault, both from 1; a column is a character.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.0.text.get(..self.span().start).unwrap_or(&self.0.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.fault.message)
    }
}

impl std::error::Error for Error {}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.0.fault.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = &self.0.fault.labels;
        Some(Box::new(labels.iter().map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), span.clone()))))
    }
}

/// The name in `known` that is closest to `name`, if it is close enough for a typing mistake.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + name.chars().count() / 4;
    let best = known.into_iter().map(|k| (edit_distance(name, k), k)).min()?;
    (best.0 <= limit).then_some(best.1)
}

/// Number of insertions, deletions and substitutions between two words; only their first 64 characters count.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
