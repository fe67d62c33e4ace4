//! Errors of lowering, and of replaying a schedule.

use sonar_ir::NodeId;
use thiserror::Error;

/// Why a graph cannot be lowered to loop programs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LowerError {
    /// The batch is still symbolic; [`sonar_ir::Graph::specialise`] binds it.
    #[error("the shape of {0} is not fixed: specialise the graph first")]
    NotSpecialised(NodeId),
    /// A tensor has no elements.
    #[error("{0} has no elements")]
    Empty(NodeId),
}

/// Why a schedule step cannot be applied to a program.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// There is no loop with this name.
    #[error("there is no loop `{0}`")]
    NoLoop(String),
    /// There is no buffer with this name, or it has the wrong kind for the step.
    #[error("there is no {wanted} `{name}`")]
    NoBuffer {
        /// The name in the step.
        name: String,
        /// The kind that the step needs.
        wanted: &'static str,
    },
    /// A split by zero or by more than the loop's extent.
    #[error("the loop `{name}` of extent {extent} cannot be split by {factor}")]
    BadFactor {
        /// The loop.
        name: String,
        /// Its extent.
        extent: usize,
        /// The factor in the step.
        factor: usize,
    },
    /// The loops are not perfectly nested in each other.
    #[error("`{inner}` is not perfectly nested in `{outer}`")]
    NotPerfect {
        /// The loop that should be outside.
        outer: String,
        /// The loop that should be the only statement in it.
        inner: String,
    },
    /// Fusing would need an index that is not affine.
    #[error("`{outer}` and `{inner}` do not fuse: an address would not be affine")]
    NotAffine {
        /// Outer loop.
        outer: String,
        /// Inner loop.
        inner: String,
    },
    /// A parallel loop must be the only statement of the body.
    #[error("`{0}` is not the outermost loop of the whole body")]
    NotOutermost(String),
    /// Iterations write the same element or share a temporary.
    #[error("iterations of `{name}` depend on each other through `{buffer}`")]
    Dependent {
        /// The loop.
        name: String,
        /// The buffer that they share.
        buffer: String,
    },
    /// The step would have to move or copy statements that it cannot.
    #[error("`{step}` of `{name}` is not possible: {reason}")]
    Illegal {
        /// The step.
        step: &'static str,
        /// Its loop or buffer.
        name: String,
        /// The reason.
        reason: String,
    },
    /// The nest cannot become a tile program.
    #[error("`{step}` of `{name}` is not possible: {refusal}")]
    NoTile {
        /// The step: `tensorize` or `tensorize_across`.
        step: &'static str,
        /// The name that the tile program would have.
        name: String,
        /// The reason.
        refusal: TileRefusal,
    },
}

/// Why a nest cannot become a tile program.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TileRefusal {
    /// No tile program can compute the nest.
    #[error("{0}")]
    Nest(String),
    /// The nest reads and writes too many buffers.
    #[error("it needs {needed} pointers of {available}")]
    Pointers {
        /// Pointers that the tile program needs.
        needed: usize,
        /// Maximum number of pointers of a tile program.
        available: usize,
    },
    /// Its loops are nested too deeply.
    #[error("its loops nest too deep")]
    Depth,
    /// An address offset is too large.
    #[error("an offset does not fit an instruction")]
    Offset,
    /// It would need more vector registers than there are.
    #[error("a tile of {mr} x {nv} vectors needs {needed} registers of {available}")]
    Registers {
        /// Rows.
        mr: usize,
        /// Vectors in a row.
        nv: usize,
        /// Registers that are live at the same time.
        needed: usize,
        /// Registers of the target.
        available: usize,
    },
}
