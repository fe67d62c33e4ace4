//! The language of the e-graph: e-nodes, the normal form of sums, and the import of graphs.

mod egraph;
mod import;
mod sums;
mod uniform;

pub use egraph::{Analysis, EGraph, ENode, EOp, add, is_sum, is_weight, nodes, users};
pub use import::{activated, apply, import, import_all, product};
pub use sums::{Dense, MAX_TERMS, addends, addition, cancels, kernel, same_sum, sum, terms_of};
