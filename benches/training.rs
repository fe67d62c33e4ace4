//! One training step — forward, backward and update — of the hand-made network of the default search, on one thread and on
//! all; throughput in images.
//!
//! `cargo bench -p sonar-compile --bench training`

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sonar_ir::graph::init;
use sonar_ir::{Graph, NodeId};
use sonar_train::step::{TrainStep, training_step};
use sonar_train::{Backend, Optimizer};
use sonar_tune::JitBackend;
use std::time::Duration;

/// Images in a step.
const BATCH: usize = 64;

fn training(criterion: &mut Criterion) {
    let model = support::default_baseline();
    let step = training_step(&model, BATCH, &Optimizer::default()).expect("the baseline can be trained");
    let inputs = inputs(&step, &model);
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<Vec<f32>> = step.graph.outputs.iter().map(|&id| vec![0.0; elements(&step.graph, id)]).collect();
    let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();

    let mut group = criterion.benchmark_group("training step");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, threads) in [("one thread", 1), ("all threads", std::thread::available_parallelism().map_or(1, usize::from))] {
        let backend = JitBackend::native(threads).expect("this machine is supported");
        let mut executable = backend.compile(&step.graph).expect("the step compiles");
        group.bench_function(name, |bencher| bencher.iter(|| executable.run(&inputs, &mut outputs).expect("the step runs")));
    }
    group.finish();
}

/// The arguments of a first step: random images, all of the first class, a learning rate, and the state that training starts with.
fn inputs(step: &TrainStep, model: &Graph) -> Vec<Vec<f32>> {
    let [_, labels, ..] = step.graph.inputs()[..] else { panic!("a step takes images and labels") };
    let images = init::inputs(&model.specialise(BATCH), 1).into_values().next().expect("a classifier has one input");
    let classes = elements(&step.graph, labels) / BATCH;
    let labels = (0..BATCH * classes).map(|i| if i % classes == 0 { 1.0 } else { 0.0 }).collect();
    let weights = init::params(model, 1);
    let state = step.state.iter().map(|tensor| match tensor.start {
        Some(value) => vec![value; tensor.shape.iter().product()],
        None => weights[&tensor.name].data.clone(),
    });
    [images.data, labels, vec![0.1]].into_iter().chain(state).collect()
}

/// Number of elements of a value of a specialised graph.
fn elements(graph: &Graph, id: NodeId) -> usize {
    graph.ty(id).extents().expect("the batch is bound").iter().product()
}

criterion_group!(benches, training);
criterion_main!(benches);
