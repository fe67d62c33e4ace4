//! Recognising graphs that compute the same function of their weights, by the laws of linear algebra.
//!
//! [`canonical_key`] brings a graph to a normal form in an e-graph and takes its [structural key](sonar_ir::space::canonical::key).
//! The laws (`LAWS`, in addition to the rules) push scales and means inwards, until sums are outermost and flat. In each class the
//! flattest sum is taken, and a convolution is preferred to a mean. So graphs share a key if these laws make them equal after a
//! renaming of parameters that keeps which uses share a parameter. Every law is an equality in real arithmetic: graphs with one key
//! compute one function. If saturation ends early, or a sum has more terms than a rule builds, an equal pair may be missed, but
//! graphs that differ never share a key.
//!
//! # NAS-Bench-201
//!
//! The 15,625 cells are 5,485 by structure (sums flattened, zeros dropped, weight identity kept). Of these
//! - 10 are merged because a mean of numbers that are constant per channel is that constant: after a dead edge, ReLU-Conv-BN gives
//!   the shift of the batch normalisation, and a pooling of it is that shift;
//! - another 218 are merged because pooling is linear: a pooling of a sum is the sum of the poolings;
//! - another 23 need both laws.
//!
//! That leaves 5,234 functions. The same laws give 5,044 if ReLU-Conv-BN of a dead
//! edge is treated as zero, as in the published count of 6,466. The difference of 190 are cells that differ by such shifts only. They
//! are different functions of their weights, and still differ after training.

mod laws;
mod normal_form;
mod uniform;

pub use normal_form::{canonical_key, normal_form};
