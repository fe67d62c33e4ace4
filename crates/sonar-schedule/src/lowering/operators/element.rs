//! One element of a value as an expression. Elementwise operators and re-indexing are inlined, all other values are loaded.

use sonar_ir::loops::{Affine, Expr};
use sonar_ir::{BinaryOp, NodeId, Op, UnaryOp};

use super::Lower;
use crate::loops::build::{add, binary, mul, unary};

impl Lower<'_> {
    /// Element `index` of a node: a load if it is in memory, otherwise the expression that computes it.
    pub(super) fn value(&mut self, id: NodeId, index: &[Affine]) -> Expr {
        if let Some((anchor, value)) = &self.anchor
            && *anchor == id
        {
            return value.clone();
        }
        if self.in_memory(id) {
            return self.node_input(id).load(index);
        }
        self.computed(id, index)
    }

    /// Element `index` of a node, computed from its operands.
    pub(super) fn computed(&mut self, id: NodeId, index: &[Affine]) -> Expr {
        let node = self.graph.node(id);
        match &node.op {
            Op::Splat(value, _) => Expr::Const(*value),
            Op::Unary(op) => unary(*op, self.value(node.operands[0], index)),
            Op::Binary(op) => {
                let a = self.broadcast(node.operands[0], index);
                let b = self.broadcast(node.operands[1], index);
                binary(*op, a, b)
            }
            Op::BatchNorm { eps } => {
                let x = self.value(node.operands[0], index);
                let channel = &index[index.len() - 1..];
                let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| self.value(node.operands[i], channel));
                let deviation = unary(UnaryOp::Sqrt, add(variance, Expr::Const(*eps)));
                let scale = binary(BinaryOp::Div, gamma, deviation);
                add(mul(binary(BinaryOp::Sub, x, mean), scale), beta)
            }
            // An elementwise sum has only addends.
            Op::FusedSum { relu, .. } => {
                let terms: Vec<Expr> = node.operands.iter().map(|&operand| self.broadcast(operand, index)).collect();
                let sum = terms.into_iter().reduce(add).unwrap_or(Expr::Const(0.0));
                if *relu { unary(UnaryOp::Relu, sum) } else { sum }
            }
            Op::Broadcast(_) => self.broadcast(node.operands[0], index),
            // Only a reshape of a constant can be outside of memory.
            Op::Reshape(_) => self.value(node.operands[0], &vec![Affine::default(); self.graph.ty(node.operands[0]).rank()]),
            op => unreachable!("{op:?} is the anchor of its kernel"),
        }
    }

    /// The element of an operand that belongs to `index` of the result by NumPy broadcasting.
    pub(super) fn broadcast(&mut self, id: NodeId, index: &[Affine]) -> Expr {
        let shape = self.shape(id);
        let first = index.len() - shape.len();
        let own: Vec<Affine> = shape
            .iter()
            .zip(&index[first..])
            .map(|(&extent, index)| if extent == 1 { Affine::default() } else { index.clone() })
            .collect();
        self.value(id, &own)
    }

    /// Element `index` of the root, given the `value` of the anchor.
    pub(super) fn epilogue(&mut self, anchor: NodeId, value: Expr, index: &[Affine]) -> Expr {
        self.anchor = Some((anchor, value));
        let result = self.value_of_root(index);
        self.anchor = None;
        result
    }

    fn value_of_root(&mut self, index: &[Affine]) -> Expr {
        match &self.anchor {
            Some((anchor, value)) if *anchor == self.root => value.clone(),
            _ => self.computed(self.root, index),
        }
    }
}
