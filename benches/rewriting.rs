//! Equality saturation of whole networks, from a graph to the best graph; throughput in nodes of the graph.
//!
//! `cargo bench -p sonar-compile --bench rewriting`

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sonar_rewrite::{Options, rewrite};
use std::time::Duration;

fn rewriting(criterion: &mut Criterion) {
    let models = support::MODELS.map(|name| (name, support::model(name)));
    let baselines = [
        ("nas-bench-201 baseline", support::default_baseline()),
        ("width-kernel baseline", support::baseline("width-kernel", &[])),
    ];
    let mut group = criterion.benchmark_group("rewriting");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (name, graph) in models.into_iter().chain(baselines) {
        let graph = graph.specialise(1);
        group.throughput(Throughput::Elements(graph.nodes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| rewrite(&graph, &Options::default()).expect("examples can be rewritten"));
        });
    }
    group.finish();
}

criterion_group!(benches, rewriting);
criterion_main!(benches);
