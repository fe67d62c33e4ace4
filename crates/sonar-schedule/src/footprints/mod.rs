//! Operation counts and memory footprints of programs.

mod bitset;
pub(crate) mod flops;
mod loop_cost;

pub use flops::executed_flops;
pub use loop_cost::{LoopCost, loop_costs};
