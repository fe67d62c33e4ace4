//! Reports of a rewriting, and e-graphs to look at.

pub mod egraph_dump;
mod summary;

pub use summary::Report;
