//! Schedule search, and compile(): the straight line through the passes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`compile`](mod@compile) | from a graph to a model that runs |
//! | [`latency`] | time of whole models |
//! | [`descent`] | coordinate descent in a space of decisions |
//! | [`proposals`] | the schedules to try for one task, one after the other |
//! | [`tuner`] | the search: which task is tried next, what is measured, and what is remembered |
//! | [`limits`] | when a search ends, and why it did |
//! | [`network`] | which of the graphs that a network can be rewritten to is fastest |
//! | [`costs`] | what a kernel costs: measured, or estimated |
//! | [`recorded`] | the best schedules and graphs that the records know |
//! | [`confirm`] | tuned schedules confirmed inside of a network |
//! | [`backend`] | compiled code for training |

pub mod backend;
pub mod compile;
pub mod confirm;
pub mod costs;
pub mod descent;
pub mod error;
pub mod latency;
pub mod limits;
pub mod network;
pub mod proposals;
pub mod recorded;
pub mod tuner;

pub use backend::JitBackend;
pub use compile::{CompileOptions, Compiled, Level, Lowered, Pass, Planned, Schedules, compile, generate, lower, plan};
pub use error::TuneError;
pub use latency::measure_models;
pub use sonar_codegen::{CallTime, Context, Model, ObjectFile, Target, TracedCall, TracedPart};
pub use tuner::{Limits, Progress, StopReason, TaskId, TaskStop, Tuner, TunerOptions};
