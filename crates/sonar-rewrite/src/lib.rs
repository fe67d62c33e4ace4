//! Graph to graph by equality saturation.
//!
//! An e-graph holds many graphs that compute the same function. [Rules](rules::RULES) add more until nothing new is found. Then the
//! cheapest graph under a cost model is extracted. The result consists of fused kernels ([`Op::FusedSum`]). Their weights are
//! ordinary nodes over the parameters; `sonar_ir` folds them once before the first run.
//!
//! The folders are the stages of rewriting:
//!
//! | stage | what it does |
//! |---|---|
//! | `language` | e-nodes, the normal form of sums, and the import of graphs |
//! | [`rules`] | the table of rules, the families of rules, rules that users state, and the loop that applies them |
//! | [`cost`] | the cost of one kernel |
//! | `extraction` | the cheapest graphs that an e-graph holds |
//! | `segments` | cuts a network into parts that are rewritten separately; equal parts are rewritten once |
//! | `proofs` | checked proofs that the result equals the original |
//! | [`report`] | statistics of a rewriting, and e-graphs to look at |
//! | [`canonical`] | a key that graphs share if they compute the same function of their weights |
//!
//! ```
//! use sonar_ir::graph::{Conv2dAttrs, Dim, Graph, Init, Op, TensorType};
//! use sonar_ir::UnaryOp;
//!
//! let mut graph = Graph::new("block");
//! let x = graph.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(8), Dim::Fixed(8), Dim::Fixed(16)] });
//! let w = graph.param("w", &[3, 3, 16, 16], Init::He);
//! let bn = ["gamma", "beta", "mean", "variance"].map(|name| graph.param(name, &[16], Init::Ones));
//! let y = graph.push(Op::Conv2d(Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() }), &[x, w])?;
//! let y = graph.push(Op::BatchNorm { eps: 1e-5 }, &[y, bn[0], bn[1], bn[2], bn[3]])?;
//! let y = graph.push(Op::Unary(UnaryOp::Relu), &[y])?;
//! graph.outputs = vec![y];
//!
//! let rewritten = sonar_rewrite::rewrite(&graph, &sonar_rewrite::Options::default())?;
//! let kernels = rewritten.graph.nodes.iter().filter(|node| matches!(node.op, Op::FusedSum { .. }));
//! assert_eq!(kernels.count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod canonical;
pub mod cost;
mod error;
mod extraction;
pub mod instances;
mod language;
mod options;
mod products;
mod proofs;
pub mod report;
mod rewrite;
pub mod rules;
mod segments;
#[cfg(test)]
mod tests;

pub use canonical::canonical_key;
pub use cost::{Cost, KernelShape, roofline};
pub use error::RewriteError;
pub use options::Options;
pub use products::products_rounded;
pub use report::Report;
pub use rewrite::{Rewritten, rewrite};
pub use rules::{Limits, RULES, Rule, RuleError, Soundness, Stage, StopReason};
