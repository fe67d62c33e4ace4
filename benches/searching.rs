//! The joint search: one rung of it with real training and tuning, and what the search itself costs, with made-up ones.
//!
//! `cargo bench -p sonar-compile --bench searching`

mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sonar_measure::LocalMeasurer;
use sonar_nas::fake::{Disk, FakeEvaluator};
use sonar_nas::{Algorithm, Policy, SearchConfig, Store, driver, search};
use sonar_train::TrainConfig;
use std::ops::ControlFlow;
use std::time::Duration;

/// A rung of four candidates of the default space: an epoch of 512 images and two trials of each kernel.
fn rung(criterion: &mut Criterion) {
    let training = TrainConfig { batch: 64, images_per_epoch: Some(512), ..TrainConfig::default() };
    let policy =
        Policy { algorithm: Algorithm::BruteForce, seconds: None, candidates: 4, epochs: 1, trials: 2, ..Policy::default() };
    let config = SearchConfig { training, policy, ..SearchConfig::default() };
    let mut group = criterion.benchmark_group("searching");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(20));
    group.bench_function("one rung", |bencher| {
        let run = |dir: tempfile::TempDir| {
            search(&config, dir.path(), false, Box::new(LocalMeasurer::default()), &mut |_, _, _| ControlFlow::Continue(()))
        };
        bencher.iter_batched(|| tempfile::tempdir().expect("there is room"), run, BatchSize::PerIteration);
    });
    group.finish();
}

/// 96 candidates through all rungs, every event on disk.
fn overhead(criterion: &mut Criterion) {
    let policy = Policy { seconds: None, ..Policy::default() };
    let mut group = criterion.benchmark_group("searching");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    group.bench_function("the search itself", |bencher| {
        let run = |dir: tempfile::TempDir| {
            let mut evaluator = FakeEvaluator::new(Disk::default());
            let clock = evaluator.clock();
            let (store, state) = Store::open(dir.path(), &serde_json::json!({}), false).expect("the directory is new");
            driver::run(&policy, &mut evaluator, &clock, store, state, &mut |_, _, _| ControlFlow::Continue(()))
        };
        bencher.iter_batched(|| tempfile::tempdir().expect("there is room"), run, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, rung, overhead);
criterion_main!(benches);
