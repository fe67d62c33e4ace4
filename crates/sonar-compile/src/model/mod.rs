//! From the command line to a model that runs: files become graphs, graphs become machine code with weights.

pub mod compiled;
pub mod failure;
pub mod hint;
pub mod load;
pub mod records;
pub mod tensors;
