//! Recognising graphs that compute the same function of their weights, by the laws of linear algebra.
//!
//! [`canonical_key`] brings a graph to a normal form in an e-graph and takes the [structural key](sonar_ir::canonical::key) of that.
//! The laws (`LAWS`, beside the rules) all push scales and means inwards, until sums are outermost and flat; per class the flattest sum is taken, and
//! a convolution before a mean. So graphs share a key if these laws make them one, after a renaming of parameters that keeps
//! which uses share a parameter. Every law is an equality in real arithmetic: graphs of one key compute one function. Where
//! saturation ends early, or a sum has more terms than a rule builds, a pair may go unnoticed, but is never wrongly found.
//!
//! # NAS-Bench-201
//!
//! The 15,625 cells are 5,485 by structure (sums flattened, zeros dropped, weight identity kept). Of these
//! - 10 vanish as a mean of numbers that are constant per channel is that constant: behind a dead edge, ReLU-Conv-BN gives the shift
//!   of the batch normalisation, and a pooling of it is that shift;
//! - another 218 vanish as pooling is linear: a pooling of a sum is the sum of the poolings;
//! - another 23 need both laws.
//!
//! That leaves 5,234 functions. A count of 5,044 is had, with the same laws, by taking what ReLU-Conv-BN makes of a dead
//! edge for zero, as the published count of 6,466 does: the difference of 190 is the cells that differ by such shifts alone. They
//! are different functions of their weights, and different once trained.

use crate::convert::{export, import, product};
use crate::extract::{Selection, smallest_konst};
use crate::language::{Analysis, EGraph, ENode, Head, add, is_konst, is_sum, nodes};
use crate::rules::{LAWS, Match, saturate};
use crate::solve::simplify;
use crate::sums::{sum, terms_of};
use crate::{Limits, Options, Report, RewriteError, segment};
use egg::Id;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::infer::TypeError;
use sonar_ir::scalar::BinaryOp;
use sonar_ir::{canonical, verify};
use std::collections::HashMap;
use std::time::Duration;

/// Bounds on each e-graph. No time is among them, for keys have to be the same on every machine.
const LIMITS: Limits = Limits { nodes: 10_000, iterations: 20, time: Duration::MAX };

/// The most terms of a sum into which another one is flattened.
const MAX_TERMS: usize = 24;

/// A name for the class of graphs that the laws of this module make one: 32 hexadecimal digits, the same on every machine.
///
/// ```
/// use sonar_ir::text::parse_graph;
/// use sonar_rewrite::canonical_key;
/// let a = parse_graph("graph @a(%x: f32[N,4,4,2], %y: f32[N,4,4,2]) {
///     return avg_pool(add(%x, %y)) {kernel=3, pad=1}
/// }")?;
/// let b = parse_graph("graph @b(%x: f32[N,4,4,2], %y: f32[N,4,4,2]) {
///     %p = avg_pool %y {kernel=3, pad=1}
///     %q = avg_pool %x {kernel=3, pad=1}
///     return add(%p, %q)
/// }")?;
/// assert_eq!(canonical_key(&a)?, canonical_key(&b)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn canonical_key(graph: &Graph) -> Result<String, RewriteError> {
    Ok(canonical::key(&normal_form(graph)?))
}

/// The graph that [`canonical_key`] names: it computes the same function, mostly with more operations.
pub fn normal_form(graph: &Graph) -> Result<Graph, RewriteError> {
    verify::graph(graph)?;
    // Zeros and what becomes of them are constants, of which no segment has any.
    let options = Options { rules: LAWS, limits: LIMITS, ..Options::default() };
    let graph = simplify(graph, &options, &mut Report::new(LAWS))?;
    let graph = without_means_of_constants(&graph)?.without_dead_nodes();
    let segments = segment::split_where(&graph, |_, _, users| is_boundary(&graph, users))?;
    let mut known: Vec<(&Graph, Graph)> = Vec::new();
    let mut parts: Vec<usize> = Vec::new();
    for segment in &segments {
        let index = known.iter().position(|(source, _)| **source == segment.graph);
        if index.is_none() {
            known.push((&segment.graph, expand(&segment.graph)?));
        }
        parts.push(index.unwrap_or(known.len() - 1));
    }
    Ok(sums_as_additions(&crate::assemble(&graph, &segments, parts.iter().map(|&index| &known[index].1))?)?)
}

