//! The search for a short proof of a claim.

use super::claim::{Claim, Step};
use super::replay::{Replay, place, replay};
use super::text::show;
use crate::error::RewriteError;
use crate::language::{addition, is_weight, sum};
use crate::rules::Application;
use egg::Id;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::{NodeId, Op};
use sonar_ir::scalar::BinaryOp;

/// How often the whole log is tried.
const MAX_ROUNDS: usize = 4;

/// Proves a claim from a log. Returns the proof as text, and its number of steps.
pub fn prove(claim: &Claim<'_>, log: &[Application]) -> Result<(String, usize), RewriteError> {
    let logged: Vec<Step<'_>> = log.iter().map(|application| Step { application, only: None }).collect();
    // If several nodes match, a rule takes the first one. A replay may take another one. Then the step finds the rest when it is
    // tried again after the others.
    let again = (1..=MAX_ROUNDS).map(|rounds| logged.repeat(rounds)).find(|steps| proves(claim, steps));
    let Some(all) = again else {
        return Err(RewriteError::Unproven(format!("{}: the steps that were logged do not suffice", claim.title)));
    };
    let steps = narrowed(claim, shortest(claim, all));
    let replay = replay(claim, &steps);
    let text = show(claim, &steps, &replay)?;
    Ok((text, steps.len()))
}

/// A subset of the steps that still proves the claim. Every step in it is needed.
fn shortest<'a>(claim: &Claim<'_>, mut steps: Vec<Step<'a>>) -> Vec<Step<'a>> {
    let mut size = steps.len().next_power_of_two();
    while size > 0 {
        let mut end = steps.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let fewer = [&steps[..start], &steps[end..]].concat();
            if proves(claim, &fewer) {
                steps = fewer;
            }
            end = start;
        }
        size /= 2;
    }
    steps
}

/// The same steps. If one result of a step is sufficient, only this result is taken.
fn narrowed<'a>(claim: &Claim<'_>, mut steps: Vec<Step<'a>>) -> Vec<Step<'a>> {
    for i in 0..steps.len() {
        let found = replay(claim, &steps).sides[i].1.len();
        for k in 0..found {
            steps[i].only = Some(k);
            if found == 1 || proves(claim, &steps) {
                break;
            }
            steps[i].only = None;
        }
    }
    steps
}

/// Whether the steps make the rewritten graph equal to the original one.
fn proves(claim: &Claim<'_>, steps: &[Step<'_>]) -> bool {
    let Replay { mut egraph, classes, .. } = replay(claim, steps);
    let simplified = egraph.analysis.simplified;
    let mut found: EntityVec<NodeId, Id> = EntityVec::new();
    for node in &claim.target.nodes {
        let operands: Vec<Id> = node.operands.iter().map(|operand| found[*operand]).collect();
        found.push(match &node.op {
            Op::Input | Op::Param(_) => {
                let Some(leaf) = claim.source.nodes.find(|leaf| leaf.name == node.name) else { return false };
                classes[leaf]
            }
            Op::Binary(BinaryOp::Add) if simplified && !operands.iter().all(|&id| is_weight(&egraph, id)) => {
                addition(&mut egraph, operands[0], operands[1])
            }
            Op::Binary(BinaryOp::Add) => sum(&mut egraph, &operands, &node.ty),
            op => place(&mut egraph, op, &operands),
        });
    }
    egraph.rebuild();
    let outputs = claim.source.outputs.iter().zip(&claim.target.outputs);
    claim.source.outputs.len() == claim.target.outputs.len()
        && outputs.into_iter().all(|(a, b)| egraph.find(classes[*a]) == egraph.find(found[*b]))
}
