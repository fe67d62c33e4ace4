//! Memory of tensors: lifetimes, one arena, and the plan that is compiled.

mod arena;
mod plan;

pub use plan::plan;
