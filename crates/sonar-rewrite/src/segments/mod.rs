//! A large graph as a chain of small ones, each of which is rewritten by itself.

mod assemble;
mod optimise;
mod split;

pub use assemble::assemble;
pub use optimise::{Remaining, Solved, simplify, solve};
pub use split::{Segment, split, split_where};
