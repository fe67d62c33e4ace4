//! Schedule search, and compile(): the pipeline through the passes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`compile`](mod@compile) | from a graph to a model that runs, and a training backend that does the same |
//! | [`schedules`] | the schedule search: which schedule of which task is tried next |
//! | [`networks`] | tuning of whole networks: graphs and schedules against one another, end to end |
//! | [`recorded`] | the best schedules and graphs in the records |

pub mod compile;
pub mod error;
pub mod networks;
pub mod recorded;
pub mod schedules;

pub use compile::{
    CompileOptions, Compiled, JitBackend, Lowered, Pass, Planned, RewriteLevel, Schedules, compile, generate, lower, plan,
};
pub use error::TuneError;
pub use networks::{NetworkOptions, TunedNetwork, measure_models, tune_network};
pub use schedules::{Failures, Limits, Progress, StopReason, TaskStop, Tuner, TunerOptions, TunerTaskId};
pub use sonar_codegen::{CallTime, Context, Model, ObjectFile, Target, TracedCall, TracedPart};
