//! Constant folding: values that depend on parameters only are computed once, when the weights are known.

use crate::graph::interp::{self, InterpError};
use crate::graph::{Graph, Init, Node, NodeId, Op};
use crate::tensor::{Tensor, Values};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use thiserror::Error;

/// A graph in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// From parameters to folded parameters; output `K` is the parameter `folded.K` of `main`. It has no inputs.
    pub setup: Graph,
    /// The same function as the whole, of the inputs, of the parameters that it reads itself, and of folded parameters.
    pub main: Graph,
}

/// Why weights cannot be folded.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FoldError {
    /// The setup cannot be run on these parameters.
    #[error(transparent)]
    Interp(#[from] InterpError),
    /// A parameter of the main graph is not given.
    #[error("no value is given for `{0}`")]
    Missing(String),
}

/// Splits a graph into what depends on parameters only and the rest.
///
/// Every maximal node that depends on no input, and is neither a parameter nor a splat itself, becomes a parameter
/// `folded.K` of `main`; names of that form are reserved for it. Nodes that no output needs are left out.
///
/// ```
/// use sonar_ir::graph::fold;
/// use sonar_ir::{BinaryOp, Graph, Init, Op, TensorType};
///
/// // x + (a + b)
/// let mut graph = Graph::new("f");
/// let x = graph.input("x", TensorType::fixed(&[4]));
/// let (a, b) = (graph.param("a", &[4], Init::He), graph.param("b", &[4], Init::He));
/// let sum = graph.push(Op::Binary(BinaryOp::Add), &[a, b])?;
/// let y = graph.push(Op::Binary(BinaryOp::Add), &[x, sum])?;
/// graph.outputs.push(y);
///
/// let folded = fold::fold_params(&graph);
/// assert_eq!(folded.setup.outputs.len(), 1);
/// assert_eq!(folded.main.params().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fold_params(graph: &Graph) -> Folded {
    let graph = graph.without_dead_nodes();
    let folded = maximal_weights(&graph);
    let mut main = graph.clone();
    let mut setup = Graph { name: format!("{}.setup", graph.name), nodes: graph.nodes.clone(), outputs: Vec::new() };
    for (id, node) in graph.iter() {
        if folded.contains(&id) {
            let name = Some(format!("folded.{}", setup.outputs.len()));
            main.nodes[id] = Node { op: Op::Param(Init::Zeros), operands: vec![], ty: node.ty.clone(), name };
            setup.outputs.push(id);
        } else if node.op == Op::Input {
            // Nothing in the setup reads an input; as a splat it goes with the other dead nodes.
            setup.nodes[id].op = Op::Splat(0.0, node.ty.shape.clone());
        }
    }
    Folded { setup: setup.without_dead_nodes(), main: main.without_dead_nodes() }
}

/// The computed weights that an output, or a node that is no weight, reads.
fn maximal_weights(graph: &Graph) -> BTreeSet<NodeId> {
    let weights = graph.weights();
    let others = graph.iter().filter(|(id, _)| !weights[*id]).map(|(_, node)| node);
    let read = graph.outputs.iter().chain(others.flat_map(|node| &node.operands)).copied();
    read.filter(|&id| weights[id] && !matches!(graph.node(id).op, Op::Param(_) | Op::Splat(..))).collect()
}

