//! Running the kernels of a graph one after the other, and graphs to run.

// Each test uses a part of this.
#![allow(dead_code)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::loops::{BufferKind, Program};
use sonar_ir::{BinaryOp, Dim, Graph, Init, NodeId, Op, ReduceOp, Tensor, TensorType, Term, UnaryOp, Values};
use sonar_schedule::{Task, Tasks, Value};
use std::collections::HashMap;

/// Random numbers in `-1..1`.
pub fn random(len: usize, rng: &mut StdRng) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// Random values for every input and parameter; those whose name begins with `var` are positive.
pub fn random_values(graph: &Graph, rng: &mut StdRng) -> Values {
    let mut values = Values::new();
    for (_, node) in graph.iter() {
        if let (Some(name), Some(shape)) = (&node.name, node.ty.extents()) {
            let mut data = random(shape.iter().product(), rng);
            if name.starts_with("var") {
                data.iter_mut().for_each(|v| *v = v.abs() + 0.5);
            }
            values.insert(name.clone(), Tensor::new(shape, data));
        }
    }
    values
}

/// Runs a program on random arguments and gives its output.
pub fn run_program(program: &Program, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut args: Vec<Vec<f32>> = Vec::new();
    for buffer in &program.buffers {
        match buffer.kind {
            BufferKind::Input => args.push(random(buffer.len, &mut rng)),
            BufferKind::Output => args.push(vec![f32::NAN; buffer.len]),
            _ => {}
        }
    }
    sonar_ir::loops::interp::run(program, &mut args).unwrap_or_else(|e| panic!("{e}\n{program}"));
    args.pop().expect("a program has an output")
}

/// The largest difference, as a share of the largest expected value.
pub fn error(found: &[f32], expected: &[f32]) -> f64 {
    let tensor = |data: &[f32]| Tensor::new(vec![data.len()], data.to_vec());
    tensor(found).relative_error(&tensor(expected))
}

/// Runs every kernel, scheduled by `program_of`, and gives the outputs of the graph.
pub fn run_tasks(tasks: &Tasks, values: &Values, program_of: &mut dyn FnMut(&Task) -> Program) -> Vec<Vec<f32>> {
    let mut memory: HashMap<Value, Vec<f32>> = HashMap::new();
    for (id, node) in tasks.graph.iter() {
        if let Some(name) = &node.name
            && let Some(tensor) = values.get(name)
        {
            memory.insert(Value::Node(id), tensor.data.clone());
        }
    }
    for kernel in &tasks.kernels {
        let program = program_of(&tasks.tasks[kernel.task]);
        let mut args: Vec<Vec<f32>> = kernel.inputs.iter().map(|input| memory[input].clone()).collect();
        // A concatenation is written part by part.
        args.push(memory.remove(&kernel.output).unwrap_or_else(|| vec![f32::NAN; tasks.len_of(kernel.output)]));
        sonar_ir::verify::program(&program).unwrap_or_else(|e| panic!("{e}\n{program}"));
        sonar_ir::loops::interp::run(&program, &mut args).unwrap_or_else(|e| panic!("{e}\n{program}"));
        memory.insert(kernel.output, args.pop().expect("the output"));
    }
    tasks.outputs.iter().map(|output| memory[output].clone()).collect()
}

/// A graph under construction, for tests.
pub struct Sketch {
    pub graph: Graph,
    count: usize,
}

impl Sketch {
    pub fn new() -> Self {
        Sketch { graph: Graph::new("test"), count: 0 }
    }

    pub fn input(&mut self, shape: &[usize]) -> NodeId {
        self.count += 1;
        self.graph.input(format!("x{}", self.count), TensorType::fixed(shape))
    }

    pub fn param(&mut self, shape: &[usize]) -> NodeId {
        self.count += 1;
        self.graph.param(format!("w{}", self.count), shape, Init::He)
    }

    pub fn positive(&mut self, shape: &[usize]) -> NodeId {
        self.count += 1;
        self.graph.param(format!("var{}", self.count), shape, Init::Ones)
    }

    pub fn op(&mut self, op: Op, operands: &[NodeId]) -> NodeId {
        self.graph.push(op, operands).expect("a well-typed test graph")
    }

