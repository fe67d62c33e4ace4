//! From a classifier to the graphs that train and evaluate it.
//!
//! The classifier is an ordinary inference graph: one image input, one output of logits `[N, classes]`, parameters. If a
//! `batch_norm` node uses a parameter as mean or variance, the parameter is a running statistic. Running statistics are not
//! trained by gradients but updated from the batches.
//!
//! Both graphs have no parameters. Everything that training changes is an input, so a step is a pure function from state to
//! state.

pub mod layout;
pub mod optimizer;
mod recompute;

use crate::autodiff::{batch_norm, gradients};
use crate::build::{copy, declare, extents, mul, scale, share_equal_nodes};
use crate::error::TrainError;
use optimizer::{Optimizer, OptimizerState, blend, declare_state};
use recompute::recompute_cheap_values;
use sonar_ir::ReduceOp;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, Node, NodeId, Op, TensorType};
use std::collections::HashSet;

/// The share of a running statistic that remains after one batch.
const STATISTICS_KEPT: f64 = 0.9;

/// A whole step of training as one graph.
#[derive(Clone, Debug)]
pub struct TrainStep {
    /// Inputs: the images, `train.labels` `[B, classes]` (one-hot), `train.learning_rate` `[]`, then [`state`](Self::state).
    /// Outputs: the mean cross-entropy `[]`, the logits `[B, classes]`, then the new state in the same order.
    pub graph: Graph,
    /// The tensors that a step reads and replaces: all parameters of the classifier in its order (including running
    /// statistics), then the state of the optimiser.
    pub state: Vec<StateTensor>,
    /// The first `params` tensors of the state are parameters of the classifier.
    pub params: usize,
}

/// One tensor of the state of training.
#[derive(Clone, Debug, PartialEq)]
pub struct StateTensor {
    /// Its name among the inputs of the step. A parameter keeps its own name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its initial value. `None` for parameters, which have their own initialisation.
    pub start: Option<f32>,
}

/// The properties of a classifier that do not depend on the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Number of logits.
    pub classes: usize,
}

/// The signature of a classifier, or the reason why the graph is not a classifier.
pub fn signature(model: &Graph) -> Result<Signature, TrainError> {
    let wrong = |what: String| Err(TrainError::Model(what));
    let [input] = model.inputs()[..] else {
        return wrong(format!("expected one input, found {}", model.inputs().len()));
    };
    let [output] = model.outputs[..] else {
        return wrong(format!("expected one output, found {}", model.outputs.len()));
    };
    let inner = |id: NodeId| model.ty(id).shape.iter().skip(1).map(|d| d.fixed()).collect::<Option<Vec<usize>>>();
    let Some([h, w, c]) = inner(input).as_deref().and_then(|s| <[usize; 3]>::try_from(s).ok()) else {
        return wrong(format!("expected images of type f32[N,H,W,C], found {}", model.ty(input)));
    };
    let Some([classes]) = inner(output).as_deref().and_then(|s| <[usize; 1]>::try_from(s).ok()) else {
        return wrong(format!("expected logits of type f32[N,classes], found {}", model.ty(output)));
    };
    Ok(Signature { image: [h, w, c], classes })
}

/// The inference graph for a batch: inputs are the images, then all parameters in order; the output is the logits.
pub fn evaluation(model: &Graph, batch: usize) -> Result<Graph, TrainError> {
    let model = bound(model, batch)?;
    let mut graph = Graph::new(format!("{}.evaluate", model.name));
    let image = declare_like(&mut graph, model.node(model.inputs()[0]));
    let params: Vec<NodeId> = model.params().iter().map(|&p| declare_like(&mut graph, model.node(p))).collect();
    let logits = inline(&mut graph, &model, image, &params, |graph, node, operands| Ok(copy(graph, node, operands)))?;
    graph.outputs = vec![logits];
    Ok(share_equal_nodes(&graph)?)
}

