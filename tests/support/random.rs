//! Random graphs of every operator, with the odd shapes that real networks rarely have.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::infer::infer;
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::{BinaryOp, Dim, Graph, Init, NodeId, Op, ReduceOp, TensorType, Term, UnaryOp};

/// The operators that a random graph may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// Those that a trained network is made of.
    Inference,
    /// Those of training too: gradients, and batch normalisation with the statistics of the batch.
    All,
}

/// Elements of the largest value.
const LARGEST: usize = 20_000;

/// A graph under construction, with its source of randomness.
struct Growth {
    graph: Graph,
    random: StdRng,
}

/// A random graph of a few operators with odd shapes; the same for the same seed.
pub fn random_graph(seed: u64, operators: Operators) -> Graph {
    let mut g = Growth { graph: Graph::new(format!("random{seed}")), random: StdRng::seed_from_u64(seed) };
    let extents = |g: &mut Growth| [g.below(3) + 1, g.below(11) + 1, g.below(11) + 1, g.below(40) + 1];
    let mut live = Vec::new();
    for _ in 0..g.one_of(&[1, 1, 2]) {
        let shape = extents(&mut g);
        let x = g.input(&shape);
        live.push(x);
    }
    for _ in 0..2 + g.below(6) {
        // The newest value is the likeliest, so that graphs are deep as well as wide.
        let x = if g.random.random() { live[live.len() - 1] } else { g.one_of(&live) };
        let y = g.grow(x, &live, operators);
        if let Some(y) = y.filter(|&y| g.shape(y).iter().product::<usize>() <= LARGEST) {
            live.push(y);
        }
    }
    // Every value that nothing reads is an output, so that no operator is dead; so is now and then one that is read.
    let graph = &mut g.graph;
    let uses = graph.uses();
    graph.outputs = live.iter().copied().filter(|id| uses[*id] == 0).collect();
    if graph.outputs.is_empty() || g.random.random_range(0..4) == 0 {
        let output = live[g.random.random_range(0..live.len())];
        graph.outputs.push(output);
    }
    graph.without_dead_nodes()
}

impl Growth {
    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Whether one of so many chances comes true.
    fn rarely(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn shape(&self, id: NodeId) -> Vec<usize> {
        self.graph.ty(id).extents().expect("the batch is bound")
    }

    fn input(&mut self, shape: &[usize]) -> NodeId {
        let name = format!("x{}", self.graph.nodes.len());
        self.graph.input(name, TensorType::fixed(shape))
    }

    fn param(&mut self, shape: &[usize], init: Init) -> NodeId {
        let name = format!("w{}", self.graph.nodes.len());
        self.graph.param(name, shape, init)
    }

    /// A weight: mostly a parameter, sometimes computed from one, sometimes given at every run.
    fn weight(&mut self, shape: &[usize]) -> Option<NodeId> {
        match self.below(10) {
            0 => Some(self.input(shape)),
            1 => {
                let (w, scale) = (self.param(shape, Init::He), self.param(&shape[shape.len() - 1..], Init::Ones));
                self.binary(BinaryOp::Mul, w, scale)
            }
            _ => Some(self.param(shape, Init::He)),
        }
    }

    /// Applies an operator; nothing if it does not fit.
    fn push(&mut self, op: Op, operands: &[NodeId]) -> Option<NodeId> {
        self.graph.push(op, operands).ok()
    }

    fn unary(&mut self, op: UnaryOp, x: NodeId) -> Option<NodeId> {
        self.push(Op::Unary(op), &[x])
    }

    fn binary(&mut self, op: BinaryOp, a: NodeId, b: NodeId) -> Option<NodeId> {
        self.push(Op::Binary(op), &[a, b])
    }

    /// `|x| + 1/2`, which has a logarithm and divides without harm.
    fn positive(&mut self, x: NodeId) -> Option<NodeId> {
        let x = self.unary(UnaryOp::Abs, x)?;
        let half = self.push(Op::Splat(0.5, vec![]), &[])?;
        self.binary(BinaryOp::Add, x, half)
    }

    /// Applies one random operator to `x`; nothing if it does not fit.
    fn grow(&mut self, x: NodeId, live: &[NodeId], operators: Operators) -> Option<NodeId> {
        let image = self.shape(x).len() == 4;
        let training = operators == Operators::All;
        let other = self.one_of(live);
        match self.below(26) {
            0..=5 if image => self.convolution(x),
            6 if image => self.planar(x),
            7 if image => self.sum_of_convolutions(x),
            8 | 9 if image => self.pooling(x),
            10 if image => self.push(Op::GlobalAvgPool, &[x]),
            11 if image && training => self.gradient(x),
            12 if training => {
                let c = *self.shape(x).last()?;
                let (gamma, beta) = (self.param(&[c], Init::Ones), self.param(&[c], Init::Zeros));
                self.push(Op::BatchNormTrain { eps: 1e-3 }, &[x, gamma, beta])
            }
            13 => self.function(x),
            14 => self.elementwise(x, other),
            15 => self.batch_norm(x),
            16 => self.product(x),
            17 => self.concatenation(x),
            18 => {
                let shape = self.shape(x);
                let axis = self.below(shape.len().max(1));
                let start = self.below(*shape.get(axis)?);
                let end = self.random.random_range(start..shape[axis]) + 1;
                self.push(Op::Slice { axis, start, end }, &[x])
            }
            19 => {
                let pads = self.shape(x).iter().map(|_| (self.below(3) * self.below(2), self.below(3) * self.below(2))).collect();
                self.push(Op::Pad(pads), &[x])
            }
            20 => {
                let perm = self.permutation(self.shape(x).len());
                self.push(Op::Transpose(perm), &[x])
            }
            21 => {
                let axes: Vec<usize> = (0..self.shape(x).len()).filter(|_| self.random.random()).collect();
                let (op, keep) = (self.one_of(ReduceOp::ALL), self.random.random());
                self.push(Op::Reduce { op, axes, keep }, &[x])
            }
            22 if self.random.random() => self.layer_norm(x),
            22 => self.attention(x),
            23 => self.softmax(x),
            24 => {
                let mut shape = self.shape(x);
                for extent in &mut shape {
                    if *extent == 1 {
                        *extent += self.below(4);
                    }
                }
                if self.rarely(3) {
                    shape.insert(0, 1 + self.below(3));
                }
                self.push(Op::Broadcast(dims(&shape)), &[x])
            }
            _ => self.reshape(x),
        }
    }

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.shuffle(&mut self.random);
        perm
    }

