//! What can go wrong with measuring itself. A candidate that fails is no error but an [`Outcome`](crate::Outcome).

use std::path::PathBuf;

/// Why something could not be measured or recorded.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Another process holds the records for longer than the time that we wait.
    #[error("the records {} are locked by another process", path.display())]
    Locked {
        /// Of the records.
        path: PathBuf,
    },
    /// The file is damaged, or something else than records.
    #[error("{} is damaged or holds no records: {reason}", path.display())]
    Corrupt {
        /// Of the records.
        path: PathBuf,
        /// What SQLite says, or what is missing.
        reason: String,
    },
    /// A record is as it was written, but this program does not know what it says.
    #[error("row {row} of the {table} in {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// Of the records.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The row of the table.
        row: i64,
        /// What is unknown.
        reason: String,
    },
    /// The records were written by a newer version of this program.
    #[error("the records {} have schema version {found}, and this program knows versions up to {known}", path.display())]
    Version {
        /// Of the records.
        path: PathBuf,
        /// Of the file.
        found: i64,
        /// Of this program.
        known: i64,
    },
    /// The disk is full, or the file may not grow.
    #[error("no space is left to write the records {}", path.display())]
    Full {
        /// Of the records.
        path: PathBuf,
    },
    /// Another failure of the data base: it cannot be opened, or read, or written.
    #[error("the records {}: {source}", path.display())]
    Sqlite {
        /// Of the records.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A line of an import is no record.
    #[error("line {line} is no record: {source}")]
    Import {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Reading an import or writing an export failed.
    #[error("reading or writing records: {0}")]
    Io(#[from] std::io::Error),
    /// The worker process could not be started.
    #[error("the worker {} does not start: {source}", path.display())]
    Spawn {
        /// The executable.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The worker answers what is no answer.
    #[error("the worker {} does not speak the protocol: {reason}", path.display())]
    Protocol {
        /// The executable.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}
