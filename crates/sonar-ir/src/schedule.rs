//! Schedules as data: lists of steps that replay on an unscheduled loop program.
//!
//! A schedule prints one step a line and parses back. Loops are named as in the program; a step that splits a loop
//! `x` names the new ones `x.o` and `x.i` (and the remainder's `x.t`).

use serde::{Deserialize, Serialize};

/// A list of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// In order of application.
    pub steps: Vec<Step>,
}

/// One transformation of a loop program. The meaning and the conditions are documented at the primitive in `sonar-schedule`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `for x in 0..n` → `for x.o { for x.i in 0..factor }`, and a remainder loop `x.t` if `factor` does not divide `n`.
    Split {
        /// Loop.
        r#loop: String,
        /// Extent of the inner loop.
        factor: usize,
    },
    /// Two perfectly nested loops into one named `outer_inner`.
    Fuse {
        /// Outer loop.
        outer: String,
        /// Inner loop.
        inner: String,
    },
    /// Perfectly nested loops into this order, outermost first.
    Reorder {
        /// All loops that change places.
        loops: Vec<String>,
    },
    /// Iterations on several threads.
    Parallel {
        /// Loop.
        r#loop: String,
    },
    /// Copies the body out.
    Unroll {
        /// Loop.
        r#loop: String,
    },
    /// Moves the nest that fills a temporary to the start of a loop of its consumer.
    ComputeAt {
        /// The temporary.
        buffer: String,
        /// Loop of the consumer.
        r#loop: String,
    },
    /// Reads a weight through a copy in panel layout made once, in `setup`.
    Pack {
        /// The buffer of the weight.
        buffer: String,
        /// Width of a panel in elements.
        width: usize,
    },
    /// Computes 3 × 3 convolutions of stride 1 with fewer multiplications, by Winograd's minimal filtering. Comes first.
    Winograd {
        /// Rows and columns of a tile of the result: 2 or 4.
        tile: usize,
        /// Rows of tiles in a strip.
        rows: usize,
        /// Width of a panel of the transformed weight in elements.
        width: usize,
        /// Parts of the output channels, each transforms the image again.
        parts: usize,
    },
    /// Replaces the two innermost loops and the reductions below them by micro-kernels of `rows` × `vectors` registers.
    Tensorize {
        /// Loop over rows, or `-` for none.
        rows: String,
        /// Loop over consecutive elements of the target.
        cols: String,
        /// Rows of the register tile.
        mr: usize,
        /// Vectors of the register tile.
        nv: usize,
        /// Copies of the innermost reduction loop's body.
        unroll: usize,
    },
    /// Replaces a reduction of consecutive elements by a micro-kernel that combines vectors and then lanes.
    TensorizeAcross {
        /// Loop over rows, or `-` for none.
        rows: String,
        /// The innermost variable of the reduction.
        over: String,
        /// Rows that are reduced at a time.
        mr: usize,
        /// Copies of the loop body over vectors.
        unroll: usize,
    },
}
