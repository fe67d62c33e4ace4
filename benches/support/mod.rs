//! What the benchmarks share: descriptions, and compiled graphs with something to run them on.
#![allow(dead_code)] // Each benchmark uses a part of it.

use sonar_codegen::Target;
use sonar_ir::space::Space;
use sonar_ir::{Graph, Values, init, text};
use sonar_tune::{CompileOptions, Compiled, compile};
use std::path::Path;

/// The networks of NAS-Bench-201 that are measured.
pub const MODELS: [&str; 4] = ["nb201_conv3x3", "nb201_resnet", "nb201_conv1x1", "nb201_poolskip"];

/// The text of a file below `ir-examples`.
pub fn example(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// One of the example models.
pub fn model(name: &str) -> Graph {
    text::parse_graph(&example(&format!("models/{name}.sonar"))).expect("examples are valid")
}

/// The hand-made network of NAS-Bench-201, as small as the default search has it.
pub fn small_baseline() -> Graph {
    let settings = [("height", "28"), ("width", "28"), ("in", "1"), ("channels", "8"), ("cells", "1")];
    let space = Space::parse_with(&example("spaces/nas-bench-201.sonar"), &settings).expect("examples are valid");
    space.instantiate(space.baseline().expect("it has a baseline")).expect("the baseline is valid")
}

/// A compiled graph with inputs and room for outputs.
pub struct Runnable {
    pub compiled: Compiled,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Runnable {
    /// Compiles for this machine, with random weights.
    pub fn new(graph: &Graph, threads: usize, rewrite: bool) -> Runnable {
        let target = Target::native().expect("this machine is supported");
        let options = CompileOptions { threads, rewrite, ..CompileOptions::new(&target) };
        let mut compiled = compile(graph, &options).expect("examples compile");
        let weights = if graph.params().is_empty() { Values::new() } else { init::randomise(&compiled.lowered.graph, 1) };
        compiled.load(&weights).expect("the weights fit");
        let ramp = |length: &usize| (0..*length).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect();
        let inputs = compiled.input_lengths().iter().map(ramp).collect();
        let outputs = compiled.output_lengths().iter().map(|length| vec![0.0; *length]).collect();
        Runnable { compiled, inputs, outputs }
    }

    /// Floating-point operations of a run.
    pub fn flops(&self) -> u64 {
        let tasks = &self.compiled.lowered.tasks;
        tasks.kernels.iter().map(|kernel| tasks.tasks[kernel.task].flops).sum()
    }

    /// Bytes that the kernels of a run read and write.
    pub fn bytes(&self) -> u64 {
        let tasks = &self.compiled.lowered.tasks;
        tasks.kernels.iter().map(|kernel| tasks.tasks[kernel.task].bytes).sum()
    }

    /// Runs it.
    pub fn run(&mut self) {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.compiled.run(&inputs, &mut outputs).expect("compiled code runs");
    }
}