/// The graph of one training step on a batch: forward, backward, update of weights and of running statistics.
///
/// The loss is the mean cross-entropy. Running statistics keep nine tenths of their value and take one tenth of the batch's mean and
/// unbiased variance.
pub fn training_step(model: &Graph, batch: usize, optimizer: &Optimizer) -> Result<TrainStep, TrainError> {
    let model = bound(model, batch)?;
    let model_params = model.params();
    let is_statistic = statistics_of(&model)?;
    let learnt: Vec<usize> = (0..model_params.len()).filter(|&i| !is_statistic[i]).collect();
    if learnt.is_empty() {
        return Err(TrainError::Model("it has no parameters to learn".into()));
    }

    // Inputs come first, so their ids stay the same when equal nodes are shared below.
    let mut graph = Graph::new(format!("{}.train", model.name));
    let image = declare_like(&mut graph, model.node(model.inputs()[0]));
    let labels = declare(&mut graph, Op::Input, "train.labels", model.ty(model.outputs[0]).clone());
    let learning_rate = declare(&mut graph, Op::Input, "train.learning_rate", TensorType::fixed(&[]));
    let params: Vec<NodeId> = model_params.iter().map(|&p| declare_like(&mut graph, model.node(p))).collect();
    let weights: Vec<NodeId> = learnt.iter().map(|&i| params[i]).collect();
    let optimizer_state = optimizer.state(weights.iter().map(|&w| (name(graph.node(w)), extents(&graph, w))).collect());
    let optimizer_inputs: Vec<NodeId> = optimizer_state.iter().map(|s| declare_state(&mut graph, s)).collect();
    let state = describe_state(&graph, &params, &optimizer_state)?;

    // The next value of every parameter, in order. At first only the running statistics are set.
    let mut next = params.clone();
    let logits = inline(&mut graph, &model, image, &params, |graph, node, operands| {
        let Op::BatchNorm { eps } = node.op else { return Ok(copy(graph, node, operands)) };
        let x = operands[0];
        let found = batch_norm::statistics(graph, x)?;
        let count: usize = extents(graph, x).iter().rev().skip(1).product();
        let unbiased = scale(graph, found.variance, count as f64 / count.saturating_sub(1).max(1) as f64)?;
        for (running, batch) in [(operands[3], found.mean), (operands[4], unbiased)] {
            for slot in (0..params.len()).filter(|&i| params[i] == running) {
                next[slot] = blend(graph, next[slot], batch, STATISTICS_KEPT)?;
            }
        }
        graph.push(Op::BatchNormTrain { eps }, &operands[..3])
    })?;
    let loss = cross_entropy(&mut graph, logits, labels, batch)?;
    graph.outputs = vec![loss, logits];
    graph.outputs.extend(&next);

    // Equal branches are merged before differentiation. Otherwise each branch would be differentiated separately.
    let mut graph = share_equal_nodes(&graph)?;
    let loss = graph.outputs[0];
    let slopes = gradients(&mut graph, loss, &weights)?;
    let (moved, optimizer_outputs) = optimizer.update(&mut graph, &weights, &slopes, &optimizer_inputs, learning_rate)?;
    for (&i, weight) in learnt.iter().zip(moved) {
        graph.outputs[2 + i] = weight;
    }
    graph.outputs.extend(optimizer_outputs);
    let graph = share_equal_nodes(&batch_norm::expand(&graph)?)?.without_dead_nodes();
    let graph = recompute_cheap_values(&graph);
    Ok(TrainStep { graph, state, params: params.len() })
}

/// The classifier without dead nodes and with its batch bound.
fn bound(model: &Graph, batch: usize) -> Result<Graph, TrainError> {
    signature(model)?;
    let model = model.without_dead_nodes().specialise(batch);
    for id in [model.inputs()[0], model.outputs[0]] {
        if extents(&model, id)[0] != batch {
            return Err(TrainError::Model(format!("expected a leading axis N, found {}", model.ty(id))));
        }
    }
    Ok(model)
}

/// For each parameter, in order, whether it is a running statistic.
fn statistics_of(model: &Graph) -> Result<Vec<bool>, TrainError> {
    let params = model.params();
    let mut is_statistic = vec![false; params.len()];
    for node in model.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })) {
        for statistic in &node.operands[3..] {
            match params.iter().position(|p| p == statistic) {
                Some(i) => is_statistic[i] = true,
                None => {
                    let what = "the mean and variance of a batch_norm must be parameters, to be learnt as running statistics";
                    return Err(TrainError::Model(what.into()));
                }
            }
        }
    }
    Ok(is_statistic)
}

/// The names, shapes and initial values of all tensors that a step changes. Names of inputs must be unique.
fn describe_state(graph: &Graph, params: &[NodeId], optimizer_state: &[OptimizerState]) -> Result<Vec<StateTensor>, TrainError> {
    let mut names = HashSet::new();
    if let Some(twice) = graph.nodes.iter().find(|n| !names.insert(name(n))) {
        return Err(TrainError::Model(format!("two of its values have the name `{}`", name(twice))));
    }
    let of_param = |&id: &NodeId| StateTensor { name: name(graph.node(id)).into(), shape: extents(graph, id), start: None };
    let of_optimizer = |s: &OptimizerState| StateTensor { name: s.name.clone(), shape: s.shape.clone(), start: Some(s.start) };
    Ok(params.iter().map(of_param).chain(optimizer_state.iter().map(of_optimizer)).collect())
}

/// `-Σ labels · log_softmax(logits) / batch`
fn cross_entropy(graph: &mut Graph, logits: NodeId, labels: NodeId, batch: usize) -> Result<NodeId, TypeError> {
    let log = graph.push(Op::LogSoftmax, &[logits])?;
    let product = mul(graph, labels, log)?;
    let sum = graph.push(Op::Reduce { op: ReduceOp::Sum, axes: vec![0, 1], keep: false }, &[product])?;
    scale(graph, sum, -1.0 / batch as f64)
}

/// Appends the body of a model, with `image` and `params` in place of its input and parameters, and returns its output. `rule`
/// gets a node and its operands and appends its replacement.
fn inline(
    graph: &mut Graph,
    model: &Graph,
    image: NodeId,
    params: &[NodeId],
    mut rule: impl FnMut(&mut Graph, &Node, &[NodeId]) -> Result<NodeId, TypeError>,
) -> Result<NodeId, TypeError> {
    let mut params = params.iter();
    let mut renamed: EntityVec<NodeId, NodeId> = EntityVec::new();
    for (_, node) in model.iter() {
        let operands: Vec<NodeId> = node.operands.iter().map(|o| renamed[*o]).collect();
        renamed.push(match node.op {
            Op::Input => image,
            Op::Param(_) => *params.next().expect("there is a node for every parameter"),
            _ => rule(graph, node, &operands)?,
        });
    }
    Ok(renamed[model.outputs[0]])
}

/// Appends an input with the name and type of a node.
fn declare_like(graph: &mut Graph, node: &Node) -> NodeId {
    declare(graph, Op::Input, name(node), node.ty.clone())
}

fn name(node: &Node) -> &str {
    node.name.as_deref().unwrap_or_default()
}
