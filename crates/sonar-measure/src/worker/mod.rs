//! Kernels compiled, checked and timed.
//!
//! | module | what it holds |
//! |---|---|
//! | `local` | does the work in this process |
//! | `protocol` | the requests to a worker process and its replies |
//! | `serve` | the worker's side: answers requests with measurements of `local` |
//! | `process` | the other side: starts workers, sends requests, and survives their crashes |

mod local;
mod process;
mod protocol;
mod serve;

pub use local::LocalMeasurer;
pub use process::{MEMORY, Overheads, WorkerMeasurer, WorkerOptions};
pub use protocol::{PROTOCOL, Reply, Request};
pub use serve::serve;
