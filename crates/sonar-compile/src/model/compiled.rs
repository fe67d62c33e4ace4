//! From command-line options to a compiled model with weights.

use crate::args::{ModelArgs, TargetArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
pub use crate::model::failure::tune_failure;
use crate::model::load::{self, Described};
use crate::model::records::with_records;
use crate::model::tensors::{self, Role};
use sonar_codegen::Target;
use sonar_ir::graph::init;
use sonar_ir::{Graph, Values};
use sonar_tune::{CallTime, CompileOptions, Compiled, Context, Pass, Planned, TracedCall, recorded};
use std::path::Path;
use std::time::Instant;

/// A model before code generation, for any target.
pub struct Draft {
    /// The model from the file.
    pub described: Described,
    /// The target.
    pub target: Target,
    /// The plan, which is the input of code generation.
    pub planned: Planned,
}

/// A compiled model, with its source.
pub struct Prepared {
    /// The model from the file. Its weights have been moved out.
    pub described: Described,
    /// The machine code.
    pub compiled: Compiled,
    /// The time so far: reading, the passes of compilation, and loading the weights if they are loaded.
    pub passes: Vec<Pass>,
}

/// A model that is ready to run: with its weights, and memory for inputs and outputs.
pub struct Ready {
    /// The compiled model with its memory.
    pub context: Context,
    /// Weights and inputs by name, for the interpreter.
    pub values: Values,
    /// Values of the inputs.
    pub inputs: Vec<Vec<f32>>,
    /// Memory for the outputs.
    pub outputs: Vec<Vec<f32>>,
}

/// The target of `--target` and `--cpu`.
pub fn target(options: &TargetArgs) -> Result<Target, Failure> {
    match &options.cpu {
        Some(cpu) => Target::with_cpu(&options.target, cpu),
        None => Target::parse(&options.target),
    }
    .or_exit(Exit::BadInput)
}

/// The target of `--target` and `--cpu`. An error if this machine cannot run its code.
pub fn runnable_target(options: &TargetArgs) -> Result<Target, Failure> {
    let target = target(options)?;
    if !target.runs_here() {
        return Err(fail(
            Exit::BadInput,
            format!("this machine cannot run code for {target}; `sonar-compile doctor` says what it is"),
        ));
    }
    Ok(target)
}

/// Checks the model of the options and runs all passes before code generation, with the best recorded schedules.
pub fn draft(model: &ModelArgs, options: &TargetArgs) -> Result<Draft, Failure> {
    if options.threads == 0 || options.batch == 0 {
        return Err(fail(Exit::Usage, "--threads and --batch must be at least 1"));
    }
    let target = target(options)?;
    let described = load::model(model, options.batch)?;
    let rules = load::rules(options)?;
    let compile_options = CompileOptions { rules: &rules, ..compile_options(&target, options)? };
    let planned = with_records(options.records.as_deref(), |records| {
        let schedules = |task: &sonar_schedule::Task| {
            let Some(records) = records else { return Ok(None) };
            Ok(recorded::best_schedule(records, task, &target, options.threads, options.max_rounding)?)
        };
        let networks = |graph: &Graph| records.map_or(Ok(None), |records| recorded::network(records, graph, &compile_options));
        let known = CompileOptions { schedules: &schedules, networks: &networks, ..compile_options };
        sonar_tune::plan(sonar_tune::lower(&described.graph, &known)?, &known)
    })?;
    Ok(Draft { described, target, planned })
}

/// Checks the model of the options and compiles it for this machine.
pub fn prepare(model: &ModelArgs, options: &TargetArgs) -> Result<Prepared, Failure> {
    runnable_target(options)?;
    let Draft { described, target, planned } = draft(model, options)?;
    let compiled = sonar_tune::generate(planned, &compile_options(&target, options)?).map_err(tune_failure)?;
    let passes = passes(&described, &compiled);
    Ok(Prepared { described, compiled, passes })
}

fn compile_options<'a>(target: &'a Target, options: &TargetArgs) -> Result<CompileOptions<'a>, Failure> {
    Ok(CompileOptions {
        machine: machine::of_target(target)?,
        threads: options.threads,
        batch: options.batch,
        rewrite: options.level(),
        max_rounding: options.max_rounding,
        ..CompileOptions::new(target)
    })
}

