//! The graph IR: a function from tensors to tensors, as a list of operator applications in topological order.
//!
//! Conventions, which every pass may rely on:
//! - images are **NHWC** (`[batch, height, width, channels]`), convolution weights **HWIO**
//!   (`[kernel height, kernel width, input channels / groups, output channels]`);
//! - every operand of a node has a smaller [`NodeId`] than the node;
//! - at most the leading axis of a shape is the symbolic batch [`Dim::Batch`], written `N`;
//!   [`Graph::specialise`] binds it;
//! - the type of a node is always the type that [`crate::graph::infer::infer`] gives.

pub mod fold;
pub mod infer;
pub mod init;
pub mod interp;

use crate::entity::{EntityVec, entity};
use crate::graph::infer::{TypeError, infer};
use crate::scalar::{BinaryOp, ReduceOp, UnaryOp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A function from tensors to tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The symbol after `@`.
    pub name: String,
    /// Operator applications in topological order; arguments and parameters are nodes too.
    pub nodes: EntityVec<NodeId, Node>,
    /// What the function returns, in order.
    pub outputs: Vec<NodeId>,
}

/// One value: an operator applied to earlier values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// The values that it is computed from.
    pub operands: Vec<NodeId>,
    /// Element type and shape of the result.
    pub ty: TensorType,
    /// The name of an [`Op::Input`] or [`Op::Param`] (its identity outside the graph); otherwise a hint for printing.
    pub name: Option<String>,
}

entity! {
    /// A node of its graph.
    NodeId, "%"
}

/// Shape of a tensor; every element is `f32`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Extent of each axis, slowest first.
    pub shape: Vec<Dim>,
}

/// Extent of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// The batch, unknown until the graph is specialised.
    Batch,
    /// A known extent.
    Fixed(usize),
}

/// An operator. Operand shapes are given in brackets; `…` are any number of axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A tensor given at every run.
    Input,
    /// A weight: given once, learnt by training.
    Param(Init),
    /// A constant tensor of one value, of the given shape.
    Splat(f32, Vec<Dim>),
    /// 2-D convolution: `[N,H,W,C] · [KH,KW,C/groups,O] → [N,H',W',O]`.
    Conv2d(Conv2dAttrs),
    /// Gradient of [`Op::Conv2d`] with respect to its input: `(dy [N,H',W',O], w [KH,KW,C/groups,O]) → [N,H,W,C]`; holds `[H, W]`.
    Conv2dGradInput(Conv2dAttrs, [usize; 2]),
    /// Gradient of [`Op::Conv2d`] with respect to its weight: `(x [N,H,W,C], dy [N,H',W',O]) → [KH,KW,C/groups,O]`; holds `[KH, KW]`.
    Conv2dGradWeight(Conv2dAttrs, [usize; 2]),
    /// Matrix product over the last two axes: `[…,M,K] · […,K,N] → […,M,N]`; a right side of rank 2 serves every leading index.
    MatMul,
    /// Batch normalisation with given statistics: `(x […,C], gamma [C], beta [C], mean [C], variance [C])`
    /// → `gamma · (x - mean) / sqrt(variance + eps) + beta`.
    BatchNorm {
        /// Added to the variance.
        eps: f32,
    },
    /// Batch normalisation with the statistics of `x` itself over all axes but the last: `(x […,C], gamma [C], beta [C])`;
    /// the variance is the biased one.
    BatchNormTrain {
        /// Added to the variance.
        eps: f32,
    },
    /// A function of each element.
    Unary(UnaryOp),
    /// A function of two elements, with NumPy broadcasting.
    Binary(BinaryOp),
    /// Maximum of each window; padded positions do not count.
    MaxPool(PoolAttrs),
    /// Gradient of [`Op::MaxPool`] with respect to its input: `(x, dy) → dx`. The first maximum of a window gets the whole gradient.
    MaxPoolGrad(PoolAttrs),
    /// Mean of each window.
    AvgPool(PoolAttrs),
    /// Gradient of [`Op::AvgPool`] with respect to its input: `(dy) → dx`; holds the input's `[H, W]`.
    AvgPoolGrad(PoolAttrs, [usize; 2]),
    /// Mean over height and width: `[N,H,W,C] → [N,C]`.
    GlobalAvgPool,
    /// The same elements in the same order under another shape; the batch stays the leading axis.
    Reshape(Vec<Dim>),
    /// Axis `i` of the result is axis `perm[i]` of the operand.
    Transpose(Vec<usize>),
    /// Operands laid end to end along an axis.
    Concat {
        /// Which axis.
        axis: usize,
    },
    /// `start..end` of one axis.
    Slice {
        /// Which axis.
        axis: usize,
        /// First index taken.
        start: usize,
        /// First index not taken.
        end: usize,
    },
    /// Zeros around the operand: `(before, after)` for each axis.
    Pad(Vec<(usize, usize)>),
    /// Softmax over the last axis.
    Softmax,
    /// Logarithm of the softmax over the last axis.
    LogSoftmax,
    /// Layer normalisation over the last axis: `(x […,C], gamma [C], beta [C])` → `gamma · (x - mean) / sqrt(variance + eps) + beta`
    /// with the mean and the biased variance of each row.
    LayerNorm {
        /// Added to the variance.
        eps: f32,
    },
    /// Scaled-dot-product attention: `(q […,T,H·D], k […,S,H·D], v […,S,H·E])`, or with a mask that broadcasts to `[…,H,T,S]`,
    /// → `[…,T,H·E]`. Heads lie side by side in the last axis; each is `softmax(scale · q·kᵀ + mask) · v`.
    Attention {
        /// How many heads there are, `H`.
        heads: usize,
        /// Factor of the products of queries and keys.
        scale: f32,
    },
    /// Reduction over axes (sorted, distinct), which stay with extent 1 if `keep` is set.
    Reduce {
        /// The operation.
        op: ReduceOp,
        /// The axes to reduce.
        axes: Vec<usize>,
        /// Whether the axes stay, with extent 1.
        keep: bool,
    },
    /// NumPy broadcast to a shape.
    Broadcast(Vec<Dim>),
    /// A fused kernel: `act(Σ terms)`. Its operands are the operands of the terms, in order. All terms broadcast to one shape.
    FusedSum {
        /// What is summed.
        terms: Vec<Term>,
        /// Whether `max(·, 0)` is applied to the sum.
        relu: bool,
    },
}

