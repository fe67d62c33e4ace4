//! The search on invented times: it finds the optimum, repeats itself, and goes on where it was interrupted.

use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_ir::{Graph, text};
use sonar_measure::records::Contender;
use sonar_measure::{Cause, Clock, FakeClock, FakeMeasurer, Job, MeasureError, Measurer, Outcome, Records};
use sonar_schedule::Task;
use sonar_tune::{Limits, StopReason, TaskStop, Tuner, TunerOptions, TunerTaskId};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::rc::Rc;
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
    sonar_schedule::tasks(&graph).unwrap().tasks.into_iter().collect()
}

fn options(seed: u64) -> TunerOptions {
    TunerOptions { seed, ..TunerOptions::new(Target::parse(TARGET).unwrap()) }
}

/// A tuner on invented times, with all tasks.
fn tuner(seed: u64, records: Records) -> (Tuner, Vec<(TunerTaskId, f64)>, FakeClock) {
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

fn run(tuner: &mut Tuner, weights: &[(TunerTaskId, f64)], limits: Limits) -> StopReason {
    tuner.tune(weights, limits, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn bests(tuner: &Tuner, weights: &[(TunerTaskId, f64)]) -> Vec<(Schedule, f64)> {
    weights.iter().map(|&(id, _)| tuner.best(id).unwrap()).collect()
}

/// The invented time of a schedule, as the tuner's measurer invents it.
fn time(task: &Task, schedule: &Schedule) -> f64 {
    let key = sonar_tune::recorded::key(task, &Target::parse(TARGET).unwrap(), 1, sonar_measure::Cache::default());
    FakeMeasurer::new(1, FakeClock::default()).time(&key.task, schedule)
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
    let weights: Vec<(TunerTaskId, f64)> = tasks().iter().map(|task| (tuner.add(task).unwrap(), 1.0)).collect();
    run(&mut tuner, &weights, trials(20));
    assert_eq!(tuner.records().count().unwrap(), 20);
    assert!(weights.iter().all(|&(id, _)| tuner.best(id).is_none()));
    assert_eq!(tuner.schedule(&tasks()[0]), None);
    assert_eq!(tuner.latency(&weights), None);

    let failures: sonar_tune::Failures = weights.iter().map(|&(id, _)| tuner.failures(id)).sum();
    assert_eq!((failures.of("time limit"), failures.count()), (20, 20));
}

#[test]
fn tasks_are_shared() {
    let (mut tuner, weights, _) = tuner(0, memory());
    assert_eq!(tuner.add(&tasks()[1]).unwrap(), weights[1].0);
}

/// Keeps what is measured, in order.
struct Listening(FakeMeasurer, Rc<RefCell<Vec<String>>>);

impl Measurer for Listening {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        self.1.borrow_mut().push(format!("{} {:?} {}", job.task, job.incumbent, job.schedule));
        self.0.measure(job)
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        self.0.compare(jobs)
    }
}

#[test]
fn preparing_while_measuring_changes_no_trial() {
    let sequence = |overlap: bool, stops: &[usize]| {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let clock = FakeClock::default();
        let measurer = Listening(FakeMeasurer::new(1, clock.clone()), Rc::clone(&heard));
        let options = TunerOptions { overlap, ..options(5) };
        let mut tuner = Tuner::new(options, Box::new(measurer), memory(), Box::new(clock));
        let weights: Vec<(TunerTaskId, f64)> = tasks().iter().map(|task| (tuner.add(task).unwrap(), 1.0)).collect();
        for &stop in stops {
            let mut left = stop;
            let flow = tuner.tune(&weights, Limits::default(), &mut |_| {
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(flow.unwrap(), StopReason::Interrupted);
        }
        let heard = heard.borrow().clone();
        assert_eq!(heard.len(), stops.iter().sum::<usize>());
        heard
    };
    let one = sequence(false, &[120]);
    assert_eq!(one, sequence(true, &[120]));
    assert_eq!(one, sequence(true, &[120]));
    // Nor does stopping and going on: a schedule that was prepared is not lost.
    assert_eq!(one.len(), one.iter().collect::<HashSet<_>>().len());
    assert_eq!(one, sequence(true, &[1, 50, 69]));
}

#[test]
fn patience_ends_a_task() {
    let (mut tuner, weights, _) = tuner(0, memory());
    let limits = Limits { patience: Some(15), ..Limits::default() };
    assert_eq!(run(&mut tuner, &weights, limits), StopReason::Finished);
    for &(id, _) in &weights {
        assert_eq!(tuner.task_stop(id, &limits), Some(TaskStop::Patience));
        // The curve ends with a confirmation.
        let curve = tuner.curve(id);
        let last = tuner.trials(id);
        let before = curve.iter().rfind(|progress| progress.trials <= last - 15).and_then(|progress| progress.best).unwrap();
        let after = curve.iter().rfind(|progress| progress.trials == last).and_then(|progress| progress.best).unwrap();
        assert!(after >= before * 0.99, "{after} after {before}");
        let limits = Limits { trials_each: Some(last), ..limits };
        assert_eq!(tuner.task_stop(id, &limits), Some(TaskStop::Trials));
    }
}

#[test]
fn a_search_without_a_success_gives_up() {
    let mut tuner = Tuner::new(options(0), Box::new(Refusing), memory(), Box::new(FakeClock::default()));
    let weights: Vec<(TunerTaskId, f64)> = tasks().iter().map(|task| (tuner.add(task).unwrap(), 1.0)).collect();
    assert_eq!(run(&mut tuner, &weights, Limits::default()), StopReason::Failing);
    assert!(tuner.records().count().unwrap() < 50);
}

#[test]
fn what_is_settled_is_the_best_in_the_records_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let (mut first, weights, _) = tuner(0, Records::open(&path).unwrap());
    run(&mut first, &weights, trials(40));
    let id = weights[0].0;
    let default = sonar_schedule::default_schedule(&tasks()[0], &sonar_schedule::Options::new(8));
    let contenders = first.contenders(id, default.clone(), 3);
    assert_eq!(contenders.len(), 3);
    assert_eq!(contenders[0], default);
    assert_eq!(Some(&contenders[1]), first.best(id).map(|best| best.0).as_ref());
    let won = Contender { schedule: contenders[0].clone(), samples: vec![5e6, 7e6, 6e6] };
    first.settle(id, vec![won], 0.1).unwrap();
    assert_eq!(first.best(id), Some((contenders[0].clone(), 6e6)));
    drop(first);
    let (second, weights, _) = tuner(0, Records::open(&path).unwrap());
    assert_eq!(second.best(weights[0].0), Some((contenders[0].clone(), 6e6)));
}

/// A network of two products, tuned on invented times and then timed as it is.
#[test]
fn a_network_is_never_slower_tuned_than_untuned() {
    let native = Target::native().unwrap();
    let text = "graph @two(%x: f32[24,32], param %v: f32[32,40], param %w: f32[40,16]) {
  %0 = matmul %x, %v : f32[24,40]
  %1 = matmul %0, %w : f32[24,16]
  return %1
}
";
    let graph: Graph = text::parse_graph(text).unwrap();
    let options =
        sonar_tune::CompileOptions { rewrite: sonar_tune::RewriteLevel::Written, ..sonar_tune::CompileOptions::new(&native) };
    let lowered = sonar_tune::lower(&graph, &options).unwrap();
    let clock = FakeClock::default();
    let measurer = Box::new(FakeMeasurer::new(1, clock.clone()));
    let mut tuner = Tuner::new(TunerOptions::new(native.clone()), measurer, memory(), Box::new(clock));
    let weights: Vec<(TunerTaskId, f64)> = lowered.tasks.tasks.iter().map(|task| (tuner.add(task).unwrap(), 1.0)).collect();
    run(&mut tuner, &weights, trials(20));
    let ids: Vec<TunerTaskId> = weights.iter().map(|weight| weight.0).collect();
    let params = sonar_ir::graph::init::params(&graph, 1);
    let models = &mut sonar_tune::networks::NativeModels::new(params, 1);
    let go_on = &mut || ControlFlow::Continue(());
    let time = Duration::from_secs(3);
    let confirmation = sonar_tune::networks::in_network(&mut tuner, &lowered, &ids, &options, models, time, go_on).unwrap();
    let median = sonar_measure::stats::median;
    assert!(median(&confirmation.tuned) <= median(&confirmation.untuned));
    let planned = sonar_tune::plan(lowered.clone(), &options).unwrap();
    for (&id, default) in ids.iter().zip(planned.schedules) {
        let (schedule, nanoseconds) = tuner.best(id).unwrap();
        assert!(tuner.contenders(id, default, 3).contains(&schedule));
        assert!(nanoseconds < 1e6, "{nanoseconds}");
    }
}
