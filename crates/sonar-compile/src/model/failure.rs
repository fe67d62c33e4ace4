//! Exit codes and messages for errors of tuning and of the records.

use crate::exit::{Exit, Failure, OrExit, fail};
use sonar_codegen::CodegenError;
use sonar_measure::MeasureError;
use sonar_tune::TuneError;

/// The exit code of a failed compilation.
pub fn tune_failure(error: TuneError) -> Failure {
    let exit = match &error {
        TuneError::Verify { pass: "specialise", .. }
        | TuneError::Lower(_)
        | TuneError::Codegen(
            CodegenError::UnknownTarget(..) | CodegenError::TooLarge { .. } | CodegenError::UnsupportedLanes { .. },
        ) => Exit::BadInput,
        TuneError::Measure(_) | TuneError::Misfit(_) => Exit::BadInput,
        TuneError::NoSchedule(_) => Exit::NoCandidate,
        TuneError::Interrupted => Exit::Interrupted,
        _ => Exit::Internal,
    };
    match error {
        TuneError::Measure(error) => records_failure(error),
        error => Err::<(), _>(error).or_exit(exit).expect_err("an error stays one"),
    }
}

/// An error of the records, with advice.
pub fn records_failure(error: MeasureError) -> Failure {
    fail(Exit::BadInput, advice(&error))
}

/// The problem of the records, with advice.
pub fn advice(error: &MeasureError) -> String {
    match error {
        MeasureError::Corrupt { .. } | MeasureError::Unreadable { .. } => {
            format!("{error}; `sonar-compile db recover` saves what can be read of it")
        }
        MeasureError::Locked { .. } => {
            format!("{error}; wait until it ends, or name another file with --records")
        }
        MeasureError::Version { .. } => format!("{error}; name another file with --records"),
        error => error.to_string(),
    }
}
