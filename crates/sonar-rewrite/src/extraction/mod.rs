//! Extraction of the cheapest graphs from an e-graph.

mod branch_and_bound;
mod climb;
mod export;
mod greedy;
mod problem;
mod search;
mod selection;
mod walk;
mod weights;

pub use export::export;
pub use problem::{Alternative, Problem, node_cost};
pub use search::{Depth, Effort, choices, extract};
pub use selection::Selection;
pub use weights::smallest_weights;
