//! The search on invented times: it finds the optimum, repeats itself, and goes on where it was interrupted.

use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_ir::{Graph, text};
use sonar_measure::{Cause, Clock, FakeClock, FakeMeasurer, Job, MeasureError, Measurer, Outcome, Records};
use sonar_schedule::Task;
use sonar_tune::{Limits, StopReason, TaskId, Tuner, TunerOptions};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

const TARGET: &str = "x86-64-v3";

fn tasks() -> Vec<Task> {
    let text = "graph @two(%x: f32[24,32], param %v: f32[32,40], param %w: f32[40,16]) {
  %0 = matmul %x, %v : f32[24,40]
  %1 = matmul %0, %w : f32[24,16]
  return %1
}
";
    let graph: Graph = text::parse_graph(text).unwrap();
    sonar_schedule::tasks(&graph).unwrap().tasks
}

fn options(seed: u64) -> TunerOptions {
    TunerOptions { seed, ..TunerOptions::new(Target::parse(TARGET).unwrap()) }
}

/// A tuner on invented times, with all tasks.
fn tuner(seed: u64, records: Records) -> (Tuner, Vec<(TaskId, f64)>, FakeClock) {
    let clock = FakeClock::default();
    let measurer = FakeMeasurer::new(1, clock.clone());
    let mut tuner = Tuner::new(options(seed), Box::new(measurer), records, Box::new(clock.clone()));
    let weights = tasks().iter().map(|task| (tuner.add(task).unwrap(), 1.0)).collect();
    (tuner, weights, clock)
}

fn memory() -> Records {
    Records::in_memory().unwrap()
}

fn trials(count: usize) -> Limits {
    Limits { trials: Some(count), ..Limits::default() }
}

fn run(tuner: &mut Tuner, weights: &[(TaskId, f64)], limits: Limits) -> StopReason {
    tuner.tune(weights, limits, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn bests(tuner: &Tuner, weights: &[(TaskId, f64)]) -> Vec<(Schedule, f64)> {
    weights.iter().map(|&(id, _)| tuner.best(id).unwrap()).collect()
}

/// The invented time of a schedule, as the tuner's measurer invents it.
fn time(task: &Task, schedule: &Schedule) -> f64 {
    let key = sonar_tune::recorded::key(task, &Target::parse(TARGET).unwrap(), 1);
    FakeMeasurer::new(1, FakeClock::default()).time(&key.task, &schedule.to_string())
}

#[test]
fn finds_nearly_the_best_of_all_schedules() {
    let (mut tuner, weights, _) = tuner(0, memory());
    run(&mut tuner, &weights, trials(400));
    for (task, (id, _)) in tasks().iter().zip(&weights) {
        let space = sonar_schedule::space(task, &sonar_schedule::Options::new(8));
        let all: HashSet<Schedule> = (0..space.len()).map(|number| space.schedule(&space.point(number))).collect();
        let times: Vec<f64> = all.iter().map(|schedule| time(task, schedule)).collect();
        let (_, found) = tuner.best(*id).unwrap();
        let better = times.iter().filter(|&&t| t < found * 0.99).count();
        assert!(better * 100 <= times.len(), "{better} of {} schedules are better than {found}", times.len());
        let default = sonar_schedule::default_schedule(task, &sonar_schedule::Options::new(8));
        assert!(found <= time(task, &default));
    }
}

#[test]
fn the_same_seed_gives_the_same_search() {
    let search = |seed| {
        let (mut tuner, weights, _) = tuner(seed, memory());
        run(&mut tuner, &weights, trials(60));
        let curves: Vec<_> = weights.iter().map(|&(id, _)| tuner.curve(id).to_vec()).collect();
        (bests(&tuner, &weights), curves)
    };
    assert_eq!(search(3), search(3));
    assert_ne!(search(3).1, search(4).1);
}

#[test]
fn an_interrupted_search_ends_like_one_that_was_not() {
    let each = Limits { trials_each: Some(30), ..Limits::default() };
    let (mut whole, weights, _) = tuner(0, memory());
    assert_eq!(run(&mut whole, &weights, each), StopReason::Finished);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let mut done = 0;
    for stop in [7, 1, 18] {
        let (mut part, weights, _) = tuner(0, Records::open(&path).unwrap());
        let mut count = 0;
        let reason = part.tune(&weights, each, &mut |_| {
            count += 1;
            if count == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(reason.unwrap(), StopReason::Interrupted);
        done += stop;
        assert_eq!(Records::open(&path).unwrap().count().unwrap(), done);
    }
    let (mut rest, weights, clock) = tuner(0, Records::open(&path).unwrap());
    run(&mut rest, &weights, each);
    assert_eq!(bests(&rest, &weights), bests(&whole, &weights));
    assert!(clock.now() < FakeMeasurer::COST * (60 + 20 - done as u32), "what was recorded is not measured again");

    let (mut again, weights, clock) = tuner(0, Records::open(&path).unwrap());
    assert_eq!(bests(&again, &weights), bests(&whole, &weights), "the records alone know the best");
    assert_eq!(run(&mut again, &weights, each), StopReason::Finished);
    assert_eq!(clock.now(), Duration::ZERO);
}

#[test]
fn limits_hold() {
    let (mut tuner, weights, clock) = tuner(0, memory());
    assert_eq!(run(&mut tuner, &weights, trials(10)), StopReason::Trials);
    assert_eq!(weights.iter().map(|&(id, _)| tuner.trials(id)).sum::<usize>(), 10);

    let start = clock.now();
    let limits = Limits { time: Some(FakeMeasurer::COST * 5), ..Limits::default() };
    assert_eq!(run(&mut tuner, &weights[..1], limits), StopReason::Time);
    assert!(clock.now() - start <= FakeMeasurer::COST * (5 + 6));
}

#[test]
fn trials_go_where_they_count() {
    let (mut tuner, mut weights, _) = tuner(0, memory());
    weights[1].1 = 100.0;
    run(&mut tuner, &weights, trials(60));
    assert!(tuner.trials(weights[1].0) > 2 * tuner.trials(weights[0].0));
    assert!(tuner.trials(weights[0].0) > 0);
    let latency = tuner.latency(&weights).unwrap();
    let bests = bests(&tuner, &weights);
    assert!((latency - bests[0].1 - 100.0 * bests[1].1).abs() < 1e-6);
}

/// Refuses every candidate.
struct Refusing;

impl Measurer for Refusing {
    fn measure(&mut self, _: &Job) -> Result<Outcome, MeasureError> {
        Ok(Outcome::Failed(Cause::Timeout))
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        Ok(vec![Outcome::Failed(Cause::Timeout); jobs.len()])
    }
}

#[test]
fn failures_are_recorded_and_no_best() {
    let mut tuner = Tuner::new(options(0), Box::new(Refusing), memory(), Box::new(FakeClock::default()));
    let weights: Vec<(TaskId, f64)> = tasks().iter().map(|task| (tuner.add(task).unwrap(), 1.0)).collect();
    run(&mut tuner, &weights, trials(20));
    assert_eq!(tuner.records().count().unwrap(), 20);
    assert!(weights.iter().all(|&(id, _)| tuner.best(id).is_none()));
    assert_eq!(tuner.schedule(&tasks()[0]), None);
    assert_eq!(tuner.latency(&weights), None);
}

#[test]
fn tasks_are_shared() {
    let (mut tuner, weights, _) = tuner(0, memory());
    assert_eq!(tuner.add(&tasks()[1]).unwrap(), weights[1].0);
}
