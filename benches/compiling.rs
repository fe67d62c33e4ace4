//! From a description to code that can run, without tuning: all of it, and each step.
//!
//! `cargo bench -p sonar-compile --bench compiling`

mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sonar_codegen::{Model, Target};
use sonar_ir::text::parse_graph;
use sonar_schedule::{default_schedule, plan, tasks};
use sonar_tune::{CompileOptions, compile, generate, lower};
use std::time::Duration;

fn whole(criterion: &mut Criterion) {
    let target = Target::native().expect("this machine is supported");
    let mut group = criterion.benchmark_group("compiling");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for name in support::MODELS {
        let source = support::example(&format!("models/{name}.sonar"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| compile(&parse_graph(&source).expect("examples are valid"), &CompileOptions::new(&target)));
        });
    }
    group.finish();
}

fn steps(criterion: &mut Criterion) {
    let target = Target::native().expect("this machine is supported");
    let options = CompileOptions::new(&target);
    let source = support::example("models/nb201_resnet.sonar");
    let graph = parse_graph(&source).expect("examples are valid");
    let lowered = lower(&graph, &options).expect("examples lower");
    let compiled = generate(lowered.clone(), &options).expect("examples compile");
    let schedules = |task: &sonar_schedule::Task| default_schedule(task, target.lanes(), 1);

    let mut group = criterion.benchmark_group("compiling/nb201_resnet");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("parse", |bencher| bencher.iter(|| parse_graph(&source)));
    group.bench_function("lower", |bencher| bencher.iter(|| lower(&graph, &options)));
    group.bench_function("tasks", |bencher| bencher.iter(|| tasks(&lowered.folded.main)));
    group.bench_function("schedule", |bencher| bencher.iter(|| lowered.tasks.tasks.iter().map(schedules).collect::<Vec<_>>()));
    group.bench_function("plan", |bencher| {
        let schedule_of = |task: &sonar_schedule::Task| {
            let at = lowered.tasks.tasks.iter().position(|t| t.key == task.key);
            at.map_or_else(|| schedules(task), |at| compiled.schedules[at].clone())
        };
        bencher.iter(|| plan(&lowered.tasks, &schedule_of, target.lanes()));
    });
    group.bench_function("codegen", |bencher| {
        bencher.iter_batched(|| (), |()| Model::compile(&compiled.plan, &target, 1), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, whole, steps);
criterion_main!(benches);
