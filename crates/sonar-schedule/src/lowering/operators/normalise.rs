//! Batch normalisation with batch statistics, layer normalisation, and softmax.

use sonar_ir::loops::{Affine, BufferKind, Expr, Reduce, Stmt, Update};
use sonar_ir::{BinaryOp, NodeId, ReduceOp, UnaryOp};

use super::Lower;
use super::contract::scaled;
use crate::loops::build::{add, at, binary, flat, load, mul, nest, unary};
use crate::lowering::stage::{TaskKind, Value};

impl Lower<'_> {
    /// Stages: the mean of each channel, the reciprocal standard deviation of each channel, the normalised result.
    pub(super) fn batch_norm_train(&mut self, anchor: NodeId, eps: f32) {
        let [x, gamma, beta] = [0, 1, 2].map(|i| self.operand(anchor, i));
        let shape = self.shape(anchor);
        let channels = shape[shape.len() - 1];
        let mean = self.statistic(x, &mut |_, _, x| x, &|mean| mean);
        let deviation = self.statistic(
            x,
            &mut |lower, channel, x| {
                let mean = load(lower.input(mean, channels), channel.clone());
                let difference = binary(BinaryOp::Sub, x, mean);
                mul(difference.clone(), difference)
            },
            &|variance| binary(BinaryOp::Div, Expr::Const(1.0), unary(UnaryOp::Sqrt, add(variance, Expr::Const(eps)))),
        );
        let axes = self.axes_of(&shape);
        let channel = axes.index[shape.len() - 1].clone();
        let [mean, deviation] = [mean, deviation].map(|value| load(self.input(value, channels), channel.clone()));
        let (x, gamma, beta) =
            (self.value(x, &axes.index), self.value(gamma, std::slice::from_ref(&channel)), self.value(beta, &[channel]));
        let scale = mul(gamma, deviation);
        let normalised = add(mul(binary(BinaryOp::Sub, x, mean), scale), beta);
        let value = self.epilogue(anchor, normalised, &axes.index);
        let target = at(self.output(), flat(&shape, &axes.index));
        self.emit_flat(&axes, vec![Stmt::Store { target, value }]);
        self.end(TaskKind::Elementwise);
    }

    /// A stage: the mean of `element` over all axes but the last, then `finish`.
    fn statistic(
        &mut self,
        x: NodeId,
        element: &mut dyn FnMut(&mut Self, &Affine, Expr) -> Expr,
        finish: &dyn Fn(Expr) -> Expr,
    ) -> Value {
        let shape = self.shape(x);
        let last = shape.len() - 1;
        let (value, out) = self.internal(shape[last]);
        let channel = self.builder.axes(&["c"], &shape[last..]);
        let names: Vec<String> = (0..last).map(|i| format!("r{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rest = self.builder.axes(&names, &shape[..last]);
        let index: Vec<Affine> = rest.index.iter().chain(&channel.index).cloned().collect();
        let loaded = self.value(x, &index);
        let update = Update { loops: rest.loops, op: ReduceOp::Sum, value: element(self, &channel.index[0], loaded) };
        let count: usize = shape[..last].iter().product();
        let reduce = Reduce {
            target: at(out, channel.index[0].clone()),
            init: Expr::Const(0.0),
            updates: vec![update],
            finish: finish(scaled(1.0 / count as f32)),
        };
        self.emit(nest(&channel.loops, vec![Stmt::Reduce(reduce)]));
        self.end_stage(value, TaskKind::Reduction);
        value
    }

    /// For each row: the maximum, the exponentials of the differences from it and their sum, the result.
    pub(super) fn softmax(&mut self, anchor: NodeId, log: bool) {
        let x = self.operand(anchor, 0);
        let shape = self.shape(anchor);
        let last = shape.len() - 1;
        let rows = self.axes_of(&shape[..last]);
        let [largest, total] = ["largest", "total"].map(|name| self.builder.buffer(name, 1, BufferKind::Temp));
        let scalar = |buffer| load(buffer, Affine::default());
        let out = self.output();

        let (loops, element, _) = self.row_element(x, &rows.index, shape[last], "k");
        let find_largest = Reduce {
            target: at(largest, Affine::default()),
            init: Expr::Const(f32::NEG_INFINITY),
            updates: vec![Update { loops, op: ReduceOp::Max, value: element }],
            finish: Expr::Acc,
        };
        // A softmax needs each exponential twice; its logarithm needs only their sum.
        let exponentials = (!log).then(|| self.builder.buffer("exponentials", shape[last], BufferKind::Temp));
        let mut body = vec![Stmt::Reduce(find_largest)];
        if let Some(buffer) = exponentials {
            let (loops, element, index) = self.row_element(x, &rows.index, shape[last], "e");
            let value = unary(UnaryOp::Exp, binary(BinaryOp::Sub, element, scalar(largest)));
            body.extend(nest(&loops, vec![Stmt::Store { target: at(buffer, index[last].clone()), value }]));
        }
        let (loops, element, index) = self.row_element(x, &rows.index, shape[last], "k");
        let exponential = match exponentials {
            Some(buffer) => load(buffer, index[last].clone()),
            None => unary(UnaryOp::Exp, binary(BinaryOp::Sub, element, scalar(largest))),
        };
        let sum = Reduce {
            target: at(total, Affine::default()),
            init: Expr::Const(0.0),
            updates: vec![Update { loops, op: ReduceOp::Sum, value: exponential }],
            finish: if log { unary(UnaryOp::Log, Expr::Acc) } else { unary(UnaryOp::Recip, Expr::Acc) },
        };
        let (loops, element, index) = self.row_element(x, &rows.index, shape[last], "c");
        let value = match exponentials {
            Some(buffer) => mul(load(buffer, index[last].clone()), scalar(total)),
            None => binary(BinaryOp::Sub, binary(BinaryOp::Sub, element, scalar(largest)), scalar(total)),
        };
        let value = self.epilogue(anchor, value, &index);
        let store = Stmt::Store { target: at(out, self.place(&index)), value };
        body.push(Stmt::Reduce(sum));
        body.extend(nest(&loops, vec![store]));
        self.emit_flat(&rows, body);
        self.end(TaskKind::Reduction);
    }

    /// For each row: the mean, the reciprocal standard deviation, the result.
    pub(super) fn layer_norm(&mut self, anchor: NodeId, eps: f32) {
        let [x, gamma, beta] = [0, 1, 2].map(|i| self.operand(anchor, i));
        let shape = self.shape(anchor);
        let last = shape.len() - 1;
        let rows = self.axes_of(&shape[..last]);
        let [mean, deviation] = ["mean", "deviation"].map(|name| self.builder.buffer(name, 1, BufferKind::Temp));
        let scalar = |buffer| load(buffer, Affine::default());
        let share = || scaled(1.0 / shape[last] as f32);
        let out = self.output();

        let (loops, element, _) = self.row_element(x, &rows.index, shape[last], "k");
        let find_mean = Reduce {
            target: at(mean, Affine::default()),
            init: Expr::Const(0.0),
            updates: vec![Update { loops, op: ReduceOp::Sum, value: element }],
            finish: share(),
        };
        let (loops, element, _) = self.row_element(x, &rows.index, shape[last], "k");
        let centred = binary(BinaryOp::Sub, element, scalar(mean));
        let find_deviation = Reduce {
            target: at(deviation, Affine::default()),
            init: Expr::Const(0.0),
            updates: vec![Update { loops, op: ReduceOp::Sum, value: mul(centred.clone(), centred) }],
            finish: unary(UnaryOp::Rsqrt, add(share(), Expr::Const(eps))),
        };
        let (loops, element, index) = self.row_element(x, &rows.index, shape[last], "c");
        let (gamma, beta) = (self.value(gamma, &index[last..]), self.value(beta, &index[last..]));
        let standard = mul(binary(BinaryOp::Sub, element, scalar(mean)), scalar(deviation));
        let value = self.epilogue(anchor, add(mul(standard, gamma), beta), &index);
        let store = Stmt::Store { target: at(out, self.place(&index)), value };
        let mut body = vec![Stmt::Reduce(find_mean), Stmt::Reduce(find_deviation)];
        body.extend(nest(&loops, vec![store]));
        self.emit_flat(&rows, body);
        self.end(TaskKind::Reduction);
    }

    #[allow(clippy::type_complexity)]
    fn row_element(
        &mut self,
        x: NodeId,
        row: &[Affine],
        extent: usize,
        name: &str,
    ) -> (Vec<(sonar_ir::loops::Var, usize)>, Expr, Vec<Affine>) {
        let axis = self.builder.axes(&[name], &[extent]);
        let index: Vec<Affine> = row.iter().chain(&axis.index).cloned().collect();
        let element = self.value(x, &index);
        (axis.loops, element, index)
    }
}
