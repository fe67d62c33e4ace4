//! What the benchmarks share: descriptions, and compiled graphs with something to run them on.

// Each benchmark takes what it needs.
#![allow(dead_code)]

use sonar_codegen::Target;
use sonar_ir::graph::init;
use sonar_ir::space::Space;
use sonar_ir::{Graph, text};
use sonar_tune::{CompileOptions, Compiled, Context, compile};
use std::path::Path;
use std::time::{Duration, Instant};

/// The networks of NAS-Bench-201 that are measured.
pub const MODELS: [&str; 4] = ["nb201_conv3x3", "nb201_resnet", "nb201_conv1x1", "nb201_poolskip"];

/// The text of a file below `ir-examples`.
pub fn example(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The text of one of the example models.
pub fn model_text(name: &str) -> String {
    example(&format!("models/{name}.sonar"))
}

/// One of the example models.
pub fn model(name: &str) -> Graph {
    text::parse_graph(&model_text(name)).expect("examples are valid")
}

/// The hand-made network of a space, with these values for the space's parameters.
pub fn baseline(space: &str, settings: &[(&str, &str)]) -> Graph {
    let space = Space::parse_with(&example(&format!("spaces/{space}.sonar")), settings).expect("examples are valid");
    space.instantiate(space.baseline().expect("it has a baseline")).expect("the baseline is valid")
}

/// The hand-made network of NAS-Bench-201, as small as the default search has it.
pub fn default_baseline() -> Graph {
    baseline("nas-bench-201", &[("height", "28"), ("width", "28"), ("in", "1"), ("channels", "8"), ("cells", "1")])
}

/// This machine.
pub fn native() -> Target {
    Target::native().expect("this machine is supported")
}

/// Keeps the benchmark on one processor, or says that it could not.
pub fn pin() {
    if !sonar_codegen::pin_to_one_processor() {
        eprintln!("warning: not pinned to a processor; timings vary more");
    }
}

/// A graph compiled for one thread of this machine, with random weights, inputs, and room for outputs.
pub struct Runnable {
    compiled: Compiled,
    context: Context,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Runnable {
    /// Compiles with default schedules and a batch of one.
    pub fn new(graph: &Graph) -> Runnable {
        let compiled = compile(graph, &CompileOptions::new(&native())).expect("examples compile");
        let model = compiled.load(&init::randomise(&compiled.lowered.graph, 1)).expect("the weights fit");
        let context = model.context().expect("threads start");
        let ramp = |length: &usize| (0..*length).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect();
        let inputs = compiled.input_lengths().iter().map(ramp).collect();
        let outputs = compiled.output_lengths().iter().map(|length| vec![0.0; *length]).collect();
        Runnable { compiled, context, inputs, outputs }
    }

    /// Floating-point operations of a run.
    pub fn flops(&self) -> u64 {
        let tasks = &self.compiled.lowered.tasks;
        tasks.kernels.iter().map(|kernel| tasks.tasks[kernel.task].flops).sum()
    }

    /// Bytes that the kernels of a run read and write at least.
    pub fn bytes(&self) -> u64 {
        let tasks = &self.compiled.lowered.tasks;
        tasks.kernels.iter().map(|kernel| tasks.tasks[kernel.task].bytes).sum()
    }

    /// How many kernels a run calls.
    pub fn kernels(&self) -> usize {
        self.compiled.lowered.tasks.kernels.len()
    }

    /// The time of this many runs in a row.
    pub fn time(&mut self, runs: u64) -> Duration {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let start = Instant::now();
        for _ in 0..runs {
            self.context.run(&inputs, &mut outputs).expect("compiled code runs");
        }
        start.elapsed()
    }
}
