//! Errors on the way from a graph to a tuned model.

use crate::schedules::Failures;
use sonar_codegen::CodegenError;
use sonar_ir::graph::fold::FoldError;
use sonar_ir::verify::VerifyError;
use sonar_measure::MeasureError;
use sonar_rewrite::RewriteError;
use sonar_schedule::{LowerError, ScheduleError};
use std::path::PathBuf;

/// Why a graph was not compiled or tuned.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// An invariant does not hold after a pass. After the first pass, the input is wrong. After any other pass, it is a bug of
    /// this program.
    #[error("after `{pass}`: {source}")]
    Verify {
        /// The pass.
        pass: &'static str,
        /// The invariant that does not hold.
        source: VerifyError,
    },
    /// Rewriting failed.
    #[error("rewriting: {0}")]
    Rewrite(#[from] RewriteError),
    /// The graph has no loop program.
    #[error("lowering: {0}")]
    Lower(#[from] LowerError),
    /// A schedule does not fit its program.
    #[error("scheduling: {0}")]
    Schedule(#[from] ScheduleError),
    /// Machine code could not be made or run.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
    /// Folded parameters could not be computed, most likely because a parameter is missing.
    #[error("folding parameters: {0}")]
    Fold(#[from] FoldError),
    /// Measuring failed, or the records cannot be used.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The recorded graph of a network has other inputs or outputs than the network.
    #[error("the graph that {} holds for this network does not fit it", .0.display())]
    Misfit(PathBuf),
    /// No schedule of any kernel could be timed.
    #[error("no schedule could be timed: {0}")]
    NoSchedule(Failures),
    /// The observer asked to stop. All measurements so far are recorded.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}
