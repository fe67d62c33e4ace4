//! The compilation pipeline, from a graph to a model that runs: plain functions of named passes.
//!
//! ```text
//! lower:    specialise ─▶ rewrite ─▶ fold ─▶ tasks
//! plan:     schedule ─▶ plan
//! generate: codegen
//! ```
//!
//! [`compile`] runs all three, for this machine. [`Planned::object`] makes an object file for any target.
//!
//! The output of every pass is verified: the input graph always, the results of our own passes in debug builds. (The code
//! generator always verifies loop programs again.)

mod backend;

pub use backend::JitBackend;

use crate::error::TuneError;
use sonar_codegen::{CompiledPlan, Context, Model, ObjectFile, Target};
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::fold::{self, Folded};
use sonar_ir::machine::Machine;
use sonar_ir::plan::Plan;
use sonar_ir::schedule::Schedule;
use sonar_ir::verify::{self, VerifyError};
use sonar_ir::{Graph, Values};
use sonar_rewrite::cost::Assumptions;
use sonar_rewrite::{Report, Rewritten, Rule, Soundness, Stage};
use sonar_schedule::{Task, TaskId, Tasks};
use std::ops::Deref;
use std::time::Instant;

/// How much a graph is rewritten. Each level includes the levels before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RewriteLevel {
    /// No rewriting, and every operator is a kernel. This is the baseline for comparisons.
    Unfused,
    /// No rewriting. Elementwise operators are fused into the kernels of their neighbours.
    Written,
    /// Only rules that fold elementwise operators and constants into their neighbours, as every compiler does.
    Fusion,
    /// All rules.
    Full,
}

/// Finds better schedules than the analytic default for some tasks. It can fail, because records can be locked or damaged.
pub type Schedules<'a> = dyn Fn(&Task) -> Result<Option<Schedule>, TuneError> + 'a;

/// Finds the fastest form of some graphs, whose batch is bound. It can fail like [`Schedules`].
pub type Networks<'a> = dyn Fn(&Graph) -> Result<Option<Graph>, TuneError> + 'a;

/// How to compile.
#[derive(Clone, Copy)]
pub struct CompileOptions<'a> {
    /// The target processor.
    pub target: &'a Target,
    /// The machine parameters for time estimates.
    pub machine: &'static Machine,
    /// Number of threads that the model uses.
    pub threads: usize,
    /// The value of the symbolic batch.
    pub batch: usize,
    /// How much the graph is rewritten.
    pub rewrite: RewriteLevel,
    /// The rewrite rules. The level determines which stages of them are used.
    pub rules: &'a [Rule],
    /// The largest rounding error, relative to the largest output: see [`sonar_schedule::Options::max_rounding`].
    pub max_rounding: f64,
    /// Where schedules come from. If it has none for a task, the analytic default is used.
    pub schedules: &'a Schedules<'a>,
    /// Where rewritten graphs come from. If it has none for a graph, the one with the smallest estimated cost is used.
    pub networks: &'a Networks<'a>,
}

/// Time of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// Its name.
    pub name: &'static str,
    /// Seconds that it took, including verification.
    pub seconds: f64,
}

/// A graph after the passes that need no schedule.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The graph with its batch bound.
    pub graph: Graph,
    /// The rewritten graph. Without rewriting, it equals `graph`.
    pub rewritten: Graph,
    /// The report of rewriting, if there was any.
    pub report: Option<Report>,
    /// The split into what is computed once and what is computed in every run.
    pub folded: Folded,
    /// The kernels.
    pub tasks: Tasks,
    /// The passes so far.
    pub passes: Vec<Pass>,
}

/// Scheduled kernels and planned memory: the complete input of code generation.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The result of the passes before scheduling.
    pub lowered: Lowered,
    /// The schedule of each task.
    pub schedules: EntityVec<TaskId, Schedule>,
    /// The kernels and their memory.
    pub plan: Plan,
    /// The passes so far.
    pub passes: Vec<Pass>,
}

/// The machine code of a graph, with its sources. It still needs weights.
pub struct Compiled {
    /// The source of the code.
    pub planned: Planned,
    code: CompiledPlan,
}

impl Deref for Compiled {
    type Target = Planned;

    fn deref(&self) -> &Planned {
        &self.planned
    }
}