/// One summand of [`Op::FusedSum`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Term {
    /// A convolution of `(x, w)`, or of `(max(x, 0), w)`.
    Conv2d {
        /// The convolution.
        attrs: Conv2dAttrs,
        /// Whether `max(·, 0)` is applied to `x` first.
        relu: bool,
    },
    /// A matrix product of `(a, b)`, or of `(max(a, 0), b)`.
    MatMul {
        /// Whether `max(·, 0)` is applied to `a` first.
        relu: bool,
    },
    /// The operand itself: a bias, or a residual.
    Add,
}

/// Attributes of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conv2dAttrs {
    /// Step in height and width.
    pub stride: [usize; 2],
    /// Zeros added: top, left, bottom, right.
    pub pad: [usize; 4],
    /// Distance of neighbouring kernel elements in height and width.
    pub dilation: [usize; 2],
    /// Channel groups; output channel `o` reads the inputs of group `o / (O / groups)`.
    pub groups: usize,
}

/// Attributes of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolAttrs {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Step in height and width.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right; smaller than the kernel.
    pub pad: [usize; 4],
    /// Whether padded positions count in the divisor of a mean.
    pub count_include_pad: bool,
}

/// How a parameter starts before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Normal with variance `2 / fan_in`, where the fan-in is the product of all axes but the last
    /// (He et al., 2015).
    He,
    /// Uniform in `±1 / sqrt(fan_in)`, with the same fan-in.
    Uniform,
}

impl Default for Conv2dAttrs {
    fn default() -> Self {
        Conv2dAttrs { stride: [1, 1], pad: [0; 4], dilation: [1, 1], groups: 1 }
    }
}

impl Op {
    /// Whether it only adds its operands, without a product. An activation may follow the sum.
    pub fn is_sum(&self) -> bool {
        matches!(self, Op::FusedSum { terms, .. } if terms.iter().all(|term| *term == Term::Add))
    }
}

impl Term {
    /// Each term with its own operands; `operands` are those of all terms, in order.
    pub fn with_operands<'a, T>(terms: &'a [Term], operands: &'a [T]) -> impl Iterator<Item = (&'a Term, &'a [T])> {
        terms.iter().scan(operands, |rest, term| {
            let (mine, others) = rest.split_at_checked(term.arity())?;
            *rest = others;
            Some((term, mine))
        })
    }

    /// How many operands the term takes.
    pub fn arity(&self) -> usize {
        match self {
            Term::Conv2d { .. } | Term::MatMul { .. } => 2,
            Term::Add => 1,
        }
    }
}

