//! The memory of a plan: aligned buffers, where each buffer of a plan lies, and how the constants get their values.

pub(crate) mod buffer;
pub(crate) mod constants;
pub(crate) mod placement;
