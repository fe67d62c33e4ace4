//! From a description to code that can run, without tuning: all of it, and each pass apart.
//!
//! `cargo bench -p sonar-compile --bench compiling`

mod support;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use sonar_codegen::CompiledPlan;
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::fold::fold_params;
use sonar_ir::text::parse_graph;
use sonar_rewrite::{Options, rewrite};
use sonar_schedule::{default_program, plan, tasks};
use sonar_tune::{CompileOptions, compile};
use std::time::Duration;

fn whole(criterion: &mut Criterion) {
    let target = support::native();
    let mut group = group(criterion, "compiling");
    for name in support::MODELS {
        let source = support::model_text(name);
        group.bench_function(name, |bencher| {
            bencher.iter_with_large_drop(|| {
                let graph = parse_graph(&source).expect("examples are valid");
                compile(&graph, &CompileOptions::new(&target)).expect("examples compile")
            });
        });
    }
    group.finish();
}

fn passes(criterion: &mut Criterion) {
    let target = support::native();
    let lanes = target.lanes();
    for name in support::MODELS {
        let source = support::model_text(name);
        let graph = parse_graph(&source).expect("examples are valid").specialise(1);
        let compiled = compile(&graph, &CompileOptions::new(&target)).expect("examples compile");
        let lowered = &compiled.lowered;
        let goal = sonar_schedule::Options::new(lanes);
        let programs = || lowered.tasks.tasks.iter().map(|task| default_program(task, &goal).1).collect::<EntityVec<_, _>>();
        let scheduled = programs();

        let mut group = group(criterion, &format!("passes of {name}"));
        group.bench_function("parse", |bencher| bencher.iter(|| parse_graph(&source)));
        group.bench_function("rewrite", |bencher| bencher.iter(|| rewrite(&graph, &Options::default())));
        group.bench_function("fold", |bencher| bencher.iter(|| fold_params(&lowered.rewritten)));
        group.bench_function("lower", |bencher| bencher.iter(|| tasks(&lowered.folded.main)));
        group.bench_function("schedule", |bencher| bencher.iter(programs));
        group.bench_function("plan", |bencher| bencher.iter(|| plan(&lowered.tasks, scheduled.clone())));
        group.bench_function("codegen", |bencher| {
            bencher.iter_with_large_drop(|| CompiledPlan::compile(&compiled.plan, &target, 1));
        });
        group.finish();
    }
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    group
}

criterion_group!(benches, whole, passes);
criterion_main!(benches);
