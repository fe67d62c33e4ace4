//! Errors of searches and of evaluations.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a search ends without a result.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The configuration is impossible.
    #[error("{0}")]
    Config(String),
    /// Another process uses the run.
    #[error("{} is in use by another process; wait for it, or choose another directory", .0.display())]
    Locked(PathBuf),
    /// The run was started with other settings, and a run cannot change its settings.
    #[error(
        "{} holds a search with other settings: {}. A search can be given a longer `time` and more `candidates`; for other \
         changes, start over with --fresh, or choose another directory with --out",
        path.display(), changes.join(", ")
    )]
    ConfigChanged {
        /// The run directory.
        path: PathBuf,
        /// Each key that differs, with both values.
        changes: Vec<String>,
    },
    /// The run was written by another version of this program.
    #[error(
        "{} was written by another version of Sonar: it has format {found}, this version reads format {expected}. Use that \
         version, or start over with --fresh",
        path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        found: i64,
        /// The version of the format that this program reads.
        expected: i64,
    },
    /// There is no space left to write the run.
    #[error("no space left to write {}", .0.display())]
    DiskFull(PathBuf),
    /// The run cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    NotWritable {
        /// The file to write.
        path: PathBuf,
        /// The reason that the system gives.
        reason: String,
    },
    /// The files of the run are damaged.
    #[error("{} cannot be read: {reason}; start over with --fresh", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The description of the architecture space is wrong.
    #[error(transparent)]
    Space(#[from] sonar_ir::text::Error),
    /// The data set cannot be used.
    #[error(transparent)]
    Data(#[from] sonar_train::TrainError),
    /// Measuring failed.
    #[error(transparent)]
    Measure(#[from] sonar_measure::MeasureError),
    /// The compiler does not support the target.
    #[error(transparent)]
    Target(#[from] sonar_tune::TuneError),
    /// Nothing can be evaluated any more, for a reason outside the program: files, data, or the machine.
    #[error("{0}")]
    Evaluator(String),
    /// The search contradicts itself: a bug of this program.
    #[error("internal error: {0}")]
    Internal(String),
    /// Every candidate failed, or none meets the latency limit.
    #[error("no valid candidate: {0}")]
    NoCandidate(String),
    /// The time limit ended before any candidate was trained and timed.
    #[error(
        "the time ended before any candidate was trained and timed{}",
        needed.map_or(String::new(), |s| format!(": the shortest useful search takes about {s:.0} s here. Give a longer --time to go on"))
    )]
    TimeTooShort {
        /// Approximate seconds of the shortest search that gives a result.
        needed: Option<f64>,
    },
    /// The caller asked to stop; the run can be resumed.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl SearchError {
    /// An error of the file system at a path.
    pub fn io(path: &Path, error: &std::io::Error) -> SearchError {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => SearchError::DiskFull(path.to_path_buf()),
            _ => SearchError::NotWritable { path: path.to_path_buf(), reason: error.to_string() },
        }
    }

    /// An error of a database at a path.
    pub fn database(path: &Path, error: &rusqlite::Error) -> SearchError {
        use rusqlite::ErrorCode;
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => SearchError::DiskFull(path),
            // SQLite's error code if there is no space for the index of the write-ahead log.
            _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                SearchError::DiskFull(path)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SearchError::Locked(path),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
                SearchError::NotWritable { path, reason: error.to_string() }
            }
            _ => SearchError::Corrupt { path, reason: error.to_string() },
        }
    }
}

/// Why an evaluation failed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EvaluateError {
    /// The candidate cannot be evaluated. The search continues without it.
    #[error("{0}")]
    Candidate(String),
    /// Nothing can be evaluated any more. The search ends.
    #[error("{0}")]
    Fatal(String),
}
