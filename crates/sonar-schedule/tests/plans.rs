//! Memory plans: they verify, reuse memory, and give the right results when run in one arena.

mod common;

use common::{Sketch, conv, dense_block, error, graphs, random_values};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sonar_ir::loops::BufferKind;
use sonar_ir::plan::{Plan, SlotKind};
use sonar_ir::{Graph, Op, Values};
use sonar_schedule::{Options, default_program, plan, tasks};

/// Runs a plan with the loop interpreter; tensors of the arena share its memory as planned.
fn run(plan: &Plan, graph: &Graph, values: &Values) -> Vec<Vec<f32>> {
    let inputs: Vec<&str> = graph.inputs().iter().filter_map(|&id| graph.node(id).name.as_deref()).collect();
    let mut arena = vec![f32::NAN; plan.arena];
    let mut outputs: Vec<Vec<f32>> = vec![vec![]; graph.outputs.len()];
    for call in &plan.calls {
        let program = &plan.kernels[call.kernel];
        let mut args: Vec<Vec<f32>> = Vec::new();
        for &slot in &call.args {
            let slot = &plan.slots[slot];
            args.push(match &slot.kind {
                SlotKind::Input(i) => values[inputs[*i]].data.clone(),
                SlotKind::Param(name) => values[name].data.clone(),
                SlotKind::Const(data) => data.clone(),
                SlotKind::Output(i) if outputs[*i].is_empty() => vec![f32::NAN; slot.len()],
                SlotKind::Output(i) => outputs[*i].clone(),
                SlotKind::Arena { offset } => arena[*offset..offset + slot.len()].to_vec(),
            });
        }
        sonar_ir::loops::interp::run(program, &mut args).expect("it runs");
        // Temporaries destroy what is in their place.
        let temporaries = program.buffers.iter().filter(|b| b.kind == BufferKind::Temp);
        let scratch: usize = temporaries.map(|b| b.len.next_multiple_of(16)).sum();
        arena[call.scratch..call.scratch + scratch].fill(f32::NAN);
        let result = args.pop().expect("an output");
        match plan.slots[*call.args.last().expect("an output")].kind {
            SlotKind::Output(i) => outputs[i] = result,
            SlotKind::Arena { offset } => arena[offset..offset + result.len()].copy_from_slice(&result),
            _ => panic!("a kernel writes a slot that is given"),
        }
    }
    outputs
}

fn check(name: &str, graph: &Graph) -> Plan {
    let values = random_values(graph, &mut StdRng::seed_from_u64(5));
    let expected = sonar_ir::graph::interp::run(graph, &values).expect("the reference runs");
    let tasks = tasks(graph).expect("it lowers");
    let programs = tasks.tasks.iter().map(|task| default_program(task, &Options::new(16)).1).collect();
    let plan = plan(&tasks, programs);
    sonar_ir::verify::plan(&plan).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (found, expected) in run(&plan, graph, &values).iter().zip(&expected) {
        let error = error(found, &expected.data);
        assert!(error < 2e-5, "{name} is off by {error}");
    }
    plan
}

#[test]
fn plans_of_all_graphs_run() {
    for (name, graph) in graphs() {
        check(name, &graph);
    }
}

#[test]
fn a_chain_needs_few_buffers_and_one_kernel() {
    let mut s = Sketch::new();
    let mut x = s.input(&[1, 8, 8, 16]);
    for _ in 0..8 {
        let w = s.param(&[3, 3, 16, 16]);
        x = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w]);
        x = s.relu(x);
    }
    let graph = s.finish(&[x]);
    check("chain", &graph);
    // Without the temporaries of algorithms that trade memory for time.
    let exact = Options { max_rounding: 0.0, ..Options::new(16) };
    let tasks = tasks(&graph).unwrap();
    let plan = plan(&tasks, tasks.tasks.iter().map(|task| default_program(task, &exact).1).collect());
    assert_eq!((plan.kernels.len(), plan.calls.len()), (1, 8));
    let tensor = 8 * 8 * 16;
    assert!(plan.arena < 4 * tensor, "{} elements for tensors of {tensor}", plan.arena);
}

#[test]
fn slices_and_concatenations_need_no_kernels() {
    for lists in [false, true] {
        let mut s = Sketch::new();
        let y = dense_block(&mut s, lists);
        let plan = check("dense block", &s.finish(&[y]));
        assert_eq!(plan.calls.len(), 5, "an activation, three convolutions, a pooling");
    }
    let mut s = Sketch::new();
    let (x, w) = (s.input(&[8, 16]), s.param(&[16, 60]));
    let y = s.op(Op::MatMul, &[x, w]);
    let [a, b, c] = [0, 1, 2].map(|i| s.op(Op::Slice { axis: 1, start: 20 * i, end: 20 * i + 20 }, &[y]));
    let sum = s.add(a, b);
    let product = s.op(Op::Binary(sonar_ir::BinaryOp::Mul), &[sum, c]);
    let plan = check("gates", &s.finish(&[product]));
    assert_eq!(plan.calls.len(), 2, "a product and what is made of its parts");
}

#[test]
fn views_keep_their_source() {
    let mut s = Sketch::new();
    let x = s.input(&[4, 64]);
    let wide = s.op(Op::Unary(sonar_ir::UnaryOp::Tanh), &[x]);
    let part = s.op(Op::Slice { axis: 1, start: 5, end: 37 }, &[wide]);
    // Work in which the memory of `wide` would be taken, were it free.
    let mut y = s.op(Op::Softmax, &[x]);
    for _ in 0..3 {
        y = s.op(Op::Softmax, &[y]);
    }
    let y = s.op(Op::Slice { axis: 1, start: 0, end: 32 }, &[y]);
    let y = s.add(y, part);
    let y = s.op(Op::Softmax, &[y]);
    check("long view", &s.finish(&[y, part]));
    let mut s = Sketch::new();
    let x = s.input(&[4, 64]);
    let wide = s.op(Op::Softmax, &[x]);
    let part = s.op(Op::Slice { axis: 1, start: 5, end: 37 }, &[wide]);
    let mut y = wide;
    for _ in 0..3 {
        y = s.op(Op::Softmax, &[y]);
    }
    let y = s.op(Op::Slice { axis: 1, start: 0, end: 32 }, &[y]);
    let y = s.add(y, part);
    check("longer view", &s.finish(&[y]));
}

#[test]
fn outputs_may_be_inputs_aliases_and_each_other() {
    let mut s = Sketch::new();
    let x = s.input(&[2, 3]);
    let y = s.relu(x);
    let z = s.op(Op::Reshape(vec![sonar_ir::Dim::Fixed(6)]), &[y]);
    let graph = s.finish(&[y, x, z, y]);
    check("aliases", &graph);
}
