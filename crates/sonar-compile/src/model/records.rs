//! The tuning records: where they are, and what happens if they cannot be used.

use super::failure::{advice, records_failure, tune_failure};
use crate::exit::{Exit, Failure, fail};
use sonar_measure::{MeasureError, Records};
use sonar_tune::TuneError;
use std::path::{Path, PathBuf};

/// The records of a file, or those of this machine. `None` if there are none and `create` is false.
pub fn open_records(path: Option<&Path>, create: bool) -> Result<Option<Records>, Failure> {
    if path.is_none() && default_records().is_none() && create {
        return Err(fail(Exit::Usage, "there is no home directory for the records: name a file with --records"));
    }
    open(path, create)?.map_err(records_failure)
}

/// Does some work with the recorded schedules, if there are records.
///
/// A file that the user named must be usable. The records of this machine are optional: if they are locked, damaged or do not
/// fit, a warning is printed and the work is done without them.
pub fn with_records<T>(path: Option<&Path>, work: impl Fn(Option<&Records>) -> Result<T, TuneError>) -> Result<T, Failure> {
    let records = match open(path, false)? {
        Ok(records) => records,
        Err(error) if path.is_some() => return Err(records_failure(error)),
        Err(error) => {
            warn(advice(&error));
            None
        }
    };
    match work(records.as_ref()) {
        Err(error) if path.is_none() && records.is_some() && is_of_records(&error) => {
            warn(match &error {
                TuneError::Measure(error) => advice(error),
                error => format!("a record does not fit: {error}"),
            });
            work(None).map_err(tune_failure)
        }
        result => result.map_err(tune_failure),
    }
}

fn warn(advice: String) {
    tracing::warn!("{advice}; without records, kernels get the schedules that are estimated to be the best");
}

/// Whether the records may have caused an error.
fn is_of_records(error: &TuneError) -> bool {
    matches!(error, TuneError::Measure(_) | TuneError::Misfit(_) | TuneError::Schedule(_))
}

fn open(path: Option<&Path>, create: bool) -> Result<Result<Option<Records>, MeasureError>, Failure> {
    let Some(path) = path.map(Path::to_path_buf).or_else(default_records) else { return Ok(Ok(None)) };
    if !path.exists() {
        if !create {
            return Ok(Ok(None));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| fail(Exit::BadInput, format!("cannot create {} for the records: {error}", parent.display())))?;
        }
    }
    Ok(Records::open(&path).map(Some))
}

/// One file per machine and user, in the location of the XDG base directory specification.
fn default_records() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    Some(data.join("sonar").join("records.db"))
}
