//! The e-node that a rule is tried on.

use egg::Id;
use sonar_ir::graph::Op;

/// The e-node that a rule is tried on.
pub struct Match<'a> {
    /// Its operator.
    pub op: &'a Op,
    /// Its operands.
    pub operands: &'a [Id],
    /// Its class.
    pub class: Id,
}
