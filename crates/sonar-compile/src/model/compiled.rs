//! From command-line options to a compiled model with weights.

use crate::args::{ModelArgs, TargetArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::load::{self, Described};
use crate::model::tensors::{self, Role};
use sonar_codegen::{CodegenError, Target};
use sonar_ir::{Graph, Values, init};
use sonar_measure::{MeasureError, Records};
use sonar_tune::{CallTime, CompileOptions, Compiled, Context, Pass, Planned, TracedCall, TuneError};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A model before machine code, for any target.
pub struct Draft {
    /// The model as described.
    pub described: Described,
    /// For which machine.
    pub target: Target,
    /// All that machine code is made from.
    pub planned: Planned,
}

/// The machine code of a model, with what it came from.
pub struct Prepared {
    /// The model as described; weights that it comes with are taken.
    pub described: Described,
    /// The machine code.
    pub compiled: Compiled,
    /// What it took to get here: reading, the passes of compilation, and, when they are loaded, the weights.
    pub passes: Vec<Pass>,
}

/// A model that runs: weights in place, and memory for what it reads and writes.
pub struct Ready {
    /// Where it runs.
    pub context: Context,
    /// Weights and inputs by name, as the interpreter takes them.
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

/// The target of `--target` and `--cpu`, if this machine can run its code.
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

/// Checks the model that the options name, and takes it through all passes before machine code, with the best schedules on
/// record.
pub fn draft(model: &ModelArgs, options: &TargetArgs) -> Result<Draft, Failure> {
    if options.threads == 0 || options.batch == 0 {
        return Err(fail(Exit::Usage, "--threads and --batch must be at least 1"));
    }
    let target = target(options)?;
    let described = load::model(model, options.batch)?;
    let records = open_records(options.records.as_deref(), false)?;
    let schedules = |task: &sonar_schedule::Task| {
        let Some(records) = &records else { return Ok(None) };
        Ok(sonar_tune::recorded::best_schedule(records, task, &target, options.threads)?)
    };
    let rules = load::rules(options)?;
    let compile_options = CompileOptions { rules: &rules, ..compile_options(&target, options)? };
    let networks = |graph: &Graph| {
        let Some(records) = &records else { return Ok(None) };
        Ok(sonar_tune::recorded::network(records, graph, &compile_options)?)
    };
    let compile_options = CompileOptions { schedules: &schedules, networks: &networks, ..compile_options };
    let lowered = sonar_tune::lower(&described.graph, &compile_options).map_err(tune_failure)?;
    let planned = sonar_tune::plan(lowered, &compile_options).map_err(tune_failure)?;
    Ok(Draft { described, target, planned })
}

/// Checks the model that the options name and compiles it for this machine.
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

/// Reading, and the passes of compilation so far.
pub fn passes(described: &Described, planned: &Planned) -> Vec<Pass> {
    let read = Pass { name: "read", seconds: described.seconds };
    [read].into_iter().chain(planned.passes.iter().cloned()).collect()
}

/// The parameters of a graph whose batch is bound: those of a file of their own, else the `given` ones that the model comes
/// with, else random ones from `seed`.
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

/// The exit code of a failed compilation.
pub fn tune_failure(error: TuneError) -> Failure {
    let exit = match &error {
        TuneError::Verify { pass: "specialise", .. }
        | TuneError::Lower(_)
        | TuneError::Codegen(
            CodegenError::UnknownTarget(..) | CodegenError::TooLarge { .. } | CodegenError::UnsupportedLanes { .. },
        ) => Exit::BadInput,
        TuneError::Measure(_) => Exit::BadInput,
        TuneError::NoSchedule(_) => Exit::NoCandidate,
        TuneError::Interrupted => Exit::Interrupted,
        _ => Exit::Internal,
    };
    Err::<(), _>(error).or_exit(exit).expect_err("an error stays one")
}

/// The record database: the one given, or that of this machine. Nothing if it does not exist and is not to be created.
pub fn open_records(path: Option<&Path>, create: bool) -> Result<Option<Records>, Failure> {
    let path = match path {
        Some(path) => path.to_path_buf(),
        None => match default_records() {
            Some(path) => path,
            None if create => {
                return Err(fail(Exit::Usage, "there is no home directory for the records: name a file with --records"));
            }
            None => return Ok(None),
        },
    };
    if !path.exists() {
        if !create {
            return Ok(None);
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| fail(Exit::BadInput, format!("cannot create {} for the records: {error}", parent.display())))?;
        }
    }
    Records::open(&path).map(Some).map_err(|error| match error {
        MeasureError::Corrupt { .. } => {
            fail(Exit::BadInput, format!("{error}; `sonar-compile db recover` saves what can be read of it"))
        }
        error => fail(Exit::BadInput, error),
    })
}

/// One database for this machine and user, in the place that the XDG base directory specification gives.
fn default_records() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    Some(data.join("sonar").join("records.db"))
}

impl Prepared {
    /// Loads weights and makes arguments, once. Weights are as [`weights`] finds them; inputs are those of files, else random
    /// from `seed`.
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

    /// Writes the outputs of a run into files.
    pub fn save(&self, files: &[String], outputs: &[Vec<f32>]) -> Result<(), Failure> {
        let graph = &self.compiled.lowered.graph;
        let ports = tensors::ports(graph, &graph.outputs, self.described.outputs.as_deref());
        tensors::write(files, &ports, outputs)
    }

    /// Seconds of all passes together: when the model is loaded, what it took until it was ready to run.
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

    /// The shortest time of each kernel call in a number of runs.
    pub fn profile(&mut self, runs: usize) -> Result<Vec<CallTime>, Failure> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.context.profile(&inputs, &mut outputs, runs).or_exit(Exit::Internal)
    }

    /// Runs once and tells which thread worked when on which call.
    pub fn trace(&mut self) -> Result<Vec<TracedCall>, Failure> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.context.trace(&inputs, &mut outputs).or_exit(Exit::Internal)
    }
}
