//! The knobs of schedule spaces, as data: the name and the meaning of each, when a choice is legal, and the choices for a task.

use std::fmt;

use crate::microkernels::RegisterTile;
use crate::spaces::register_tiles::UNROLLS;

/// Number of loops outside of the rows that are fused with them.
pub const FUSE: &str = "fuse";
/// Block size in iterations.
pub const BLOCK: &str = "block";
/// Rows and vectors of the register tile.
pub const TILE: &str = "tile";
/// Number of copies of the innermost reduction loop's body.
pub const UNROLL: &str = "unroll";
/// Whether the loop over panels is outside of the rows.
pub const ORDER: &str = "order";
/// Whether weights are stored in panels.
pub const PACK: &str = "pack";
/// Whether several threads are used.
pub const PARALLEL: &str = "parallel";
/// The algorithm for convolutions.
pub const ALGORITHM: &str = "algorithm";
/// Rows of tiles in a strip.
pub const STRIP: &str = "strip";
/// Number of parts of the output channels.
pub const PARTS: &str = "parts";

/// Numbers of rows of tiles in a strip that are tried.
pub(crate) const STRIPS: [usize; 6] = [1, 2, 4, 7, 8, 14];
/// Numbers of parts of the output channels that are tried.
pub(crate) const PARTS_TRIED: [usize; 3] = [1, 2, 4];

/// Every knob, in the order of a point's entries.
pub const KNOBS: [Declaration; 10] = [
    Declaration {
        name: FUSE,
        meaning: "how many loops outside of the rows become one loop with them",
        legal: "addresses stay affine; direct algorithm",
        choices: |facts| (0..=facts.fusions).map(Value::Number).collect(),
    },
    Declaration {
        name: BLOCK,
        meaning: "iterations of the loop outside of the tile in a block; temporaries are filled for each block",
        legal: "divides the loop; direct algorithm",
        choices: |facts| facts.blocks.iter().map(|&block| if block == 0 { Value::All } else { Value::Number(block) }).collect(),
    },
    Declaration {
        name: TILE,
        meaning: "rows x vectors of the register tile",
        legal: "accumulators and operands fit the vector registers",
        choices: |facts| facts.tiles.iter().map(|tile| Value::Tile { mr: tile.mr, nv: tile.nv }).collect(),
    },
    Declaration {
        name: UNROLL,
        meaning: "copies of the innermost reduction loop's body",
        legal: "the task reduces",
        choices: |facts| if facts.reduces { numbers(&UNROLLS) } else { numbers(&UNROLLS[..1]) },
    },
    Declaration {
        name: ORDER,
        meaning: "all rows of a block are computed for one panel of columns before the next panel",
        legal: "panels divide the columns; direct algorithm",
        choices: |facts| flag(facts.reduces),
    },
    Declaration {
        name: PACK,
        meaning: "panels of columns as wide as the tile are outside of the rows, and weights are stored in them where possible",
        legal: "the task reduces and has weights, and panels divide the columns; direct algorithm",
        choices: |facts| flag(facts.reduces && facts.weighted),
    },
    Declaration {
        name: PARALLEL,
        meaning: "iterations of the outermost loop, a block or a strip each, run on several threads",
        legal: "several threads; the outermost loop is the whole body, not a part of the tile, and its iterations are independent",
        choices: |facts| flag(facts.threads > 1),
    },
    Declaration {
        name: ALGORITHM,
        meaning: "convolutions are computed directly, or by Winograd's filtering with tiles of 2 or 4",
        legal: "filtering: 3 x 3 convolutions of stride 1 with known weights, where so much rounding is allowed",
        choices: |facts| [Value::Direct].into_iter().chain(facts.filters.iter().map(|&tile| Value::Winograd(tile))).collect(),
    },
    Declaration {
        name: STRIP,
        meaning: "rows of tiles at most that are transformed and multiplied at once",
        legal: "filtering",
        choices: |facts| if facts.filters.is_empty() { numbers(&STRIPS[..1]) } else { numbers(&STRIPS) },
    },
    Declaration {
        name: PARTS,
        meaning: "parts of the output channels that each transform the image",
        legal: "filtering on several threads; parts are made of whole panels",
        choices: |facts| {
            let several = !facts.filters.is_empty() && facts.threads > 1;
            if several { numbers(&PARTS_TRIED) } else { numbers(&PARTS_TRIED[..1]) }
        },
    },
];

/// The definition of a knob, for all tasks.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Its name.
    pub name: &'static str,
    /// The meaning of a choice.
    pub meaning: &'static str,
    /// When a choice other than the first is legal.
    pub legal: &'static str,
    /// The choices. The first choice is always legal, except for a tile.
    pub(crate) choices: fn(&Facts) -> Vec<Value>,
}

/// The properties of a task that determine its choices.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Number of loops that can be fused with the rows.
    pub(crate) fusions: usize,
    /// Block sizes. 0 means no blocks.
    pub(crate) blocks: Vec<usize>,
    /// Register tiles that fit.
    pub(crate) tiles: Vec<RegisterTile>,
    /// Whether the main nest is a reduction.
    pub(crate) reduces: bool,
    /// Whether there are weights.
    pub(crate) weighted: bool,
    /// Sizes of Winograd tiles for the convolutions.
    pub(crate) filters: Vec<usize>,
    /// Number of threads of one run.
    pub(crate) threads: usize,
}

/// The choice of a knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A number.
    Number(usize),
    /// The whole loop.
    All,
    /// Yes or no.
    Flag(bool),
    /// A register tile.
    Tile {
        /// Rows.
        mr: usize,
        /// Vectors in a row.
        nv: usize,
    },
    /// Direct sums of products.
    Direct,
    /// Winograd's filtering with tiles of this size.
    Winograd(usize),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(n) => write!(f, "{n}"),
            Value::All => f.write_str("all"),
            Value::Flag(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::Tile { mr, nv } => write!(f, "{mr}x{nv}"),
            Value::Direct => f.write_str("direct"),
            Value::Winograd(tile) => write!(f, "winograd{tile}"),
        }
    }
}

fn numbers(values: &[usize]) -> Vec<Value> {
    values.iter().map(|&n| Value::Number(n)).collect()
}

fn flag(free: bool) -> Vec<Value> {
    if free { vec![Value::Flag(false), Value::Flag(true)] } else { vec![Value::Flag(false)] }
}
