//! What the cross-crate tests share: a source of random graphs, the way of a graph to compiled code and back, and the program.

// Each test takes what it needs.
#![allow(dead_code)]

pub mod command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_codegen::Target;
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::{BinaryOp, Dim, Graph, Init, NodeId, Op, ReduceOp, Tensor, TensorType, Term, UnaryOp, Values};
use std::path::{Path, PathBuf};

/// The files of a folder of `ir-examples/`, in the order of their names.
pub fn examples(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sonar"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no example", folder.display());
    files
}

/// A random graph of a few operators with odd shapes; the same for the same seed.
pub fn random_graph(seed: u64) -> Graph {
    let mut r = StdRng::seed_from_u64(seed);
    let mut g = Graph::new(format!("random{seed}"));
    let (n, h, w, c) = (r.random_range(1..3), r.random_range(3..11), r.random_range(3..11), r.random_range(1..37));
    let mut live = vec![g.input("x", TensorType::fixed(&[n, h, w, c]))];
    for step in 0..r.random_range(2..7) {
        let x = live[r.random_range(0..live.len())];
        if let Some(y) = grow(&mut g, &mut r, x, &live, step) {
            live.push(y);
        }
    }
    // Every value that nothing reads is an output, so that no operator is dead.
    let uses = g.uses();
    g.outputs = live.iter().copied().filter(|id| uses[id.0 as usize] == 0).collect();
    if g.outputs.is_empty() {
        g.outputs.push(*live.last().expect("there is an input"));
    }
    g
}

/// Applies one random operator to `x`; nothing if it does not fit.
fn grow(g: &mut Graph, r: &mut StdRng, x: NodeId, live: &[NodeId], step: usize) -> Option<NodeId> {
    let shape = g.ty(x).extents().expect("the batch is bound");
    let image = shape.len() == 4;
    let last = *shape.last()?;
    let weight = |g: &mut Graph, what: &str, shape: &[usize]| g.param(format!("{what}{step}"), shape, Init::He);
    let pick = r.random_range(0..20);
    match pick {
        0..=5 if image => {
            let k = [1, 3, 3, 5, 2][r.random_range(0..5)];
            let stride = [1, 1, 2][r.random_range(0..3)];
            let groups = if r.random_range(0..4) == 0 { last } else { 1 };
            let out = if groups > 1 { last * r.random_range(1..3) } else { r.random_range(1..40) };
            let pad = r.random_range(0..=k / 2);
            let attrs = Conv2dAttrs { stride: [stride; 2], pad: [pad; 4], dilation: [1, 1], groups };
            let w = weight(g, "w", &[k, k, last / groups, out]);
            let y = g.push(Op::Conv2d(attrs), &[x, w]).ok()?;
            match r.random_range(0..4) {
                0 => Some(y),
                1 => {
                    let b = weight(g, "b", &[out]);
                    let y = g.push(Op::Binary(BinaryOp::Add), &[y, b]).ok()?;
                    g.push(Op::Unary(UnaryOp::Relu), &[y]).ok()
                }
                2 => {
                    let parts: Vec<NodeId> = ["gamma", "beta", "mean"].iter().map(|p| weight(g, p, &[out])).collect();
                    let variance = g.param(format!("variance{step}"), &[out], Init::Ones);
                    g.push(Op::BatchNorm { eps: 1e-5 }, &[y, parts[0], parts[1], parts[2], variance]).ok()
                }
                _ => {
                    let b = weight(g, "b", &[out]);
                    let term = Term::Conv2d { attrs, relu: r.random() };
                    g.push(Op::FusedSum { terms: vec![term, Term::Add], relu: r.random() }, &[x, w, b]).ok()
                }
            }
        }
        6 | 7 if image => {
            let k = r.random_range(1..4);
            let attrs = PoolAttrs {
                kernel: [k; 2],
                stride: [r.random_range(1..3); 2],
                pad: [r.random_range(0..k); 4],
                count_include_pad: r.random(),
            };
            g.push(if pick == 6 { Op::MaxPool(attrs) } else { Op::AvgPool(attrs) }, &[x]).ok()
        }
        8 if image => g.push(Op::GlobalAvgPool, &[x]).ok(),
        9 => {
            let op = [UnaryOp::Relu, UnaryOp::Neg, UnaryOp::Tanh, UnaryOp::Sigmoid, UnaryOp::Erf, UnaryOp::Abs, UnaryOp::Step]
                [r.random_range(0..7)];
            g.push(Op::Unary(op), &[x]).ok()
        }
        10 | 11 => {
            let other = live[r.random_range(0..live.len())];
            let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Max, BinaryOp::Min][r.random_range(0..5)];
            g.push(Op::Binary(op), &[x, other]).ok()
        }
        12 => {
            let b = weight(g, "scale", &[last]);
            g.push(Op::Binary(BinaryOp::Mul), &[x, b]).ok()
        }
        13 if shape.len() >= 2 => {
            let out = r.random_range(1..40);
            let w = weight(g, "m", &[last, out]);
            g.push(Op::MatMul, &[x, w]).ok()
        }
        14 => {
            let axis = r.random_range(0..shape.len());
            g.push(Op::Concat { axis }, &[x, x]).ok()
        }
        15 => {
            let axis = r.random_range(0..shape.len());
            let start = r.random_range(0..shape[axis]);
            let end = r.random_range(start..shape[axis]) + 1;
            g.push(Op::Slice { axis, start, end }, &[x]).ok()
        }
        16 => {
            let mut perm: Vec<usize> = (0..shape.len()).collect();
            perm.rotate_left(r.random_range(0..shape.len()));
            g.push(Op::Transpose(perm), &[x]).ok()
        }
        17 => {
            let axes: Vec<usize> = (0..shape.len()).filter(|_| r.random()).collect();
            let op = [ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Max, ReduceOp::Min][r.random_range(0..4)];
            g.push(Op::Reduce { op, axes, keep: r.random() }, &[x]).ok()
        }
        18 => g.push(if r.random() { Op::Softmax } else { Op::LogSoftmax }, &[x]).ok(),
        _ => {
            let count: usize = shape.iter().product();
            g.push(Op::Reshape(vec![Dim::Fixed(count / last), Dim::Fixed(last)]), &[x]).ok()
        }
    }
}

