//! The joint search of architectures and schedules.
//!
//! A search draws candidates from a space of architectures. Each candidate is trained step by step, for an accuracy, and tuned step by
//! step, for a latency. A strategy decides from everything that has happened so far what to do next. A store keeps everything that
//! has happened, so that a search that was killed goes on where it stopped.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`], [`policy`] | what a search is given: space, data and training; algorithm, objective and limits |
//! | [`candidates`] | candidates, their descriptions, and what is measured of them |
//! | [`state`] | events, the state that they add up to, plans, and the store of events on disk |
//! | [`strategy`] | the pure function from a state to the next action, with rungs and predictions |
//! | [`executors`] | the interface to training and tuning, the real implementation, and one with a fake clock for tests |
//! | [`driver`] | the loop that asks the strategy, calls the executor, and writes down the events |
//! | [`results`], [`pareto`] | what a search has found; dominance, fronts, hypervolume, ranking |
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
