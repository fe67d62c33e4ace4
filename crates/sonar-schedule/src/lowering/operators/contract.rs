//! Convolutions, matrix products and fused sums of them: one reduction with one update per term.

use sonar_ir::graph::Conv2dAttrs;
use sonar_ir::graph::infer::window;
use sonar_ir::loops::{Affine, Expr, Reduce, Stmt, Update};
use sonar_ir::tile::Tile;
use sonar_ir::{NodeId, Op, Term, UnaryOp};

use super::Lower;
use super::fill::{Image, Placement};
use super::regions::{Sliding, regions};
use crate::loops::build::{Axes, add, at, load, mul, nest, product, unary};
use crate::lowering::stage::TaskKind;

/// Most products in one reduction. A longer sum is accumulated in several passes, so that a micro-kernel has enough pointers:
/// two for each product, one for each addend, one for the result.
const TERMS_IN_ONE_PASS: usize = 4;

/// The largest tile of a convolution's result that a schedule may compute at once (Winograd).
const TILE: usize = 4;

/// A term of a sum with prepared operands.
enum Prepared {
    Conv2d { attrs: Conv2dAttrs, image: Image, weight: Image, weight_shape: [usize; 4], shape: Vec<usize> },
    MatMul { left: Image, left_shape: Vec<usize>, right: Image, right_shape: Vec<usize> },
}

