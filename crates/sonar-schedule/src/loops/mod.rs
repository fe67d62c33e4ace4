//! Builds loop programs, and visits all their parts.

pub(crate) mod build;
pub(crate) mod visit;
