//! Whole networks: which of the graphs that one can be rewritten to is the fastest, and which schedules are the fastest inside it.
//!
//! | file | what it does |
//! |---|---|
//! | `tune` | all of it, in one function: [`tune_network`] |
//! | `candidates` | rewrites with measured costs of kernels |
//! | `costs` | what a kernel costs: measured, or estimated |
//! | `compare` | graphs run against one another |
//! | `confirm` | contenders of each kernel are timed inside a network |
//! | `latency` | the time of whole networks |

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
