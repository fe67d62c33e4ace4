//! What is to be proven, and the steps that prove it.

use crate::language::EGraph;
use crate::rules::Application;
use sonar_ir::graph::Graph;

/// What is to be proven.
pub struct Claim<'a> {
    /// What the graph is part of, for people.
    pub title: &'a str,
    /// The original graph.
    pub source: &'a Graph,
    /// The rewritten one, with inputs and parameters of the same names.
    pub target: &'a Graph,
    /// The e-graph that the log is about.
    pub egraph: &'a EGraph,
    /// What the inputs and parameters are called outside.
    pub names: &'a dyn Fn(&str) -> String,
}

/// One step of a proof: an application, and which of the classes it finds equal is meant, if not all are.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The application.
    pub application: &'a Application,
    /// The class.
    pub only: Option<usize>,
}
