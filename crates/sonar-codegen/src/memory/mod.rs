//! The memory of a plan: aligned buffers, the place of each buffer of a plan, and the values of the constants.

pub(crate) mod buffer;
pub(crate) mod constants;
pub(crate) mod placement;
