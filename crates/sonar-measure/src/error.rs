//! Errors of measuring itself. If a candidate fails, that is not an error but an [`Outcome`](crate::Outcome).

use std::path::PathBuf;

/// Why something could not be measured or recorded.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Another process held the records for longer than the waiting time.
    #[error("the records {} are locked by another process", path.display())]
    Locked {
        /// The file of the records.
        path: PathBuf,
    },
    /// The file is damaged, or it is not a record file.
    #[error("{} is damaged or holds no records: {reason}", path.display())]
    Corrupt {
        /// The file of the records.
        path: PathBuf,
        /// What SQLite reports, or what is missing.
        reason: String,
    },
    /// A record is undamaged, but this program does not understand it.
    #[error("row {row} of the {table} in {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file of the records.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The row of the table.
        row: i64,
        /// The part that is not understood.
        reason: String,
    },
    /// The records were written by a newer version of this program.
    #[error("the records {} have schema version {found}, and this program knows versions up to {known}", path.display())]
    Version {
        /// The file of the records.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The latest version that this program supports.
        known: i64,
    },
    /// The disk is full, or the file must not grow.
    #[error("no space is left to write the records {}", path.display())]
    Full {
        /// The file of the records.
        path: PathBuf,
    },
    /// Any other database error: the file cannot be opened, read, or written.
    #[error("the records {}: {source}", path.display())]
    Sqlite {
        /// The file of the records.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// A line of an import is not a record.
    #[error("line {line} is no record: {source}")]
    Import {
        /// Number of the line, from 1.
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
        /// The error of the system.
        source: std::io::Error,
    },
    /// The worker's answer does not follow the protocol.
    #[error("the worker {} does not speak the protocol: {reason}", path.display())]
    Protocol {
        /// The executable.
        path: PathBuf,
        /// Its answer.
        reason: String,
    },
}
