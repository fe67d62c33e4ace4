//! Compares both sides of each step of a proof, and both graphs, on random values.

use super::claim::{Claim, Step};
use crate::error::RewriteError;
use crate::rules::Soundness;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::graph::{init, interp};

/// The largest difference of numbers in double precision, relative to the largest number.
const ROUNDING: f64 = 1e-9;

/// Runs both sides of each step, and both graphs, on the same random values.
pub fn compare(
    claim: &Claim<'_>,
    steps: &[Step<'_>],
    graph: &Graph,
    equations: &[(NodeId, Vec<NodeId>)],
) -> Result<(), RewriteError> {
    let failed = |what: String| RewriteError::Unproven(format!("{}: {what}", claim.title));
    let run = |graph: &Graph| {
        let graph = graph.specialise(2);
        let mut values = init::randomise(&graph, 0);
        values.extend(init::inputs(&graph, 0));
        interp::run_unrounded(&graph, &values).map_err(|error| failed(error.to_string()))
    };
    let mut all = graph.clone();
    all.outputs = equations.iter().flat_map(|(before, equal)| [before].into_iter().chain(equal)).copied().collect();
    let mut values = run(&all)?.into_iter();
    for (step, (_, equal)) in steps.iter().zip(equations) {
        let before = values.next().unwrap_or_default();
        for after in values.by_ref().take(equal.len()) {
            if !close(&before, &after, tolerance([step])) {
                return Err(failed(format!("both sides of a step by `{}` differ on random values", step.application.rule.name)));
            }
        }
    }
    let named = |graph: &Graph| {
        let mut graph = graph.clone();
        for node in graph.nodes.iter_mut().filter(|node| matches!(node.op, Op::Input | Op::Param(_))) {
            node.name = node.name.as_deref().map(claim.names);
        }
        graph
    };
    let (source, target) = (run(&named(claim.source))?, run(&named(claim.target))?);
    match source.iter().zip(&target).all(|(a, b)| close(a, b, tolerance(steps))) {
        true => Ok(()),
        false => Err(failed("the two graphs differ on random values".to_string())),
    }
}

/// The largest difference of numbers after some steps, relative to the largest number.
fn tolerance<'a>(steps: impl IntoIterator<Item = &'a Step<'a>>) -> f64 {
    let mut steps = steps.into_iter();
    if steps.any(|step| step.application.rule.class == Soundness::Near) { Soundness::Near.rounding() } else { ROUNDING }
}

fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    let largest = a.iter().chain(b).filter(|v| v.is_finite()).fold(0.0f64, |most, v| most.max(v.abs()));
    let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * largest;
    a.len() == b.len() && a.iter().zip(b).all(same)
}
