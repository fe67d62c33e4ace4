//! Latency of whole networks, batch 1, one thread, untuned; throughput in floating-point operations.
//!
//! `cargo bench -p sonar-compile --bench inference`

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use support::Runnable;

fn inference(criterion: &mut Criterion) {
    support::pin();
    let mut group = criterion.benchmark_group("inference");
    group.sample_size(30).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for name in support::MODELS {
        let mut network = Runnable::new(&support::model(name));
        group.throughput(Throughput::Elements(network.flops()));
        group.bench_function(name, |bencher| bencher.iter_custom(|runs| network.time(runs)));
    }
    group.finish();
}

criterion_group!(benches, inference);
criterion_main!(benches);
