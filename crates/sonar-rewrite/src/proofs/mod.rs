//! Proofs: applications of rules that make a rewritten graph equal to the original one.
//!
//! A saturation that keeps a [`Log`] records every application that found something new. A proof is a sufficient part of that log.
//! It is checked without the e-graph that it comes from:
//! 1. the steps are applied one by one in a fresh e-graph that holds only the original graph, each with only its rule and at its
//!    place; in the end the rewritten graph must be equal to the original one;
//! 2. both sides of each step, and both graphs, are run on random values in double precision, and must agree.
//!
//! Unnecessary steps are left out. The proof does not rely on the result of the saturation. Keeping a log changes nothing
//! else: the proven graph is the one that is also chosen without a proof.

mod claim;
mod compare;
mod prove;
mod replay;
mod terms;
mod text;

pub use claim::Claim;
pub use prove::prove;
