//! The joint search of architectures and schedules.
//!
//! A search draws candidates from a space of architectures. Each candidate is trained step by step to find its accuracy, and
//! tuned step by step to find its latency. A strategy looks at everything that has happened and decides what to do next. A
//! store keeps every event, so a search that was killed continues where it stopped.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`], [`policy`] | the configuration of a search: space, data and training; algorithm, objective and limits |
//! | [`candidates`] | candidates, their descriptions and their measurements |
//! | [`state`] | events, the state they produce, plans, and the store of events on disk |
//! | [`strategy`] | the pure function from a state to the next action, with rungs and predictions |
//! | [`executors`] | the interface to training and tuning, the real implementation, and one with a fake clock for tests |
//! | [`driver`] | the loop that asks the strategy, calls the executor, and records the events |
//! | [`results`], [`pareto`] | the result of a search; dominance, fronts, hypervolume, ranking |
//! | [`search`](mod@search) | a whole search, from its configuration to its result |

pub mod candidates;
pub mod config;
pub mod driver;
pub mod error;
pub mod executors;
pub mod pareto;
pub mod policy;
pub mod results;
pub mod search;
pub mod state;
pub mod strategy;

pub use candidates::measured::{Cost, Epoch, Latency};
pub use candidates::{Candidate, CandidateId, Description};
pub use config::SearchConfig;
pub use error::SearchError;
pub use executors::Evaluator;
pub use policy::{Algorithm, Objective, Policy};
pub use results::SearchResult;
pub use search::search;
pub use sonar_ir::space::Assignment;
pub use state::State;
pub use state::event::Event;
pub use state::history::{CandidateHistory, Status};
pub use state::store::{self, Store};