impl Lower<'_> {
    /// `out[i] = epilogue(act(Σ terms))`.
    ///
    /// Padding and activations of the operands are first applied to temporaries. The constant terms initialise the accumulator.
    pub(super) fn contraction(&mut self, anchor: NodeId) {
        let node = self.graph.node(anchor);
        let (terms, relu) = match &node.op {
            Op::FusedSum { terms, relu } => (terms.clone(), *relu),
            Op::MatMul => (vec![Term::MatMul { relu: false }], false),
            Op::Conv2d(attrs) => (vec![Term::Conv2d { attrs: *attrs, relu: false }], false),
            _ => (vec![], false),
        };
        if self.depthwise(anchor, &terms, relu) {
            return;
        }
        let (mut prepared, mut addends) = (Vec::new(), Vec::new());
        let mut operands = node.operands.iter();
        for term in &terms {
            let mut next = || operands.next().copied().unwrap_or(anchor);
            match term {
                Term::Conv2d { attrs, relu } => {
                    let (x, w) = (next(), next());
                    prepared.push(self.prepare_conv2d(attrs, *relu, x, w));
                }
                Term::MatMul { relu } => {
                    let (a, b) = (next(), next());
                    prepared.push(self.prepare_matmul(*relu, a, b));
                }
                Term::Add => addends.push(next()),
            }
        }

        let shape = self.shape(anchor);
        let out = self.output();
        let in_one_pass = ((Tile::MAX_POINTERS - 1).saturating_sub(addends.len()) / 2).clamp(1, TERMS_IN_ONE_PASS);
        let passes = passes(&prepared, in_one_pass);
        for (pass, (groups, terms)) in passes.iter().enumerate() {
            let axes = self.contraction_axes(&shape, *groups);
            let init = if pass == 0 {
                addends.iter().fold(Expr::Const(0.0), |sum, &id| {
                    let value = self.broadcast(id, &axes.index);
                    add(sum, value)
                })
            } else {
                load(out, self.place(&axes.index))
            };
            let updates: Vec<Update> = terms.iter().map(|term| self.update(term, &axes, &shape)).collect();
            // Without products, the initial value is the sum.
            let sum = if updates.is_empty() { init.clone() } else { Expr::Acc };
            let finish = if pass + 1 == passes.len() {
                let sum = if relu { unary(UnaryOp::Relu, sum) } else { sum };
                self.epilogue(anchor, sum, &axes.index)
            } else {
                sum
            };
            let target = at(out, self.place(&axes.index));
            let stmt = if updates.is_empty() {
                Stmt::Store { target, value: finish }
            } else {
                Stmt::Reduce(Reduce { target, init, updates, finish })
            };
            self.emit(nest(&axes.loops, vec![stmt]));
        }
        self.end(TaskKind::Contraction);
    }

    /// A depthwise convolution of an image in memory, with its addends. Returns false if the sum is something else.
    fn depthwise(&mut self, anchor: NodeId, terms: &[Term], relu: bool) -> bool {
        let operands = self.graph.node(anchor).operands.clone();
        let mut convolutions = terms.iter().enumerate().filter(|(_, term)| **term != Term::Add);
        let (Some((position, Term::Conv2d { attrs, relu: false })), None) = (convolutions.next(), convolutions.next()) else {
            return false;
        };
        // Each term before the convolution has one operand.
        let (x, w) = (operands[position], operands[position + 1]);
        let addends: Vec<NodeId> =
            operands.iter().enumerate().filter(|(i, _)| !(position..position + 2).contains(i)).map(|o| *o.1).collect();
        let (source, kernel, shape) = (self.shape(x), self.shape(w), self.shape(anchor));
        let sliding = [0, 1].map(|i| Sliding {
            windows: shape[1 + i],
            image: source[1 + i],
            kernel: kernel[i],
            dilation: attrs.dilation[i],
            stride: attrs.stride[i],
            pad: attrs.pad[i],
        });
        let each = attrs.groups == source[3] && attrs.groups == shape[3];
        let whole = convolved(attrs, &source, &kernel) == shape;
        let Some(regions) = regions(&sliding).filter(|_| each && whole && self.in_memory(x)) else { return false };
        let (image, weight, out) = (self.node_input(x), self.node_input(w), self.output());
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        self.by_region(shape, &sliding, &regions, &mut |lower, region| {
            let k = lower.builder.axes(&["ky", "kx"], &region.inside.map(|(low, high)| high - low));
            let [ky, kx] = [0, 1].map(|i| k.index[i].clone().shift(region.inside[i].0 as i64));
            let place = |i: usize, k: &Affine| {
                let first = region.index[1 + i].scale(attrs.stride[i] as i64).shift(-(attrs.pad[i] as i64));
                first.add(&k.scale(attrs.dilation[i] as i64))
            };
            let [number, _, _, channel] = &region.index;
            let x = image.load(&[number.clone(), place(0, &ky), place(1, &kx), channel.clone()]);
            let w = weight.load(&[ky, kx, Affine::default(), channel.clone()]);
            let init = addends.iter().fold(Expr::Const(0.0), |sum, &id| {
                let value = lower.broadcast(id, &region.index);
                add(sum, value)
            });
            let sum = if relu { unary(UnaryOp::Relu, Expr::Acc) } else { Expr::Acc };
            let finish = lower.epilogue(anchor, sum, &region.index);
            Reduce { target: at(out, lower.place(&region.index)), init, updates: vec![product(k.loops, x, w)], finish }
        });
        self.end(TaskKind::Contraction);
        true
    }

    /// Axes of the result. With several groups, the channel consists of `g` and `c` within the group, unless each group has one
    /// channel. The loop over groups is outside of the loop over columns, because the columns share weights.
    fn contraction_axes(&mut self, shape: &[usize], groups: usize) -> Axes {
        let per_group = shape.last().map_or(1, |channels| channels / groups);
        if groups == 1 || per_group == 1 {
            return if shape.len() == 4 {
                self.axes_of(shape)
            } else {
                let batch: Vec<String> = (0..shape.len().saturating_sub(2)).map(|i| format!("b{i}")).collect();
                let names: Vec<&str> = batch.iter().map(String::as_str).chain(["m", "n"]).collect();
                self.builder.axes(&names, shape)
            };
        }
        let extents = [shape[0], shape[1], groups, shape[2], per_group];
        let mut axes = self.builder.axes(&["n", "y", "g", "x", "c"], &extents);
        if let [_, _, g, x, c] = &axes.index[..] {
            let (channel, x) = (g.scale(per_group as i64).add(c), x.clone());
            axes.index.splice(2.., [x, channel]);
        }
        axes
    }

    fn prepare_conv2d(&mut self, attrs: &Conv2dAttrs, relu: bool, x: NodeId, w: NodeId) -> Prepared {
        let shape = self.shape(w);
        let out = convolved(attrs, &self.shape(x), &shape);
        let weight_shape = [shape[0], shape[1], shape[2], shape[3]];
        let planes = matches!(self.graph.node(x).op, Op::Transpose(_)) && !self.in_memory(x);
        let in_tiles = !planes && shape[..2] == [3, 3] && (attrs.stride, attrs.dilation, attrs.groups) == ([1, 1], [1, 1], 1);
        let copied = attrs.pad != [0; 4] || relu || !self.in_memory(x);
        let reach = |i: usize| {
            // A copy is extended to whole tiles, because these allow other algorithms for the convolution.
            let out = if in_tiles && copied { out[1 + i].next_multiple_of(TILE) } else { out[1 + i] };
            (out - 1) * attrs.stride[i] + attrs.dilation[i] * (shape[i] - 1) + 1
        };
        let place = Placement { offset: [attrs.pad[0] as i64, attrs.pad[1] as i64], step: [1, 1], extent: [reach(0), reach(1)] };
        let image = match planes {
            true => self.placed_planes("xp", self.operand(x, 0), place, activation(relu)),
            false => self.placed("xp", x, place, 0.0, activation(relu)),
        };
        let weight = self.node_input(w);
        Prepared::Conv2d { attrs: *attrs, image, weight, weight_shape, shape: out }
    }

    fn prepare_matmul(&mut self, relu: bool, a: NodeId, b: NodeId) -> Prepared {
        let (left_shape, right_shape) = (self.shape(a), self.shape(b));
        let left = if self.in_memory(a) && !relu {
            self.node_input(a)
        } else {
            let len = left_shape.iter().product();
            let buffer = self.builder.buffer("ap", len, sonar_ir::loops::BufferKind::Temp);
            let names: Vec<String> = (0..left_shape.len()).map(|i| format!("i{i}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let axes = self.named_axes("ap", &names, &left_shape);
            let value = self.value(a, &axes.index);
            let value = if relu { unary(UnaryOp::Relu, value) } else { value };
            let image = Image::dense(buffer, &left_shape);
            self.emit_flat(&axes, vec![Stmt::Store { target: at(buffer, image.index(&axes.index)), value }]);
            image
        };
        Prepared::MatMul { left, left_shape, right: self.node_input(b), right_shape }
    }

    fn update(&mut self, term: &Prepared, axes: &Axes, shape: &[usize]) -> Update {
        match term {
            Prepared::Conv2d { attrs, image, weight, weight_shape, shape: own_shape } => {
                let own = own_index(axes, shape, own_shape);
                let [kh, kw, ci, _] = *weight_shape;
                let reduced = self.builder.axes(&["ky", "kx", "ci"], &[kh, kw, ci]);
                let [ky, kx, k] = [0, 1, 2].map(|i| reduced.index[i].clone());
                let place =
                    |i: usize, k: &Affine| own[1 + i].scale(attrs.stride[i] as i64).add(&k.scale(attrs.dilation[i] as i64));
                let channel = if attrs.groups == 1 {
                    k.clone()
                } else {
                    let group = group_index(axes, shape[3] / attrs.groups);
                    group.scale(ci as i64).add(&k)
                };
                let x = image.load(&[own[0].clone(), place(0, &ky), place(1, &kx), channel]);
                let w = weight.load(&[ky, kx, k, own[3].clone()]);
                product(reduced.loops, x, w)
            }
            Prepared::MatMul { left, left_shape, right, right_shape } => {
                let rank = left_shape.len();
                let reduced = self.builder.axes(&["k"], &left_shape[rank - 1..]);
                let k = reduced.index[0].clone();
                let mut own_shape = left_shape.clone();
                own_shape[rank - 1] = right_shape[right_shape.len() - 1];
                let own = own_index(axes, shape, &own_shape);
                let mut a_index = own[..rank - 1].to_vec();
                a_index.push(k.clone());
                let mut b_index = if right_shape.len() > 2 { own[..rank - 2].to_vec() } else { vec![] };
                b_index.extend([k, own[rank - 1].clone()]);
                let a = left.load(&a_index);
                let b = right.load(&b_index);
                product(reduced.loops, a, b)
            }
        }
    }
}

/// The group of a channel, given by the last index of the axes.
fn group_index(axes: &Axes, per_group: usize) -> Affine {
    let channel = &axes.index[3];
    let terms = channel.terms.iter().filter(|(_, coefficient)| coefficient % per_group as i64 == 0);
    terms.fold(Affine::default(), |sum, &(var, coefficient)| sum.plus(var, coefficient / per_group as i64))
}

/// The element of a term's own result that belongs to an element of the sum. The sum may have more leading axes, and axes of
/// extent 1 of the term are broadcast.
fn own_index(axes: &Axes, shape: &[usize], own: &[usize]) -> Vec<Affine> {
    let leading = shape.len() - own.len();
    let index = axes.index[leading..].iter().zip(shape[leading..].iter().zip(own));
    index.map(|(index, (extent, own))| if extent == own { index.clone() } else { Affine::default() }).collect()
}

/// The shape of the result of a convolution.
fn convolved(attrs: &Conv2dAttrs, x: &[usize], w: &[usize]) -> Vec<usize> {
    let extent = |i: usize| {
        window(x[1 + i], attrs.pad[i] + attrs.pad[i + 2], w[i], attrs.dilation[i], attrs.stride[i]).unwrap_or_default()
    };
    vec![x[0], extent(0), extent(1), w[3]]
}

/// The terms of each pass, at most `most`, and their number of groups. All terms of a pass have the same number of groups,
/// because they share the loops over channels.
fn passes(terms: &[Prepared], most: usize) -> Vec<(usize, Vec<&Prepared>)> {
    let mut passes: Vec<(usize, Vec<&Prepared>)> = Vec::new();
    for term in terms {
        let groups = if let Prepared::Conv2d { attrs, .. } = term { attrs.groups } else { 1 };
        match passes.iter_mut().find(|(of, terms)| *of == groups && terms.len() < most) {
            Some((_, terms)) => terms.push(term),
            None => passes.push((groups, vec![term])),
        }
    }
    // Without products, the addends are a pass of their own.
    if passes.is_empty() {
        passes.push((1, vec![]));
    }
    passes
}

/// The relu before a contraction, applied to each element.
fn activation(relu: bool) -> Option<&'static dyn Fn(Expr) -> Expr> {
    if relu { Some(&|x| unary(UnaryOp::Relu, x)) } else { None }
}

/// `acc · scale`.
pub(super) fn scaled(scale: f32) -> Expr {
    mul(Expr::Acc, Expr::Const(scale))
}