impl Folded {
    /// The value of one parameter of `main`, from the parameters of the whole graph. A folded parameter is computed.
    /// This needs memory only for the values that it depends on.
    pub fn weight<'v>(&self, name: &str, params: &'v Values) -> Result<Cow<'v, Tensor>, FoldError> {
        let number = name.strip_prefix("folded.").and_then(|number| number.parse::<usize>().ok());
        let Some(&output) = number.and_then(|number| self.setup.outputs.get(number)) else {
            return params.get(name).map(Cow::Borrowed).ok_or_else(|| FoldError::Missing(name.to_string()));
        };
        let setup = Graph { outputs: vec![output], ..self.setup.clone() }.without_dead_nodes();
        let result = interp::run(&setup, params)?.pop();
        result.map(Cow::Owned).ok_or_else(|| FoldError::Missing(name.to_string()))
    }

    /// The values of all parameters of `main`, from those of the whole graph.
    pub fn weights(&self, params: &Values) -> Result<Values, FoldError> {
        let results = interp::run(&self.setup, params)?;
        let mut weights: Values = (0..).zip(results).map(|(k, result)| (format!("folded.{k}"), result)).collect();
        for id in self.main.params() {
            let name = self.main.node(id).name.clone().unwrap_or_default();
            if let Entry::Vacant(weight) = weights.entry(name) {
                let value = params.get(weight.key()).ok_or_else(|| FoldError::Missing(weight.key().clone()))?;
                weight.insert(value.clone());
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TensorType;
    use crate::graph::init;
    use crate::scalar::{BinaryOp, UnaryOp};
    use crate::verify;

    /// `x · (relu(w) · s) + v`, with `relu(w)` returned too, and an unused product of weights.
    fn example() -> Graph {
        let mut graph = Graph::new("f");
        let x = graph.input("x", TensorType::fixed(&[2, 3]));
        let w = graph.param("w", &[3, 4], Init::He);
        let s = graph.param("s", &[4], Init::Ones);
        let v = graph.param("v", &[4], Init::Zeros);
        let mut push = |op, operands: &[NodeId]| graph.push(op, operands).unwrap();
        let positive = push(Op::Unary(UnaryOp::Relu), &[w]);
        let scaled = push(Op::Binary(BinaryOp::Mul), &[positive, s]);
        push(Op::Binary(BinaryOp::Mul), &[s, v]);
        let product = push(Op::MatMul, &[x, scaled]);
        let y = push(Op::Binary(BinaryOp::Add), &[product, v]);
        graph.outputs = vec![y, positive];
        graph
    }

    #[test]
    fn the_parts_do_what_the_whole_did() {
        let graph = example();
        let folded = fold_params(&graph);
        verify::graph(&folded.setup).unwrap();
        verify::graph(&folded.main).unwrap();
        let names = |graph: &Graph, ids: Vec<NodeId>| -> Vec<String> {
            ids.into_iter().map(|id| graph.node(id).name.clone().unwrap()).collect()
        };
        assert_eq!(names(&folded.main, folded.main.params()), ["v", "folded.0", "folded.1"]);
        assert_eq!(names(&folded.setup, folded.setup.params()), ["w", "s"]);
        assert_eq!(folded.setup.inputs(), []);

        let (params, inputs) = (init::randomise(&graph, 1), init::inputs(&graph, 1));
        let with = |params: Values| params.into_iter().chain(inputs.clone()).collect::<Values>();
        let expected = interp::run(&graph, &with(params.clone())).unwrap();
        let found = interp::run(&folded.main, &with(folded.weights(&params).unwrap())).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.relative_error(expected) < 1e-6);
        }
    }

    #[test]
    fn folding_twice_changes_nothing() {
        let once = fold_params(&example()).main;
        let twice = fold_params(&once);
        assert_eq!(twice.main, once);
        assert!(twice.setup.nodes.is_empty());
    }

    #[test]
    fn one_weight_is_what_it_is_among_all() {
        let folded = fold_params(&example());
        let params = init::randomise(&example(), 1);
        for (name, expected) in folded.weights(&params).unwrap() {
            assert_eq!(*folded.weight(&name, &params).unwrap(), expected, "{name}");
        }
        assert_eq!(folded.weight("folded.2", &params), Err(FoldError::Missing("folded.2".to_string())));
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let folded = fold_params(&example());
        let mut params = init::params(&example(), 1);
        params.remove("v");
        assert_eq!(folded.weights(&params), Err(FoldError::Missing("v".to_string())));
        params.remove("w");
        assert_eq!(folded.weights(&params), Err(InterpError::Missing("w".to_string()).into()));
    }
}
