//! The graphs that a network may be rewritten to, by measured costs of kernels.
//!
//! The cost of a kernel that was never timed is optimistic. If such a kernel is part of one of the best graphs, it is timed, and
//! rewriting is repeated until every kernel of the best graphs has a time. The best graphs by estimated costs are candidates too:
//! kernels are timed alone and with warm caches, and their time inside a network differs.

use super::costs::KernelCosts;
use crate::compile::{CompileOptions, Lowered, Passes, RewriteLevel, estimated_cost, lower_rewritten, rewrite, specialise};
use crate::error::TuneError;
use crate::schedules::{Limits, Progress, StopReason, Tuner, TunerTaskId};
use sonar_ir::Graph;
use sonar_schedule::Task;
use std::ops::ControlFlow;
use std::time::Duration;

/// Rounds of timing kernels and rewriting again.
const ROUNDS: usize = 8;
/// Tries for a kernel if none of its schedules can be timed. After them its cost stays an estimate.
const TRIES: usize = 3;

/// The graphs that a network may be rewritten to, lowered: first the result of fusion alone, then the others by their cost.
/// At most `time` is spent on timing kernels.
pub fn candidates(
    graph: &Graph,
    options: &CompileOptions<'_>,
    tuner: &mut Tuner,
    time: Duration,
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Vec<Lowered>, TuneError> {
    let start = tuner.now();
    let graph = specialise(graph, options)?;
    let lower = |rewritten| lower_rewritten(graph.clone(), rewritten, None, Passes::default(), options);
    if options.rewrite < RewriteLevel::Fusion {
        return Ok(vec![lower(graph.clone())?]);
    }
    let mut rounds = 0;
    loop {
        let (rewritten, untimed) = {
            let times = |task: &Task| tuner.time(task).map(|nanoseconds| nanoseconds / 1e9);
            let costs = KernelCosts::new(&graph, options, &times);
            let rewritten = rewrite(&graph, &|kernel: &_| costs.seconds(kernel), options)?;
            let untimed: Vec<Task> = rewritten.candidates.iter().flat_map(|candidate| costs.untimed(candidate)).collect();
            (rewritten, untimed)
        };
        let ids = untimed.iter().map(|task| tuner.add(task)).collect::<Result<Vec<TunerTaskId>, TuneError>>()?;
        let open: Vec<(TunerTaskId, f64)> = ids.into_iter().filter(|&id| tuner.trials(id) < TRIES).map(|id| (id, 1.0)).collect();
        rounds += 1;
        let left = time.saturating_sub((tuner.now()).saturating_sub(start));
        if !open.is_empty() && rounds <= ROUNDS && !left.is_zero() {
            // A task whose tries failed gets one more each round.
            let most = 1 + open.iter().map(|&(id, _)| tuner.trials(id)).max().unwrap_or(0);
            let limits = Limits { trials_each: Some(most), time: Some(left), ..Limits::default() };
            if tuner.tune(&open, limits, observe)? == StopReason::Interrupted {
                return Err(TuneError::Interrupted);
            }
            continue;
        }
        let mut candidates = rewritten.candidates;
        let fusion = candidates.remove(rewritten.fusion);
        let by_estimate = rewrite(&graph, &*estimated_cost(&graph, options), options)?.candidates;
        let mut distinct = vec![fusion];
        for candidate in by_estimate.into_iter().chain(candidates) {
            if !distinct.contains(&candidate) {
                distinct.push(candidate);
            }
        }
        return distinct.into_iter().map(lower).collect();
    }
}