/// Sums as a tree of additions, which the structural key flattens.
fn sums_as_additions(graph: &Graph) -> Result<Graph, TypeError> {
    let mut result = Graph::new(graph.name.clone());
    let mut ids: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let name = node.name.clone().unwrap_or_default();
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[operand.0 as usize]).collect();
        ids.push(match (&node.op, &operands[..]) {
            (Op::Input, _) => result.input(name, node.ty.clone()),
            (Op::Param(init), _) => result.param(name, &node.ty.extents().unwrap_or_default(), *init),
            (op, &[first, ref others @ ..]) if is_sum(op) => {
                let mut total = first;
                for &other in others {
                    total = result.push(Op::Binary(BinaryOp::Add), &[total, other])?;
                }
                total
            }
            (op, _) => result.push(op.clone(), &operands)?,
        });
    }
    result.outputs = graph.outputs.iter().map(|output| ids[output.0 as usize]).collect();
    Ok(result)
}

/// Whether the expansion stops at a value on which everything later depends. Graphs that compute one function by different sums
/// and means have such values in common if something reads them that is not linear.
fn is_boundary(graph: &Graph, users: &[NodeId]) -> bool {
    let linear = |op: &Op| is_sum(op) || matches!(op, Op::Binary(BinaryOp::Mul) | Op::AvgPool(_) | Op::Broadcast(_));
    users.iter().any(|&user| !linear(&graph.node(user).op))
}

/// The expanded form of a segment.
fn expand(graph: &Graph) -> Result<Graph, RewriteError> {
    let mut egraph = EGraph::new(Analysis::default());
    let roots = import(&mut egraph, graph);
    saturate(&mut egraph, LAWS, &LIMITS);
    match flattest(&egraph, &roots) {
        Some(selection) => Ok(export(&egraph, &selection, &roots, graph)?),
        None => Ok(graph.clone()),
    }
}

/// For each class the node that is furthest expanded; nothing if these depend on themselves.
fn flattest(egraph: &EGraph, roots: &[Id]) -> Option<Selection> {
    let mut picks: HashMap<Id, ENode> = smallest_konst(egraph, roots);
    let mut open: HashMap<Id, bool> = HashMap::new();
    let mut stack: Vec<(Id, bool)> = roots.iter().map(|&root| (egraph.find(root), false)).collect();
    while let Some((class, done)) = stack.pop() {
        if done {
            open.insert(class, false);
            continue;
        }
        match open.get(&class) {
            Some(true) => return None,
            Some(false) => continue,
            None => {}
        }
        if !is_konst(egraph, class) {
            let node = egraph[class].nodes.iter().min_by_key(|node| (rank(egraph, node), *node))?;
            picks.insert(class, node.clone());
        }
        open.insert(class, true);
        stack.push((class, true));
        // An operand that is open still when its turn comes is a user, too.
        stack.extend(picks.get(&class)?.operands.iter().map(|&id| (egraph.find(id), false)));
    }
    Some(Selection::new(picks))
}

/// How far a node is from the expanded form.
fn rank(egraph: &EGraph, node: &ENode) -> (usize, usize, usize) {
    match &**egraph.analysis.heads.get(node.head) {
        Head::Leaf(..) | Head::Op(Op::Splat(..)) => (0, 0, 0),
        Head::Op(op) if is_sum(op) => {
            let nested = node.operands.iter().filter(|&&id| !is_konst(egraph, id) && !terms_of(egraph, id).is_empty());
            (1, nested.count(), usize::MAX - node.operands.len())
        }
        Head::Op(Op::Binary(BinaryOp::Mul)) => (3, 0, 0),
        Head::Op(Op::AvgPool(_)) => (4, 0, 0),
        Head::Op(_) => (2, 0, 0),
    }
}

/// `Σ of Σ → one Σ`
pub(crate) fn flatten(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !is_sum(m.op) {
        return vec![];
    }
    let ty = egraph[m.class].data.ty.clone();
    let mut flat: Vec<Id> = Vec::new();
    for &term in m.operands {
        let inner = terms_of(egraph, term).into_iter().filter(|inner| !is_konst(egraph, term) && !inner.contains(&m.class));
        match inner.max_by_key(Vec::len) {
            Some(inner) => flat.extend(inner),
            None => flat.push(term),
        }
    }
    if flat.len() <= m.operands.len() || flat.len() > MAX_TERMS { vec![] } else { vec![sum(egraph, &flat, &ty)] }
}

/// `(Σ tᵢ)·s → Σ tᵢ·s`, s constant
pub(crate) fn scale_of_sum(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::Binary(BinaryOp::Mul), &[y, s]) = (m.op, m.operands) else { return vec![] };
    let ty = egraph[m.class].data.ty.clone();
    if !is_konst(egraph, s) || egraph[y].data.ty != ty {
        return vec![];
    }
    let sums = terms_of(egraph, y);
    sums.iter()
        .map(|terms| {
            let scaled: Vec<Id> = terms.iter().map(|&term| product(egraph, term, s)).collect();
            sum(egraph, &scaled, &ty)
        })
        .collect()
}

