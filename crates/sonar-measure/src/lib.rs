//! Timing of kernels in isolated workers, statistics, and records.
//!
//! | module | what it holds |
//! |---|---|
//! | [`job`] | what is asked of a measurement and what comes of it: [`Job`], [`Outcome`], and the trait [`Measurer`] |
//! | [`race`] | for how long a candidate is worth timing |
//! | [`stats`] | medians and their intervals, from raw samples |
//! | [`local`] | the measurer that compiles, checks and times, in this process |
//! | [`worker`], [`process`] | the two sides of a worker process that does so apart |
//! | [`records`] | the memory of all measurements, in SQLite |
//! | [`machine`] | the record of this machine, measured once and kept in a file |
//! | [`clock`] | time as something that can be injected |
//! | [`fault`] | a measurer whose candidates misbehave on purpose, for tests |
//! | [`fake`] | a measurer without measurements, for tests |

pub mod clock;
pub mod error;
pub mod fake;
pub mod fault;
pub mod job;
pub mod local;
pub mod machine;
pub mod process;
pub mod race;
pub mod records;
pub mod stats;
pub mod worker;

pub use clock::{Clock, FakeClock, SystemClock};
pub use error::MeasureError;
pub use fake::FakeMeasurer;
pub use fault::Planted;
pub use job::{Budget, Cache, Cause, Job, Measurer, Outcome};
pub use local::LocalMeasurer;
pub use process::{WorkerMeasurer, WorkerOptions};
pub use records::{Key, Records, Trial};
pub use stats::Summary;
