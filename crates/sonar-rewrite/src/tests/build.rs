//! Graphs to test with.

use sonar_ir::graph::{Conv2dAttrs, Graph, Init, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// A graph under construction; its shapes are always right.
pub struct Builder {
    /// The graph so far.
    pub graph: Graph,
    params: usize,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { graph: Graph::new("test"), params: 0 }
    }

    pub fn input(&mut self, shape: &[usize]) -> NodeId {
        let name = format!("x{}", self.graph.inputs().len());
        self.graph.input(name, TensorType::fixed(shape))
    }

    pub fn param(&mut self, shape: &[usize]) -> NodeId {
        self.params += 1;
        self.graph.param(format!("p{}", self.params), shape, Init::He)
    }

    pub fn op(&mut self, op: Op, operands: &[NodeId]) -> NodeId {
        self.graph.push(op, operands).expect("the test builds a well-typed graph")
    }

    pub fn shape(&self, id: NodeId) -> Vec<usize> {
        self.graph.ty(id).extents().expect("tests use fixed shapes")
    }

    pub fn relu(&mut self, x: NodeId) -> NodeId {
        self.op(Op::Unary(UnaryOp::Relu), &[x])
    }

    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.op(Op::Binary(BinaryOp::Add), &[a, b])
    }

    pub fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.op(Op::Binary(BinaryOp::Mul), &[a, b])
    }

    pub fn zeros(&mut self, like: NodeId) -> NodeId {
        let shape = self.graph.ty(like).shape.clone();
        self.op(Op::Splat(0.0, shape), &[])
    }

    pub fn conv(&mut self, x: NodeId, k: usize, out: usize, attrs: Conv2dAttrs) -> NodeId {
        let w = self.param(&[k, k, self.shape(x)[3] / attrs.groups, out]);
        self.op(Op::Conv2d(attrs), &[x, w])
    }

    /// A convolution that keeps height and width, with an odd kernel.
    pub fn same_conv(&mut self, x: NodeId, k: usize, out: usize) -> NodeId {
        self.conv(x, k, out, Conv2dAttrs { pad: [k / 2; 4], ..Conv2dAttrs::default() })
    }

    pub fn batch_norm(&mut self, x: NodeId) -> NodeId {
        let channels = *self.shape(x).last().expect("an image has channels");
        let [gamma, beta, mean] = [(); 3].map(|()| self.param(&[channels]));
        self.params += 1;
        let variance = self.graph.param(format!("variance{}", self.params), &[channels], Init::Ones);
        self.op(Op::BatchNorm { eps: 1e-5 }, &[x, gamma, beta, mean, variance])
    }

    pub fn avg_pool(&mut self, x: NodeId, attrs: PoolAttrs) -> NodeId {
        self.op(Op::AvgPool(attrs), &[x])
    }

    pub fn cell_pool(&mut self, x: NodeId) -> NodeId {
        self.avg_pool(x, PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad: false })
    }

    pub fn finish(mut self, outputs: &[NodeId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}
