//! Latency of whole networks, batch 1, one thread, untuned.
//!
//! `cargo bench -p sonar-compile --bench inference`

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use support::Runnable;

fn inference(criterion: &mut Criterion) {
    if !sonar_codegen::pin_to_one_processor() {
        eprintln!("warning: not pinned to a processor");
    }
    let mut group = criterion.benchmark_group("inference");
    group.sample_size(30).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for name in support::MODELS {
        let mut network = Runnable::new(&support::model(name), 1, true);
        group.throughput(Throughput::Elements(network.flops()));
        group.bench_function(name, |bencher| bencher.iter(|| network.run()));
    }
    group.finish();
}

criterion_group!(benches, inference);
criterion_main!(benches);
