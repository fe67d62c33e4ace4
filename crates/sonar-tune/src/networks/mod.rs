//! Whole networks: the fastest graph that a network can be rewritten to, and the schedules that are fastest inside it.
//!
//! | file | what it does |
//! |---|---|
//! | `tune` | the whole process, in one function: [`tune_network`] |
//! | `candidates` | rewrites a network with measured costs of kernels |
//! | `costs` | the cost of a kernel: measured, or estimated |
//! | `compare` | times graphs in turns |
//! | `confirm` | times the contenders of each kernel inside a network |
//! | `latency` | times whole networks |

mod candidates;
mod compare;
mod confirm;
mod costs;
mod latency;
mod tune;

pub use candidates::candidates;
pub use compare::{Ranked, fastest};
pub use confirm::{Confirmation, in_network};
pub use latency::{GoOn, ModelMeasurer, NativeModel, NativeModels, measure_models};
pub use tune::{NetworkEvent, NetworkObserver, NetworkOptions, Stage, TunedNetwork, tune_network};
