//! Cuts a large graph into a chain of small ones that are rewritten separately.

mod assemble;
mod optimise;
mod split;

pub use assemble::assemble;
pub use optimise::{Remaining, Solved, simplify, solve};
pub use split::{Segment, split, split_where};
