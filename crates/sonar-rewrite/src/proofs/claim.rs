//! A claim, and the steps that prove it.

use crate::language::EGraph;
use crate::rules::Application;
use sonar_ir::graph::Graph;

/// A claim: a rewritten graph equals the original one.
pub struct Claim<'a> {
    /// The name of the part to prove, for people.
    pub title: &'a str,
    /// The original graph.
    pub source: &'a Graph,
    /// The rewritten graph, with inputs and parameters of the same names.
    pub target: &'a Graph,
    /// The e-graph that the log belongs to.
    pub egraph: &'a EGraph,
    /// The names of inputs and parameters in the whole graph.
    pub names: &'a dyn Fn(&str) -> String,
}

/// One step of a proof: an application of a rule. If not all of the classes that it finds equal are meant, it also has the one that is.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The application.
    pub application: &'a Application,
    /// The class.
    pub only: Option<usize>,
}
