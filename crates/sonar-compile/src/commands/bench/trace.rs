//! `bench --trace`: which thread ran which kernel, and when, in the trace-event format of Perfetto and Chrome's tracing.
//!
//! The times are those of one real run, the fastest of the traced runs. Each slice is the part of one thread in one call of a
//! kernel, from its first piece to its last. A thread's track is empty while it waits for the others.

use super::Subject;
use crate::exit::{Exit, Failure, OrExit};
use serde_json::{Value, json};
use sonar_ir::entity::EntityVec;
use sonar_measure::records::digest;
use sonar_schedule::TaskId;
use sonar_tune::{TracedCall, TracedPart};

/// Most runs. The fastest one is shown.
const RUNS: usize = 100;
/// Digits of a schedule's digest.
const DIGITS: usize = 12;

/// Runs the model this often and returns the trace of the fastest run.
pub fn trace(subject: &mut Subject, runs: usize, threads: usize) -> Result<String, Failure> {
    let mut fastest: Option<(f64, Vec<TracedCall>)> = None;
    for _ in 0..runs.clamp(1, RUNS) {
        let calls = subject.ready.trace()?;
        let seconds = calls.last().map_or(0.0, |call| call.end);
        if fastest.as_ref().is_none_or(|fastest| seconds < fastest.0) {
            fastest = Some((seconds, calls));
        }
    }
    let (seconds, calls) = fastest.unwrap_or_default();
    serde_json::to_string_pretty(&document(subject, threads, seconds, &calls)).or_exit(Exit::Internal)
}

/// The trace as JSON: names of the process and of the threads, then the slices.
fn document(subject: &Subject, threads: usize, seconds: f64, calls: &[TracedCall]) -> Value {
    let compiled = &subject.prepared.compiled;
    let tasks = &compiled.lowered.tasks;
    let model = &compiled.lowered.graph.name;
    let metadata = |name: &str, thread: usize, value: &str| json!({ "ph": "M", "name": name, "pid": 1, "tid": thread, "args": { "name": value } });
    let mut events = vec![metadata("process_name", 0, model)];
    for thread in 0..threads {
        let name = if thread == 0 { "thread 0, which runs the model".to_string() } else { format!("thread {thread}") };
        events.push(metadata("thread_name", thread, &name));
    }
    let digests: EntityVec<TaskId, String> =
        compiled.schedules.iter().map(|schedule| digest(&schedule.to_string())[..DIGITS].to_string()).collect();
    for (number, (call, kernel)) in calls.iter().zip(&tasks.kernels).enumerate() {
        let task = &tasks.tasks[kernel.task];
        let took = call.end - call.start;
        for part in &call.parts {
            events.push(slice(
                part,
                &format!("{} {}", call.kernel, kernel.task),
                json!({
                    "kernel": kernel.task, "call": number, "flops": task.flops, "bytes": task.bytes, "schedule": digests[kernel.task],
                    "gflops": task.flops as f64 / took.max(1e-9) / 1e9, "call_us": 1e6 * took, "pieces": part.pieces,
                }),
            ));
        }
    }
    json!({
        "displayTimeUnit": "ns", "traceEvents": events,
        "otherData": { "schema": 1, "model": model, "threads": threads, "run_us": 1e6 * seconds, "calls": calls.len() },
    })
}

/// A complete event. Times are in microseconds.
fn slice(part: &TracedPart, name: &str, args: Value) -> Value {
    json!({
        "ph": "X", "name": name, "cat": "kernel", "pid": 1, "tid": part.thread,
        "ts": 1e6 * part.start, "dur": 1e6 * (part.end - part.start), "args": args,
    })
}