/// The outputs of compiled code for a bound graph, on weights and inputs from `values`.
pub fn run_compiled(graph: &Graph, values: &Values, target: &Target, rewrite: bool, threads: usize) -> Vec<Tensor> {
    let graph = if rewrite {
        sonar_rewrite::rewrite(graph, &sonar_rewrite::Options::default()).expect("it rewrites").graph
    } else {
        graph.clone()
    };
    let folded = sonar_ir::fold::fold_params(&graph);
    let weights = folded.weights(values).expect("the weights fold");
    let tasks = sonar_schedule::tasks(&folded.main).expect("it lowers");
    let lanes = target.lanes();
    let goal = sonar_schedule::Options { threads, ..sonar_schedule::Options::new(lanes) };
    let programs = tasks.tasks.iter().map(|task| sonar_schedule::default_program(task, &goal).1).collect();
    let plan = sonar_schedule::plan(&tasks, programs);
    sonar_ir::verify::plan(&plan).expect("the plan is valid");
    let compiled = sonar_codegen::CompiledPlan::compile(&plan, target, threads).expect("it compiles");
    let mut context = compiled.load(&weights).and_then(|model| model.context()).expect("the weights load");
    let inputs: Vec<&[f32]> = graph
        .inputs()
        .iter()
        .map(|&id| values[graph.node(id).name.as_deref().expect("inputs have names")].data.as_slice())
        .collect();
    let mut outputs: Vec<Tensor> =
        graph.outputs.iter().map(|&id| Tensor::full(graph.ty(id).extents().expect("the batch is bound"), f32::NAN)).collect();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(|t| t.data.as_mut_slice()).collect();
    context.run(&inputs, &mut slices).expect("it runs");
    outputs
}

/// The targets whose code this machine can run, the plainest first.
pub fn targets() -> Vec<Target> {
    let names = ["x86-64-v2", "x86-64-v3", "x86-64-v4", "native"];
    let parsed = names.iter().map(|name| Target::parse(name).expect("a known target"));
    let mut targets: Vec<Target> = parsed.filter(Target::runs_here).collect();
    targets.dedup_by_key(|t| t.lanes());
    targets
}