/// Reading and all compilation passes so far.
pub fn passes(described: &Described, planned: &Planned) -> Vec<Pass> {
    let read = Pass { name: "read", seconds: described.seconds };
    [read].into_iter().chain(planned.passes.iter().cloned()).collect()
}

/// The parameters of a graph whose batch is bound: from a weights file, else the `given` ones of the model, else random ones
/// from `seed`.
pub fn weights(graph: &Graph, given: Option<Values>, seed: u64, file: Option<&Path>) -> Result<Values, Failure> {
    let mut values = given.unwrap_or_else(|| init::randomise(graph, seed));
    if let Some(path) = file {
        let ports = tensors::ports(graph, &graph.params(), None);
        let data = tensors::read_all(path, &ports, Role::Parameter)?;
        let names: Vec<String> = ports.into_iter().map(|port| port.name).collect();
        replace(&mut values, &names, data);
    }
    Ok(values)
}

fn replace(values: &mut Values, names: &[String], data: Vec<Vec<f32>>) {
    for (name, data) in names.iter().zip(data) {
        if let Some(tensor) = values.get_mut(name) {
            tensor.data = data;
        }
    }
}

impl Prepared {
    /// Loads weights and makes arguments, once. [`weights`] says where the weights come from. Inputs come from files, or are
    /// random with `seed`.
    pub fn load(&mut self, seed: u64, inputs: &[String], weights_file: Option<&Path>) -> Result<Ready, Failure> {
        let graph = &self.compiled.lowered.graph;
        let mut values = weights(graph, self.described.weights.take(), seed, weights_file)?;
        let start = Instant::now();
        let model = self.compiled.load(&values).map_err(tune_failure)?;
        let context = model.context().or_exit(Exit::Internal)?;
        self.passes.push(Pass { name: "weights", seconds: start.elapsed().as_secs_f64() });
        values.extend(init::inputs(graph, seed));
        let names: Vec<String> = graph.inputs().iter().filter_map(|&id| graph.node(id).name.clone()).collect();
        let ports = tensors::ports(graph, &graph.inputs(), self.described.inputs.as_deref());
        if let Some(data) = tensors::read(inputs, &ports, Role::Input)? {
            replace(&mut values, &names, data);
        }
        let inputs = names.iter().map(|n| values[n].data.clone()).collect();
        let outputs = model.output_lengths().iter().map(|&len| vec![0.0; len]).collect();
        Ok(Ready { context, values, inputs, outputs })
    }

    /// Writes the outputs of a run to files.
    pub fn save(&self, files: &[String], outputs: &[Vec<f32>]) -> Result<(), Failure> {
        let graph = &self.compiled.lowered.graph;
        let ports = tensors::ports(graph, &graph.outputs, self.described.outputs.as_deref());
        tensors::write(files, &ports, outputs)
    }

    /// Seconds of all passes. After loading, this is the time until the model was ready to run.
    pub fn seconds(&self) -> f64 {
        self.passes.iter().map(|pass| pass.seconds).sum()
    }
}

impl Ready {
    /// Runs once.
    pub fn run(&mut self) -> Result<(), Failure> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.context.run(&inputs, &mut outputs).or_exit(Exit::Internal)
    }

    /// The shortest time of each kernel call in `runs` runs.
    pub fn profile(&mut self, runs: usize) -> Result<Vec<CallTime>, Failure> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.context.profile(&inputs, &mut outputs, runs).or_exit(Exit::Internal)
    }

    /// Runs once and returns which thread worked when on which call.
    pub fn trace(&mut self) -> Result<Vec<TracedCall>, Failure> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.context.trace(&inputs, &mut outputs).or_exit(Exit::Internal)
    }
}
