//! Time of whole models, end to end, in this process.

use crate::error::TuneError;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_codegen::{CallTime, Context};
use sonar_measure::{Budget, race};
use std::time::Instant;

/// Times models, one sample of each a round, so that a slow moment of the machine meets all of them alike. Before each sample its
/// model runs once, so that caches hold what is its own, as where it runs alone. For each model the nanoseconds of one run, in
/// order of measurement; `budget` is that of each model.
pub fn measure_models(models: &mut [Context], budget: Budget, seed: u64) -> Result<Vec<Vec<f64>>, TuneError> {
    let mut arguments: Vec<Arguments> = models.iter().map(|context| Arguments::random(context, seed)).collect();
    for (model, arguments) in models.iter_mut().zip(&mut arguments) {
        arguments.run(model)?;
    }
    let count = models.len();
    let call = |index: usize, repeats: usize| {
        // The same arguments were accepted before.
        let mut run = || arguments[index].run(&mut models[index]).is_ok();
        let warm = run();
        let start = Instant::now();
        if warm && (0..repeats).all(|_| run()) { start.elapsed().as_nanos() as f64 } else { f64::INFINITY }
    };
    Ok(race::take_turns(call, count, budget))
}

/// Memory for the inputs and outputs of a model.
pub(crate) struct Arguments {
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Arguments {
    /// Inputs in `-1..1`.
    pub(crate) fn random(context: &Context, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let model = context.model();
        let mut numbers = |&len: &usize| (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        Arguments {
            inputs: model.input_lengths().iter().map(&mut numbers).collect(),
            outputs: model.output_lengths().iter().map(|&len| vec![0.0; len]).collect(),
        }
    }

    /// The shortest time of each call in some runs.
    pub(crate) fn profile(&mut self, context: &mut Context, runs: usize) -> Result<Vec<CallTime>, TuneError> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        Ok(context.profile(&inputs, &mut outputs, runs)?)
    }

    fn run(&mut self, context: &mut Context) -> Result<(), TuneError> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        Ok(context.run(&inputs, &mut outputs)?)
    }
}
