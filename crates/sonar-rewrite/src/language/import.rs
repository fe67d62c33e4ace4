//! A graph as e-nodes.

use super::egraph::{EGraph, ENode, add, is_weight};
use super::sums::{addition, sum};
use egg::Id;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::{Graph, NodeId, Op, TensorType, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// Adds a well-formed graph to the e-graph and returns the classes of its outputs.
///
/// Three operators are converted to the form that rules expect: additions become sums, batch normalisations become
/// `x · scale + shift` with constant scale and shift, and fused sums are split. If values must stay exact, nothing is
/// converted.
pub fn import(egraph: &mut EGraph, graph: &Graph) -> Vec<Id> {
    let classes = import_all(egraph, graph);
    graph.outputs.iter().map(|output| egraph.find(classes[*output])).collect()
}

/// [`import`], but returns the classes of all nodes.
pub fn import_all(egraph: &mut EGraph, graph: &Graph) -> EntityVec<NodeId, Id> {
    let mut classes: EntityVec<NodeId, Id> = EntityVec::new();
    for (id, node) in graph.iter() {
        let operands: Vec<Id> = node.operands.iter().map(|operand| classes[*operand]).collect();
        let class = match &node.op {
            Op::Input | Op::Param(_) => {
                let op = egraph.analysis.ops.leaf(id, node.ty.clone(), node.op != Op::Input);
                egraph.add(ENode { op, operands: Box::new([]) })
            }
            Op::Binary(BinaryOp::Add) if egraph.analysis.simplified => addition(egraph, operands[0], operands[1]),
            op => apply(egraph, op, &operands, &node.ty),
        };
        classes.push(class);
    }
    egraph.rebuild();
    classes
}

/// The class of an operator of a graph applied to classes, in the form that rules expect.
pub fn apply(egraph: &mut EGraph, op: &Op, operands: &[Id], ty: &TensorType) -> Id {
    let exact = egraph.analysis.exact;
    match op {
        Op::Binary(BinaryOp::Add) => sum(egraph, operands, ty),
        Op::Binary(BinaryOp::Mul) => product(egraph, operands[0], operands[1]),
        Op::BatchNorm { eps } if !exact => batch_norm(egraph, operands, *eps),
        Op::FusedSum { terms, relu } if !exact => fused_sum(egraph, terms, *relu, operands, ty),
        op => add(egraph, op.clone(), operands),
    }
}

/// The class of an elementwise product; a constant factor is the second one.
pub fn product(egraph: &mut EGraph, a: Id, b: Id) -> Id {
    let (a, b) = if is_weight(egraph, a) && !is_weight(egraph, b) { (b, a) } else { (a, b) };
    add(egraph, Op::Binary(BinaryOp::Mul), &[a, b])
}

/// `gamma · (x - mean) / sqrt(variance + eps) + beta`, as `x · scale + shift`.
fn batch_norm(egraph: &mut EGraph, operands: &[Id], eps: f32) -> Id {
    let [x, gamma, beta, mean, variance] = operands[..] else { unreachable!("the graph is verified") };
    let (ty, channel) = (egraph[x].data.ty.clone(), egraph[gamma].data.ty.clone());
    let eps = add(egraph, Op::Splat(eps, channel.shape.clone()), &[]);
    let variance = sum(egraph, &[variance, eps], &channel);
    let deviation = add(egraph, Op::Unary(UnaryOp::Rsqrt), &[variance]);
    let scale = product(egraph, gamma, deviation);
    let moved = product(egraph, mean, scale);
    let shift = add(egraph, Op::Binary(BinaryOp::Sub), &[beta, moved]);
    let scaled = product(egraph, x, scale);
    sum(egraph, &[scaled, shift], &ty)
}

fn fused_sum(egraph: &mut EGraph, terms: &[Term], relu: bool, operands: &[Id], ty: &TensorType) -> Id {
    let mut classes = Vec::new();
    for (term, mine) in Term::with_operands(terms, operands) {
        classes.push(match term {
            Term::Add => mine[0],
            Term::Conv2d { attrs, relu } => {
                let x = activated(egraph, mine[0], *relu);
                add(egraph, Op::Conv2d(*attrs), &[x, mine[1]])
            }
            Term::MatMul { relu } => {
                let a = activated(egraph, mine[0], *relu);
                add(egraph, Op::MatMul, &[a, mine[1]])
            }
        });
    }
    let sum = sum(egraph, &classes, ty);
    activated(egraph, sum, relu)
}

/// `max(x, 0)` if `relu` is set, else `x`.
pub fn activated(egraph: &mut EGraph, x: Id, relu: bool) -> Id {
    if relu { add(egraph, Op::Unary(UnaryOp::Relu), &[x]) } else { x }
}
