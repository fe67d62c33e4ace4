//! The joint search: one rung with real training and tuning, and what the search itself costs.
//!
//! `cargo bench -p sonar-compile --bench searching`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sonar_ir::machine::Machine;
use sonar_measure::LocalMeasurer;
use sonar_nas::executors::fake::{Disk, FakeEvaluator};
use sonar_nas::search::Session;
use sonar_nas::{Algorithm, Event, Policy, SearchConfig, State, Store, driver, search};
use sonar_train::TrainConfig;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

/// Candidates of the rung.
const CANDIDATES: usize = 2;

/// One rung of the default space: each candidate gets an epoch of a few images and two trials of each kernel, timed in this
/// process. The hand-made network, compared with which candidates are reported, is trained and tuned as well.
fn rung(criterion: &mut Criterion) {
    let config = SearchConfig {
        training: TrainConfig { images_per_epoch: Some(256), ..SearchConfig::default().training },
        policy: Policy {
            algorithm: Algorithm::BruteForce,
            seconds: None,
            candidates: CANDIDATES,
            epochs: 1,
            trials: 2,
            ..Policy::default()
        },
        ..SearchConfig::default()
    };
    let run = |dir: TempDir| {
        let measurer = Box::new(LocalMeasurer::default());
        let mut observer = |_: &driver::Progress, _: &Event, _: &State| ControlFlow::Continue(());
        let observer = &mut observer;
        let machine = Machine::usual(8);
        let session = Session { dir: dir.path(), fresh: false, machine, measurer, watch: &go_on, observer };
        let result = search(&config, session);
        (result.expect("the search succeeds"), dir)
    };
    let mut group = criterion.benchmark_group("searching");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(20));
    group.throughput(Throughput::Elements(CANDIDATES as u64));
    group.bench_function("one rung", |bencher| bencher.iter_batched(new_directory, run, BatchSize::PerIteration));
    group.finish();
}

/// A whole search whose training and tuning are made up and take no time: deciding, and keeping every event on disk.
/// Throughput in events.
fn overhead(criterion: &mut Criterion) {
    let mut events = 0;
    made_up_search(new_directory().path(), &mut |_, _, _| {
        events += 1;
        ControlFlow::Continue(())
    });
    let run = |dir: TempDir| (made_up_search(dir.path(), &mut |_, _, _| ControlFlow::Continue(())), dir);
    let mut group = criterion.benchmark_group("searching");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(events));
    group.bench_function("the search itself", |bencher| bencher.iter_batched(new_directory, run, BatchSize::PerIteration));
    group.finish();
}

fn made_up_search(dir: &Path, observer: &mut dyn FnMut(&driver::Progress, &Event, &State) -> ControlFlow<()>) -> State {
    let policy = Policy { seconds: None, ..Policy::default() };
    let mut evaluator = FakeEvaluator::new(Disk::default());
    let clock = evaluator.clock();
    let (store, state) = Store::open(dir, &serde_json::json!({}), false).expect("the directory is new");
    driver::run(&policy, &mut evaluator, &clock, &go_on, store, state, observer).expect("the search succeeds")
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn new_directory() -> TempDir {
    tempdir().expect("there is room")
}

criterion_group!(benches, rung, overhead);
criterion_main!(benches);
