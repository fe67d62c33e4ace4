//! `db`: shows, merges and prunes records, and recovers the readable part of a damaged file.

use crate::args::{DbAction, DbArgs, Format, ModelArgs, RecordsArg, TopArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::{runnable_target, tune_failure};
use crate::model::failure::records_failure;
use crate::model::load;
use crate::model::records::open_records;
use crate::terminal::ask;
use crate::terminal::output::{out, outln};
use crate::terminal::table::{Align, render};
use serde_json::json;
use sonar_measure::records::{Key, Known, salvage};
use sonar_measure::{MeasureError, Records, Summary};
use sonar_tune::recorded::COMPILER;
use sonar_tune::{CompileOptions, lower};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

/// Runs the subcommand.
pub fn db(args: &DbArgs) -> Result<(), Failure> {
    match &args.action {
        DbAction::Top(args) => top(args),
        DbAction::Merge { files, records } => merge(files, records),
        DbAction::Prune { keep, force, records } => prune(*keep, *force, &existing(records)?),
        DbAction::Export { output, records } => export(output.as_deref(), &existing(records)?),
        DbAction::Import { files, records } => import(files, records),
        DbAction::Recover { file, output } => {
            let saved = salvage(file, output).map_err(|error| recovering(file, error))?;
            outln!("{} records saved to {}; {} are damaged", saved.records, output.display(), saved.damaged);
            Ok(())
        }
        DbAction::Check { records } => {
            let records = existing(records)?;
            let counts = records.check().map_err(records_failure)?;
            outln!("{counts}: all of them whole");
            Ok(())
        }
    }
}

/// The records, which must exist. Only commands that add records create a file.
fn existing(records: &RecordsArg) -> Result<Records, Failure> {
    open_records(records.records.as_deref(), false)?.ok_or_else(|| fail(Exit::BadInput, "there are no records yet"))
}

fn created(records: &RecordsArg) -> Result<Records, Failure> {
    open_records(records.records.as_deref(), true)?.ok_or_else(|| fail(Exit::Internal, "the records were not created"))
}

fn recovering(file: &Path, error: MeasureError) -> Failure {
    fail(Exit::BadInput, format!("nothing was recovered from {}: {error}", file.display()))
}

fn merge(files: &[std::path::PathBuf], records: &RecordsArg) -> Result<(), Failure> {
    // All files are opened before any is read.
    let open = |file: &std::path::PathBuf| match file.is_file() {
        true => Records::open(file).map_err(records_failure),
        false => Err(fail(Exit::BadInput, format!("there is no file {}", file.display()))),
    };
    let others = files.iter().map(open).collect::<Result<Vec<Records>, Failure>>()?;
    let records = created(records)?;
    for other in &others {
        let added = records.merge(other).map_err(records_failure)?;
        outln!("{}: {} records added, {} known", other.path().display(), added.added, added.known);
    }
    Ok(())
}

/// Removes all trials except the best. Asks first if nothing would be left.
fn prune(keep: usize, force: bool, records: &Records) -> Result<(), Failure> {
    let keys = records.keys().map_err(records_failure)?;
    let kept = |key: &Key| -> Result<bool, MeasureError> {
        Ok(keep > 0 && key.compiler == COMPILER && !records.top(key, 1)?.is_empty())
    };
    let kept = keys.iter().map(|(key, _)| kept(key)).collect::<Result<Vec<_>, _>>().map_err(records_failure)?;
    let trials: usize = keys.iter().map(|(_, trials)| trials).sum();
    if trials > 0 && !force && !kept.contains(&true) {
        ask::before(&format!("this removes all {trials} trials of {}", records.path().display()), "--force")?;
    }
    let pruned = records.prune(keep, COMPILER).map_err(records_failure)?;
    outln!("{} trials removed, {} kept", pruned.removed, pruned.kept);
    Ok(())
}

fn export(output: Option<&Path>, records: &Records) -> Result<(), Failure> {
    let Some(path) = output else {
        let mut lines = Vec::new();
        records.export(&mut lines).map_err(records_failure)?;
        out!("{}", String::from_utf8_lossy(&lines));
        return Ok(());
    };
    let refused = |error: std::io::Error| fail(Exit::BadInput, format!("cannot write {}: {error}", path.display()));
    let mut file = BufWriter::new(File::create(path).map_err(refused)?);
    let count = records.export(&mut file).map_err(|error| match error {
        MeasureError::Io(error) => refused(error),
        error => records_failure(error),
    })?;
    file.flush().map_err(refused)?;
    outln!("{count} records written to {}", path.display());
    Ok(())
}

fn import(files: &[std::path::PathBuf], records: &RecordsArg) -> Result<(), Failure> {
    let open = |file: &std::path::PathBuf| {
        File::open(file).map_err(|error| fail(Exit::BadInput, format!("cannot read {}: {error}", file.display())))
    };
    let opened = files.iter().map(open).collect::<Result<Vec<File>, Failure>>()?;
    let records = created(records)?;
    for (path, file) in files.iter().zip(opened) {
        let added = records.import(&mut BufReader::new(file));
        let added = added.map_err(|error| fail(Exit::BadInput, format!("{}: {error}", path.display())))?;
        outln!("{}: {} records added, {} known", path.display(), added.added, added.known);
    }
    Ok(())
}

fn top(args: &TopArgs) -> Result<(), Failure> {
    let records = existing(&RecordsArg { records: args.target.records.clone() })?;
    let keys = records.keys().map_err(records_failure)?;
    let chosen: Vec<(Key, usize)> = match (&args.model, &args.task) {
        (Some(_), _) => {
            let tasks = tasks_of_model(args)?;
            keys.into_iter().filter(|(key, _)| tasks.iter().any(|task| task.same_place(key))).collect()
        }
        (None, Some(task)) => keys.into_iter().filter(|(key, _)| key.task.starts_with(task.as_str())).collect(),
        (None, None) => keys,
    };
    if chosen.is_empty() && (args.model.is_some() || args.task.is_some()) {
        return Err(fail(Exit::BadInput, "there are no trials of that on record; `sonar-compile db top` lists all tasks"));
    }
    let alone = args.model.is_none() && args.task.is_none();
    let count = if alone { 1 } else { args.count };
    let best: Vec<(Key, usize, Vec<Known>)> = chosen
        .into_iter()
        .map(|(key, trials)| records.top(&key, count).map(|top| (key, trials, top)))
        .collect::<Result<_, _>>()
        .map_err(records_failure)?;
    let known =
        |known: &Known| json!({ "schedule": known.schedule.to_string(), "samples": known.samples, "compared": known.compared });
    let task = |(key, trials, top): &(Key, usize, Vec<Known>)| json!({ "key": key, "trials": trials, "top": top.iter().map(known).collect::<Vec<_>>() });
    match args.format {
        Format::Json => {
            let tasks: Vec<_> = best.iter().map(task).collect();
            let document = json!({ "schema": 1, "tasks": tasks });
            outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?);
        }
        Format::Text if alone => print_tasks(&best),
        Format::Text => best.iter().for_each(print_top),
    }
    Ok(())
}

