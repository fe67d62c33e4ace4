//! Training: from a classifier to one that has learnt, on any backend.
//!
//! | module | what it gives |
//! |---|---|
//! | [`autodiff`] | the gradient of a graph, as a graph |
//! | [`train_step`] | a whole step (forward, backward, update) as one graph, and the graph that judges |
//! | [`optimizer`] | update rules |
//! | [`backend`] | how graphs are run: the reference interpreter here, compiled code elsewhere |
//! | [`data`] | data sets, their formats, and the way into batches |
//! | [`trainer`] | epochs, learning curves, checkpoints |
//!
//! Everything random follows from seeds alone, so a run that was interrupted ends bit for bit like one that was not.

mod activation;
mod attention;
pub mod autodiff;
pub mod backend;
mod batch_norm;
mod build;
mod checkpoint;
pub mod data;
pub mod error;
mod layer_norm;
pub mod optimizer;
mod recompute;
pub mod rng;
pub mod train_step;
pub mod trainer;

pub use backend::{Backend, Executable, Interpreter};
pub use data::{Dataset, Part};
pub use error::{CheckpointProblem, DataProblem, TrainError};
pub use optimizer::Optimizer;
pub use trainer::{Divergence, Epoch, Evaluation, Outcome, TrainConfig, Trainer};
