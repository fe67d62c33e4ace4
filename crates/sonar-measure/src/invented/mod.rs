//! Measurers for tests of what uses one.

mod fake;
mod fault;

pub use fake::FakeMeasurer;
pub use fault::Planted;