/// The key of a model's task, for any state of the caches.
struct Wanted(Key);

impl Wanted {
    fn same_place(&self, key: &Key) -> bool {
        Key { cache: self.0.cache, ..key.clone() } == self.0
    }
}

fn tasks_of_model(args: &TopArgs) -> Result<Vec<Wanted>, Failure> {
    let Some(model) = &args.model else { return Ok(vec![]) };
    let target = runnable_target(&args.target)?;
    let model = ModelArgs {
        model: model.clone(),
        shapes: args.shapes.clone(),
        arch: args.arch.clone(),
        set: args.set.clone(),
        train: false,
    };
    let graph = load::model(&model, args.target.batch)?.graph;
    let options = CompileOptions {
        machine: machine::of_target(&target)?,
        threads: args.target.threads,
        batch: args.target.batch,
        rewrite: args.target.level(),
        max_rounding: args.target.max_rounding,
        ..CompileOptions::new(&target)
    };
    let tasks = lower(&graph, &options).map_err(tune_failure)?.tasks.tasks;
    let key = |task| sonar_tune::recorded::key(task, &target, args.target.threads, Default::default());
    Ok(tasks.iter().map(|task| Wanted(key(task))).collect())
}

/// The time of a schedule and its confidence interval, in microseconds.
fn time(known: &Known) -> (String, String) {
    let Some(summary) = Summary::of(&known.samples) else { return ("–".into(), String::new()) };
    let (low, high) = summary.interval;
    (format!("{:.2}", summary.median / 1e3), format!("{:.2} to {:.2}", low / 1e3, high / 1e3))
}

fn print_tasks(best: &[(Key, usize, Vec<Known>)]) {
    let columns = [
        ("task", Align::Left),
        ("threads", Align::Right),
        ("cache", Align::Left),
        ("trials", Align::Right),
        ("best µs", Align::Right),
        ("compiler", Align::Left),
        ("target", Align::Left),
    ];
    let rows: Vec<Vec<String>> = best
        .iter()
        .map(|(key, trials, top)| {
            let best = top.first().map_or("–".into(), |known| time(known).0);
            let (threads, cache) = (key.threads.to_string(), key.cache.to_string());
            vec![key.task.clone(), threads, cache, trials.to_string(), best, key.compiler.clone(), key.target.clone()]
        })
        .collect();
    out!("{}", render(&columns, &rows));
}

fn print_top((key, trials, top): &(Key, usize, Vec<Known>)) {
    outln!("{}  {} threads, {}, {} trials, compiler {}, {}", key.task, key.threads, key.cache, trials, key.compiler, key.target);
    for (place, known) in top.iter().enumerate() {
        let (median, interval) = time(known);
        let how = if known.compared { ", in turns with others" } else { "" };
        outln!("{}. {median} µs ({interval}){how}", place + 1);
        for line in known.schedule.to_string().lines() {
            outln!("   {line}");
        }
    }
}
