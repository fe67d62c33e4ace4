//! From command-line options to a compiled model with weights.

use crate::args::{ModelArgs, TargetArgs};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::load::{self, Described};
use sonar_codegen::{CodegenError, Target};
use sonar_ir::{Graph, Values, init};
use sonar_measure::Records;
use sonar_tune::{CompileOptions, Compiled, Pass, TuneError};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A model that runs, with what it came from.
pub struct Prepared {
    /// The model as described; weights that it comes with are taken.
    pub described: Described,
    /// For which machine.
    pub target: Target,
    /// The model.
    pub compiled: Compiled,
    /// What it took to get here: reading, the passes of compilation, and, when they are loaded, the weights.
    pub passes: Vec<Pass>,
}

/// The target of `--target`.
pub fn target(name: &str) -> Result<Target, Failure> {
    Target::parse(name).or_exit(Exit::BadInput)
}

/// The target of `--target`, if this machine can run its code.
pub fn runnable_target(name: &str) -> Result<Target, Failure> {
    let target = target(name)?;
    if !target.runs_here() {
        return Err(fail(
            Exit::BadInput,
            format!("this machine cannot run code for {target}; `sonar-compile doctor` says what it is"),
        ));
    }
    Ok(target)
}

/// Checks and compiles the model that the options name, with the best schedules on record.
pub fn prepare(model: &ModelArgs, options: &TargetArgs) -> Result<Prepared, Failure> {
    if options.threads == 0 || options.batch == 0 {
        return Err(fail(Exit::Usage, "--threads and --batch must be at least 1"));
    }
    let target = target(&options.target)?;
    let described = load::model(model, options.batch)?;
    let records = open_records(options.records.as_deref(), false)?;
    let schedules = |task: &sonar_schedule::Task| {
        let records = records.as_ref()?;
        sonar_tune::recorded::best_schedule(records, task, &target, options.threads).ok().flatten()
    };
    let compile_options = CompileOptions {
        threads: options.threads,
        batch: options.batch,
        rewrite: !options.no_rewrite,
        tolerance: options.tolerance,
        schedules: &schedules,
        ..CompileOptions::new(&target)
    };
    let compiled = sonar_tune::compile(&described.graph, &compile_options).map_err(tune_failure)?;
    let read = Pass { name: "read", seconds: described.seconds };
    let passes = [read].into_iter().chain(compiled.passes.iter().cloned()).collect();
    Ok(Prepared { described, target, compiled, passes })
}

/// The exit code of a failed compilation.
pub fn tune_failure(error: TuneError) -> Failure {
    let exit = match &error {
        TuneError::Verify { pass: "specialise", .. }
        | TuneError::Lower(_)
        | TuneError::Codegen(CodegenError::UnknownTarget(..)) => Exit::BadInput,
        TuneError::Measure(_) => Exit::BadInput,
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
            std::fs::create_dir_all(parent).or_exit(Exit::BadInput)?;
        }
    }
    Records::open(&path).map(Some).or_exit(Exit::BadInput)
}

/// One database for this machine and user, in the place that the XDG base directory specification gives.
fn default_records() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    Some(data.join("sonar").join("records.db"))
}

/// Arguments of a model: inputs in order, and memory for outputs.
pub struct Arguments {
    /// Values of the inputs.
    pub inputs: Vec<Vec<f32>>,
    /// Memory for the outputs.
    pub outputs: Vec<Vec<f32>>,
}

impl Prepared {
    /// Loads weights and makes arguments, once. Weights are those of a file of their own, else the model's, else random from `seed`;
    /// inputs those of a file, else random.
    pub fn load(&mut self, seed: u64, input: Option<&Path>, weights: Option<&Path>) -> Result<(Values, Arguments), Failure> {
        let graph = self.compiled.lowered.graph.clone();
        let mut values = self.described.weights.take().unwrap_or_else(|| init::randomise(&graph, seed));
        if let Some(path) = weights {
            read_weights(path, &graph, &mut values)?;
        }
        let start = Instant::now();
        self.compiled.load(&values).map_err(tune_failure)?;
        self.passes.push(Pass { name: "weights", seconds: start.elapsed().as_secs_f64() });
        values.extend(init::inputs(&graph, seed));
        let names: Vec<String> = graph.inputs().iter().filter_map(|&id| graph.node(id).name.clone()).collect();
        if let Some(path) = input {
            for (name, data) in names.iter().zip(split(&read_f32(path)?, self.compiled.input_lengths(), path, "inputs")?) {
                if let Some(tensor) = values.get_mut(name) {
                    tensor.data = data;
                }
            }
        }
        let inputs = names.iter().map(|n| values[n].data.clone()).collect();
        let outputs = self.compiled.output_lengths().iter().map(|&len| vec![0.0; len]).collect();
        Ok((values, Arguments { inputs, outputs }))
    }

    /// Seconds of all passes together: when the model is loaded, what it took until it was ready to run.
    pub fn seconds(&self) -> f64 {
        self.passes.iter().map(|pass| pass.seconds).sum()
    }

    /// Runs once.
    pub fn run(&mut self, arguments: &mut Arguments) -> Result<(), Failure> {
        let inputs: Vec<&[f32]> = arguments.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = arguments.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.compiled.run(&inputs, &mut outputs).map_err(tune_failure)
    }
}

/// Takes the values of the parameters, in the order of the graph, from a file of their own.
pub fn read_weights(path: &Path, graph: &Graph, values: &mut Values) -> Result<(), Failure> {
    let names: Vec<String> = graph.params().iter().filter_map(|&id| graph.node(id).name.clone()).collect();
    let lengths: Vec<usize> = names.iter().map(|n| values[n].data.len()).collect();
    for (name, data) in names.iter().zip(split(&read_f32(path)?, &lengths, path, "parameters")?) {
        if let Some(tensor) = values.get_mut(name) {
            tensor.data = data;
        }
    }
    Ok(())
}

/// Cuts numbers into parts of these lengths.
fn split(data: &[f32], lengths: &[usize], path: &Path, what: &str) -> Result<Vec<Vec<f32>>, Failure> {
    let wanted: usize = lengths.iter().sum();
    if data.len() != wanted {
        return Err(fail(
            Exit::BadInput,
            format!("{} holds {} numbers; the model's {what} have {wanted}", path.display(), data.len()),
        ));
    }
    let mut rest = data;
    Ok(lengths
        .iter()
        .map(|&len| {
            let (part, others) = rest.split_at(len);
            rest = others;
            part.to_vec()
        })
        .collect())
}

/// A file of little-endian `f32`.
pub fn read_f32(path: &Path) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path).map_err(|e| fail(Exit::BadInput, format!("cannot read {}: {e}", path.display())))?;
    if bytes.len() % 4 != 0 {
        return Err(fail(
            Exit::BadInput,
            format!("{} has {} bytes, which is not a whole number of f32", path.display(), bytes.len()),
        ));
    }
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Writes little-endian `f32`.
pub fn write_f32(path: &Path, data: &[Vec<f32>]) -> Result<(), Failure> {
    let bytes: Vec<u8> = data.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(|e| fail(Exit::BadInput, format!("cannot write {}: {e}", path.display())))
}