impl TensorType {
    /// A type from fixed extents.
    pub fn fixed(shape: &[usize]) -> Self {
        TensorType { shape: shape.iter().map(|&d| Dim::Fixed(d)).collect() }
    }

    /// The extents, if the batch is bound.
    pub fn extents(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|d| d.fixed()).collect()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
}

impl Dim {
    /// The extent, if it is known.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Dim::Batch => None,
            Dim::Fixed(n) => Some(n),
        }
    }
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Graph { name: name.into(), nodes: EntityVec::new(), outputs: Vec::new() }
    }

    /// Appends an input.
    pub fn input(&mut self, name: impl Into<String>, ty: TensorType) -> NodeId {
        self.append(Node { op: Op::Input, operands: vec![], ty, name: Some(name.into()) })
    }

    /// Appends a parameter.
    pub fn param(&mut self, name: impl Into<String>, shape: &[usize], init: Init) -> NodeId {
        self.append(Node { op: Op::Param(init), operands: vec![], ty: TensorType::fixed(shape), name: Some(name.into()) })
    }

    /// Appends an operator application; its type is inferred.
    pub fn push(&mut self, op: Op, operands: &[NodeId]) -> Result<NodeId, TypeError> {
        let types: Vec<&TensorType> = operands.iter().map(|&id| &self.node(id).ty).collect();
        let ty = infer(&op, &types)?;
        Ok(self.append(Node { op, operands: operands.to_vec(), ty, name: None }))
    }

    fn append(&mut self, node: Node) -> NodeId {
        self.nodes.push(node)
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The type of a value.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.node(id).ty
    }

    /// Ids with their nodes, in topological order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.entries()
    }

    /// Ids of the inputs, in order.
    pub fn inputs(&self) -> Vec<NodeId> {
        self.iter().filter(|(_, n)| n.op == Op::Input).map(|(id, _)| id).collect()
    }

    /// Ids of the parameters, in order.
    pub fn params(&self) -> Vec<NodeId> {
        self.iter().filter(|(_, n)| matches!(n.op, Op::Param(_))).map(|(id, _)| id).collect()
    }

    /// How many operands, over all nodes and outputs, refer to each node.
    pub fn uses(&self) -> EntityVec<NodeId, usize> {
        let mut uses = EntityVec::filled(0, self.nodes.len());
        for id in self.nodes.iter().flat_map(|n| &n.operands).chain(&self.outputs) {
            uses[*id] += 1;
        }
        uses
    }

    /// Which nodes are weights: known as soon as parameters are, since they depend on no input and, unless the batch is bound,
    /// not on the batch.
    pub fn weights(&self) -> EntityVec<NodeId, bool> {
        let mut weights = EntityVec::new();
        for node in &self.nodes {
            let known = node.op != Op::Input && node.ty.extents().is_some();
            weights.push(known && node.operands.iter().all(|operand| weights[*operand]));
        }
        weights
    }

    /// The same graph with the batch bound to `n`.
    pub fn specialise(&self, n: usize) -> Graph {
        let bind = |shape: &mut Vec<Dim>| {
            for dim in shape {
                if *dim == Dim::Batch {
                    *dim = Dim::Fixed(n);
                }
            }
        };
        let mut graph = self.clone();
        for node in &mut graph.nodes {
            bind(&mut node.ty.shape);
            match &mut node.op {
                Op::Splat(_, shape) | Op::Reshape(shape) | Op::Broadcast(shape) => bind(shape),
                _ => {}
            }
        }
        graph
    }

    /// The same function without the nodes that no output needs; inputs stay, unused parameters go.
    pub fn without_dead_nodes(&self) -> Graph {
        let mut live = EntityVec::filled(false, self.nodes.len());
        for &id in &self.outputs {
            live[id] = true;
        }
        for (id, node) in self.iter().rev() {
            if live[id] {
                for &operand in &node.operands {
                    live[operand] = true;
                }
            } else if node.op == Op::Input {
                live[id] = true;
            }
        }
        let mut graph = Graph::new(self.name.clone());
        let mut renamed = EntityVec::filled(NodeId(0), self.nodes.len());
        for (id, node) in self.iter() {
            if live[id] {
                let mut node = node.clone();
                for operand in &mut node.operands {
                    *operand = renamed[*operand];
                }
                renamed[id] = graph.append(node);
            }
        }
        graph.outputs = self.outputs.iter().map(|id| renamed[*id]).collect();
        graph
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Batch => f.write_str("N"),
            Dim::Fixed(n) => write!(f, "{n}"),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("f32[")?;
        for (i, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { "," })?;
        }
        f.write_str("]")
    }
}