/// Compiles a graph: [`lower`], [`plan`], then [`generate`].
///
/// ```
/// use sonar_codegen::Target;
/// use sonar_tune::compile::{CompileOptions, compile};
///
/// let text = "graph @dense(%x: f32[N,8], param %w: f32[8,4]) {\n  %0 = matmul %x, %w : f32[N,4]\n  return relu(%0)\n}\n";
/// let graph = sonar_ir::text::parse_graph(text)?;
/// let target = Target::native()?;
/// let compiled = compile(&graph, &CompileOptions { batch: 2, ..CompileOptions::new(&target) })?;
/// let model = compiled.load(&sonar_ir::graph::init::params(&graph, 1))?;
/// let mut output = [0.0; 8];
/// model.context()?.run(&[&[1.0; 16]], &mut [&mut output])?;
/// assert!(output.iter().all(|&y| y >= 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn compile(graph: &Graph, options: &CompileOptions<'_>) -> Result<Compiled, TuneError> {
    generate(plan(lower(graph, options)?, options)?, options)
}

/// The passes that need no schedules: from a graph to its tasks.
pub fn lower(graph: &Graph, options: &CompileOptions<'_>) -> Result<Lowered, TuneError> {
    let mut passes = Passes::default();
    let graph = passes.time("specialise", || specialise(graph, options))?;
    let (rewritten, report) = passes.time("rewrite", || {
        let known = if options.rewrite == RewriteLevel::Full { (options.networks)(&graph)? } else { None };
        match known {
            Some(known) => Ok((known, None)),
            None if options.rewrite < RewriteLevel::Fusion => Ok((graph.clone(), None)),
            None => {
                let Rewritten { graph, report, .. } = rewrite(&graph, &*estimated_cost(&graph, options), options)?;
                Ok((graph, Some(report)))
            }
        }
    })?;
    lower_rewritten(graph, rewritten, report, passes, options)
}

/// A graph with its batch bound, verified.
pub(crate) fn specialise(graph: &Graph, options: &CompileOptions<'_>) -> Result<Graph, TuneError> {
    let graph = graph.specialise(options.batch);
    verified("specialise", verify::graph(&graph))?;
    Ok(graph)
}

/// Rewrites a graph whose batch is bound.
pub(crate) fn rewrite(
    graph: &Graph,
    cost: &sonar_rewrite::Cost<'_>,
    options: &CompileOptions<'_>,
) -> Result<Rewritten, TuneError> {
    let stage = if options.rewrite == RewriteLevel::Full { Stage::Widen } else { Stage::Fuse };
    let (rules, max_rounding) = (options.rules, options.max_rounding);
    let rewriting = sonar_rewrite::Options { rules, stage, max_rounding, cost, ..sonar_rewrite::Options::default() };
    let rewritten = sonar_rewrite::rewrite(graph, &rewriting)?;
    verified_in_debug("rewrite", || rewritten.candidates.iter().try_for_each(verify::graph))?;
    Ok(rewritten)
}

