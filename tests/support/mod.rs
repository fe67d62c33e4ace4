//! What the cross-crate tests share: a source of random graphs, the way of a graph to compiled code and back, and the program.

// Each test takes what it needs.
#![allow(dead_code)]

pub mod answer;
pub mod bless;
pub mod command;
pub mod directive;
pub mod examples;
pub mod literal;
pub mod random;
pub mod stated;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_codegen::Target;
use sonar_ir::{Graph, Tensor, Values};
use sonar_tune::{CompileOptions, Lowered, RewriteLevel};

/// Every level of rewriting.
pub const LEVELS: [RewriteLevel; 4] = [RewriteLevel::Unfused, RewriteLevel::Written, RewriteLevel::Fusion, RewriteLevel::Full];

/// How a graph is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'t> {
    /// For which target.
    pub target: &'t Target,
    /// How far it is rewritten first.
    pub rewrite: RewriteLevel,
    /// For how many threads.
    pub threads: usize,
    /// How much rounding may cost.
    pub max_rounding: f64,
    /// The seed of random schedules; without one, schedules are those that the model finds best.
    pub schedules: Option<u64>,
}

impl<'t> Variant<'t> {
    /// Compiled as it is without further options, for a number of threads.
    pub fn new(target: &'t Target, rewrite: RewriteLevel, threads: usize) -> Self {
        Variant { target, rewrite, threads, max_rounding: 1e-4, schedules: None }
    }
}

/// The outputs of compiled code for a bound graph, on weights and inputs from `values`.
pub fn run_compiled(graph: &Graph, values: &Values, variant: &Variant<'_>) -> Vec<Tensor> {
    let &Variant { target, rewrite, threads, max_rounding, schedules } = variant;
    let options = CompileOptions { rewrite, threads, max_rounding, ..CompileOptions::new(target) };
    let Lowered { folded, tasks, .. } = sonar_tune::lower(graph, &options).expect("it lowers");
    let weights = folded.weights(values).expect("the weights fold");
    let goal = sonar_schedule::Options { threads, max_rounding, ..sonar_schedule::Options::new(target.lanes()) };
    let mut random = schedules.map(StdRng::seed_from_u64);
    let programs = tasks.tasks.iter().map(|task| match &mut random {
        None => sonar_schedule::default_program(task, &goal).1,
        Some(random) => {
            let space = sonar_schedule::space(task, &goal);
            space.scheduled(&space.point(random.random_range(0..space.len()))).1
        }
    });
    let programs = programs.collect();
    let plan = sonar_schedule::plan(&tasks, programs);
    sonar_ir::verify::plan(&plan).expect("the plan is valid");
    let compiled = sonar_codegen::CompiledPlan::compile(&plan, target, threads).expect("it compiles");
    let mut context = compiled.load(&weights).and_then(|model| model.context()).expect("the weights load");
    let inputs: Vec<&[f32]> = graph
        .inputs()
        .iter()
        .map(|&id| values[graph.node(id).name.as_deref().expect("inputs have names")].data.as_slice())
        .collect();
    let mut outputs: Vec<Tensor> =
        graph.outputs.iter().map(|&id| Tensor::full(graph.ty(id).extents().expect("the batch is bound"), f32::NAN)).collect();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(|t| t.data.as_mut_slice()).collect();
    context.run(&inputs, &mut slices).expect("it runs");
    outputs
}

/// The targets whose code this machine can run, the plainest first.
pub fn targets() -> Vec<Target> {
    let names = ["x86-64-v2", "x86-64-v3", "x86-64-v4", "native"];
    let parsed = names.iter().map(|name| Target::parse(name).expect("a known target"));
    let mut targets: Vec<Target> = parsed.filter(Target::runs_here).collect();
    targets.dedup_by_key(|t| t.lanes());
    targets
}
