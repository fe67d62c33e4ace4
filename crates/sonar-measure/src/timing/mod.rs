//! What is asked of a measurement and what comes of it, apart from how it is done.
//!
//! | module | what it holds |
//! |---|---|
//! | [`job`] | the question and the answer: [`Job`](job::Job), [`Outcome`](job::Outcome), and the trait [`Measurer`](job::Measurer) |
//! | [`race`] | for how long a candidate is worth timing, and which of two is faster |
//! | [`stats`] | medians and their intervals, from raw samples |
//! | [`clock`] | time as something that can be injected |

pub mod clock;
pub mod job;
pub mod race;
pub mod stats;