    /// Attributes and the shape of the weight of a convolution of so many channels; half of them have no surprises.
    fn conv2d_attrs(&mut self, channels: usize) -> (Conv2dAttrs, [usize; 4]) {
        let mut attrs = Conv2dAttrs::default();
        let mut kernel = [3; 2];
        if self.random.random() {
            kernel = [self.one_of(&[1, 3]); 2];
            attrs.pad = [kernel[0] / 2; 4];
            attrs.stride = [self.one_of(&[1, 1, 1, 2]); 2];
        } else {
            for (i, extent) in kernel.iter_mut().enumerate() {
                *extent = self.one_of(&[1, 1, 2, 3, 3, 4, 5]);
                attrs.stride[i] = self.one_of(&[1, 1, 2, 3]);
                attrs.dilation[i] = self.one_of(&[1, 1, 2, 3]);
                attrs.pad[i] = self.below(*extent + 1);
                attrs.pad[i + 2] = self.below(*extent + 1);
            }
        }
        let divisors: Vec<usize> = (2..=channels).filter(|d| channels.is_multiple_of(*d)).collect();
        attrs.groups = match self.below(6) {
            0 => channels,
            1 if !divisors.is_empty() => self.one_of(&divisors),
            _ => 1,
        };
        let out = if attrs.groups == 1 { 1 + self.below(40) } else { attrs.groups * (1 + self.below(3)) };
        (attrs, [kernel[0], kernel[1], channels / attrs.groups, out])
    }

    /// A convolution with a random epilogue, in operators or as a fused sum.
    fn convolution(&mut self, x: NodeId) -> Option<NodeId> {
        let (attrs, shape) = self.conv2d_attrs(*self.shape(x).last()?);
        let w = self.weight(&shape)?;
        let x = if self.rarely(4) { self.unary(UnaryOp::Relu, x)? } else { x };
        if self.rarely(4) {
            let b = self.weight(&shape[3..])?;
            let relu = self.random.random();
            let term = Term::Conv2d { attrs, relu: self.random.random() };
            let (terms, operands) =
                if self.random.random() { (vec![term, Term::Add], [x, w, b]) } else { (vec![Term::Add, term], [b, x, w]) };
            return self.push(Op::FusedSum { terms, relu }, &operands);
        }
        let mut y = self.push(Op::Conv2d(attrs), &[x, w])?;
        if self.rarely(3) {
            y = self.batch_norm(y)?;
        }
        if self.random.random() {
            let b = self.weight(&shape[3..])?;
            y = self.binary(BinaryOp::Add, y, b)?;
        }
        if self.rarely(3) {
            let residual = if self.graph.ty(x) == self.graph.ty(y) { x } else { self.input(&self.shape(y)) };
            y = self.binary(BinaryOp::Add, residual, y)?;
        }
        if self.random.random() { self.unary(UnaryOp::Relu, y) } else { Some(y) }
    }

