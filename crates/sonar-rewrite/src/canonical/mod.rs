//! Recognising graphs that compute the same function of their weights, by the laws of linear algebra.
//!
//! [`canonical_key`] brings a graph to a normal form in an e-graph and takes the [structural key](sonar_ir::space::canonical::key) of that.
//! The laws (`LAWS`, beside the rules) all push scales and means inwards, until sums are outermost and flat; per class the flattest sum is taken, and
//! a convolution before a mean. So graphs share a key if these laws make them one, after a renaming of parameters that keeps
//! which uses share a parameter. Every law is an equality in real arithmetic: graphs of one key compute one function. Where
//! saturation ends early, or a sum has more terms than a rule builds, a pair may go unnoticed, but is never wrongly found.
//!
//! # NAS-Bench-201
//!
//! The 15,625 cells are 5,485 by structure (sums flattened, zeros dropped, weight identity kept). Of these
//! - 10 vanish as a mean of numbers that are constant per channel is that constant: behind a dead edge, ReLU-Conv-BN gives the shift
//!   of the batch normalisation, and a pooling of it is that shift;
//! - another 218 vanish as pooling is linear: a pooling of a sum is the sum of the poolings;
//! - another 23 need both laws.
//!
//! That leaves 5,234 functions. A count of 5,044 is had, with the same laws, by taking what ReLU-Conv-BN makes of a dead
//! edge for zero, as the published count of 6,466 does: the difference of 190 is the cells that differ by such shifts alone. They
//! are different functions of their weights, and different once trained.

mod laws;
mod normal_form;
mod uniform;

pub use normal_form::{canonical_key, normal_form};