/// The estimated cost of a graph's kernels, with the algorithms that the options allow.
pub(crate) fn estimated_cost(graph: &Graph, options: &CompileOptions<'_>) -> Box<sonar_rewrite::Cost<'static>> {
    let goal = options.goal();
    let filter = sonar_schedule::largest_filter(&goal);
    let footprint = sonar_rewrite::cost::footprint(graph);
    Box::new(Assumptions { machine: goal.machine, lanes: goal.lanes, filter, footprint }.cost())
}

/// The passes from a rewritten graph to its tasks.
pub(crate) fn lower_rewritten(
    graph: Graph,
    rewritten: Graph,
    report: Option<Report>,
    mut passes: Passes,
    options: &CompileOptions<'_>,
) -> Result<Lowered, TuneError> {
    let folded = passes.time("fold", || {
        let exact = !Soundness::Real.is_allowed(options.max_rounding);
        let folded =
            if exact { fold::fold_params(&sonar_rewrite::products_rounded(&rewritten)?) } else { fold::fold_params(&rewritten) };
        verified_in_debug("fold", || verify::graph(&folded.setup).and_then(|()| verify::graph(&folded.main)))?;
        Ok(folded)
    })?;

    let tasks = passes.time("tasks", || {
        let partition =
            if options.rewrite == RewriteLevel::Unfused { sonar_schedule::unfused_tasks } else { sonar_schedule::tasks };
        let tasks = partition(&folded.main)?;
        verified_in_debug("tasks", || tasks.tasks.iter().try_for_each(|task| verify::program(&task.program)))?;
        Ok(tasks)
    })?;

    Ok(Lowered { graph, rewritten, report, folded, tasks, passes: passes.0 })
}

/// The passes that need schedules: from tasks to a plan.
pub fn plan(lowered: Lowered, options: &CompileOptions<'_>) -> Result<Planned, TuneError> {
    let lanes = options.target.lanes();
    let goal = options.goal_within(&lowered.tasks);
    let mut passes = Passes(lowered.passes.clone());

    let (schedules, programs) = passes.time("schedule", || {
        let scheduled = |task| match (options.schedules)(task)? {
            Some(schedule) if sonar_schedule::allows(&schedule, options.max_rounding) => {
                let program = sonar_schedule::apply(&task.program, &schedule, lanes)?;
                Ok((schedule, program))
            }
            _ => Ok(sonar_schedule::default_program(task, &goal)),
        };
        lowered.tasks.tasks.iter().map(scheduled).collect::<Result<(EntityVec<_, _>, EntityVec<_, _>), TuneError>>()
    })?;

    let plan = passes.time("plan", || {
        let plan = sonar_schedule::plan(&lowered.tasks, programs);
        verified_in_debug("plan", || verify::plan(&plan))?;
        Ok(plan)
    })?;

    Ok(Planned { lowered, schedules, plan, passes: passes.0 })
}

/// The last pass: from a plan to machine code in memory.
pub fn generate(mut planned: Planned, options: &CompileOptions<'_>) -> Result<Compiled, TuneError> {
    let mut passes = Passes(std::mem::take(&mut planned.passes));
    let code = passes.time("codegen", || Ok(CompiledPlan::compile(&planned.plan, options.target, options.threads)?))?;
    planned.passes = passes.0;
    Ok(Compiled { planned, code })
}

impl<'a> CompileOptions<'a> {
    /// One thread, a batch of one, all rules, rounding errors up to 1e-4, and analytic schedules for a usual machine.
    pub fn new(target: &'a Target) -> Self {
        CompileOptions {
            target,
            machine: Machine::usual(target.lanes()),
            threads: 1,
            batch: 1,
            rewrite: RewriteLevel::Full,
            rules: sonar_rewrite::RULES,
            max_rounding: 1e-4,
            schedules: &|_| Ok(None),
            networks: &|_| Ok(None),
        }
    }

    /// The options for analytic schedules of the kernels of a network.
    pub(crate) fn goal_within(&self, network: &Tasks) -> sonar_schedule::Options {
        sonar_schedule::Options { footprint: network.footprint(), ..self.goal() }
    }

    /// The options for schedules of single kernels.
    fn goal(&self) -> sonar_schedule::Options {
        let (machine, threads, max_rounding) = (self.machine, self.threads, self.max_rounding);
        sonar_schedule::Options { machine, threads, max_rounding, ..sonar_schedule::Options::new(self.target.lanes()) }
    }
}

impl Lowered {
    /// A model that runs here: runs the remaining passes, loads the parameters of the graph by name, and allocates memory.
    pub fn ready(&self, options: &CompileOptions<'_>, params: &Values) -> Result<Context, TuneError> {
        Ok(generate(plan(self.clone(), options)?, options)?.load(params)?.context()?)
    }
}

impl Planned {
    /// An object file for a target, with the parameters of the graph. Its functions begin with `name`: see
    /// [`sonar_codegen::object()`].
    pub fn object(&self, params: &Values, target: &Target, name: &str) -> Result<ObjectFile, TuneError> {
        sonar_codegen::object(&self.plan, target, name, |weight| Ok(self.lowered.folded.weight(weight, params)?))
    }

    /// Seconds of all passes.
    pub fn seconds(&self) -> f64 {
        self.passes.iter().map(|pass| pass.seconds).sum()
    }
}

impl Compiled {
    /// A model with the parameters of the graph, by name. Folded values are computed and weights are packed. `params` is not
    /// needed afterwards.
    pub fn load(&self, params: &Values) -> Result<Model, TuneError> {
        self.code.load_with(|weight| Ok(self.lowered.folded.weight(weight, params)?))
    }

    /// Elements of each input.
    pub fn input_lengths(&self) -> &[usize] {
        self.code.input_lengths()
    }

    /// Elements of each output.
    pub fn output_lengths(&self) -> &[usize] {
        self.code.output_lengths()
    }
}

/// Passes with their times.
#[derive(Default)]
pub(crate) struct Passes(Vec<Pass>);

impl Passes {
    fn time<T>(&mut self, name: &'static str, pass: impl FnOnce() -> Result<T, TuneError>) -> Result<T, TuneError> {
        let start = Instant::now();
        let result = pass();
        self.0.push(Pass { name, seconds: start.elapsed().as_secs_f64() });
        result
    }
}

fn verified(pass: &'static str, result: Result<(), VerifyError>) -> Result<(), TuneError> {
    result.map_err(|source| TuneError::Verify { pass, source })
}

fn verified_in_debug(pass: &'static str, verify: impl FnOnce() -> Result<(), VerifyError>) -> Result<(), TuneError> {
    if cfg!(debug_assertions) { verified(pass, verify()) } else { Ok(()) }
}