    /// Convolutions of an image whose channels are planes.
    fn planar(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, h, w, c] = self.shape(x)[..] else { return None };
        let mut planes = if self.random.random() {
            let c = self.random.random_range(1..10);
            self.input(&[n, c, h, w])
        } else if c <= 10 {
            self.push(Op::Transpose(vec![0, 3, 1, 2]), &[x])?
        } else {
            self.push(Op::Reshape(dims(&[n, c, h, w])), &[x])?
        };
        if self.rarely(3) {
            planes = self.unary(UnaryOp::Tanh, planes)?;
        }
        let image = self.push(Op::Transpose(vec![0, 2, 3, 1]), &[planes])?;
        let y = if self.rarely(3) { self.sum_of_convolutions(image)? } else { self.convolution(image)? };
        let z = if self.rarely(3) { self.convolution(image)? } else { return Some(y) };
        self.binary(BinaryOp::Add, y, z).or(Some(z))
    }

    /// Convolutions of several images, with residuals, in operators or as a fused sum.
    fn sum_of_convolutions(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, h, w, c] = self.shape(x)[..] else { return None };
        let out = if self.rarely(3) { c } else { 1 + self.below(40) };
        let (mut terms, mut operands, mut images) = (Vec::new(), Vec::new(), vec![x]);
        for _ in 0..2 + self.below(2) {
            if self.rarely(3) {
                let c = 1 + self.below(20);
                let image = self.input(&[n, h, w, c]);
                images.push(image);
            }
            let (image, k) = (self.one_of(&images), self.one_of(&[1, 3, 3, 5]));
            let dilation = self.one_of(&[1, 1, 1, 2]);
            let attrs = Conv2dAttrs { pad: [k / 2 * dilation; 4], dilation: [dilation; 2], ..Conv2dAttrs::default() };
            let c = *self.shape(image).last()?;
            let weight = self.weight(&[k, k, c, out])?;
            terms.push(Term::Conv2d { attrs, relu: self.rarely(3) });
            operands.push([image, weight].to_vec());
        }
        for shape in [&[n, h, w, out][..], &[out], &[1, h, 1, out]] {
            if self.rarely(2) {
                terms.push(Term::Add);
                operands.push(vec![self.weight(shape)?]);
            }
        }
        let relu = self.random.random();
        if self.rarely(3) {
            return self.push(Op::FusedSum { terms, relu }, &operands.concat());
        }
        let mut sum = None;
        for (term, operands) in terms.into_iter().zip(operands) {
            let value = match term {
                Term::Conv2d { attrs, relu } => {
                    let x = if relu { self.unary(UnaryOp::Relu, operands[0])? } else { operands[0] };
                    self.push(Op::Conv2d(attrs), &[x, operands[1]])?
                }
                Term::MatMul { .. } | Term::Add => operands[0],
            };
            sum = Some(if let Some(sum) = sum { self.binary(BinaryOp::Add, sum, value)? } else { value });
        }
        if relu { self.unary(UnaryOp::Relu, sum?) } else { sum }
    }

    fn pool_attrs(&mut self) -> PoolAttrs {
        let kernel = [1 + self.below(4), 1 + self.below(4)];
        let stride = [1 + self.below(3), 1 + self.below(3)];
        let pad = [0, 1, 2, 3].map(|side: usize| self.below(kernel[side % 2]));
        PoolAttrs { kernel, stride, pad, count_include_pad: self.random.random() }
    }

    fn pooling(&mut self, x: NodeId) -> Option<NodeId> {
        let mut attrs = self.pool_attrs();
        if self.rarely(3) {
            attrs = PoolAttrs { kernel: [3; 2], stride: [1; 2], pad: [1; 4], ..attrs };
        }
        let op = if self.random.random() { Op::MaxPool(attrs) } else { Op::AvgPool(attrs) };
        self.push(op, &[x])
    }

    /// A gradient of a convolution or a pooling.
    fn gradient(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape(x);
        let channels = shape[3];
        // The extents of an image of which a window gives those of `x`, with some pixels left over.
        let image = |g: &mut Self, kernel: [usize; 2], dilation: [usize; 2], stride: [usize; 2], pad: [usize; 4]| {
            let extent = |g: &mut Self, i: usize| {
                let padded = (shape[1 + i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + g.below(stride[i]);
                padded.checked_sub(pad[i] + pad[i + 2]).filter(|&extent| extent > 0)
            };
            Some([extent(g, 0)?, extent(g, 1)?])
        };
        match self.below(4) {
            0 => {
                let (attrs, w) = self.conv2d_attrs(channels);
                // The gradient has the output's channels, so the groups divide these.
                let inputs = 1 + self.below(12);
                let w = self.weight(&[w[0], w[1], inputs, channels])?;
                let kernel = self.shape(w);
                let hw = image(self, [kernel[0], kernel[1]], attrs.dilation, attrs.stride, attrs.pad)?;
                self.push(Op::Conv2dGradInput(attrs, hw), &[x, w])
            }
            1 => {
                let (attrs, w) = self.conv2d_attrs(channels);
                let ty = infer(&Op::Conv2d(attrs), &[self.graph.ty(x), &TensorType::fixed(&w)]).ok()?;
                let dy = self.input(&ty.extents()?);
                self.push(Op::Conv2dGradWeight(attrs, [w[0], w[1]]), &[x, dy])
            }
            2 => {
                let attrs = self.pool_attrs();
                let ty = infer(&Op::MaxPool(attrs), &[self.graph.ty(x)]).ok()?;
                let dy = self.input(&ty.extents()?);
                self.push(Op::MaxPoolGrad(attrs), &[x, dy])
            }
            _ => {
                let attrs = self.pool_attrs();
                let hw = image(self, attrs.kernel, [1; 2], attrs.stride, attrs.pad)?;
                self.push(Op::AvgPoolGrad(attrs, hw), &[x])
            }
        }
    }

    fn batch_norm(&mut self, x: NodeId) -> Option<NodeId> {
        let c = *self.shape(x).last()?;
        let [gamma, beta, mean, variance] = [Init::Ones, Init::Zeros, Init::Zeros, Init::Ones].map(|init| self.param(&[c], init));
        self.push(Op::BatchNorm { eps: 1e-5 }, &[x, gamma, beta, mean, variance])
    }

    /// A function of each element, of an argument where it is defined and does not overflow.
    fn function(&mut self, x: NodeId) -> Option<NodeId> {
        let op = self.one_of(UnaryOp::ALL);
        let x = match op {
            UnaryOp::Log | UnaryOp::Log1p | UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Recip => self.positive(x)?,
            UnaryOp::Exp | UnaryOp::Expm1 => self.unary(UnaryOp::Tanh, x)?,
            _ => x,
        };
        self.unary(op, x)
    }

    /// A function of two elements: of two values, or of one and something that is broadcast.
    fn elementwise(&mut self, x: NodeId, other: NodeId) -> Option<NodeId> {
        let op = self.one_of(BinaryOp::ALL);
        let y = match self.below(4) {
            0 => other,
            1 => self.push(Op::Splat(1.5, vec![]), &[])?,
            _ => {
                let mut shape = self.shape(x);
                for extent in &mut shape {
                    if self.rarely(2) {
                        *extent = 1;
                    }
                }
                let dropped = self.below(shape.len() + 1);
                if self.random.random() { self.input(&shape[dropped..]) } else { self.param(&shape[dropped..], Init::Zeros) }
            }
        };
        let y = if op == BinaryOp::Div { self.positive(y)? } else { y };
        if self.rarely(2) && op != BinaryOp::Div { self.binary(op, y, x) } else { self.binary(op, x, y) }
    }

    /// A product with a weight, with a fused bias or without, or with the value's own transpose.
    fn product(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape(x);
        let (rank, last) = (shape.len(), *shape.last()?);
        if rank > 2 && self.rarely(3) {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 1, rank - 2);
            let y = self.push(Op::Transpose(perm), &[x])?;
            let operands = if self.random.random() { [x, y] } else { [y, x] };
            return self.push(Op::MatMul, &operands);
        }
        let out = 1 + self.below(40);
        let (w, b) = (self.weight(&[last, out])?, self.weight(&[out])?);
        if self.random.random() {
            let y = self.push(Op::MatMul, &[x, w])?;
            return if self.random.random() { self.binary(BinaryOp::Add, y, b) } else { Some(y) };
        }
        let (inner, relu) = (self.random.random(), self.random.random());
        self.push(Op::FusedSum { terms: vec![Term::MatMul { relu: inner }, Term::Add], relu }, &[x, w, b])
    }

    /// Two or three values end to end along any axis: `x`, functions of it, parts of it and others.
    fn concatenation(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape(x);
        let axis = self.below(shape.len().max(1));
        let mut operands = vec![x];
        for _ in 0..self.below(3) {
            let y = match self.below(5) {
                0 => x,
                1 => self.unary(UnaryOp::Sigmoid, x)?,
                2 => self.push(Op::Slice { axis, start: 0, end: shape.get(axis)?.div_ceil(2) }, &[x])?,
                3 if shape.len() == 4 && axis == 3 => {
                    let out = 1 + self.below(10);
                    let w = self.weight(&[3, 3, shape[3], out])?;
                    self.push(Op::Conv2d(Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() }), &[x, w])?
                }
                _ => {
                    let mut shape = shape.clone();
                    *shape.get_mut(axis)? = 1 + self.below(5);
                    self.weight(&shape)?
                }
            };
            operands.push(y);
        }
        operands.shuffle(&mut self.random);
        self.push(Op::Concat { axis }, &operands)
    }

    /// A layer normalisation with weights that are learnt.
    fn layer_norm(&mut self, x: NodeId) -> Option<NodeId> {
        let c = *self.shape(x).last()?;
        let [gamma, beta] = [Init::Ones, Init::Uniform].map(|init| self.param(&[c], init));
        self.push(Op::LayerNorm { eps: 1e-5 }, &[x, gamma, beta])
    }

    /// The attention of a value to itself or to others, with or without a mask.
    fn attention(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape(x);
        let leading = shape.len().checked_sub(2)?;
        let (rows, last) = (shape[leading], shape[leading + 1]);
        let divisors: Vec<usize> = (1..=last).filter(|d| last.is_multiple_of(*d)).collect();
        let heads = self.one_of(&divisors);
        let mut operands = vec![x; 3];
        let mut keys = rows;
        if self.random.random() {
            keys = 1 + self.below(20);
            let width = heads * (1 + self.below(20));
            operands[1] = self.weight(&[&shape[..leading], &[keys, last]].concat())?;
            operands[2] = self.weight(&[&shape[..leading], &[keys, width]].concat())?;
        }
        if self.random.random() {
            let full = [&shape[..leading], &[heads, rows, keys]].concat();
            let thin: Vec<usize> = full.iter().map(|&extent| if self.rarely(3) { 1 } else { extent }).collect();
            let dropped = self.below(thin.len() + 1);
            operands.push(self.param(&thin[dropped..], Init::Uniform));
        }
        self.push(Op::Attention { heads, scale: 0.3 }, &operands)
    }

    /// A softmax or its logarithm over any axis: another than the last is turned there and back.
    fn softmax(&mut self, x: NodeId) -> Option<NodeId> {
        let op = if self.random.random() { Op::Softmax } else { Op::LogSoftmax };
        let rank = self.shape(x).len();
        let axis = self.below(rank.max(1));
        if axis + 1 >= rank {
            return self.push(op, &[x]);
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(axis, rank - 1);
        let y = self.push(Op::Transpose(perm.clone()), &[x])?;
        let y = self.push(op, &[y])?;
        self.push(Op::Transpose(perm), &[y])
    }

    /// Neighbouring axes become one, or one becomes two.
    fn reshape(&mut self, x: NodeId) -> Option<NodeId> {
        let mut shape = self.shape(x);
        let axis = self.below(shape.len().max(1));
        if self.random.random() && axis + 1 < shape.len() {
            shape[axis] *= shape.remove(axis + 1);
        } else if shape.len() < 5 {
            let extent = *shape.get(axis)?;
            let divisors: Vec<usize> = (1..=extent).filter(|d| extent.is_multiple_of(*d)).collect();
            let inner = self.one_of(&divisors);
            shape[axis] = extent / inner;
            shape.insert(axis + 1, inner);
        }
        self.push(Op::Reshape(dims(&shape)), &[x])
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&extent| Dim::Fixed(extent)).collect()
}
