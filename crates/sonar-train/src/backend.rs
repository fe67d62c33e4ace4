//! The interface between training and the compiler. Training itself does not depend on a machine.

use crate::error::TrainError;
use sonar_ir::graph::interp;
use sonar_ir::{Graph, NodeId, Tensor, Values};

/// Something that turns graphs into executables.
pub trait Backend {
    /// Compiles a graph with a bound batch and without parameters.
    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>, TrainError>;
}

/// A compiled graph.
pub trait Executable {
    /// Runs the graph once. `inputs` and `outputs` are in the graph's order, row-major, and have exactly the graph's sizes.
    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), TrainError>;
}

/// The reference interpreter as a backend: slow, and correct by definition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

struct Interpreted {
    graph: Graph,
    inputs: Vec<(String, Vec<usize>)>,
}

impl Backend for Interpreter {
    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>, TrainError> {
        let describe = |id: NodeId| {
            let node = graph.node(id);
            let shape = node.ty.extents().ok_or_else(|| TrainError::SymbolicBatch(node.ty.clone()))?;
            Ok((node.name.clone().unwrap_or_default(), shape))
        };
        let inputs = graph.inputs().into_iter().map(describe).collect::<Result<_, TrainError>>()?;
        Ok(Box::new(Interpreted { graph: graph.clone(), inputs }))
    }
}

impl Executable for Interpreted {
    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), TrainError> {
        let tensor =
            |(name, shape): &(String, Vec<usize>), data: &[f32]| (name.clone(), Tensor::new(shape.clone(), data.to_vec()));
        let values: Values = self.inputs.iter().zip(inputs).map(|(input, data)| tensor(input, data)).collect();
        let results = interp::run(&self.graph, &values).map_err(|e| TrainError::Backend(Box::new(e)))?;
        for (output, result) in outputs.iter_mut().zip(results) {
            output.copy_from_slice(&result.data);
        }
        Ok(())
    }
}
