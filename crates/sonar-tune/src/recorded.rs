//! The content of the records: the best schedules and graphs, without a search, and the history of a task.

use crate::compile::CompileOptions;
use crate::error::TuneError;
use crate::networks::Ranked;
use crate::schedules::{Event, History};
use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_ir::{Graph, NodeId, TensorType};
use sonar_measure::records::{self, Known, NetworkRecord, Record};
use sonar_measure::{Cache, Key, MeasureError, Records};
use sonar_rewrite::rules::STATED;
use sonar_schedule::Task;

/// Version of the code generator. Trials of other versions are ignored.
pub const COMPILER: &str = env!("CARGO_PKG_VERSION");

/// The key for the trials of a task.
pub fn key(task: &Task, target: &Target, threads: usize, cache: Cache) -> Key {
    Key { task: records::digest(&task.key), target: target.key(), threads, compiler: COMPILER.into(), cache }
}

/// The best recorded schedule of a task, among those whose rounding is at most `max_rounding`. Uses cold trials if there are
/// any, else warm trials.
pub fn best_schedule(
    records: &Records,
    task: &Task,
    target: &Target,
    threads: usize,
    max_rounding: f64,
) -> Result<Option<Schedule>, MeasureError> {
    let best = top(records, task, target, threads, max_rounding, 1)?.pop();
    Ok(best.map(|known| known.schedule))
}

/// The best recorded schedules of a task, best first, among those whose rounding is at most `max_rounding`. [`best_schedule`]
/// is the first one. All are from cold trials if there are any, else all are from warm trials.
pub fn top(
    records: &Records,
    task: &Task,
    target: &Target,
    threads: usize,
    max_rounding: f64,
    count: usize,
) -> Result<Vec<Known>, MeasureError> {
    let permitted = |schedule: &Schedule| sonar_schedule::allows(schedule, max_rounding);
    let of = |cache| records.top_permitted(&key(task, target, threads, cache), count, &permitted);
    let cold = of(Cache::Cold)?;
    if cold.is_empty() { of(Cache::Warm) } else { Ok(cold) }
}

/// The history of a task, without schedules whose rounding exceeds `max_rounding`.
pub fn history(records: &Records, key: &Key, max_rounding: f64) -> Result<History, TuneError> {
    let permitted = |schedule: &Schedule| sonar_schedule::allows(schedule, max_rounding);
    let mut events: Vec<(f64, Event)> = Vec::new();
    for trial in records.trials(key)?.into_iter().filter(|trial| permitted(&trial.schedule)) {
        let (schedule, outcome, seconds) = (trial.schedule, trial.outcome, trial.seconds);
        events.push((trial.at, Event::Tried { schedule, outcome, seconds }));
    }
    for mut verdict in records.verdicts(key)? {
        verdict.contenders.retain(|contender| permitted(&contender.schedule));
        let (setting, contenders, seconds) = (verdict.setting, verdict.contenders, verdict.seconds);
        if !contenders.is_empty() {
            events.push((verdict.at, Event::Judged { setting, contenders, seconds }));
        }
    }
    // The sort is stable: at equal times, trials come before verdicts.
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut history = History::default();
    events.into_iter().for_each(|(_, event)| history.apply(event));
    Ok(history)
}

/// The key for the rewritten forms of a graph whose batch is bound. It includes the user's rules.
pub fn network_key(graph: &Graph, options: &CompileOptions<'_>) -> Key {
    let stated = options.rules.iter().filter(|rule| rule.family == STATED);
    let stated: String = stated.map(|rule| format!("{}\n", rule.text)).collect();
    let task = records::digest(&format!("{graph}{:e}{stated}", options.max_rounding));
    Key { task, target: options.target.key(), threads: options.threads, compiler: COMPILER.into(), cache: Cache::default() }
}

/// Records graphs of a network with their times. The first graph is the fastest.
pub fn add_networks(records: &Records, ranked: &[Ranked], options: &CompileOptions<'_>) -> Result<(), MeasureError> {
    for (rank, Ranked { lowered, samples, .. }) in ranked.iter().enumerate() {
        records.add(&Record::Network(NetworkRecord {
            key: network_key(&lowered.graph, options),
            graph: lowered.rewritten.clone(),
            samples: samples.clone(),
            won: rank == 0,
            at: records::unix_time(),
        }))?;
    }
    Ok(())
}

/// The fastest recorded form of a graph whose batch is bound.
pub fn network(records: &Records, graph: &Graph, options: &CompileOptions<'_>) -> Result<Option<Graph>, TuneError> {
    let Some(found) = records.network(&network_key(graph, options))? else { return Ok(None) };
    let types = |graph: &Graph, ids: &[NodeId]| -> Vec<TensorType> { ids.iter().map(|&id| graph.ty(id).clone()).collect() };
    let found = found.graph;
    let fits = types(&found, &found.inputs()) == types(graph, &graph.inputs())
        && types(&found, &found.outputs) == types(graph, &graph.outputs);
    if fits { Ok(Some(found)) } else { Err(TuneError::Misfit(records.path().to_owned())) }
}
