//! The protocol of a worker process.
//!
//! A worker reads a [`Request`] a line and answers each with a [`Reply`] a line, both in JSON.

use crate::timing::job::{Job, Outcome};
use serde::{Deserialize, Serialize};

/// Version of the protocol; both sides must have the same.
pub const PROTOCOL: u32 = 3;

/// What a worker is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Says which version of the protocol the worker speaks. The first request.
    Start {
        /// Whether to stay on one processor.
        pin: bool,
        /// Bytes of memory that the worker may use.
        memory: u64,
    },
    /// As [`Measurer::measure`].
    Measure(Box<Job>),
    /// As [`Measurer::compare`].
    Compare(Vec<Job>),
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Start`]: the version of the protocol.
    Ready(u32),
    /// To all others: one outcome for each job, and the seconds that candidates ran.
    Outcomes(Vec<Outcome>, f64),
    /// The request cannot be read, or the measuring itself fails; holds why.
    Refused(String),
}
