//! The stages of `inspect` after tasks: schedules, loops, and code of kernels, as compiled, as recorded, or side by side.

use super::exists;
use crate::args::{InspectArgs, Pick, Stage};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::{Draft, draft};
use crate::model::load;
use crate::model::records::with_records;
use crate::roofline::Roofline;
use crate::roofline::annotate::{Caches, LEGEND, annotate};
use crate::terminal::output::{out, outln};
use crate::terminal::side_by_side;
use sonar_ir::entity::Entity;
use sonar_ir::loops::Program;
use sonar_ir::schedule::Schedule;
use sonar_measure::records::Known;
use sonar_schedule::TaskId;
use sonar_schedule::{Options, Task};
use sonar_tune::TuneError;
use sonar_tune::recorded::top;
use std::path::Path;

/// A kernel with one schedule.
struct Version {
    /// The origin of the schedule.
    origin: String,
    schedule: Schedule,
    program: Program,
    /// The recorded time of one call.
    seconds: Option<f64>,
}

/// The data for printing kernels.
struct View<'a> {
    args: &'a InspectArgs,
    draft: Draft,
    /// For each kernel, the best recorded schedules, best first.
    trials: Vec<Vec<Known>>,
    caches: Caches,
    /// The roofline of this machine. Only if the code can run here, there are records, and the output depends on measurements
    /// anyway: other stages are always printed the same.
    roofline: Option<Roofline>,
}

/// Prints a stage of all kernels or of one.
pub fn kernels(args: &InspectArgs) -> Result<(), Failure> {
    let view = View::new(args)?;
    if args.stage == Stage::Loops {
        outln!("// {LEGEND}\n// caches: {}", view.caches.describe());
    }
    if let Some([left, right]) = args.diff.as_deref() {
        return view.beside(args.kernel.unwrap_or(0), left, right);
    }
    for kernel in view.shown() {
        let version = match (&args.schedule, &args.record) {
            (Some(text), _) => view.with_schedule(kernel, "as given", schedule(text)?)?,
            (None, Some(pick)) => view.picked(kernel, pick)?,
            (None, None) => view.compiled(kernel)?,
        };
        outln!("// kernel {kernel}: {}{}", view.describe(kernel), view.time(kernel, &version));
        if args.schedule.is_some() || args.record.is_some() {
            outln!("// schedule: {}", version.origin);
        }
        outln!("{}", view.text(&version)?);
    }
    Ok(())
}

/// Refuses options that only apply to stages of a kernel.
pub fn refuse_elsewhere(args: &InspectArgs) -> Result<(), Failure> {
    if args.schedule.is_some() || args.record.is_some() || args.diff.is_some() {
        let message = "--schedule, --record and --diff go with --stage schedule, loops, clif and asm";
        return Err(fail(Exit::Usage, message));
    }
    Ok(())
}

/// Reads the argument of `--schedule`: a file, or steps separated by semicolons or line breaks.
fn schedule(text: &str) -> Result<Schedule, Failure> {
    let path = Path::new(text);
    let (steps, name) = if path.is_file() { (load::text(path)?, text) } else { (text.replace(';', "\n"), "--schedule") };
    steps.parse().map_err(|error| fail(Exit::BadInput, format!("{name}: {error}")))
}

