//! Timing of kernels in isolated workers, statistics, and records.
//!
//! | module | what it holds |
//! |---|---|
//! | [`timing`] | measurement jobs and their outcomes, how long a candidate is timed, statistics, clocks |
//! | [`worker`] | the measurer that does the work, in this process or in a process of its own |
//! | [`records`] | the database of all measurements, in SQLite |
//! | [`machine`] | the parameters of this machine, measured once and kept in a file |
//! | [`invented`] | measurers for tests: one invents times, one plants faults |

pub mod error;
pub mod invented;
pub mod machine;
pub mod records;
pub mod timing;
pub mod worker;

pub use error::MeasureError;
pub use invented::{FakeMeasurer, Planted};
pub use records::{Key, Records, Trial};
pub use timing::clock::{Clock, FakeClock, SystemClock};
pub use timing::job::{Budget, Cache, Cause, Job, Measurer, Outcome};
pub use timing::stats::Summary;
pub use timing::{race, stats};
pub use worker::{LocalMeasurer, WorkerMeasurer, WorkerOptions};
