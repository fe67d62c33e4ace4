//! Lowers a graph to unscheduled loop programs.
//!
//! Every kernel of the [partition](crate::lowering::partition) becomes one or more **stages**. A stage is a program that writes
//! one tensor. Most kernels need one stage. Batch statistics and the transposed weight of a gradient are separate tensors. So
//! each stage is a nest that can be scheduled and run in parallel by itself.
//!
//! Loops over the result are named `n`, `y`, `x`, `c` for images and `i0`, `i1` … otherwise. Loops of extent 1 are left out. A
//! temporary with the zero-padded copy of `x` is named `xp`, and the loops that fill it `xp_…`. Depthwise convolutions and
//! poolings of an image in memory have no padded copy: their result is divided into [`regions`].

mod attention;
mod contract;
mod element;
mod fill;
mod gradient;
mod movement;
mod normalise;
mod reduce;
mod regions;
mod window;

use sonar_ir::loops::{Affine, BufId, BufferKind, Expr, Stmt};
use sonar_ir::{Graph, NodeId, Op};

use self::fill::Image;
use crate::loops::build::{Axes, Builder, load, nest};
use crate::lowering::layout::{Layout, address};
use crate::lowering::partition::Partition;
use crate::lowering::stage::{Stage, TaskKind, Value};
use crate::primitives::fuse_into;

/// The state of lowering one kernel.
pub(crate) struct Lower<'a> {
    graph: &'a Graph,
    parts: &'a Partition,
    /// Lengths of the tensors between stages.
    internals: &'a mut Vec<usize>,
    stages: Vec<Stage>,
    builder: Builder,
    inputs: Vec<(Value, BufId)>,
    root: NodeId,
    /// The anchor and its value while an epilogue is lowered.
    anchor: Option<(NodeId, Expr)>,
}

/// Lowers the kernel with this root. The lengths of new tensors between its stages are added to `internals`.
pub(crate) fn lower(graph: &Graph, parts: &Partition, root: NodeId, internals: &mut Vec<usize>) -> Vec<Stage> {
    let name = kernel_name(graph, parts, root);
    let mut lower =
        Lower { graph, parts, internals, stages: vec![], builder: Builder::new(&name), inputs: vec![], root, anchor: None };
    match parts.anchor[root] {
        None => lower.elementwise(),
        Some(anchor) => lower.anchored(anchor),
    }
    lower.stages
}

/// A kernel that copies a value to an output of the graph.
pub(crate) fn lower_copy(from: Value, to: Value, len: usize) -> Stage {
    let mut builder = Builder::new("copy");
    let source = builder.buffer("x", len, BufferKind::Input);
    let target = builder.buffer("y", len, BufferKind::Output);
    let axes = builder.axes(&["i"], &[len]);
    let store = Stmt::Store {
        target: crate::loops::build::at(target, axes.index[0].clone()),
        value: load(source, axes.index[0].clone()),
    };
    for stmt in nest(&axes.loops, vec![store]) {
        builder.push(stmt);
    }
    Stage { program: builder.finish(), inputs: vec![from], output: to, kind: TaskKind::Movement }
}

