//! Poolings and their gradients.

use sonar_ir::graph::PoolAttrs;
use sonar_ir::loops::{Affine, Bound, BufId, BufferKind, Expr, Reduce, Stmt, Update};
use sonar_ir::{BinaryOp, NodeId, ReduceOp, UnaryOp};

use super::Lower;
use super::contract::scaled;
use super::fill::{Image, Placement};
use super::regions::{Sliding, regions};
use crate::loops::build::{Axes, at, binary, flat, load, mul, nest, unary};
use crate::lowering::stage::TaskKind;
use std::sync::Arc;

/// Larger than the index of any window element.
const NO_ELEMENT: f32 = 1e9;

impl Lower<'_> {
    pub(super) fn max_pool(&mut self, anchor: NodeId, attrs: &PoolAttrs) {
        let shape = self.shape(anchor);
        let x = self.operand(anchor, 0);
        if self.pool_by_region(anchor, x, attrs, ReduceOp::Max) {
            return;
        }
        let image = self.placed("xp", x, window_placement(attrs, &shape), f32::NEG_INFINITY, None);
        let axes = self.axes_of(&shape);
        let update = self.window_update(attrs, &image, &axes.index, ReduceOp::Max);
        let finish = self.epilogue(anchor, Expr::Acc, &axes.index);
        let target = at(self.output(), self.place(&axes.index));
        let reduce = Reduce { target, init: Expr::Const(f32::NEG_INFINITY), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end(TaskKind::Window);
    }

    pub(super) fn avg_pool(&mut self, anchor: NodeId, attrs: &PoolAttrs) {
        let shape = self.shape(anchor);
        let x = self.operand(anchor, 0);
        if self.pool_by_region(anchor, x, attrs, ReduceOp::Sum) {
            return;
        }
        let source = self.shape(x);
        let shares = self.window_shares(attrs, [source[1], source[2]], [shape[1], shape[2]]);
        let image = self.placed("xp", x, window_placement(attrs, &shape), 0.0, None);
        let axes = self.axes_of(&shape);
        let update = self.window_update(attrs, &image, &axes.index, ReduceOp::Sum);
        let mean = match shares {
            None => scaled(1.0 / (attrs.kernel[0] * attrs.kernel[1]) as f32),
            Some(table) => mul(Expr::Acc, load(table, flat(&shape[1..3], &axes.index[1..3]))),
        };
        let finish = self.epilogue(anchor, mean, &axes.index);
        let target = at(self.output(), self.place(&axes.index));
        let reduce = Reduce { target, init: Expr::Const(0.0), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end(TaskKind::Window);
    }

    /// Pooling of an image in memory without a padded copy. Returns false if there are too many kinds of windows, or no
    /// padding.
    fn pool_by_region(&mut self, anchor: NodeId, x: NodeId, attrs: &PoolAttrs, op: ReduceOp) -> bool {
        let (shape, source) = (image_shape(&self.shape(anchor)), image_shape(&self.shape(x)));
        let sliding = [0, 1].map(|i| Sliding {
            windows: shape[1 + i],
            image: source[1 + i],
            kernel: attrs.kernel[i],
            dilation: 1,
            stride: attrs.stride[i],
            pad: attrs.pad[i],
        });
        let Some(regions) = regions(&sliding).filter(|_| self.in_memory(x)) else { return false };
        let (image, out) = (self.node_input(x), self.output());
        let init = Expr::Const(if op == ReduceOp::Max { f32::NEG_INFINITY } else { 0.0 });
        self.by_region(shape, &sliding, &regions, &mut |lower, region| {
            let counts = region.inside.map(|(low, high)| high - low);
            let Axes { loops, index: k } = lower.builder.axes(&["ky", "kx"], &counts);
            let [y, x] = [0, 1].map(|i| {
                let first = region.inside[i].0 as i64 - attrs.pad[i] as i64;
                region.index[1 + i].scale(attrs.stride[i] as i64).add(&k[i]).shift(first)
            });
            let value = image.load(&[region.index[0].clone(), y, x, region.index[3].clone()]);
            let all = attrs.kernel[0] * attrs.kernel[1];
            let count = if attrs.count_include_pad { all } else { counts[0] * counts[1] };
            let result = if op == ReduceOp::Max { Expr::Acc } else { scaled(1.0 / count as f32) };
            let finish = lower.epilogue(anchor, result, &region.index);
            let target = at(out, lower.place(&region.index));
            Reduce { target, init: init.clone(), updates: vec![Update { loops, op, value }], finish }
        });
        self.end(TaskKind::Window);
        true
    }

    /// `dx[i] = Σ` over the windows that contain pixel `i` of the window's gradient times its share. It is a window sum over
    /// the gradient, which is spread out by the stride.
    pub(super) fn avg_pool_grad(&mut self, anchor: NodeId, attrs: &PoolAttrs, hw: [usize; 2]) {
        let shape = self.shape(anchor);
        let dy = self.operand(anchor, 0);
        let dy_shape = image_shape(&self.shape(dy));
        let shares = self.window_shares(attrs, hw, [dy_shape[1], dy_shape[2]]);
        let place = spread_placement(attrs, hw);
        let image = self.fill("dyp", dy_shape, place, 0.0, &mut |lower, index| {
            let value = lower.value(dy, index);
            match shares {
                None => value,
                Some(table) => mul(value, load(table, flat(&dy_shape[1..3], &index[1..3]))),
            }
        });
        let axes = self.axes_of(&shape);
        let all_ones = PoolAttrs { stride: [1, 1], ..*attrs };
        let update = self.window_update(&all_ones, &image, &axes.index, ReduceOp::Sum);
        let share = if shares.is_some() { 1.0 } else { 1.0 / (attrs.kernel[0] * attrs.kernel[1]) as f32 };
        let finish = self.epilogue(anchor, scaled(share), &axes.index);
        let target = at(self.output(), flat(&shape, &axes.index));
        let reduce = Reduce { target, init: Expr::Const(0.0), updates: vec![update], finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end(TaskKind::Window);
    }

    /// The first stage finds, for each window, the number of its first largest element. The second stage adds, for each pixel,
    /// the gradients of the windows in which it has that number.
    pub(super) fn max_pool_grad(&mut self, anchor: NodeId, attrs: &PoolAttrs) {
        let (x, dy) = (self.operand(anchor, 0), self.operand(anchor, 1));
        let (shape, dy_shape) = (image_shape(&self.shape(anchor)), image_shape(&self.shape(dy)));
        let (winners, out) = self.internal(dy_shape.iter().product());
        let image = self.placed("xp", x, window_placement(attrs, &dy_shape), f32::NEG_INFINITY, None);
        let largest = self.builder.buffer("largest", dy_shape.iter().product(), BufferKind::Temp);
        let axes = self.axes_of(&dy_shape);
        let update = self.window_update(attrs, &image, &axes.index, ReduceOp::Max);
        let target = at(largest, flat(&dy_shape, &axes.index));
        let init = Expr::Const(f32::NEG_INFINITY);
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(Reduce { target, init, updates: vec![update], finish: Expr::Acc })]));

        let axes = self.axes_of(&dy_shape);
        let position = flat(&dy_shape, &axes.index);
        let updates = elements(attrs)
            .map(|(number, [ky, kx])| {
                let [y, x] = [(0, ky), (1, kx)].map(|(i, k)| axes.index[1 + i].scale(attrs.stride[i] as i64).shift(k as i64));
                let element = load(image.buffer, image.index(&[axes.index[0].clone(), y, x, axes.index[3].clone()]));
                let smaller = binary(BinaryOp::Sub, load(largest, position.clone()), element);
                let penalty = mul(unary(UnaryOp::Step, smaller), Expr::Const(NO_ELEMENT));
                Update { loops: vec![], op: ReduceOp::Min, value: binary(BinaryOp::Add, penalty, Expr::Const(number as f32)) }
            })
            .collect();
        let reduce = Reduce { target: at(out, position), init: Expr::Const(NO_ELEMENT), updates, finish: Expr::Acc };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end_stage(winners, TaskKind::Window);

        let winner = self.input(winners, dy_shape.iter().product());
        let place = spread_placement(attrs, [shape[1], shape[2]]);
        let gradient = self.fill("dyp", dy_shape, place, 0.0, &mut |lower, index| lower.value(dy, index));
        let winner = self.fill("kp", dy_shape, place, -1.0, &mut |_, index| load(winner, flat(&dy_shape, index)));
        let axes = self.axes_of(&shape);
        let updates = elements(attrs)
            .map(|(number, [ky, kx])| {
                let y = axes.index[1].clone().shift((attrs.kernel[0] - 1 - ky) as i64);
                let x = axes.index[2].clone().shift((attrs.kernel[1] - 1 - kx) as i64);
                let index = gradient.index(&[axes.index[0].clone(), y, x, axes.index[3].clone()]);
                let distance = binary(BinaryOp::Sub, load(winner.buffer, index.clone()), Expr::Const(number as f32));
                let same = binary(BinaryOp::Sub, Expr::Const(0.5), unary(UnaryOp::Abs, distance));
                let value = binary(BinaryOp::Gate, load(gradient.buffer, index), same);
                Update { loops: vec![], op: ReduceOp::Sum, value }
            })
            .collect();
        let finish = self.epilogue(anchor, Expr::Acc, &axes.index);
        let target = at(self.output(), flat(&shape, &axes.index));
        let reduce = Reduce { target, init: Expr::Const(0.0), updates, finish };
        self.emit(nest(&axes.loops, vec![Stmt::Reduce(reduce)]));
        self.end(TaskKind::Window);
    }

    /// The update that combines the elements of a window.
    fn window_update(&mut self, attrs: &PoolAttrs, image: &Image, index: &[Affine], op: ReduceOp) -> Update {
        let Axes { loops, index: k } = self.builder.axes(&["ky", "kx"], &attrs.kernel);
        let [y, x] = [0, 1].map(|i| index[1 + i].scale(attrs.stride[i] as i64).add(&k[i]));
        let value = load(image.buffer, image.index(&[index[0].clone(), y, x, index[3].clone()]));
        Update { loops, op, value }
    }

    /// A table of `1 / (elements of the window that are not padding)` for each window, computed once. `None` if every window
    /// counts all its elements.
    fn window_shares(&mut self, attrs: &PoolAttrs, source: [usize; 2], windows: [usize; 2]) -> Option<BufId> {
        let reach = |i: usize| (windows[i] - 1) * attrs.stride[i] + attrs.kernel[i];
        let inside = |i: usize| attrs.pad[i] == 0 && reach(i) <= source[i];
        if attrs.count_include_pad || (inside(0) && inside(1)) {
            return None;
        }
        let table = self.builder.buffer("share", windows.iter().product(), BufferKind::Packed);
        let axes = self.builder.axes(&["share_y", "share_x"], &windows);
        let k = self.builder.axes(&["share_ky", "share_kx"], &attrs.kernel);
        let bounds = (0..2)
            .map(|i| Bound {
                expr: axes.index[i].scale(attrs.stride[i] as i64).add(&k.index[i]),
                low: attrs.pad[i] as i64,
                high: (attrs.pad[i] + source[i]) as i64,
            })
            .collect();
        let value = Expr::Guard { bounds, value: Arc::new(Expr::Const(1.0)), otherwise: 0.0 };
        let reduce = Reduce {
            target: at(table, flat(&windows, &axes.index)),
            init: Expr::Const(0.0),
            updates: vec![Update { loops: k.loops, op: ReduceOp::Sum, value }],
            finish: unary(UnaryOp::Recip, Expr::Acc),
        };
        for stmt in nest(&axes.loops, vec![Stmt::Reduce(reduce)]) {
            self.builder.push_setup(stmt);
        }
        Some(table)
    }
}

/// The padded image for windows with this result.
fn window_placement(attrs: &PoolAttrs, result: &[usize]) -> Placement {
    let reach = |i: usize| (result[1 + i] - 1) * attrs.stride[i] + attrs.kernel[i];
    Placement { offset: [attrs.pad[0] as i64, attrs.pad[1] as i64], step: [1, 1], extent: [reach(0), reach(1)] }
}

/// Places the gradients of windows so that a window sum with stride 1 adds, for each pixel, the gradients of the windows that
/// contain it.
fn spread_placement(attrs: &PoolAttrs, hw: [usize; 2]) -> Placement {
    let offset = [0, 1].map(|i| attrs.kernel[i] as i64 - 1 - attrs.pad[i] as i64);
    Placement { offset, step: attrs.stride, extent: [0, 1].map(|i| hw[i] + attrs.kernel[i] - 1) }
}

/// The elements of a window in order, with their numbers.
fn elements(attrs: &PoolAttrs) -> impl Iterator<Item = (usize, [usize; 2])> {
    let [kh, kw] = attrs.kernel;
    (0..kh * kw).map(move |i| (i, [i / kw, i % kw]))
}

fn image_shape(shape: &[usize]) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}
