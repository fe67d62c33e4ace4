//! `report`: one HTML file and its pictures.

use super::search::{data_failure, failure};
use crate::args::ReportArgs;
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::tune_failure;
use crate::model::failure::records_failure;
use crate::report::{Winner, WinnerKernel, dag, egraph, html, pictures};
use crate::terminal::output::{outln, save};
use sonar_codegen::Target;
use sonar_ir::space::Assignment;
use sonar_measure::Records;
use sonar_nas::search as nas;
use sonar_nas::{SearchResult, store};
use sonar_tune::{CompileOptions, compile, recorded};

/// Runs the subcommand.
pub fn report(args: &ReportArgs) -> Result<(), Failure> {
    let nothing = || fail(Exit::BadInput, format!("{} holds no run", args.run.display()));
    let result = nas::result(&args.run).map_err(failure)?.ok_or_else(nothing)?;
    let winner = winner(args, &result)?;
    let path = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    save(&path, html(&result, "joint search", winner.as_ref()))?;
    outln!("{}", path.display());
    for picture in pictures::all(&result) {
        let file = path.with_file_name(format!("{}.svg", picture.name));
        save(&file, &picture.svg)?;
        outln!("{}", file.display());
    }
    Ok(())
}

/// The winner, compiled again with the schedules of the run.
fn winner(args: &ReportArgs, result: &SearchResult) -> Result<Option<Winner>, Failure> {
    let record = result.winner.as_ref().and_then(|name| result.candidates.iter().find(|c| c.architecture == *name));
    let (Some(record), Some(config)) = (record, nas::configuration(&args.run).map_err(failure)?) else { return Ok(None) };
    let data = sonar_train::data::load(&config.data, config.validation).map_err(data_failure)?;
    let space = sonar_nas::config::space_for(&config, &data).map_err(failure)?;
    let graph = space.instantiate(&Assignment(record.assignment.clone())).or_exit(Exit::Internal)?;
    let target = Target::parse(&config.target).or_exit(Exit::BadInput)?;
    let records = Records::open(&store::records(&args.run)).map_err(records_failure)?;
    let threads = config.latency_threads;
    let options = CompileOptions { machine: machine::of_target(&target)?, threads, ..CompileOptions::new(&target) };
    let schedules =
        |task: &sonar_schedule::Task| Ok(recorded::best_schedule(&records, task, &target, threads, options.max_rounding)?);
    let options = CompileOptions { schedules: &schedules, ..options };
    let compiled = compile(&graph, &options).map_err(tune_failure)?;
    let tasks = &compiled.lowered.tasks;
    let kernels = tasks.tasks.entries().zip(&compiled.schedules).map(|((id, task), schedule)| {
        let program = sonar_schedule::apply(&task.program, schedule, target.lanes()).map(|p| p.to_string()).unwrap_or_default();
        let calls = tasks.kernels.iter().filter(|k| k.task == id).count();
        WinnerKernel { name: format!("{} {id}", task.program.name), calls, schedule: schedule.to_string(), program }
    });
    let drawn = sonar_rewrite::Options { dump: true, ..Default::default() };
    let rewritten = sonar_rewrite::rewrite(&compiled.lowered.graph, &drawn).or_exit(Exit::Internal)?;
    Ok(Some(Winner {
        name: record.architecture.clone(),
        before: dag::svg(&compiled.lowered.graph),
        after: dag::svg(&compiled.lowered.rewritten),
        egraph: egraph::svg(&rewritten.report.views),
        graph: compiled.lowered.rewritten.to_string(),
        kernels: kernels.collect(),
    }))
}
