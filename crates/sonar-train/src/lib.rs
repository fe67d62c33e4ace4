//! Training of classifiers, on any backend.
//!
//! | module | what it gives |
//! |---|---|
//! | [`autodiff`] | the gradient of a graph, as a graph |
//! | [`step`] | a whole training step (forward, backward, update) as one graph, and the graph that evaluates |
//! | [`step::optimizer`] | update rules |
//! | [`backend`] | the interface to the code that runs graphs, and the reference interpreter |
//! | [`data`] | data sets, their file formats, and batches |
//! | [`trainer`] | epochs, learning curves, checkpoints |
//!
//! All random numbers follow from seeds. A run that was interrupted and resumed gives the same bits as an uninterrupted run.

pub mod autodiff;
pub mod backend;
mod build;
pub mod data;
pub mod error;
pub mod rng;
pub mod step;
pub mod trainer;

pub use backend::{Backend, Executable, Interpreter};
pub use data::{Dataset, Part};
pub use error::{CheckpointProblem, DataProblem, TrainError};
pub use step::optimizer::Optimizer;
pub use trainer::Trainer;
pub use trainer::config::TrainConfig;
pub use trainer::curve::{Divergence, Epoch, Evaluation, Outcome, Partial};