    pub fn relu(&mut self, x: NodeId) -> NodeId {
        self.op(Op::Unary(UnaryOp::Relu), &[x])
    }

    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.op(Op::Binary(BinaryOp::Add), &[a, b])
    }

    pub fn finish(mut self, outputs: &[NodeId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}

/// A convolution with the usual attributes.
pub fn conv(stride: usize, pad: usize, dilation: usize, groups: usize) -> Conv2dAttrs {
    Conv2dAttrs { stride: [stride; 2], pad: [pad; 4], dilation: [dilation; 2], groups }
}

/// A pooling with the usual attributes.
pub fn pool(kernel: usize, stride: usize, pad: usize, count_include_pad: bool) -> PoolAttrs {
    PoolAttrs { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 4], count_include_pad }
}

/// Layers that read what all layers before them computed: a concatenation of the last one with the newest, or of all of them.
pub fn dense_block(s: &mut Sketch, lists: bool) -> NodeId {
    let x = s.input(&[1, 6, 5, 16]);
    let first = s.relu(x);
    let mut all = vec![first];
    let mut whole = first;
    for _ in 0..3 {
        let channels = s.graph.ty(whole).shape[3].fixed().expect("a bound shape");
        let w = s.param(&[3, 3, channels, 8]);
        let y = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[whole, w]);
        let y = s.relu(y);
        all.push(y);
        whole = if lists { s.op(Op::Concat { axis: 3 }, &all) } else { s.op(Op::Concat { axis: 3 }, &[whole, y]) };
    }
    s.op(Op::MaxPool(pool(2, 2, 0, false)), &[whole])
}

