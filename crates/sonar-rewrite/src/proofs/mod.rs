//! Proofs: which rules, applied where, make a rewritten graph equal to the original one.
//!
//! A saturation that keeps a [`Log`] writes down every rule that found something new. A proof is a part of that log that
//! suffices, and it is checked without the e-graph it stems from:
//! 1. in a fresh e-graph that holds the original graph and nothing else, the steps are applied one by one, each with its rule
//!    and at its place alone; in the end the rewritten graph must be equal to the original one;
//! 2. both sides of each step, and both graphs, are run on random values in double precision, which must agree.
//!
//! Steps that are not needed are left out. The result of the saturation itself is no part of the argument. Keeping a log changes nothing
//! else: the graph that is proven is the one that is chosen when nobody asks for a proof.

mod claim;
mod compare;
mod prove;
mod replay;
mod terms;
mod text;

pub use claim::Claim;
pub use prove::prove;
