//! Building loop programs, and visiting every part of them.

pub(crate) mod build;
pub(crate) mod visit;
