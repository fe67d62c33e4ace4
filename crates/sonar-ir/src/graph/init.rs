//! Initial values of parameters, and random inputs for tests and measurements.
//!
//! Every tensor has its own random generator, seeded by the given seed and the tensor's name. So a parameter of the same name and
//! shape starts with the same values in every graph.

use crate::graph::{Graph, Init, Node, NodeId, Op};
use crate::tensor::{Tensor, Values};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The parameters of a graph as training starts with them.
///
/// ```
/// use sonar_ir::graph::init;
/// use sonar_ir::{Graph, Init};
///
/// let mut graph = Graph::new("f");
/// graph.param("w", &[3, 3, 8, 16], Init::He);
/// assert_eq!(init::params(&graph, 1), init::params(&graph, 1));
/// assert_ne!(init::params(&graph, 1), init::params(&graph, 2));
/// ```
pub fn params(graph: &Graph, seed: u64) -> Values {
    fill(graph, graph.params(), seed, |init, fan_in, rng| match init {
        Some(Init::Zeros) => 0.0,
        Some(Init::Ones) => 1.0,
        Some(Init::He) | None => normal(rng) * (2.0 / fan_in).sqrt(),
        Some(Init::Uniform) => rng.random_range(-1.0..1.0) / fan_in.sqrt(),
    })
}

/// Standard normal values for the inputs of a specialised graph.
pub fn inputs(graph: &Graph, seed: u64) -> Values {
    fill(graph, graph.inputs(), seed, |_, _, rng| normal(rng))
}

/// Random values for every parameter, so that none hides a mistake by being 0 or 1: what starts as zeros is standard
/// normal, what starts as ones (scales and variances) is uniform in `0.5..1.5`, and the rest is as in training.
pub fn randomise(graph: &Graph, seed: u64) -> Values {
    fill(graph, graph.params(), seed, |init, fan_in, rng| match init {
        Some(Init::Zeros) | None => normal(rng),
        Some(Init::Ones) => rng.random_range(0.5..1.5),
        Some(Init::He) => normal(rng) * (2.0 / fan_in).sqrt(),
        Some(Init::Uniform) => rng.random_range(-1.0..1.0) / fan_in.sqrt(),
    })
}

/// Fills tensors of bound shapes with what `draw` makes of their initialisation, their fan-in and their generator.
fn fill(graph: &Graph, ids: Vec<NodeId>, seed: u64, draw: impl Fn(Option<Init>, f64, &mut StdRng) -> f64) -> Values {
    let mut values = Values::new();
    for id in ids {
        let Node { op, ty, name: Some(name), .. } = graph.node(id) else { continue };
        let Some(shape) = ty.extents() else { continue };
        let init = if let Op::Param(init) = op { Some(*init) } else { None };
        let fan_in: usize = shape.iter().rev().skip(1).product();
        let mut rng = StdRng::seed_from_u64(seed ^ hash(name));
        let count: usize = shape.iter().product();
        let data = (0..count).map(|_| draw(init, fan_in as f64, &mut rng) as f32).collect();
        values.insert(name.clone(), Tensor::new(shape, data));
    }
    values
}

/// A standard normal number (Box and Muller, 1958).
fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// The 64-bit FNV-1a hash, which never changes between versions or machines.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TensorType;

    fn moments(tensor: &Tensor) -> (f64, f64) {
        let count = tensor.data.len() as f64;
        let mean = tensor.data.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        (mean, tensor.data.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count)
    }

    #[test]
    fn initialisations_have_the_documented_distribution() {
        let mut graph = Graph::new("f");
        for (name, init) in [("zeros", Init::Zeros), ("ones", Init::Ones), ("he", Init::He), ("uniform", Init::Uniform)] {
            graph.param(name, &[5, 10, 1000], init);
        }
        let values = params(&graph, 7);
        assert!(values["zeros"].data.iter().all(|&v| v == 0.0));
        assert!(values["ones"].data.iter().all(|&v| v == 1.0));
        let (mean, variance) = moments(&values["he"]);
        assert!(mean.abs() < 0.01 && (variance - 2.0 / 50.0).abs() < 0.002, "mean {mean}, variance {variance}");
        let (mean, variance) = moments(&values["uniform"]);
        assert!(mean.abs() < 0.01 && (variance - 1.0 / 150.0).abs() < 0.001, "mean {mean}, variance {variance}");
    }

    #[test]
    fn a_parameter_does_not_depend_on_the_others() {
        let mut alone = Graph::new("f");
        alone.param("w", &[4, 4], Init::He);
        let mut together = Graph::new("g");
        together.param("v", &[4, 4], Init::He);
        together.param("w", &[4, 4], Init::He);
        assert_eq!(params(&alone, 3)["w"], params(&together, 3)["w"]);
        assert_ne!(params(&together, 3)["v"], params(&together, 3)["w"]);
    }

    #[test]
    fn random_parameters_have_positive_scales_and_inputs_are_normal() {
        let mut graph = Graph::new("f");
        graph.param("variance", &[1000], Init::Ones);
        graph.input("x", TensorType::fixed(&[10_000]));
        assert!(randomise(&graph, 1)["variance"].data.iter().all(|&v| v > 0.4));
        let (mean, variance) = moments(&inputs(&graph, 1)["x"]);
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
    }
}
