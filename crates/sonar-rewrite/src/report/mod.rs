//! Reports of a rewriting, and e-graphs for inspection.

pub mod egraph_dump;
mod summary;

pub use summary::Report;