/// A name and a graph for each operator and several fused groups, with awkward sizes.
pub fn graphs() -> Vec<(&'static str, Graph)> {
    let mut all = Vec::new();
    let mut case = |name: &'static str, build: &dyn Fn(&mut Sketch) -> NodeId| {
        let mut sketch = Sketch::new();
        let out = build(&mut sketch);
        all.push((name, sketch.finish(&[out])));
    };
    for (name, n, hw, ci, co, k, attrs) in [
        ("conv 3x3", 1, 8, 16, 32, 3, conv(1, 1, 1, 1)),
        ("conv 3x3 batch", 2, 6, 5, 7, 3, conv(1, 1, 1, 1)),
        ("conv 3x3 stride", 2, 7, 4, 20, 3, conv(2, 1, 1, 1)),
        ("conv 1x1", 2, 5, 16, 40, 1, conv(1, 0, 1, 1)),
        ("conv 1x1 stride", 1, 6, 8, 16, 1, conv(2, 0, 1, 1)),
        ("conv valid", 1, 7, 3, 16, 3, conv(1, 0, 1, 1)),
        ("conv dilated", 1, 9, 4, 8, 3, conv(1, 2, 2, 1)),
        ("conv grouped", 1, 5, 8, 12, 3, conv(1, 1, 1, 4)),
        ("conv depthwise", 2, 6, 24, 24, 3, conv(1, 1, 1, 24)),
        ("conv depthwise stride", 1, 9, 16, 16, 5, conv(2, 2, 1, 16)),
        ("conv multiplier", 1, 4, 3, 6, 3, conv(1, 1, 1, 3)),
    ] {
        case(name, &|s| {
            let x = s.input(&[n, hw, hw, ci]);
            let w = s.param(&[k, k, ci / attrs.groups, co]);
            s.op(Op::Conv2d(attrs), &[x, w])
        });
        let oh = sonar_ir::graph::infer::window(hw, 2 * attrs.pad[0], k, attrs.dilation[0], attrs.stride[0]).expect("it fits");
        case(name, &|s| {
            let dy = s.input(&[n, oh, oh, co]);
            let w = s.input(&[k, k, ci / attrs.groups, co]);
            s.op(Op::Conv2dGradInput(attrs, [hw; 2]), &[dy, w])
        });
        case(name, &|s| {
            let x = s.input(&[n, hw, hw, ci]);
            let dy = s.input(&[n, oh, oh, co]);
            s.op(Op::Conv2dGradWeight(attrs, [k; 2]), &[x, dy])
        });
    }
    for (name, pad, stride) in [("planes", 0, 1), ("padded planes", 1, 2)] {
        case(name, &|s| {
            let (x, w) = (s.input(&[2, 3, 9, 10]), s.param(&[3, 3, 3, 20]));
            let x = s.op(Op::Transpose(vec![0, 2, 3, 1]), &[x]);
            s.op(Op::Conv2d(conv(stride, pad, 1, 1)), &[x, w])
        });
    }
    case("concatenation in place", &|s| {
        let x = s.input(&[2, 6, 5, 16]);
        let (w, v) = (s.param(&[3, 3, 16, 24]), s.param(&[1, 1, 16, 8]));
        let a = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w]);
        let a = s.relu(a);
        let b = s.op(Op::Conv2d(conv(1, 0, 1, 1)), &[x, v]);
        let c = s.op(Op::MaxPool(pool(3, 1, 1, false)), &[x]);
        let d = s.op(Op::Unary(UnaryOp::Tanh), &[x]);
        s.op(Op::Concat { axis: 3 }, &[a, b, c, d])
    });
    case("planes that are one", &|s| {
        let (x, w) = (s.input(&[1, 1, 8, 8]), s.param(&[3, 3, 3, 16]));
        let x = s.op(Op::Broadcast([1, 3, 8, 8].map(sonar_ir::Dim::Fixed).to_vec()), &[x]);
        let x = s.op(Op::Transpose(vec![0, 2, 3, 1]), &[x]);
        s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w])
    });
    case("depthwise with everything", &|s| {
        let (x, w) = (s.input(&[2, 9, 11, 32]), s.param(&[3, 3, 1, 32]));
        let (b, r) = (s.param(&[32]), s.input(&[2, 5, 6, 32]));
        let terms = vec![Term::Add, Term::Conv2d { attrs: conv(2, 1, 1, 32), relu: false }, Term::Add];
        let y = s.op(Op::FusedSum { terms, relu: true }, &[r, x, w, b]);
        s.op(Op::Unary(UnaryOp::Sqrt), &[y])
    });
    case("prologue and epilogue", &|s| {
        let x = s.input(&[1, 6, 6, 12]);
        let (w, b) = (s.param(&[3, 3, 12, 20]), s.param(&[20]));
        let residual = s.input(&[1, 6, 6, 20]);
        let x = s.relu(x);
        let y = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w]);
        let y = s.add(y, b);
        let y = s.add(y, residual);
        s.relu(y)
    });
    case("fused sum", &|s| {
        let (x, z, r) = (s.input(&[1, 8, 8, 16]), s.input(&[1, 8, 8, 24]), s.input(&[1, 8, 8, 32]));
        let (w, v, b) = (s.param(&[3, 3, 16, 32]), s.param(&[1, 1, 24, 32]), s.param(&[32]));
        let terms = vec![
            Term::Conv2d { attrs: conv(1, 1, 1, 1), relu: true },
            Term::Conv2d { attrs: conv(1, 0, 1, 1), relu: true },
            Term::Add,
            Term::Add,
        ];
        s.op(Op::FusedSum { terms, relu: true }, &[x, w, z, v, b, r])
    });
    case("fused sum of many", &|s| {
        let mut operands = vec![];
        let mut terms = vec![];
        for _ in 0..6 {
            operands.extend([s.input(&[3, 5]), s.param(&[5, 18])]);
            terms.push(Term::MatMul { relu: false });
        }
        for _ in 0..5 {
            operands.push(s.input(&[3, 18]));
            terms.push(Term::Add);
        }
        s.op(Op::FusedSum { terms, relu: true }, &operands)
    });
    case("fused sum of terms that others repeat", &|s| {
        let (x, v, w) = (s.input(&[2, 5, 1, 4]), s.param(&[3, 3, 4, 18]), s.param(&[3, 3, 4, 1]));
        let (y, u) = (s.input(&[1, 5, 3, 18]), s.param(&[3, 3, 1, 18]));
        let terms = vec![
            Term::Conv2d { attrs: conv(1, 1, 1, 1), relu: false },
            Term::Conv2d { attrs: Conv2dAttrs { pad: [1, 2, 1, 2], ..Conv2dAttrs::default() }, relu: false },
            Term::Conv2d { attrs: conv(1, 1, 1, 18), relu: false },
        ];
        s.op(Op::FusedSum { terms, relu: false }, &[x, v, x, w, y, u])
    });
    case("depthwise that is repeated", &|s| {
        let (x, w, r) = (s.input(&[1, 5, 1, 18]), s.param(&[3, 3, 1, 18]), s.input(&[2, 5, 3, 18]));
        let terms = vec![Term::Conv2d { attrs: conv(1, 1, 1, 18), relu: false }, Term::Add];
        s.op(Op::FusedSum { terms, relu: false }, &[x, w, r])
    });
    case("fused sum of several groups", &|s| {
        let (x, v) = (s.input(&[2, 4, 5, 12]), s.param(&[3, 3, 12, 24]));
        let (w, u) = (s.param(&[3, 3, 3, 24]), s.param(&[1, 1, 2, 24]));
        let term = |k: usize, groups| Term::Conv2d { attrs: conv(1, k / 2, 1, groups), relu: false };
        let terms = vec![term(3, 4), term(3, 1), term(1, 6)];
        s.op(Op::FusedSum { terms, relu: true }, &[x, w, x, v, x, u])
    });
    case("fused sum of numbers", &|s| {
        let (a, b) = (s.input(&[]), s.input(&[]));
        s.op(Op::FusedSum { terms: vec![Term::Add; 2], relu: true }, &[a, b])
    });
    case("concat of nests of several depths", &|s| {
        let x = s.input(&[1, 5, 5, 35]);
        let x = s.op(Op::Broadcast([2, 3, 5, 5, 35].map(Dim::Fixed).to_vec()), &[x]);
        let (y, z) = (s.op(Op::Unary(UnaryOp::Sigmoid), &[x]), s.op(Op::Unary(UnaryOp::Sigmoid), &[x]));
        s.op(Op::Concat { axis: 0 }, &[y, x, z])
    });
    case("matmul", &|s| {
        let (a, b) = (s.input(&[9, 13]), s.param(&[13, 37]));
        let bias = s.param(&[37]);
        let y = s.op(Op::MatMul, &[a, b]);
        s.add(y, bias)
    });
    case("matmul one row", &|s| {
        let (a, b) = (s.input(&[1, 64]), s.param(&[64, 10]));
        s.op(Op::MatMul, &[a, b])
    });
    case("matmul batched", &|s| {
        let (a, b) = (s.input(&[2, 3, 5, 7]), s.input(&[2, 3, 7, 20]));
        s.op(Op::MatMul, &[a, b])
    });
    case("matmul leading axes", &|s| {
        let (a, b) = (s.input(&[2, 3, 5, 7]), s.param(&[7, 17]));
        let a = s.relu(a);
        s.op(Op::MatMul, &[a, b])
    });
    for (name, attrs) in [
        ("pool", pool(3, 1, 1, false)),
        ("pool stride", pool(2, 2, 0, true)),
        ("pool stride pad", pool(3, 2, 1, false)),
        ("pool include pad", pool(3, 2, 1, true)),
    ] {
        let oh = sonar_ir::graph::infer::window(7, 2 * attrs.pad[0], attrs.kernel[0], 1, attrs.stride[0]).expect("it fits");
        case(name, &|s| {
            let x = s.input(&[2, 7, 7, 20]);
            s.op(Op::AvgPool(attrs), &[x])
        });
        case(name, &|s| {
            let x = s.input(&[2, 7, 7, 20]);
            s.op(Op::MaxPool(attrs), &[x])
        });
        case(name, &|s| {
            let dy = s.input(&[2, oh, oh, 20]);
            s.op(Op::AvgPoolGrad(attrs, [7, 7]), &[dy])
        });
        case(name, &|s| {
            let (x, dy) = (s.input(&[2, 7, 7, 20]), s.input(&[2, oh, oh, 20]));
            s.op(Op::MaxPoolGrad(attrs), &[x, dy])
        });
    }
    case("batch norm", &|s| {
        let x = s.input(&[2, 4, 4, 24]);
        let [gamma, beta, mean] = [0; 3].map(|_| s.param(&[24]));
        let variance = s.positive(&[24]);
        let y = s.op(Op::BatchNorm { eps: 1e-5 }, &[x, gamma, beta, mean, variance]);
        s.relu(y)
    });
    case("batch norm train", &|s| {
        let x = s.input(&[2, 4, 4, 24]);
        let [gamma, beta] = [0; 2].map(|_| s.param(&[24]));
        let y = s.op(Op::BatchNormTrain { eps: 1e-5 }, &[x, gamma, beta]);
        s.relu(y)
    });
    case("softmax", &|s| {
        let x = s.input(&[3, 4, 10]);
        s.op(Op::Softmax, &[x])
    });
    case("log softmax", &|s| {
        let x = s.input(&[5, 10]);
        let y = s.op(Op::LogSoftmax, &[x]);
        s.op(Op::Unary(UnaryOp::Neg), &[y])
    });
    case("layer norm", &|s| {
        let x = s.input(&[3, 4, 20]);
        let [gamma, beta] = [0; 2].map(|_| s.param(&[20]));
        let y = s.op(Op::LayerNorm { eps: 1e-5 }, &[x, gamma, beta]);
        s.add(y, x)
    });
    case("attention", &|s| {
        let (q, k, v) = (s.input(&[2, 6, 24]), s.input(&[2, 21, 24]), s.input(&[2, 21, 34]));
        let mask = s.param(&[21]);
        s.op(Op::Attention { heads: 2, scale: 0.3 }, &[q, k, v, mask])
    });
    case("attention in blocks", &|s| {
        let (q, k) = (s.input(&[32, 8]), s.input(&[1100, 8]));
        let y = s.op(Op::Attention { heads: 1, scale: 0.3 }, &[q, k, k]);
        s.add(y, q)
    });
    case("activation of a product", &|s| {
        let (x, w, b) = (s.input(&[9, 20]), s.param(&[20, 40]), s.param(&[40]));
        let y = s.op(Op::MatMul, &[x, w]);
        let y = s.add(y, b);
        s.op(Op::Unary(UnaryOp::Gelu), &[y])
    });
    for (name, op, axes, keep) in [
        ("reduce leading", ReduceOp::Sum, vec![0, 1, 2], false),
        ("reduce middle", ReduceOp::Mean, vec![1, 2], true),
        ("reduce last", ReduceOp::Max, vec![3], false),
        ("reduce all", ReduceOp::Min, vec![0, 1, 2, 3], false),
    ] {
        case(name, &|s| {
            let x = s.input(&[2, 3, 5, 20]);
            let x = s.op(Op::Binary(BinaryOp::Mul), &[x, x]);
            s.op(Op::Reduce { op, axes: axes.clone(), keep }, &[x])
        });
    }
    case("global average pool", &|s| {
        let x = s.input(&[2, 5, 5, 36]);
        let x = s.relu(x);
        s.op(Op::GlobalAvgPool, &[x])
    });
    case("elementwise chain", &|s| {
        let (x, y, b) = (s.input(&[2, 3, 5, 20]), s.input(&[2, 3, 5, 20]), s.param(&[20]));
        let half = s.op(Op::Splat(0.5, vec![]), &[]);
        let m = s.op(Op::Binary(BinaryOp::Mul), &[x, half]);
        let m = s.op(Op::Binary(BinaryOp::Sub), &[m, y]);
        let m = s.add(m, b);
        s.op(Op::Unary(UnaryOp::Sigmoid), &[m])
    });
    case("elementwise flat", &|s| {
        let (x, y) = (s.input(&[2, 3, 5, 7]), s.input(&[2, 3, 5, 7]));
        let x = s.op(Op::Unary(UnaryOp::Step), &[x]);
        let y = s.op(Op::Binary(BinaryOp::Mul), &[x, y]);
        s.op(Op::Unary(UnaryOp::Abs), &[y])
    });
    case("broadcast", &|s| {
        let x = s.input(&[3, 1, 5]);
        let y = s.op(Op::Broadcast([2, 3, 4, 5].map(Dim::Fixed).to_vec()), &[x]);
        s.relu(y)
    });
    case("transpose", &|s| {
        let x = s.input(&[2, 3, 4, 5]);
        let y = s.op(Op::Transpose(vec![0, 2, 1, 3]), &[x]);
        s.relu(y)
    });
    case("transpose last", &|s| {
        let x = s.input(&[6, 5]);
        s.op(Op::Transpose(vec![1, 0]), &[x])
    });
    case("concat", &|s| {
        let (x, y) = (s.input(&[2, 3, 3, 5]), s.input(&[2, 3, 3, 18]));
        let y = s.relu(y);
        s.op(Op::Concat { axis: 3 }, &[x, y])
    });
    case("slice", &|s| {
        let x = s.input(&[2, 3, 3, 21]);
        s.op(Op::Slice { axis: 3, start: 2, end: 19 }, &[x])
    });
    case("slices read in place", &|s| {
        let x = s.input(&[2, 6, 5, 40]);
        let (w, v, u) = (s.param(&[3, 3, 16, 12]), s.param(&[1, 1, 9, 12]), s.param(&[3, 3, 1, 12]));
        let x = s.op(Op::Unary(UnaryOp::Tanh), &[x]);
        let part = |s: &mut Sketch, axis, start, end| s.op(Op::Slice { axis, start, end }, &[x]);
        let (a, b, c) = (part(s, 3, 0, 16), part(s, 3, 16, 25), part(s, 3, 28, 40));
        let a = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[a, w]);
        let b = s.op(Op::Conv2d(conv(1, 0, 1, 1)), &[b, v]);
        let d = s.op(Op::Conv2d(conv(1, 1, 1, 12)), &[c, u]);
        let e = s.op(Op::MaxPool(pool(3, 1, 1, false)), &[c]);
        let f = s.op(Op::AvgPool(pool(3, 1, 0, false)), &[c]);
        let f = s.op(Op::Pad(vec![(0, 0), (1, 1), (1, 1), (0, 0)]), &[f]);
        let g = s.op(Op::FusedSum { terms: vec![Term::Add; 6], relu: true }, &[a, b, c, d, e, f]);
        let rows = s.op(Op::Slice { axis: 1, start: 2, end: 5 }, &[g]);
        s.op(Op::Softmax, &[rows])
    });
    case("heads of an attention", &|s| {
        let (x, w) = (s.input(&[10, 24]), s.param(&[24, 72]));
        let y = s.op(Op::MatMul, &[x, w]);
        let head = |s: &mut Sketch, part: usize, perm: &[usize]| {
            let slice = s.op(Op::Slice { axis: 1, start: 24 * part, end: 24 * part + 24 }, &[y]);
            let heads = s.op(Op::Reshape([10, 3, 8].map(Dim::Fixed).to_vec()), &[slice]);
            s.op(Op::Transpose(perm.to_vec()), &[heads])
        };
        let (q, k, v) = (head(s, 0, &[1, 0, 2]), head(s, 1, &[1, 2, 0]), head(s, 2, &[1, 0, 2]));
        let scores = s.op(Op::MatMul, &[q, k]);
        let scores = s.op(Op::Softmax, &[scores]);
        s.op(Op::MatMul, &[scores, v])
    });
    case("parts of two matrices multiplied", &|s| {
        let (x, y) = (s.input(&[9, 20]), s.input(&[17, 30]));
        let (x, y) = (s.relu(x), s.relu(y));
        let a = s.op(Op::Slice { axis: 1, start: 3, end: 14 }, &[x]);
        let b = s.op(Op::Slice { axis: 0, start: 4, end: 15 }, &[y]);
        let b = s.op(Op::Slice { axis: 1, start: 1, end: 26 }, &[b]);
        s.op(Op::MatMul, &[a, b])
    });
    case("slices that must be copied", &|s| {
        let x = s.input(&[2, 4, 18]);
        let y = s.relu(x);
        let a = s.op(Op::Slice { axis: 2, start: 1, end: 7 }, &[y]);
        let flat = s.op(Op::Reshape([2, 24].map(Dim::Fixed).to_vec()), &[a]);
        let w = s.param(&[24, 5]);
        let product = s.op(Op::MatMul, &[flat, w]);
        let rows = s.op(Op::Slice { axis: 0, start: 1, end: 2 }, &[product]);
        s.op(Op::Reshape([5].map(Dim::Fixed).to_vec()), &[rows])
    });
    case("slices of planes", &|s| {
        let (x, w) = (s.input(&[2, 5, 8, 9]), s.param(&[3, 3, 3, 20]));
        let x = s.relu(x);
        let x = s.op(Op::Slice { axis: 1, start: 1, end: 4 }, &[x]);
        let x = s.op(Op::Transpose(vec![0, 2, 3, 1]), &[x]);
        s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w])
    });
    case("slices of planes of one image", &|s| {
        let (x, w) = (s.input(&[1, 5, 8, 9]), s.param(&[3, 3, 3, 20]));
        let x = s.relu(x);
        let x = s.op(Op::Slice { axis: 1, start: 1, end: 4 }, &[x]);
        let x = s.op(Op::Transpose(vec![0, 2, 3, 1]), &[x]);
        s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w])
    });
    case("slice of what is no memory", &|s| {
        let x = s.input(&[3, 1]);
        let x = s.op(Op::Broadcast([3, 20].map(Dim::Fixed).to_vec()), &[x]);
        let a = s.op(Op::Slice { axis: 1, start: 3, end: 12 }, &[x]);
        let w = s.param(&[4, 9]);
        let w = s.op(Op::Slice { axis: 0, start: 1, end: 4 }, &[w]);
        s.op(Op::Binary(BinaryOp::Sub), &[a, w])
    });
    case("dense block", &|s| dense_block(s, false));
    case("dense block of lists", &|s| dense_block(s, true));
    case("concat of one twice", &|s| {
        let x = s.input(&[2, 3, 5]);
        let (y, z) = (s.relu(x), s.op(Op::Unary(UnaryOp::Abs), &[x]));
        let whole = s.op(Op::Concat { axis: 2 }, &[y, z, y]);
        let sum = s.add(y, z);
        s.op(Op::Concat { axis: 2 }, &[whole, sum, x])
    });
    case("concat of all sorts of kernels", &|s| {
        let x = s.input(&[2, 6, 7]);
        let wide = s.op(Op::Pad(vec![(0, 0), (0, 1), (1, 0)]), &[x]);
        let soft = s.op(Op::Softmax, &[wide]);
        let turned = s.op(Op::Transpose(vec![0, 2, 1]), &[wide]);
        let turned = s.op(Op::Slice { axis: 1, start: 1, end: 8 }, &[turned]);
        let turned = s.op(Op::Unary(UnaryOp::Exp), &[turned]);
        let turned = s.op(Op::Pad(vec![(0, 0), (0, 0), (0, 1)]), &[turned]);
        let sums = s.op(Op::Reduce { op: ReduceOp::Sum, axes: vec![1], keep: true }, &[wide]);
        s.op(Op::Concat { axis: 1 }, &[soft, turned, sums])
    });
    case("pad", &|s| {
        let x = s.input(&[2, 3, 3, 5]);
        s.op(Op::Pad(vec![(0, 0), (1, 2), (0, 1), (2, 0)]), &[x])
    });
    case("reshape", &|s| {
        let x = s.input(&[2, 3, 4, 5]);
        let y = s.relu(x);
        let y = s.op(Op::Reshape([2, 60].map(Dim::Fixed).to_vec()), &[y]);
        let w = s.param(&[60, 10]);
        s.op(Op::MatMul, &[y, w])
    });
    case("input returned", &|s| {
        let x = s.input(&[2, 3]);
        s.op(Op::Reshape([6].map(Dim::Fixed).to_vec()), &[x])
    });
    case("constant returned", &|s| {
        let _ = s.input(&[2, 3]);
        s.op(Op::Splat(2.5, vec![Dim::Fixed(33)]), &[])
    });
    all
}
