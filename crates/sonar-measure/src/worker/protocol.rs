//! The protocol of a worker process.
//!
//! A worker reads one [`Request`] per line and answers each with one [`Reply`] per line, both in JSON.

use crate::timing::job::{Job, Outcome};
use serde::{Deserialize, Serialize};

/// Version of the protocol. Both sides must use the same.
pub const PROTOCOL: u32 = 3;

/// A request to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first request. Asks for the worker's protocol version.
    Start {
        /// Whether to pin the worker to one processor.
        pin: bool,
        /// Memory limit of the worker in bytes.
        memory: u64,
    },
    /// See [`Measurer::measure`].
    Measure(Box<Job>),
    /// See [`Measurer::compare`].
    Compare(Vec<Job>),
}

/// A reply of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Reply to [`Request::Start`]: the version of the protocol.
    Ready(u32),
    /// Reply to all other requests: one outcome per job, and the run time of the candidates in seconds.
    Outcomes(Vec<Outcome>, f64),
    /// The request cannot be read, or measuring failed; the text is the reason.
    Refused(String),
}
