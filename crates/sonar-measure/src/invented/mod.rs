//! Measurers for tests of code that uses a measurer.

mod fake;
mod fault;

pub use fake::FakeMeasurer;
pub use fault::Planted;
