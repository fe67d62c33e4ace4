//! Which exit code an error of tuning or of the records gives, and what is said of it.

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

/// A failure of the records, with what to do about it.
pub fn records_failure(error: MeasureError) -> Failure {
    fail(Exit::BadInput, advice(&error))
}

/// What is wrong with the records, and what to do.
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
