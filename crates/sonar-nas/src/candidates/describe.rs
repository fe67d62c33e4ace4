//! What is known of an architecture from its graph alone.

use crate::candidates::Description;
use crate::error::EvaluateError;
use sonar_ir::graph::{Graph, NodeId, Op, TensorType};
use sonar_ir::space::{Assignment, Space};
use sonar_rewrite::{KernelShape, canonical_key};
use std::collections::BTreeSet;

/// The graph of an assignment and its description. An architecture whose outputs do not depend on its input is no candidate.
pub fn describe(space: &Space, assignment: &Assignment) -> Result<(Graph, Description), EvaluateError> {
    let invalid = |reason: String| EvaluateError::Candidate(format!("{}: {reason}", space.show(assignment)));
    let graph = space.instantiate(assignment).map_err(|e| invalid(e.to_string()))?.without_dead_nodes();
    let uses = graph.uses();
    if graph.inputs().iter().all(|id| uses[id.0 as usize] == 0) {
        return Err(invalid("no path leads from the input to the output".to_string()));
    }
    let choices = space.decisions().iter().zip(&assignment.0);
    let decisions = choices
        .map(|(decision, &choice)| (decision.name.clone(), decision.choices.get(choice).cloned().unwrap_or_default()))
        .collect();
    let key = canonical_key(&graph).map_err(|e| invalid(e.to_string()))?;
    let description = Description { key, parameters: parameters(&graph), flops: flops(&graph), decisions };
    Ok((graph, description))
}

/// Learnt numbers of a graph; running statistics of batch normalisation are not learnt.
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
        let (_, conv) = describe(&space, &Assignment(vec![2])).unwrap();
        assert_eq!(conv.parameters, 3 * 3 * 2 * 2 + 2 + 2 + 2 * 4);
        assert_eq!(conv.decisions, [("edge".to_string(), "conv".to_string())]);
        let (_, skip) = describe(&space, &Assignment(vec![1])).unwrap();
        assert_eq!(skip.parameters, 2 * 4);
        let dense = 2 * 8 * 8 * 3 * 3 * 2 * 2;
        assert!(conv.flops - skip.flops >= dense && conv.flops - skip.flops < 2 * dense, "{} {}", conv.flops, skip.flops);
    }

    #[test]
    fn an_output_that_does_not_see_the_input_is_no_candidate() {
        let space = Space::parse(SPACE).unwrap();
        let error = describe(&space, &Assignment(vec![0])).unwrap_err();
        assert!(matches!(&error, EvaluateError::Candidate(reason) if reason.contains("edge=none")), "{error}");
    }
}
