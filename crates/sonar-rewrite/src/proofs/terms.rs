//! The terms of a replay as one graph.

use super::claim::Claim;
use crate::error::RewriteError;
use crate::language::{EGraph, ENode, EOp};
use egg::Id;
use sonar_ir::entity::Entity;
use sonar_ir::graph::{Graph, NodeId, Op};
use std::collections::{HashMap, HashSet};

/// Terms of a replay as one graph; equal terms are shared.
pub struct Terms {
    /// The graph.
    pub graph: Graph,
    /// The inputs and parameters, by the nodes of the original graph.
    leaves: HashMap<NodeId, NodeId>,
    known: HashMap<Id, NodeId>,
}

impl Terms {
    pub fn new(claim: &Claim<'_>) -> Terms {
        let mut graph = Graph::new("terms");
        let mut leaves = HashMap::new();
        for (id, node) in claim.source.iter() {
            let name = (claim.names)(node.name.as_deref().unwrap_or_default());
            let leaf = match node.op {
                Op::Input => graph.input(name, node.ty.clone()),
                Op::Param(init) => graph.param(name, &node.ty.extents().unwrap_or_default(), init),
                _ => continue,
            };
            leaves.insert(id, leaf);
        }
        Terms { graph, leaves, known: HashMap::new() }
    }

    /// The term that a class had first.
    pub fn class(&mut self, egraph: &EGraph, id: Id) -> Result<NodeId, RewriteError> {
        let mut stack = vec![id];
        while let Some(&id) = stack.last() {
            let node = egraph.id_to_node(id);
            let unknown: Vec<Id> = node.operands.iter().copied().filter(|operand| !self.known.contains_key(operand)).collect();
            if self.known.contains_key(&id) || unknown.is_empty() {
                stack.pop();
                if !self.known.contains_key(&id) {
                    let term = self.push(egraph, node)?;
                    self.known.insert(id, term);
                }
            } else {
                stack.extend(unknown);
            }
        }
        Ok(self.known[&id])
    }

    pub fn node(&mut self, egraph: &EGraph, node: &ENode) -> Result<NodeId, RewriteError> {
        for &operand in &node.operands {
            self.class(egraph, operand)?;
        }
        self.push(egraph, node)
    }

    /// An e-node with known operands.
    pub fn push(&mut self, egraph: &EGraph, node: &ENode) -> Result<NodeId, RewriteError> {
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| self.known[operand]).collect();
        match &**egraph.analysis.ops.get(node.op) {
            EOp::Leaf(leaf, ..) => Ok(self.leaves[leaf]),
            EOp::Op(op) => {
                let same = self.graph.iter().find(|(_, other)| other.op == *op && other.operands == operands);
                match same.map(|(id, _)| id) {
                    Some(id) => Ok(id),
                    None => Ok(self.graph.push(op.clone(), &operands)?),
                }
            }
        }
    }

    /// A term and all its subterms, operands first, without inputs and parameters.
    pub fn below(&self, root: NodeId) -> Vec<NodeId> {
        let mut needed: HashSet<NodeId> = HashSet::from([root]);
        for (id, node) in self.graph.iter().rev() {
            if needed.contains(&id) {
                needed.extend(&node.operands);
            }
        }
        let mut below: Vec<NodeId> = needed.into_iter().filter(|id| id.index() >= self.leaves.len()).collect();
        below.sort_unstable();
        below
    }

    pub fn name(&self, id: NodeId) -> String {
        self.graph.node(id).name.as_ref().map_or(id.to_string(), |name| format!("%{name}"))
    }

    /// For each term, its line in the text form.
    pub fn lines(&self) -> HashMap<NodeId, String> {
        let text = self.graph.to_string();
        let all: Vec<&str> = text.lines().collect();
        let terms = self.graph.nodes.len() - self.leaves.len();
        // The terms are the lines before the last two: the graph ends with `return` and a brace.
        let body = &all[all.len() - 2 - terms..];
        (self.leaves.len()..).map(NodeId::from_index).zip(body.iter().map(|line| line.trim().to_string())).take(terms).collect()
    }
}
