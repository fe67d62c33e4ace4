//! Descriptions of architectures: what is known before training or timing.

use crate::candidates::Description;
use crate::candidates::draw::Sketch;
use crate::error::EvaluateError;
use sonar_ir::graph::{Graph, NodeId, Op, TensorType};
use sonar_ir::space::{Assignment, Space};
use sonar_rewrite::{KernelShape, canonical_key};
use std::collections::BTreeSet;

/// The graph of an assignment, without dead nodes. An architecture whose outputs do not depend on its input is not valid.
pub fn instantiate(space: &Space, assignment: &Assignment) -> Result<Graph, EvaluateError> {
    let invalid = |reason: String| refusal(space, assignment, &reason);
    let graph = space.instantiate(assignment).map_err(|e| invalid(e.to_string()))?.without_dead_nodes();
    let uses = graph.uses();
    if graph.inputs().iter().all(|id| uses[*id] == 0) {
        return Err(invalid("no path leads from the input to the output".to_string()));
    }
    Ok(graph)
}

/// The graph of an assignment with its structure key.
pub fn sketch(space: &Space, assignment: &Assignment) -> Result<Sketch, EvaluateError> {
    let graph = instantiate(space, assignment)?;
    Ok(Sketch { assignment: assignment.clone(), structure: sonar_ir::space::canonical::key(&graph), graph })
}

/// Describes an architecture without training or timing it. Its key is computed after rewriting.
pub fn describe(space: &Space, sketch: &Sketch) -> Result<Description, EvaluateError> {
    let Sketch { assignment, graph, .. } = sketch;
    let choices = space.decisions().iter().zip(&assignment.0);
    let decisions = choices
        .map(|(decision, &choice)| (decision.name.clone(), decision.choices.get(choice).cloned().unwrap_or_default()))
        .collect();
    let key = canonical_key(graph).map_err(|e| refusal(space, assignment, &e.to_string()))?;
    Ok(Description { key, parameters: parameters(graph), flops: flops(graph), decisions })
}

fn refusal(space: &Space, assignment: &Assignment, reason: &str) -> EvaluateError {
    let shown = space.show(assignment);
    EvaluateError::Candidate(if shown.is_empty() { reason.to_string() } else { format!("{shown}: {reason}") })
}

/// Number of trained parameters of a graph. Running statistics of batch normalisation do not count.
pub fn parameters(graph: &Graph) -> u64 {
    let normalisations = graph.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. }));
    let statistics: BTreeSet<NodeId> = normalisations.flat_map(|n| n.operands[3..].iter().copied()).collect();
    let learnt = graph.params().into_iter().filter(|id| !statistics.contains(id));
    learnt.map(|id| elements(graph.ty(id))).sum()
}

/// Floating-point operations of a graph for one image, before any rewriting.
pub fn flops(graph: &Graph) -> u64 {
    let single = graph.specialise(1);
    let of_node = |node: &sonar_ir::Node| {
        if matches!(node.op, Op::Input | Op::Param(_) | Op::Splat(..)) {
            return 0.0;
        }
        let operands: Vec<&TensorType> = node.operands.iter().map(|&id| single.ty(id)).collect();
        let weights = vec![false; operands.len()];
        KernelShape { op: &node.op, operands: &operands, weights: &weights, result: &node.ty }.flops()
    };
    single.nodes.iter().map(of_node).sum::<f64>() as u64
}

fn elements(ty: &TensorType) -> u64 {
    ty.shape.iter().map(|d| d.fixed().unwrap_or(1) as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: &str = "
        let $edge in {none, skip, conv}
        graph @network(%x: f32[N,8,8,2]) {
            param %w: f32[3,3,2,2] = he
            param %gamma: f32[2] = ones
            param %beta: f32[2] = zeros
            param %mean: f32[2] = zeros
            param %var: f32[2] = ones
            param %head: f32[2,4]
            %y = choose $edge {
                none => zeros_like(%x),
                skip => %x,
                conv => batch_norm(conv2d(%x, %w) {pad=same}, %gamma, %beta, %mean, %var),
            }
            return matmul(global_avg_pool(%y), %head)
        }";

    #[test]
    fn counts_what_is_learnt_and_computed() {
        let space = Space::parse(SPACE).unwrap();
        let described = |choice| describe(&space, &sketch(&space, &Assignment(vec![choice])).unwrap()).unwrap();
        let conv = described(2);
        assert_eq!(conv.parameters, 3 * 3 * 2 * 2 + 2 + 2 + 2 * 4);
        assert_eq!(conv.decisions, [("edge".to_string(), "conv".to_string())]);
        let skip = described(1);
        assert_eq!(skip.parameters, 2 * 4);
        let dense = 2 * 8 * 8 * 3 * 3 * 2 * 2;
        assert!(conv.flops - skip.flops >= dense && conv.flops - skip.flops < 2 * dense, "{} {}", conv.flops, skip.flops);
    }

    #[test]
    fn an_output_that_does_not_see_the_input_is_no_candidate() {
        let space = Space::parse(SPACE).unwrap();
        let error = sketch(&space, &Assignment(vec![0])).unwrap_err();
        assert!(matches!(&error, EvaluateError::Candidate(reason) if reason.contains("edge=none")), "{error}");
    }
}
