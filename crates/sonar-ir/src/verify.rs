//! The verifiers of the four languages. A pass whose result they refuse has a bug.
//!
//! A **graph** is well-formed if
//! - every operand of a node and every output exists, and operands come before the node;
//! - every node has the type that [`crate::graph::infer::infer`] gives; in a declared type only the leading axis may be the
//!   batch, and parameters have no batch axis;
//! - every extent is at least 1, and no tensor has more than [`MAX_ELEMENTS`] elements (the batch counting as 1);
//! - inputs and parameters have names, and no two share one.
//!
//! A **loop program** is well-formed if
//! - arguments come before temporaries, names of buffers and of variables are unique, and no buffer has more than
//!   [`MAX_ELEMENTS`] elements;
//! - a variable is used only below the loop that declares it, and no loop inside declares it again;
//! - every loop runs at least once, and a parallel one is outermost in the body;
//! - no iteration of a parallel loop writes an element of an output that another one reads or writes, and each fills the
//!   temporaries that it reads ([`dependence`]);
//! - terms of affine functions are sorted by variable, without zeros, and all their values fit 62 bits;
//! - [`Expr::Acc`](crate::loops::Expr::Acc) occurs only in the `finish` of a reduction, and updates combine by sum, max or min;
//! - the body writes only outputs and temporaries, the setup only packed buffers and temporaries;
//! - every load and store is within its buffer wherever its guards hold, and so is every access of a micro-kernel;
//! - every tile is well-formed, and a call passes as many pointers as the tile takes.
//!
//! A **tile** is well-formed if
//! - it has 4, 8 or 16 lanes; `tail` is less than that, and at least 1 if there are masked instructions;
//! - pointers exist, and number at most [`Tile::MAX_POINTERS`](crate::tile::Tile::MAX_POINTERS);
//! - loops run at least once and nest at most [`Tile::MAX_DEPTH`](crate::tile::Tile::MAX_DEPTH) deep;
//! - byte offsets fit 32 bits, and registers are numbered below [`MAX_REGISTERS`];
//! - registers are written before they are read;
//! - at no point are more registers live than the instruction set has; a multiply-add with a broadcast takes one more
//!   with fewer than 16 lanes, because it is two instructions there;
//! - unary instructions are those that every instruction set has.
//!
//! A **plan** is well-formed if
//! - every kernel is a well-formed program;
//! - every call passes a slot of the right length for each argument of its kernel, and writes no input, parameter or constant;
//! - slots of the arena and the temporaries of a call start at multiples of [`ARENA_ALIGNMENT`] elements and lie within the arena;
//! - slots of the arena and outputs are written before they are read;
//! - no two slots of the arena, and no slot and the temporaries of a call, overlap while both are in use.

mod bounds;
mod graph;
mod plan;
mod program;
mod races;
mod tile;

pub use graph::{GraphProblem, graph};
pub use plan::{PlanProblem, plan};
pub use program::{ProgramProblem, program};
pub use races::dependence;
pub use tile::{TileProblem, tile};

use thiserror::Error;

/// The most elements that a tensor or a buffer may have.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// How many virtual registers a tile may name.
pub const MAX_REGISTERS: u32 = 1 << 16;

/// Slots of the arena start at multiples of this many elements, the width of the widest vector.
pub const ARENA_ALIGNMENT: usize = 16;

/// An error: the program that is not well-formed, and the invariant that it breaks.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum VerifyError {
    /// A graph is not well-formed.
    #[error("in graph `{name}`: {problem}")]
    Graph {
        /// Name of the graph.
        name: String,
        /// What is wrong.
        problem: GraphProblem,
    },
    /// A loop program is not well-formed.
    #[error("in program `{name}`: {problem}")]
    Program {
        /// Name of the program.
        name: String,
        /// What is wrong.
        problem: ProgramProblem,
    },
    /// A tile is not well-formed.
    #[error("in tile `{name}`: {problem}")]
    Tile {
        /// Name of the tile.
        name: String,
        /// What is wrong.
        problem: TileProblem,
    },
    /// A plan is not well-formed.
    #[error("in plan `{name}`: {problem}")]
    Plan {
        /// Name of the plan.
        name: String,
        /// What is wrong.
        problem: PlanProblem,
    },
}