impl Lower<'_> {
    fn anchored(&mut self, anchor: NodeId) {
        match self.graph.node(anchor).op.clone() {
            Op::Conv2d(_) | Op::MatMul | Op::FusedSum { .. } => self.contraction(anchor),
            Op::Conv2dGradInput(attrs, _) => self.conv2d_grad_input(anchor, &attrs),
            Op::Conv2dGradWeight(attrs, kernel) => self.conv2d_grad_weight(anchor, &attrs, kernel),
            Op::MaxPool(attrs) => self.max_pool(anchor, &attrs),
            Op::AvgPool(attrs) => self.avg_pool(anchor, &attrs),
            Op::MaxPoolGrad(attrs) => self.max_pool_grad(anchor, &attrs),
            Op::AvgPoolGrad(attrs, hw) => self.avg_pool_grad(anchor, &attrs, hw),
            Op::BatchNormTrain { eps } => self.batch_norm_train(anchor, eps),
            Op::Attention { heads, scale } => self.attention(anchor, heads, scale),
            Op::LayerNorm { eps } => self.layer_norm(anchor, eps),
            Op::Softmax => self.softmax(anchor, false),
            Op::LogSoftmax => self.softmax(anchor, true),
            Op::Reduce { op, axes, .. } => self.reduction(anchor, op, &axes),
            Op::GlobalAvgPool => self.reduction(anchor, sonar_ir::ReduceOp::Mean, &[1, 2]),
            Op::Transpose(perm) => self.transpose(anchor, &perm),
            Op::Concat { axis } => self.concat(anchor, axis),
            Op::Slice { axis, start, .. } => self.slice(anchor, axis, start),
            Op::Pad(pads) => self.pad(anchor, &pads),
            Op::Input
            | Op::Param(_)
            | Op::Splat(..)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::BatchNorm { .. }
            | Op::Reshape(_)
            | Op::Broadcast(_) => self.elementwise(),
        }
    }

    /// The extents of a node's shape. The graph was checked to be specialised.
    fn shape(&self, id: NodeId) -> Vec<usize> {
        self.graph.ty(id).extents().unwrap_or_default()
    }

    fn operand(&self, id: NodeId, i: usize) -> NodeId {
        self.graph.node(id).operands[i]
    }

    /// The input buffer of a value.
    fn input(&mut self, value: Value, len: usize) -> BufId {
        if let Some(&(_, buffer)) = self.inputs.iter().find(|(v, _)| *v == value) {
            return buffer;
        }
        // Names are independent of the graph: schedules refer to buffers by name, and equal kernels of different graphs share
        // schedules.
        let weight = matches!(value, Value::Node(id) if matches!(self.graph.node(id).op, Op::Param(_)));
        let name = if weight { "w" } else { "x" };
        let buffer = self.builder.buffer(name, len, BufferKind::Input);
        self.inputs.push((value, buffer));
        buffer
    }

    /// The value of a node that comes from another kernel, from the caller or from a weight.
    fn node_input(&mut self, id: NodeId) -> Image {
        let Layout { stored, offset, strides } = self.layout(id).clone();
        let len = self.shape(stored).iter().product();
        Image { buffer: self.input(Value::Node(stored), len), offset, strides }
    }

    fn layout(&self, id: NodeId) -> &Layout {
        &self.parts.layout[id]
    }

    /// Whether the value is in memory. Otherwise this kernel computes it.
    fn in_memory(&self, id: NodeId) -> bool {
        let inlined = |id: NodeId| self.parts.inlined[id];
        let anchor = self.parts.anchor[self.root] == Some(id);
        !inlined(id) && !inlined(self.layout(id).stored) && id != self.root && !anchor
    }

    /// The buffer that the last stage writes: that of the result, or of the concatenation that contains it.
    fn output(&mut self) -> BufId {
        let len = self.shape(self.result()).iter().product();
        self.builder.buffer("out", len, BufferKind::Output)
    }

    /// The node whose memory the last stage writes.
    fn result(&self) -> NodeId {
        self.layout(self.root).stored
    }

    /// The address of an element of the result in the output buffer.
    fn place(&self, index: &[Affine]) -> Affine {
        let Layout { offset, strides, .. } = self.layout(self.root);
        address(*offset, strides, index)
    }

    /// The buffer of a tensor that this stage writes and later stages read.
    fn internal(&mut self, len: usize) -> (Value, BufId) {
        self.internals.push(len);
        let value = Value::Internal(self.internals.len() - 1);
        (value, self.builder.buffer("out", len, BufferKind::Output))
    }

    /// Ends the stage that writes `output`, and starts the next one.
    fn end_stage(&mut self, output: Value, kind: TaskKind) {
        let name = self.builder.program_mut().name.clone();
        let builder = std::mem::replace(&mut self.builder, Builder::new(&name));
        let inputs = std::mem::take(&mut self.inputs).into_iter().map(|(value, _)| value).collect();
        self.stages.push(Stage { program: builder.finish(), inputs, output, kind });
    }

    /// Ends the last stage.
    fn end(&mut self, kind: TaskKind) {
        self.end_stage(Value::Node(self.result()), kind);
    }

    /// Appends statements to the body.
    fn emit(&mut self, stmts: Vec<Stmt>) {
        for stmt in stmts {
            self.builder.push(stmt);
        }
    }

    /// Appends a nest. Fuses neighbouring loops if addresses stay affine.
    fn emit_flat(&mut self, axes: &Axes, stmts: Vec<Stmt>) {
        self.emit(nest(&axes.loops, stmts));
        self.flatten(axes);
    }

    /// Fuses neighbouring loops of a perfect nest in the body if addresses stay affine.
    fn flatten(&mut self, axes: &Axes) {
        let program = self.builder.program_mut();
        let mut inner = match axes.loops.last() {
            Some(&(var, _)) => var,
            None => return,
        };
        for &(outer, _) in axes.loops.iter().rev().skip(1) {
            let name = format!("{}{}", program.vars[outer], program.vars[inner]);
            inner = fuse_into(program, outer, inner, &name).unwrap_or(outer);
        }
    }

    /// The axes of a shape, named `n`, `y`, `x`, `c` for images and `i0`, `i1` … otherwise.
    fn axes_of(&mut self, shape: &[usize]) -> Axes {
        if shape.len() == 4 {
            return self.builder.axes(&["n", "y", "x", "c"], shape);
        }
        let names: Vec<String> = (0..shape.len()).map(|i| format!("i{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.builder.axes(&names, shape)
    }

    /// A kernel with only elementwise nodes.
    fn elementwise(&mut self) {
        let shape = self.shape(self.root);
        let axes = self.axes_of(&shape);
        let out = self.output();
        let value = self.computed(self.root, &axes.index);
        let store = Stmt::Store { target: crate::loops::build::at(out, self.place(&axes.index)), value };
        self.emit_flat(&axes, vec![store]);
        self.end(TaskKind::Elementwise);
    }
}

fn kernel_name(graph: &Graph, parts: &Partition, root: NodeId) -> String {
    let op = &graph.node(parts.anchor[root].unwrap_or(root)).op;
    match op {
        Op::Conv2d(_) => "conv2d",
        Op::Conv2dGradInput(..) => "conv2d_grad_input",
        Op::Conv2dGradWeight(..) => "conv2d_grad_weight",
        Op::MatMul => "matmul",
        Op::FusedSum { .. } => "fused_sum",
        Op::MaxPool(_) => "max_pool",
        Op::AvgPool(_) => "avg_pool",
        Op::MaxPoolGrad(_) => "max_pool_grad",
        Op::AvgPoolGrad(..) => "avg_pool_grad",
        Op::BatchNormTrain { .. } => "batch_norm_train",
        Op::Attention { .. } => "attention",
        Op::LayerNorm { .. } => "layer_norm",
        Op::Softmax => "softmax",
        Op::LogSoftmax => "log_softmax",
        Op::Reduce { .. } => "reduce",
        Op::GlobalAvgPool => "global_avg_pool",
        Op::Transpose(_) => "transpose",
        Op::Concat { .. } => "concat",
        Op::Slice { .. } => "slice",
        Op::Pad(_) => "pad",
        _ => "elementwise",
    }
    .to_owned()
}
