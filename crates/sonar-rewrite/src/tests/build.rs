//! Graphs to test with.

use sonar_ir::graph::{Conv2dAttrs, Graph, Init, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// The edge operations of a NAS-Bench-201 cell, in the benchmark's order.
pub const CELL_OPS: [&str; 5] = ["none", "skip", "conv1x1", "conv3x3", "avgpool"];

/// A graph that grows; shapes are right by construction.
pub struct Builder {
    /// What there is so far.
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

    /// A NAS-Bench-201 cell; `ops` index [`CELL_OPS`].
    pub fn cell(&mut self, x: NodeId, ops: [usize; 6]) -> NodeId {
        const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
        let channels = self.shape(x)[3];
        let mut values = vec![x];
        for to in 1..4 {
            let mut sum: Option<NodeId> = None;
            for (edge, op) in EDGES.iter().zip(ops).filter(|((_, end), _)| *end == to) {
                let from = values[edge.0];
                let y = match CELL_OPS[op] {
                    "none" => self.zeros(from),
                    "skip" => from,
                    "avgpool" => self.cell_pool(from),
                    name => {
                        let y = self.relu(from);
                        let y = self.same_conv(y, if name == "conv1x1" { 1 } else { 3 }, channels);
                        self.batch_norm(y)
                    }
                };
                sum = Some(match sum {
                    Some(sum) => self.add(sum, y),
                    None => y,
                });
            }
            values.extend(sum);
        }
        values[3]
    }

    /// The residual block between two stages: half the height and width, twice the channels.
    pub fn reduction(&mut self, x: NodeId) -> NodeId {
        let channels = 2 * self.shape(x)[3];
        let y = self.relu(x);
        let y = self.conv(y, 3, channels, Conv2dAttrs { stride: [2, 2], pad: [1; 4], ..Conv2dAttrs::default() });
        let y = self.batch_norm(y);
        let y = self.relu(y);
        let y = self.same_conv(y, 3, channels);
        let y = self.batch_norm(y);
        let s = self.avg_pool(x, PoolAttrs { kernel: [2, 2], stride: [2, 2], pad: [0; 4], count_include_pad: false });
        let s = self.conv(s, 1, channels, Conv2dAttrs::default());
        self.add(y, s)
    }

    /// A whole NAS-Bench-201 network.
    pub fn network(batch: usize, size: usize, channels: usize, cells: usize, ops: [usize; 6]) -> Graph {
        let mut b = Builder::new();
        let x = b.input(&[batch, size, size, 3]);
        let mut x = b.same_conv(x, 3, channels);
        x = b.batch_norm(x);
        for stage in 0..3 {
            if stage > 0 {
                x = b.reduction(x);
            }
            for _ in 0..cells {
                x = b.cell(x, ops);
            }
        }
        x = b.batch_norm(x);
        x = b.relu(x);
        x = b.op(Op::GlobalAvgPool, &[x]);
        let w = b.param(&[4 * channels, 10]);
        let bias = b.param(&[10]);
        x = b.op(Op::MatMul, &[x, w]);
        x = b.add(x, bias);
        b.finish(&[x])
    }

    pub fn finish(mut self, outputs: &[NodeId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}

/// The operations of the cell with this index, 0 to 15,624.
pub fn cell_ops(mut index: usize) -> [usize; 6] {
    [(); 6].map(|()| {
        let op = index % CELL_OPS.len();
        index /= CELL_OPS.len();
        op
    })
}
