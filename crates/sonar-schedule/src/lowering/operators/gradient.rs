//! Gradients of convolutions.

use sonar_ir::NodeId;
use sonar_ir::ReduceOp;
use sonar_ir::graph::Conv2dAttrs;
use sonar_ir::loops::{Affine, Expr, Reduce, Stmt};

use super::Lower;
use super::fill::Placement;
use crate::loops::build::{at, flat, load, nest, product};
use crate::lowering::stage::{TaskKind, Value};

impl Lower<'_> {
    /// `dx[i] = Σ dy[o] · w[k]` over all `o · stride = i + pad - k · dilation`. It is a convolution with stride 1 of the
    /// gradient, which is spread out by the stride. A stage of its own flips the weight and swaps its channels.
    pub(super) fn conv2d_grad_input(&mut self, anchor: NodeId, attrs: &Conv2dAttrs) {
        let (dy, w) = (self.operand(anchor, 0), self.operand(anchor, 1));
        let shape = self.shape(anchor);
        let weight = self.shape(w);
        let [kh, kw, ci, co] = [weight[0], weight[1], weight[2], weight[3]];
        let (groups, co_group) = (attrs.groups, co / attrs.groups);
        let turned_shape = [kh, kw, co_group, groups * ci];
        let turned = self.turned_weight(w, turned_shape, groups);

        let dy_shape = self.shape(dy);
        let dy_shape = [dy_shape[0], dy_shape[1], dy_shape[2], dy_shape[3]];
        let reach = |i: usize| attrs.dilation[i] * (weight[i] - 1);
        let place = Placement {
            offset: [0, 1].map(|i| reach(i) as i64 - attrs.pad[i] as i64),
            step: attrs.stride,
            extent: [0, 1].map(|i| shape[1 + i] + reach(i)),
        };
        let image = self.placed_or_filled("dyp", dy, dy_shape, place);
        let turned = self.input(turned, turned_shape.iter().product());
        let axes = self.builder.axes(&["n", "y", "x", "g", "c"], &[shape[0], shape[1], shape[2], groups, ci]);
        let k = self.builder.axes(&["ky", "kx", "co"], &[kh, kw, co_group]);
        let [n, y, x, g, c] = [0, 1, 2, 3, 4].map(|i| axes.index[i].clone());
        let at_kernel = |i: &Affine, d: usize| i.add(&k.index[d].scale(attrs.dilation[d] as i64));
        let channel = g.scale(co_group as i64).add(&k.index[2]);
        let gradient = load(image.buffer, image.index(&[n.clone(), at_kernel(&y, 0), at_kernel(&x, 1), channel]));
        let in_channel = g.scale(ci as i64).add(&c);
        let tap = [k.index[0].clone(), k.index[1].clone(), k.index[2].clone(), in_channel.clone()];
        let update = product(k.loops, gradient, load(turned, flat(&turned_shape, &tap)));
        let result = [n, y, x, in_channel];
        let finish = self.epilogue(anchor, Expr::Acc, &result);
        let target = at(self.output(), flat(&shape, &result));
        let reduce = Reduce { target, init: Expr::Const(0.0), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end(TaskKind::Contraction);
    }

    fn placed_or_filled(&mut self, name: &str, id: NodeId, shape: [usize; 4], place: Placement) -> super::fill::Image {
        if place.step == [1, 1] {
            return self.placed(name, id, place, 0.0, None);
        }
        self.fill(name, shape, place, 0.0, &mut |lower, index| lower.value(id, index))
    }

    /// A stage that computes `turned[ky, kx, o, g · I + i] = w[KH-1-ky, KW-1-kx, i, g · O + o]`.
    fn turned_weight(&mut self, w: NodeId, turned: [usize; 4], groups: usize) -> Value {
        let [kh, kw, co_group, channels] = turned;
        let ci = channels / groups;
        let (value, out) = self.internal(turned.iter().product());
        let axes = self.builder.axes(&["ky", "kx", "o", "g", "i"], &[kh, kw, co_group, groups, ci]);
        let [ky, kx, o, g, i] = [0, 1, 2, 3, 4].map(|i| axes.index[i].clone());
        let source =
            [ky.scale(-1).shift(kh as i64 - 1), kx.scale(-1).shift(kw as i64 - 1), i.clone(), g.scale(co_group as i64).add(&o)];
        let element = self.value(w, &source);
        let target = at(out, flat(&turned, &[ky, kx, o, g.scale(ci as i64).add(&i)]));
        self.emit(nest(&axes.loops, vec![Stmt::Store { target, value: element }]));
        self.end_stage(value, TaskKind::Movement);
        value
    }

    /// `dw[k] = Σ x[o · stride - pad + k · dilation] · dy[o]` over images and pixels. Padding the image is a stage of its own.
    pub(super) fn conv2d_grad_weight(&mut self, anchor: NodeId, attrs: &Conv2dAttrs, kernel: [usize; 2]) {
        let (x, dy) = (self.operand(anchor, 0), self.operand(anchor, 1));
        let (x_shape, dy_shape, shape) = (self.shape(x), self.shape(dy), self.shape(anchor));
        let reach = |i: usize| (dy_shape[1 + i] - 1) * attrs.stride[i] + attrs.dilation[i] * (kernel[i] - 1) + 1;
        let mut image_shape = [x_shape[0], reach(0), reach(1), x_shape[3]];
        let padded = attrs.pad[0] > 0 || attrs.pad[1] > 0 || reach(0) > x_shape[1] || reach(1) > x_shape[2];
        let source = if padded {
            let (value, out) = self.internal(image_shape.iter().product());
            let place = Placement {
                offset: [attrs.pad[0] as i64, attrs.pad[1] as i64],
                step: [1, 1],
                extent: [image_shape[1], image_shape[2]],
            };
            let image = super::fill::Image::dense(out, &image_shape);
            let from = [x_shape[0], x_shape[1], x_shape[2], x_shape[3]];
            self.fill_buffer("xp", image, from, place, 0.0, &mut |lower, index| lower.value(x, index));
            self.end_stage(value, TaskKind::Movement);
            Some(self.input(value, image_shape.iter().product()))
        } else {
            image_shape = [x_shape[0], x_shape[1], x_shape[2], x_shape[3]];
            None
        };
        let (ci, co) = (shape[2], shape[3]);
        // Each block of images gives a gradient of its own. The blocks run in parallel.
        let weights: usize = shape.iter().product();
        let images = images_per_block(
            dy_shape[0],
            image_shape[1..].iter().product::<usize>() + dy_shape[1..].iter().product::<usize>(),
            weights,
        );
        let blocks = dy_shape[0] / images;
        let partial = (blocks > 1).then(|| self.internal(blocks * weights));

        let extents = [blocks, kernel[0], kernel[1], attrs.groups, ci, co / attrs.groups];
        let axes = self.builder.axes(&["b", "ky", "kx", "g", "ci", "co"], &extents);
        let o = self.builder.axes(&["n", "y", "x"], &[images, dy_shape[1], dy_shape[2]]);
        let [b, ky, kx, g, i, c] = [0, 1, 2, 3, 4, 5].map(|i| axes.index[i].clone());
        let n = b.scale(images as i64).add(&o.index[0]);
        let pixel = |k: &Affine, d: usize| o.index[1 + d].scale(attrs.stride[d] as i64).add(&k.scale(attrs.dilation[d] as i64));
        let out_channel = g.scale(extents[5] as i64).add(&c);
        let index = [n.clone(), pixel(&ky, 0), pixel(&kx, 1), g.scale(ci as i64).add(&i)];
        let image = match source {
            Some(buffer) => load(buffer, flat(&image_shape, &index)),
            None => self.value(x, &index),
        };
        let gradient = self.value(dy, &[n, o.index[1].clone(), o.index[2].clone(), out_channel.clone()]);
        let update = product(o.loops, image, gradient);
        let result = [ky, kx, i, out_channel];
        let place = b.scale(weights as i64).add(&flat(&shape, &result));
        let (target, finish) = match partial {
            Some((_, out)) => (at(out, place), Expr::Acc),
            None => (at(self.output(), place), self.epilogue(anchor, Expr::Acc, &result)),
        };
        let reduce = Reduce { target, init: Expr::Const(0.0), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        if let Some((value, _)) = partial {
            self.end_stage(value, TaskKind::Contraction);
            self.combine_blocks(anchor, value, blocks, &shape, (0.0, ReduceOp::Sum, Expr::Acc));
        } else {
            self.end(TaskKind::Contraction);
        }
    }
}

/// Bytes of the data of a block at most: a second-level cache holds them beside other data.
const BLOCK: usize = 256 << 10;

/// How many images make a block. Every register tile of the gradient reads all data of the block, so they must stay in a cache. The
/// gradients of all blocks are written and read again, so they must be smaller than half of the data. `each` is the number of
/// elements of an image and its output gradient; `weights` is the number of elements of the result.
fn images_per_block(images: usize, each: usize, weights: usize) -> usize {
    let fits = |block: &usize| 4 * block * each <= BLOCK;
    let few = |block: &usize| 2 * (images / block) * weights <= images * each;
    let blocks: Vec<usize> = (1..=images).filter(|block| images.is_multiple_of(*block)).filter(few).collect();
    blocks.iter().copied().filter(fits).max().or(blocks.first().copied()).unwrap_or(images)
}
