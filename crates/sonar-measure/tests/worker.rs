//! A worker process meets good candidates and all kinds of bad ones, and the measurer outlives every one of them.

mod common;

use common::{add, job, measurer};
use sonar_ir::loops::{Buffer, BufferKind};
use sonar_measure::worker::{MEMORY, WorkerMeasurer, WorkerOptions};
use sonar_measure::{Budget, Cache, Cause, Job, MeasureError, Measurer, Outcome};
use std::time::Duration;

#[test]
fn a_sound_candidate_is_timed() {
    let mut measurer = measurer(Duration::from_secs(30));
    let outcome = measurer.measure(&job(add(1.0, 0, 0))).unwrap();
    let Outcome::Ok(samples) = outcome else { panic!("{outcome:?}") };
    assert_eq!(samples.len(), 5);
    assert!(samples.iter().all(|&s| s > 0.0 && s < 1e6), "{samples:?}");

    let fast = job(add(1.0, 0, 0));
    let slow = job(add(1.0, 1, 1000));
    let wrong = job(add(2.0, 0, 0));
    let outcomes = measurer.compare(&[slow.clone(), wrong, fast]).unwrap();
    assert!(matches!(outcomes[1], Outcome::Failed(Cause::WrongOutput(_))));
    assert!(outcomes[0].time() > outcomes[2].time(), "{outcomes:?}");

    let raced = measurer.measure(&Job { incumbent: outcomes[2].time(), ..slow }).unwrap();
    assert!(matches!(&raced, Outcome::Dropped(samples) if samples.len() == 1), "{raced:?}");
}

#[test]
fn a_wrong_output_is_no_time() {
    let mut measurer = measurer(Duration::from_secs(30));
    let outcome = measurer.measure(&job(add(1.001, 0, 0))).unwrap();
    assert!(matches!(outcome, Outcome::Failed(Cause::WrongOutput(error)) if error > 1e-4 && error < 1e-2), "{outcome:?}");
    assert!(measurer.worker_id().is_some());
}

#[test]
fn an_endless_candidate_is_ended_and_the_next_job_is_done() {
    let mut measurer = measurer(Duration::from_secs(2));
    let outcome = measurer.measure(&job(add(1.0, 6, 1_000_000))).unwrap();
    assert_eq!(outcome, Outcome::Failed(Cause::Timeout));
    assert_eq!(measurer.worker_id(), None);
    assert!(measurer.measure(&job(add(1.0, 0, 0))).unwrap().time().is_some());
}

#[test]
fn a_crash_ends_the_worker_only() {
    let mut measurer = measurer(Duration::from_secs(30));
    // More memory than addresses can name.
    let mut greedy = add(1.0, 0, 0);
    greedy.buffers.extend((0..20_000).map(|i| Buffer { name: format!("t{i}"), len: 1 << 31, kind: BufferKind::Temp }));
    let outcome = measurer.measure(&job(greedy.clone())).unwrap();
    assert!(matches!(outcome, Outcome::Failed(Cause::OutOfMemory)), "{outcome:?}");
    let outcomes = measurer.compare(&[job(greedy), job(add(1.0, 0, 0))]).unwrap();
    assert!(matches!(outcomes[0], Outcome::Failed(Cause::OutOfMemory)), "{outcomes:?}");
    assert!(outcomes[1].time().is_some(), "{outcomes:?}");
}

#[test]
fn cold_calls_are_timed_too_and_what_trials_cost_is_known() {
    let mut measurer = measurer(Duration::from_secs(30));
    let overheads = measurer.overheads();
    for cache in [Cache::Warm, Cache::Cold] {
        for threads in [1, 2] {
            let budget = Budget { samples: 5, seconds: 0.1 };
            let outcome = measurer.measure(&Job { cache, threads, budget, ..job(add(1.0, 0, 0)) }).unwrap();
            assert!(outcome.time().is_some_and(|time| time > 0.0), "{outcome:?}");
        }
    }
    assert_eq!(overheads.seconds().len(), 4);
    assert!(overheads.seconds().iter().all(|&seconds| seconds > 0.0));
}

#[test]
fn what_does_not_compile_is_illegal() {
    let mut measurer = measurer(Duration::from_secs(30));
    let outcome = measurer.measure(&Job { target: "z80".into(), ..job(add(1.0, 0, 0)) }).unwrap();
    assert!(matches!(&outcome, Outcome::Failed(Cause::Illegal(why)) if why.contains("z80")), "{outcome:?}");
}

#[test]
fn an_executable_that_is_no_worker_is_an_error() {
    for (program, arguments) in [("/nonexistent/worker", vec![]), ("true", vec![]), ("echo", vec!["hello".to_string()])] {
        let options =
            WorkerOptions { program: program.into(), arguments, pin: false, time_limit: Duration::from_secs(30), memory: MEMORY };
        let error = WorkerMeasurer::new(options).measure(&job(add(1.0, 0, 0))).unwrap_err();
        assert!(matches!(error, MeasureError::Spawn { .. } | MeasureError::Protocol { .. }), "{error}");
    }
}
