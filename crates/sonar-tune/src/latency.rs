//! Time of whole models, end to end, in this process.

use crate::compile::Compiled;
use crate::error::TuneError;
use sonar_ir::NodeId;
use sonar_ir::init;
use sonar_measure::{Budget, race};
use std::time::Instant;

/// Times models whose parameters are loaded, one sample of each a round, so that a slow moment of the machine meets all of them alike.
/// For each model the nanoseconds of one run, in order of measurement; `budget` is that of each model.
pub fn measure_models(models: &mut [&mut Compiled], budget: Budget, seed: u64) -> Result<Vec<Vec<f64>>, TuneError> {
    let mut arguments: Vec<Arguments> = models.iter().map(|model| Arguments::random(model, seed)).collect();
    for (model, arguments) in models.iter_mut().zip(&mut arguments) {
        arguments.run(model)?;
    }
    let count = models.len();
    let call = |index: usize, repeats: usize| {
        let start = Instant::now();
        for _ in 0..repeats {
            // The same arguments were accepted before.
            if arguments[index].run(models[index]).is_err() {
                return f64::INFINITY;
            }
        }
        start.elapsed().as_nanos() as f64
    };
    Ok(race::take_turns(call, count, budget))
}

/// Memory for the inputs and outputs of a model.
struct Arguments {
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Arguments {
    fn random(model: &Compiled, seed: u64) -> Self {
        let graph = &model.lowered.graph;
        let values = init::inputs(graph, seed);
        let data = |id: NodeId| graph.node(id).name.as_ref().and_then(|name| values.get(name)).map(|value| value.data.clone());
        Arguments {
            inputs: graph.inputs().into_iter().filter_map(data).collect(),
            outputs: model.output_lengths().iter().map(|&len| vec![0.0; len]).collect(),
        }
    }

    fn run(&mut self, model: &mut Compiled) -> Result<(), TuneError> {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        model.run(&inputs, &mut outputs)
    }
}
