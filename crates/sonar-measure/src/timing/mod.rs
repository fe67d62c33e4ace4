//! Measurement jobs and outcomes, independent of how the measuring is done.
//!
//! | module | what it holds |
//! |---|---|
//! | [`job`] | the question and the answer: [`Job`](job::Job), [`Outcome`](job::Outcome), and the trait [`Measurer`](job::Measurer) |
//! | [`race`] | how long to time a candidate, and which of two is faster |
//! | [`stats`] | medians and their confidence intervals, from raw samples |
//! | [`clock`] | injectable time |

pub mod clock;
pub mod job;
pub mod race;
pub mod stats;
