//! One training step — forward, backward and update — of the hand-made network of the default search, 64 images.
//!
//! `cargo bench -p sonar-compile --bench training`

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sonar_train::Optimizer;
use sonar_train::train_step::training_step;
use std::time::Duration;
use support::Runnable;

const IMAGES: usize = 64;

fn training(criterion: &mut Criterion) {
    let step = training_step(&support::small_baseline(), IMAGES, &Optimizer::default()).expect("the baseline can be trained");
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut group = criterion.benchmark_group("training");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(IMAGES as u64));
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let mut network = Runnable::new(&step.graph, threads, false);
        group.bench_function(format!("step, {threads} threads"), |bencher| bencher.iter(|| network.run()));
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
