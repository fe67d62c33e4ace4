//! Graph into e-graph, and a selection of e-nodes back into a graph.

use crate::extract::Selection;
use crate::language::{EGraph, ENode, Head, add, is_konst, is_sum};
use crate::sums::{sum, with_operands};
use egg::Id;
use sonar_ir::graph::{Graph, NodeId, Op, TensorType, Term};
use sonar_ir::infer::TypeError;
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use std::collections::HashMap;

/// Adds a well-formed graph to the e-graph and returns the classes of its outputs.
///
/// Three operators arrive in the form that rules expect: additions as sums, batch normalisations as
/// `x · scale + shift` with constant scale and shift, and fused sums taken apart.
pub fn import(egraph: &mut EGraph, graph: &Graph) -> Vec<Id> {
    let classes = import_all(egraph, graph);
    graph.outputs.iter().map(|output| egraph.find(classes[output.0 as usize])).collect()
}

/// [`import`], but returns the classes of all nodes.
pub fn import_all(egraph: &mut EGraph, graph: &Graph) -> Vec<Id> {
    let mut classes: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let operands: Vec<Id> = node.operands.iter().map(|operand| classes[operand.0 as usize]).collect();
        let class = match &node.op {
            Op::Input | Op::Param(_) => {
                let head = egraph.analysis.heads.leaf(id, node.ty.clone(), node.op != Op::Input);
                egraph.add(ENode { head, operands: Box::new([]) })
            }
            op => apply(egraph, op, &operands, &node.ty),
        };
        classes.push(class);
    }
    egraph.rebuild();
    classes
}

/// The class of an operator of a graph applied to classes, in the form that rules expect.
pub fn apply(egraph: &mut EGraph, op: &Op, operands: &[Id], ty: &TensorType) -> Id {
    match op {
        Op::Binary(BinaryOp::Add) => sum(egraph, operands, ty),
        Op::Binary(BinaryOp::Mul) => product(egraph, operands[0], operands[1]),
        Op::BatchNorm { eps } => batch_norm(egraph, operands, *eps),
        Op::FusedSum { terms, relu } => fused_sum(egraph, terms, *relu, operands, ty),
        op => add(egraph, op.clone(), operands),
    }
}

/// The class of an elementwise product; a constant factor is the second one.
pub fn product(egraph: &mut EGraph, a: Id, b: Id) -> Id {
    let (a, b) = if is_konst(egraph, a) && !is_konst(egraph, b) { (b, a) } else { (a, b) };
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
    for (term, mine) in with_operands(terms, operands) {
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

/// The graph that a selection describes, computing `roots`. Inputs and parameters are those of `source`, the graph that was
/// imported: all its inputs, and the parameters that are needed, in their order there.
pub fn export(egraph: &EGraph, selection: &Selection, roots: &[Id], source: &Graph) -> Result<Graph, TypeError> {
    let order = selection.order(egraph, roots);
    let leaf = |class: Id| match &**egraph.analysis.heads.get(selection.node(egraph, class).head) {
        Head::Leaf(node, ..) => Some(*node),
        Head::Op(_) => None,
    };
    let mut graph = Graph::new(source.name.clone());
    let mut needed: HashMap<NodeId, Id> = order.iter().filter_map(|&class| Some((leaf(class)?, class))).collect();
    let mut emitted: HashMap<Id, NodeId> = HashMap::new();
    for (id, node) in source.iter() {
        let name = node.name.clone().unwrap_or_default();
        let (class, new) = match node.op {
            Op::Input => (needed.remove(&id), graph.input(name, node.ty.clone())),
            Op::Param(init) if needed.contains_key(&id) => {
                (needed.remove(&id), graph.param(name, &node.ty.extents().unwrap_or_default(), init))
            }
            _ => continue,
        };
        emitted.extend(class.map(|class| (class, new)));
    }
    for class in order {
        if leaf(class).is_some() {
            continue;
        }
        let node = selection.node(egraph, class);
        let operands: Vec<NodeId> = node.operands.iter().map(|&id| emitted[&egraph.find(id)]).collect();
        let Head::Op(op) = &**egraph.analysis.heads.get(node.head) else { continue };
        let new = if is_sum(op) && is_konst(egraph, class) {
            let mut total = operands[0];
            for &term in &operands[1..] {
                total = graph.push(Op::Binary(BinaryOp::Add), &[total, term])?;
            }
            total
        } else {
            graph.push(op.clone(), &operands)?
        };
        emitted.insert(class, new);
    }
    graph.outputs = roots.iter().map(|&root| emitted[&egraph.find(root)]).collect();
    Ok(graph)
}
