//! A proof as text.

use super::claim::{Claim, Step};
use super::compare::compare;
use super::replay::Replay;
use super::terms::Terms;
use crate::error::RewriteError;
use sonar_ir::graph::NodeId;
use std::collections::HashSet;
use std::fmt::Write;

/// The proof as text, after both sides of each step were compared on random values.
pub fn show(claim: &Claim<'_>, steps: &[Step<'_>], replay: &Replay) -> Result<String, RewriteError> {
    let mut terms = Terms::new(claim);
    let mut equations: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
    for (step, (before, equal)) in steps.iter().zip(&replay.sides) {
        let wanted = equal.iter().enumerate().filter(|(k, _)| step.only.is_none_or(|only| only == *k));
        let before = terms.node(&replay.egraph, before)?;
        let equal = wanted.map(|(_, &id)| terms.class(&replay.egraph, id)).collect::<Result<_, _>>()?;
        equations.push((before, equal));
    }
    compare(claim, steps, &terms.graph, &equations)?;

    let lines = terms.lines();
    let mut shown: HashSet<NodeId> = HashSet::new();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {} steps", claim.title, steps.len());
    for (i, (step, (before, equal))) in steps.iter().zip(&equations).enumerate() {
        let rule = &step.application.rule;
        let _ = writeln!(text, "  {}. {} ({}): {}", i + 1, rule.name, rule.class, rule.text);
        for (sign, &id) in [("  ", before)].into_iter().chain(equal.iter().map(|id| ("= ", id))) {
            for inner in terms.below(id).into_iter().filter(|&inner| inner != id) {
                if shown.insert(inner) {
                    let _ = writeln!(text, "       let {}", lines[&inner]);
                }
            }
            let line = lines.get(&id).cloned().unwrap_or_else(|| terms.name(id));
            // The line defines the value. It is shown once; later only the name is needed.
            let line = if shown.contains(&id) { terms.name(id) } else { line };
            shown.insert(id);
            let _ = writeln!(text, "     {sign}{line}");
        }
    }
    Ok(text)
}
