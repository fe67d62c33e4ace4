//! The built-in rules, by family.

pub mod forms;
pub mod fuse;
pub mod layout;
pub mod linear;
pub mod merge;
pub mod recognise;
pub mod simplify;
pub mod strength;
pub mod widen;