/// `avgpool(x·s) → avgpool(x)·s`, s constant per channel
pub(crate) fn pool_of_scale(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    let scaled: Vec<(Id, Id)> = nodes(egraph, m.operands[0])
        .filter(|(op, operands)| {
            matches!(op, Op::Binary(BinaryOp::Mul)) && is_konst(egraph, operands[1]) && egraph[operands[1]].data.ty.rank() <= 1
        })
        .map(|(_, operands)| (operands[0], operands[1]))
        .collect();
    let mut equal = Vec::new();
    for (x, s) in scaled {
        if egraph[x].data.ty == egraph[m.operands[0]].data.ty {
            let pooled = add(egraph, Op::AvgPool(*attrs), &[x]);
            equal.push(product(egraph, pooled, s));
        }
    }
    equal
}

/// The graph without poolings of what is the same at every place of an image, which are that.
fn without_means_of_constants(graph: &Graph) -> Result<Graph, RewriteError> {
    let mut result = Graph::new(graph.name.clone());
    let mut ids: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let mut uniform: Vec<bool> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let name = node.name.clone().unwrap_or_default();
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[operand.0 as usize]).collect();
        let of_operands: Vec<bool> = node.operands.iter().map(|operand| uniform[operand.0 as usize]).collect();
        let same_type = operands.first().is_some_and(|&x| *result.ty(x) == node.ty);
        uniform.push(match &node.op {
            Op::Param(_) => node.ty.rank() <= 1,
            op => stays_uniform(op, &of_operands),
        });
        ids.push(match &node.op {
            Op::Input => result.input(name, node.ty.clone()),
            Op::Param(init) => result.param(name, &node.ty.extents().unwrap_or_default(), *init),
            Op::AvgPool(_) if uniform.last() == Some(&true) && same_type => operands[0],
            op => result.push(op.clone(), &operands)?,
        });
    }
    result.outputs = graph.outputs.iter().map(|output| ids[output.0 as usize]).collect();
    Ok(result)
}

/// Whether the result of an operator is the same at every place of an image, by whether its operands are.
fn stays_uniform(op: &Op, operands: &[bool]) -> bool {
    let all = operands.iter().all(|&uniform| uniform);
    match op {
        Op::Splat(..) => true,
        // A vector is the same for each pixel, whatever it is broadcast to; other parameters are not.
        Op::Unary(_) | Op::Broadcast(_) | Op::Binary(_) | Op::BatchNorm { .. } => all,
        Op::FusedSum { .. } => all && op.is_sum(),
        Op::Conv2d(attrs) => operands.first() == Some(&true) && attrs.pad == [0; 4],
        Op::AvgPool(attrs) => all && !(attrs.count_include_pad && attrs.pad != [0; 4]),
        Op::MaxPool(_) => all,
        _ => false,
    }
}

/// Whether a constant class is the same at every place of an image.
fn is_uniform(egraph: &EGraph, class: Id) -> bool {
    let mut known: HashMap<Id, bool> = HashMap::new();
    let mut stack = vec![(egraph.find(class), false)];
    while let Some((class, done)) = stack.pop() {
        if !done && known.contains_key(&class) {
            continue;
        }
        // Unless an operator says otherwise, and while that is found out.
        let vector = egraph[class].data.ty.rank() <= 1 || egraph[class].data.splat.is_some();
        if done {
            let uniform = nodes(egraph, class).any(|(op, operands)| {
                let operands: Vec<bool> = operands.iter().map(|id| known.get(&egraph.find(*id)) == Some(&true)).collect();
                stays_uniform(op, &operands)
            });
            known.insert(class, vector || uniform);
        } else {
            known.insert(class, vector);
            stack.push((class, true));
            stack.extend(nodes(egraph, class).flat_map(|(_, operands)| operands.iter().map(|&id| (egraph.find(id), false))));
        }
    }
    known.get(&egraph.find(class)) == Some(&true)
}

/// `avgpool(Σ tᵢ) → Σ avgpool(tᵢ)`, where what is constant per channel stays
pub(crate) fn split_pool(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::AvgPool(attrs) = m.op else { return vec![] };
    let x = m.operands[0];
    let (from, to) = (egraph[x].data.ty.clone(), egraph[m.class].data.ty.clone());
    let mut equal = Vec::new();
    for terms in terms_of(egraph, x) {
        let mut pooled = Vec::new();
        for term in terms {
            let stays = is_konst(egraph, term) && stays_uniform(m.op, &[is_uniform(egraph, term)]);
            let ty = egraph[term].data.ty.clone();
            if stays && (ty == to || ty.rank() <= 1) {
                pooled.push(Some(term));
            } else {
                pooled.push((ty == from).then(|| add(egraph, Op::AvgPool(*attrs), &[term])));
            }
        }
        if let Some(pooled) = pooled.into_iter().collect::<Option<Vec<Id>>>() {
            equal.push(sum(egraph, &pooled, &to));
        }
    }
    equal
}