impl<'a> View<'a> {
    fn new(args: &'a InspectArgs) -> Result<View<'a>, Failure> {
        let draft = draft(&args.model, &args.target)?;
        let tasks = &draft.planned.lowered.tasks.tasks;
        exists(args.kernel, tasks.len())?;
        let trials = with_records(args.target.records.as_deref(), |records| {
            let options = &args.target;
            let top = |task: &Task| match records {
                Some(records) => Ok(top(records, task, &draft.target, options.threads, options.max_rounding, usize::MAX)?),
                None => Ok(Vec::new()),
            };
            tasks.iter().map(top).collect::<Result<Vec<_>, TuneError>>()
        })?;
        let here = draft.target.runs_here();
        let mut view = View { args, trials, caches: Caches::new(here), roofline: None, draft };
        let measured = args.stage == Stage::Loops || args.diff.is_some();
        if here && measured && view.shown().any(|kernel| !view.trials[kernel].is_empty()) {
            view.roofline = Some(Roofline::new(&view.draft.target, args.target.threads)?);
        }
        Ok(view)
    }

    /// The numbers of the kernels to print.
    fn shown(&self) -> impl Iterator<Item = usize> + use<> {
        let only = self.args.kernel;
        (0..self.trials.len()).filter(move |kernel| only.is_none_or(|only| only == *kernel))
    }

    fn task(&self, kernel: usize) -> &Task {
        &self.draft.planned.lowered.tasks.tasks[TaskId::from_index(kernel)]
    }

    /// A description of a kernel.
    fn describe(&self, kernel: usize) -> String {
        let task = self.task(kernel);
        let calls = self.draft.planned.lowered.tasks.kernels.iter().filter(|k| k.task.index() == kernel).count();
        let [megaflops, kibibytes] = [task.flops as f64 / 1e6, task.bytes as f64 / 1024.0];
        format!("{}, {calls} calls, {megaflops:.3} MFLOP, {kibibytes:.1} KiB", task.program.name)
    }

    /// The recorded time of a version and its share of the roofline, after a comma.
    fn time(&self, kernel: usize, version: &Version) -> String {
        let Some(seconds) = version.seconds else { return String::new() };
        let share = self.roofline.as_ref().map(|roofline| {
            let share = roofline.floor_of(self.task(kernel), &version.program) / seconds;
            format!(", {:.0}% of the roofline", 100.0 * share)
        });
        format!(", {:.2} µs on record{}", 1e6 * seconds, share.unwrap_or_default())
    }

    /// A kernel as it is compiled.
    fn compiled(&self, kernel: usize) -> Result<Version, Failure> {
        self.with_schedule(kernel, "as compiled", self.draft.planned.schedules[TaskId::from_index(kernel)].clone())
    }

    /// A kernel with the schedule that the user chose.
    fn picked(&self, kernel: usize, pick: &Pick) -> Result<Version, Failure> {
        let trials = &self.trials[kernel];
        let rank = match *pick {
            Pick::Default => {
                let target = &self.args.target;
                let options = Options {
                    lanes: self.draft.target.lanes(),
                    machine: machine::of_target(&self.draft.target)?,
                    threads: target.threads,
                    footprint: self.draft.planned.lowered.tasks.footprint(),
                    max_rounding: target.max_rounding,
                };
                let schedule = sonar_schedule::default_schedule(self.task(kernel), &options);
                return self.with_schedule(kernel, "default", schedule);
            }
            Pick::Best => 1,
            Pick::Rank(rank) => rank,
        };
        let Some(trial) = trials.get(rank - 1) else {
            let message = match trials.len() {
                0 => format!("there are no records of kernel {kernel} for this target; `sonar-compile tune` makes them"),
                n => format!("kernel {kernel} has {n} schedules on record: there is none of rank {rank}"),
            };
            return Err(fail(Exit::BadInput, message));
        };
        let compared = if trial.compared { ", compared in turns" } else { "" };
        self.with_schedule(kernel, &format!("record {rank} of {}{compared}", trials.len()), trial.schedule.clone())
    }

    /// A kernel with a schedule, and its time if it is recorded.
    fn with_schedule(&self, kernel: usize, origin: &str, schedule: Schedule) -> Result<Version, Failure> {
        let task = self.task(kernel);
        let unfit =
            |error: &dyn std::fmt::Display| fail(Exit::BadInput, format!("the schedule does not fit kernel {kernel}: {error}"));
        let program =
            sonar_schedule::apply(&task.program, &schedule, self.draft.target.lanes()).map_err(|error| unfit(&error))?;
        sonar_ir::verify::program(&program).map_err(|error| unfit(&error))?;
        let known = self.trials[kernel].iter().find(|known| known.schedule == schedule);
        let seconds = known.map(|known| known.time() / 1e9);
        Ok(Version { origin: origin.to_string(), schedule, program, seconds })
    }

    /// A stage of a version as text.
    fn text(&self, version: &Version) -> Result<String, Failure> {
        let (program, target) = (&version.program, &self.draft.target);
        Ok(match self.args.stage {
            Stage::Clif => sonar_codegen::clif(program, target).or_exit(Exit::Internal)?,
            Stage::Asm => sonar_codegen::asm(program, target).or_exit(Exit::Internal)?,
            Stage::Loops => annotate(program, &self.caches, self.roofline.as_ref().zip(version.seconds)),
            _ => version.schedule.to_string(),
        })
    }

    /// Prints two versions of a kernel in two columns.
    fn beside(&self, kernel: usize, left: &Pick, right: &Pick) -> Result<(), Failure> {
        let versions = [self.picked(kernel, left)?, self.picked(kernel, right)?];
        let title = |version: &Version| match version.seconds {
            Some(_) => format!("{}{}", version.origin, self.time(kernel, version)),
            None => format!("{}, never measured", version.origin),
        };
        let titles = versions.each_ref().map(title);
        let [left, right] = [self.text(&versions[0])?, self.text(&versions[1])?].map(|text| narrow(&text, self.args.stage));
        outln!("// kernel {kernel}: {}", self.describe(kernel));
        let key = |line: &str| essence(line, self.args.stage);
        let columns = side_by_side::columns();
        out!("{}", side_by_side::render([&titles[0], &titles[1]], [&left, &right], key, columns));
        Ok(())
    }
}

/// The text for a column: comments directly follow the loops.
fn narrow(text: &str, stage: Stage) -> String {
    let line = |line: &str| match line.split_once(" // ") {
        Some((code, comment)) if stage == Stage::Loops => format!("{}  // {comment}\n", code.trim_end()),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The part of a line that counts in a comparison: without comments of loops and addresses of instructions.
fn essence(line: &str, stage: Stage) -> String {
    match stage {
        Stage::Loops => line.split_once(" // ").map_or(line, |parts| parts.0).trim_end().to_string(),
        Stage::Asm => match line.trim_start().split_once("  ") {
            Some((address, instruction)) if address.chars().all(|c| c.is_ascii_hexdigit()) => instruction.to_string(),
            _ => line.to_string(),
        },
        _ => line.to_string(),
    }
}
