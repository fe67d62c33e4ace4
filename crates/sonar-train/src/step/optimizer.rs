//! Update rules as graphs: from a weight, its gradient and the optimiser's state to their new values.

use crate::build::{add, declare, div, mul, number, scale, sub, unary};
use serde::{Deserialize, Serialize};
use sonar_ir::UnaryOp;
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op, TensorType};

/// The update rule of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum: `g += decay·w; m = momentum·m + g; w -= rate·d`. Here `d` is `m`, or `g +
    /// momentum·m` with Nesterov momentum.
    Sgd {
        /// The momentum: the factor of the previous step.
        momentum: f64,
        /// Whether to use Nesterov momentum.
        nesterov: bool,
        /// The weight decay.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW {
        /// Decay rates of the mean of gradients and of the mean of squared gradients.
        betas: [f64; 2],
        /// Added to the square root of the mean of squared gradients.
        eps: f64,
        /// The weight decay. It is multiplied by the learning rate.
        weight_decay: f64,
    },
}

impl Default for Optimizer {
    /// The recipe of NAS-Bench-201 (Dong and Yang, 2020). Weight decay acts on all weights, including scales and shifts.
    fn default() -> Self {
        Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 }
    }
}

/// A tensor that an optimiser keeps from one step to the next, in addition to the weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OptimizerState {
    /// Unique name of the tensor.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// The value of every element before the first step.
    pub start: f32,
}

impl Optimizer {
    /// The optimiser state for weights with these names and shapes: first the common tensors, then the tensors of each weight
    /// in turn.
    pub(crate) fn state(&self, weights: Vec<(&str, Vec<usize>)>) -> Vec<OptimizerState> {
        let prefixes: &[&str] = match self {
            Optimizer::Sgd { .. } => &["momentum"],
            Optimizer::AdamW { .. } => &["first", "second"],
        };
        let mut state = Vec::new();
        if let Optimizer::AdamW { .. } = self {
            let power = |i: usize| OptimizerState { name: format!("train.beta{i}_power"), shape: vec![], start: 1.0 };
            state.extend([power(1), power(2)]);
        }
        for (name, shape) in weights {
            let of = |prefix: &&str| OptimizerState { name: format!("train.{prefix}.{name}"), shape: shape.clone(), start: 0.0 };
            state.extend(prefixes.iter().map(of));
        }
        state
    }

    /// Appends the update of all weights. `state` are the nodes of [`Optimizer::state`]. Returns the new weights and the new
    /// optimiser state, each in its order.
    pub(crate) fn update(
        &self,
        graph: &mut Graph,
        weights: &[NodeId],
        gradients: &[NodeId],
        state: &[NodeId],
        learning_rate: NodeId,
    ) -> Result<(Vec<NodeId>, Vec<NodeId>), TypeError> {
        let pairs = weights.iter().copied().zip(gradients.iter().copied());
        let (mut moved, mut next_state) = (Vec::new(), Vec::new());
        match *self {
            Optimizer::Sgd { momentum, nesterov, weight_decay } => {
                for ((w, g), &m) in pairs.zip(state) {
                    let g = decayed(graph, g, w, weight_decay)?;
                    let kept = scale(graph, m, momentum)?;
                    let next = add(graph, kept, g)?;
                    let step = if nesterov {
                        // `g + momentum·next`, computed as `(1 + momentum)·next − kept` so that the decayed gradient is used only once.
                        let ahead = scale(graph, next, 1.0 + momentum)?;
                        sub(graph, ahead, kept)?
                    } else {
                        next
                    };
                    moved.push(descend(graph, w, step, learning_rate)?);
                    next_state.push(next);
                }
            }
            Optimizer::AdamW { betas, eps, weight_decay } => {
                let (powers, moments) = state.split_at(2);
                let mut bias = [powers[0]; 2];
                for i in 0..2 {
                    let power = scale(graph, powers[i], betas[i])?;
                    next_state.push(power);
                    let one = number(graph, 1.0)?;
                    bias[i] = sub(graph, one, power)?;
                }
                for ((w, g), moment) in pairs.zip(moments.chunks_exact(2)) {
                    let square = mul(graph, g, g)?;
                    let first = blend(graph, moment[0], g, betas[0])?;
                    let second = blend(graph, moment[1], square, betas[1])?;
                    let mean = div(graph, first, bias[0])?;
                    let spread = div(graph, second, bias[1])?;
                    let spread = unary(graph, UnaryOp::Sqrt, spread)?;
                    let eps = number(graph, eps)?;
                    let spread = add(graph, spread, eps)?;
                    let step = div(graph, mean, spread)?;
                    let step = decayed(graph, step, w, weight_decay)?;
                    moved.push(descend(graph, w, step, learning_rate)?);
                    next_state.extend([first, second]);
                }
            }
        }
        Ok((moved, next_state))
    }
}

/// Appends the input of an optimiser state tensor.
pub(crate) fn declare_state(graph: &mut Graph, state: &OptimizerState) -> NodeId {
    declare(graph, Op::Input, &state.name, TensorType::fixed(&state.shape))
}

/// `decay·old + (1 − decay)·new`
pub(crate) fn blend(graph: &mut Graph, old: NodeId, new: NodeId, decay: f64) -> Result<NodeId, TypeError> {
    let old = scale(graph, old, decay)?;
    let new = scale(graph, new, 1.0 - decay)?;
    add(graph, old, new)
}

/// `g + decay·w`
fn decayed(graph: &mut Graph, g: NodeId, w: NodeId, decay: f64) -> Result<NodeId, TypeError> {
    if decay == 0.0 {
        return Ok(g);
    }
    let pull = scale(graph, w, decay)?;
    add(graph, g, pull)
}

/// `w − rate·step`
fn descend(graph: &mut Graph, w: NodeId, step: NodeId, learning_rate: NodeId) -> Result<NodeId, TypeError> {
    let step = mul(graph, step, learning_rate)?;
    sub(graph, w, step)
}
