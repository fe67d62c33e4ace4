//! Kernels compiled, checked and timed.
//!
//! | module | what it holds |
//! |---|---|
//! | `local` | does the work in this process |
//! | `protocol` | what a worker process is asked and what it answers |
//! | `serve` | the worker's side: answers with what `local` measures |
//! | `process` | the other side: starts workers, asks them, and outlives them |

mod local;
mod process;
mod protocol;
mod serve;

pub use local::LocalMeasurer;
pub use process::{MEMORY, Overheads, WorkerMeasurer, WorkerOptions};
pub use protocol::{PROTOCOL, Reply, Request};
pub use serve::serve;
