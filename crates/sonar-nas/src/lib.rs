//! The joint search of architectures and schedules.
//!
//! A search draws candidates from an architecture space and gives each of them two things bit by bit: training, for an
//! accuracy, and tuning, for a latency. An algorithm decides from what has happened so far what to do next; a store keeps
//! everything that has happened, so that a search that was killed goes on where it was.
//!
//! | module | what it holds |
//! |---|---|
//! | [`candidate`] | candidates, and what is measured of them |
//! | [`pareto`] | dominance, fronts, hypervolume, ranking |
//! | [`policy`] | algorithms, objectives, and how much of everything is wanted |
//! | [`plan`] | rungs, and their fit into a time limit |
//! | [`state`] | events, and the state that they add up to |
//! | [`algorithm`] | the pure function from a state to the next action |
//! | [`describe`] | what is known of an architecture from its graph alone |
//! | [`training`] | candidates in training, and their checkpoints |
//! | [`tuning`] | candidates compiled, tuned and timed |
//! | [`real`] | the evaluator that really trains and tunes |
//! | [`search`](mod@search) | a whole search, from its configuration to its result |
//! | [`evaluator`] | the boundary to training and tuning |
//! | [`fake`] | an evaluator of made-up numbers and a made-up clock |
//! | [`store`] | the run directory |
//! | [`driver`] | the loop that does what the algorithm says |
//! | [`result`] | what a search has found, for people and programs |

pub mod algorithm;
pub mod candidate;
pub mod describe;
pub mod driver;
pub mod error;
pub mod evaluator;
pub mod fake;
pub mod pareto;
pub mod plan;
pub mod policy;
pub mod real;
pub mod result;
pub mod search;
pub mod state;
pub mod store;
pub mod training;
pub mod tuning;

pub use candidate::{Candidate, CandidateId, Cost, Description, Epoch, Latency};
pub use error::SearchError;
pub use evaluator::Evaluator;
pub use policy::{Algorithm, Objective, Policy};
pub use result::SearchResult;
pub use search::{SearchConfig, search};
pub use sonar_ir::space::Assignment;
pub use state::{Event, State};
pub use store::Store;
