//! The best schedules that the records know: tuned models without a search.

use crate::compile::CompileOptions;
use crate::networks::Ranked;
use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_ir::text::parse_graph;
use sonar_ir::{Graph, NodeId, TensorType};
use sonar_measure::{Cache, Key, MeasureError, Outcome, Records, Trial, records};
use sonar_rewrite::rules::STATED;
use sonar_schedule::Task;

/// Version of the code generator: trials of other versions do not count.
pub const COMPILER: &str = env!("CARGO_PKG_VERSION");

/// Under which key trials of a task are recorded.
pub fn key(task: &Task, target: &Target, threads: usize, cache: Cache) -> Key {
    Key { task: records::digest(&task.key), target: target.key(), threads, compiler: COMPILER.into(), cache }
}

/// The best recorded schedule of a task: of cold trials, if there are any, else of warm ones.
pub fn best_schedule(records: &Records, task: &Task, target: &Target, threads: usize) -> Result<Option<Schedule>, MeasureError> {
    for cache in [Cache::Cold, Cache::Warm] {
        if let Some(trial) = records.best(&key(task, target, threads, cache))? {
            return Ok(trial.schedule.parse().ok());
        }
    }
    Ok(None)
}

/// The best recorded schedules of a task, best first, each with its latest trial: [`best_schedule`] is that of the first. They are
/// all of cold trials, if there are any, else all of warm ones.
pub fn top(records: &Records, task: &Task, target: &Target, threads: usize, count: usize) -> Result<Vec<Trial>, MeasureError> {
    let cold = records.top(&key(task, target, threads, Cache::Cold), count)?;
    if cold.is_empty() { records.top(&key(task, target, threads, Cache::Warm), count) } else { Ok(cold) }
}

/// Under which key the rewritten forms of a graph, whose batch is bound, are recorded. Rules of a user belong to it.
pub fn network_key(graph: &Graph, options: &CompileOptions<'_>) -> Key {
    let stated = options.rules.iter().filter(|rule| rule.family == STATED);
    let stated: String = stated.map(|rule| format!("{}\n", rule.text)).collect();
    let task = records::digest(&format!("{graph}{:e}{stated}", options.max_rounding));
    Key { task, target: options.target.key(), threads: options.threads, compiler: COMPILER.into(), cache: Cache::default() }
}

/// Records graphs of a network with their times; the first one is the fastest.
pub fn add_networks(records: &Records, ranked: &[Ranked], options: &CompileOptions<'_>) -> Result<(), MeasureError> {
    for (rank, Ranked { lowered, samples, .. }) in ranked.iter().enumerate() {
        records.insert(&Trial {
            key: network_key(&lowered.graph, options),
            schedule: lowered.rewritten.to_string(),
            outcome: Outcome::Ok(samples.clone()),
            confirmed: rank == 0,
            seconds: samples.iter().sum::<f64>() / 1e9,
            at: records::unix_time(),
        })?;
    }
    Ok(())
}

/// What a graph, whose batch is bound, was found to be rewritten to best: the schedule of the best trial under its key.
pub fn network(records: &Records, graph: &Graph, options: &CompileOptions<'_>) -> Result<Option<Graph>, MeasureError> {
    let best = records.best(&network_key(graph, options))?;
    let types = |graph: &Graph, ids: &[NodeId]| -> Vec<TensorType> { ids.iter().map(|&id| graph.ty(id).clone()).collect() };
    let fits = |found: &Graph| {
        types(found, &found.inputs()) == types(graph, &graph.inputs())
            && types(found, &found.outputs) == types(graph, &graph.outputs)
    };
    Ok(best.and_then(|trial| parse_graph(&trial.schedule).ok()).filter(fits))
}
