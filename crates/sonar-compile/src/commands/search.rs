//! `search` and `resume`: the joint search, with progress on standard error and the front on standard output.

use crate::args::{Format, ResumeArgs, SearchArgs, SearchOptions, config_file};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::{hint, load};
use crate::report::summary;
use crate::terminal::output::{out, outln};
use crate::terminal::progress::Teller;
use crate::terminal::table::{Align, render};
use crate::terminal::{interrupt, stderr};
use sonar_codegen::Target;
use sonar_ir::machine::Machine;
use sonar_measure::{WorkerMeasurer, WorkerOptions};
use sonar_nas::driver::Progress;
use sonar_nas::results::Architecture;
use sonar_nas::search::{self as nas, Ended, Session};
use sonar_nas::{Event, Objective, SearchConfig, SearchError, SearchResult, State};
use sonar_train::{DataProblem, TrainError};
use std::path::Path;

/// Runs `search`.
pub fn search(args: &SearchArgs, quiet: bool) -> Result<(), Failure> {
    let options = match &args.config {
        None => args.options.clone(),
        Some(path) => args.options.clone().or(config_file::read(path)?),
    };
    let config = configuration(&options, args.config.as_deref().unwrap_or(Path::new("")))?;
    let name = options.space.as_deref().and_then(Path::file_stem).map_or("nas-bench-201".into(), |s| s.to_string_lossy());
    let dir = options.out.clone().unwrap_or_else(|| Path::new("runs").join(&*name));
    run(&config, &dir, args.fresh, args.format, quiet)
}

/// Runs `resume`.
pub fn resume(args: &ResumeArgs, quiet: bool) -> Result<(), Failure> {
    let config = nas::configuration(&args.run).map_err(failure)?;
    let config = config.ok_or_else(|| fail(Exit::BadInput, format!("{} holds no run", args.run.display())))?;
    run(&config, &args.run, false, args.format, quiet)
}

/// The defaults changed by the options. `file` is the configuration file that some options may come from.
fn configuration(options: &SearchOptions, file: &Path) -> Result<SearchConfig, Failure> {
    let mut config = SearchConfig::default();
    if let Some(path) = &options.space {
        // Errors show the position in the file.
        load::space(path, &options.set)?;
        config.space = load::text(path)?;
        config.settings.clear();
    }
    for (name, value) in load::settings(&options.set)? {
        config.settings.insert(name.into(), value.into());
    }
    let SearchOptions { data, seed, threads, latency_threads, target, candidates, epochs, trials, training, .. } =
        options.clone();
    config.data = data.unwrap_or(config.data);
    if let Some(table) = training {
        config.training = config_file::training(file, &config.training, table)?;
    }
    config.threads = threads.unwrap_or(config.threads);
    config.latency_threads = latency_threads.unwrap_or(config.latency_threads);
    config.target = target.unwrap_or(config.target);
    let policy = &mut config.policy;
    policy.seed = seed.unwrap_or(policy.seed);
    policy.candidates = candidates.unwrap_or(policy.candidates);
    policy.epochs = epochs.unwrap_or(policy.epochs);
    policy.trials = trials.unwrap_or(policy.trials);
    policy.seconds = options.time.map_or(policy.seconds, |time| Some(time.as_secs_f64()));
    if let Some(algorithm) = &options.algorithm {
        policy.algorithm = algorithm.parse().map_err(|e: String| fail(Exit::Usage, e))?;
    }
    if let Some(us) = options.latency_limit {
        policy.objective = Objective::LatencyLimit { ns: us * 1e3 };
    }
    Ok(config)
}

fn run(config: &SearchConfig, dir: &Path, fresh: bool, format: Format, quiet: bool) -> Result<(), Failure> {
    let worker = WorkerMeasurer::new(WorkerOptions::current_executable(config.latency_threads).or_exit(Exit::Internal)?);
    interrupt::saves();
    let mut teller = Teller::new(quiet);
    // The search refuses a target that does not exist.
    let machine = Target::parse(&config.target).map_or(Ok(Machine::usual(1)), |target| machine::of_target(&target))?;
    let mut observer = |progress: &Progress, event: &Event, state: &State| {
        teller.tell(progress, event, state);
        interrupt::flow()
    };
    let measurer = Box::new(worker);
    let session = Session { dir, fresh, machine, measurer, watch: &interrupt::flow, observer: &mut observer };
    let ended = nas::search(config, session);
    stderr::leave();
    let Ended { result, was_over } = ended.map_err(failure)?;
    if was_over && !quiet {
        stderr::say("nothing was left to do: this search was over. A longer --time or more --candidates go on with it");
    }
    match format {
        Format::Json => outln!("{}", serde_json::to_string_pretty(&result).or_exit(Exit::Internal)?),
        Format::Text => print(&result, dir),
    }
    Ok(())
}

/// The exit code of a failed search. If a data file has an unknown format, the message suggests what it is.
pub fn failure(error: SearchError) -> Failure {
    if let SearchError::Data(error) = error {
        return data_failure(error);
    }
    let exit = match &error {
        SearchError::NoCandidate(_) => Exit::NoCandidate,
        SearchError::TimeTooShort { .. } => Exit::Budget,
        SearchError::Interrupted => Exit::Interrupted,
        SearchError::Internal(_) => Exit::Internal,
        _ => Exit::BadInput,
    };
    fail(exit, error)
}

/// An error in reading data, with a guess about the file.
pub fn data_failure(error: TrainError) -> Failure {
    let hint = match &error {
        TrainError::Data { path, problem: DataProblem::NotIdx { .. } | DataProblem::NoBatch { .. } | DataProblem::Empty } => {
            hint::behind(path)
        }
        _ => String::new(),
    };
    fail(Exit::BadInput, format!("{error}{hint}"))
}

fn print(result: &SearchResult, dir: &Path) {
    let row = |a: &Architecture| {
        let mark = if result.winner.as_ref() == Some(&a.architecture) { " *" } else { "" };
        let decisions: Vec<String> = a.decisions.iter().map(|(k, v)| format!("{k}={v}")).collect();
        vec![
            format!("{}{mark}", a.architecture),
            format!("{:.2}%", 100.0 * a.accuracy),
            format!("{:.2}", a.latency.median_us),
            format!("{:.2}–{:.2}", a.latency.low_us, a.latency.high_us),
            a.parameters.to_string(),
            format!("{:.2}", a.flops as f64 / 1e6),
            a.rung.to_string(),
            decisions.join(" "),
        ]
    };
    let baseline = result.baseline.iter().filter(|b| !result.front.iter().any(|a| a.architecture == b.architecture));
    let rows: Vec<Vec<String>> = result.front.iter().chain(baseline).map(row).collect();
    let columns = [
        ("architecture", Align::Left),
        ("accuracy", Align::Right),
        ("µs", Align::Right),
        ("interval", Align::Right),
        ("parameters", Align::Right),
        ("MFLOP", Align::Right),
        ("rung", Align::Right),
        ("decisions", Align::Left),
    ];
    out!("{}", render(&columns, &rows));
    let c = result.cost.parts;
    outln!("\n{} (* the winner)", summary(result));
    outln!(
        "training {:.1} s, tuning {:.1} s, compiling {:.1} s, rewriting {:.1} s, other {:.1} s",
        c.training,
        c.tuning,
        c.compiling,
        c.rewriting,
        c.other
    );
    outln!("run directory {0}; see it with `sonar-compile report {0}`", dir.display());
}
