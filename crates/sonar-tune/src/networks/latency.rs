//! The time of whole networks, end to end.

use crate::compile::{CompileOptions, Planned, generate};
use crate::error::TuneError;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_codegen::Context;
use sonar_ir::Values;
use sonar_measure::{Budget, race};
use std::ops::ControlFlow;
use std::time::Instant;

/// Asked repeatedly while something is timed. After it has returned [`ControlFlow::Break`] once, it must always return it.
pub type GoOn<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// Runs whole networks and times them. Tests use invented times.
pub trait ModelMeasurer {
    /// A network that is ready to run.
    type Model;

    /// Makes a network ready to run.
    fn load(&mut self, planned: Planned, options: &CompileOptions<'_>) -> Result<Self::Model, TuneError>;

    /// Times models in turns, one sample of each per round, so that a slow moment of the machine affects all of them alike. `budget`
    /// is for each model. Returns for each model the nanoseconds of one run, in order of measurement; fewer if `go_on` breaks.
    fn compare(&mut self, models: &mut [Self::Model], budget: Budget, go_on: &mut GoOn<'_>) -> Result<Vec<Vec<f64>>, TuneError>;

    /// For each kernel call of a model, in order: the nanoseconds of its fastest run of `runs`.
    fn profile(&mut self, model: &mut Self::Model, runs: usize) -> Result<Vec<f64>, TuneError>;
}

/// Runs networks on this machine, in this process.
#[derive(Clone, Debug)]
pub struct NativeModels {
    params: Values,
    seed: u64,
}

/// A network with memory for its inputs and outputs.
pub struct NativeModel {
    context: Context,
    arguments: Arguments,
}

/// Memory for the inputs and outputs of a model.
struct Arguments {
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl NativeModels {
    /// Networks with these parameters, by name, and random inputs from a seed.
    pub fn new(params: Values, seed: u64) -> Self {
        NativeModels { params, seed }
    }
}

impl ModelMeasurer for NativeModels {
    type Model = NativeModel;

    fn load(&mut self, planned: Planned, options: &CompileOptions<'_>) -> Result<NativeModel, TuneError> {
        let context = generate(planned, options)?.load(&self.params)?.context()?;
        let arguments = Arguments::random(&context, self.seed);
        Ok(NativeModel { context, arguments })
    }

    fn compare(&mut self, models: &mut [NativeModel], budget: Budget, go_on: &mut GoOn<'_>) -> Result<Vec<Vec<f64>>, TuneError> {
        let mut pairs: Vec<_> = models.iter_mut().map(|model| (&mut model.context, &mut model.arguments)).collect();
        take_turns(&mut pairs, budget, go_on)
    }

    fn profile(&mut self, model: &mut NativeModel, runs: usize) -> Result<Vec<f64>, TuneError> {
        let NativeModel { context, arguments } = model;
        let (inputs, mut outputs) = arguments.slices();
        let calls = context.profile(&inputs, &mut outputs, runs)?;
        Ok(calls.iter().map(|call| 1e9 * call.seconds).collect())
    }
}

/// Times models that are loaded, as [`ModelMeasurer::compare`] does, on random inputs from a seed.
pub fn measure_models(models: &mut [Context], budget: Budget, seed: u64) -> Result<Vec<Vec<f64>>, TuneError> {
    let mut arguments: Vec<Arguments> = models.iter().map(|context| Arguments::random(context, seed)).collect();
    let mut pairs: Vec<_> = models.iter_mut().zip(&mut arguments).collect();
    take_turns(&mut pairs, budget, &mut || ControlFlow::Continue(()))
}

/// Before each sample its model runs once, so that the caches hold the model's own data, as if it ran alone.
fn take_turns(
    models: &mut [(&mut Context, &mut Arguments)],
    budget: Budget,
    go_on: &mut GoOn<'_>,
) -> Result<Vec<Vec<f64>>, TuneError> {
    for (model, arguments) in models.iter_mut() {
        arguments.run(model)?;
    }
    let count = models.len();
    let call = |index: usize, repeats: usize| {
        let (model, arguments) = &mut models[index];
        // The same arguments were accepted before.
        let mut run = || arguments.run(model).is_ok();
        let warm = run();
        let start = Instant::now();
        if warm && (0..repeats).all(|_| run()) { start.elapsed().as_nanos() as f64 } else { f64::INFINITY }
    };
    Ok(race::take_turns_while(call, count, budget, go_on))
}

impl Arguments {
    /// Inputs in `-1..1`.
    fn random(context: &Context, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let model = context.model();
        let mut numbers = |&len: &usize| (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        Arguments {
            inputs: model.input_lengths().iter().map(&mut numbers).collect(),
            outputs: model.output_lengths().iter().map(|&len| vec![0.0; len]).collect(),
        }
    }

    fn slices(&mut self) -> (Vec<&[f32]>, Vec<&mut [f32]>) {
        let inputs = self.inputs.iter().map(Vec::as_slice).collect();
        let outputs = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        (inputs, outputs)
    }

    fn run(&mut self, context: &mut Context) -> Result<(), TuneError> {
        let (inputs, mut outputs) = self.slices();
        Ok(context.run(&inputs, &mut outputs)?)
    }
}
