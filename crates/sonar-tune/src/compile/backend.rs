//! A training backend that runs compiled code.

use super::{CompileOptions, RewriteLevel, Schedules, compile};
use crate::error::TuneError;
use sonar_codegen::{CodegenError, Context, Target};
use sonar_ir::machine::Machine;
use sonar_ir::{Graph, Values};
use sonar_train::{Backend, Executable, TrainError};

/// Compiles graphs with the passes of inference, except rewriting. Fused operators have no gradients, and a training step has
/// no constant weights to fold.
pub struct JitBackend {
    /// The target processor.
    pub target: Target,
    /// See [`CompileOptions::machine`].
    pub machine: &'static Machine,
    /// Number of threads.
    pub threads: usize,
    /// See [`CompileOptions::schedules`].
    pub schedules: Box<Schedules<'static>>,
}

struct Step(Context);

impl JitBackend {
    /// A backend for this machine, with analytic schedules.
    pub fn native(threads: usize) -> Result<JitBackend, TuneError> {
        let target = Target::native()?;
        Ok(JitBackend { machine: Machine::usual(target.lanes()), target, threads, schedules: Box::new(|_| Ok(None)) })
    }
}

impl Backend for JitBackend {
    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>, TrainError> {
        let options = CompileOptions {
            machine: self.machine,
            threads: self.threads,
            rewrite: RewriteLevel::Written,
            schedules: &self.schedules,
            ..CompileOptions::new(&self.target)
        };
        let model = compile(graph, &options).and_then(|compiled| compiled.load(&Values::new())).map_err(backend_error)?;
        Ok(Box::new(Step(model.context().map_err(context_error)?)))
    }
}

impl Executable for Step {
    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), TrainError> {
        self.0.run(inputs, outputs).map_err(context_error)
    }
}

fn backend_error(error: TuneError) -> TrainError {
    TrainError::Backend(Box::new(error))
}

fn context_error(error: CodegenError) -> TrainError {
    backend_error(error.into())
}
