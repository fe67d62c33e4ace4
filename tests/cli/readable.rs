//! Kernels for people: schedules, loops and code, as compiled, on record or beside each other; the page and the trace of a model.

use crate::command::{Ran, sonar};
use crate::{Scratch, example};
use serde_json::Value;
use sonar_codegen::Target;
use sonar_measure::records::unix_time;
use sonar_measure::{Cache, Outcome, Records, Trial};
use sonar_schedule::{Options, Task, default_schedule};
use std::fs;

/// A layer whose one kernel the tests below have records of.
const DENSE: &str = "models/dense.sonar";

/// The times of the schedules of [`records`].
const MICROSECONDS: [f64; 3] = [2.0, 3.0, 5.0];

/// Inspects a model.
fn inspect(model: &str, args: &[&str]) -> Ran {
    sonar(&[&["inspect", &example(model)], args].concat())
}

/// The one kernel of [`DENSE`].
fn dense(target: &Target) -> Task {
    let text = fs::read_to_string(example(DENSE)).expect("the example is there");
    let graph = sonar_ir::text::parse_graph(&text).expect("it is well-formed");
    let options = sonar_tune::CompileOptions::new(target);
    let tasks = sonar_tune::lower(&graph, &options).expect("it can be lowered").tasks.tasks;
    assert_eq!(tasks.len(), 1);
    tasks.first().expect("there is one").clone()
}

/// Writes records of the kernel of [`DENSE`]: the default schedule in the middle, a slower one with another unrolling, and a faster one
/// that unrolls nothing. Gives the path of the file and the three schedules, the fastest first.
fn records(scratch: &Scratch) -> (String, Vec<String>) {
    let target = Target::native().expect("this machine is a target");
    let task = dense(&target);
    let default = default_schedule(&task, &Options::new(target.lanes())).to_string();
    let unrolled = |copies: usize| default.replace("unroll=4", &format!("unroll={copies}"));
    let schedules = vec![unrolled(1), default.clone(), unrolled(2)];
    assert!(schedules[0] != default && schedules[2] != default, "{default}");
    let file = Records::open(&scratch.path("records.db")).expect("a file of records");
    for (schedule, microseconds) in schedules.iter().zip(MICROSECONDS) {
        let trial = Trial {
            key: sonar_tune::recorded::key(&task, &target, 1, Cache::default()),
            schedule: schedule.parse().expect("it is well-formed"),
            outcome: Outcome::Ok(vec![1e3 * microseconds; 5]),
            seconds: 0.1,
            at: unix_time(),
        };
        file.insert(&trial).expect("it can be written");
    }
    (scratch.arg("records.db"), schedules)
}

#[test]
fn loops_say_what_they_compute_and_touch() {
    let scratch = Scratch::new();
    let none = scratch.arg("none.db");
    let text = inspect("models/mlp.sonar", &["--stage", "loops", "--records", &none]).succeeds();
    assert!(text.contains("// Behind a loop:") && text.contains("// caches: L1 "), "{text}");
    assert!(text.contains("FLOP, ") && text.contains("fits L1"), "{text}");
    // Nothing is on record, so nothing is said about time.
    assert!(!text.contains("on record,") && !text.contains('%'), "{text}");
    // Every loop has a comment.
    let loops = |line: &&str| line.ends_with('{') && [" in 0..", "loop "].iter().any(|part| line.contains(part));
    assert_eq!(text.lines().find(loops), None, "{text}");

    // The tile reads 256 numbers and a weight for each of them and each of 128 sums, adds 128 and writes 128: 130 KiB.
    let (path, _) = records(&scratch);
    let text = inspect(DENSE, &["--stage", "loops", "--kernel", "0", "--records", &path]).succeeds();
    let header = text.lines().find(|line| line.starts_with("// kernel 0")).expect("a header");
    assert!(header.contains("2.00 µs on record") && header.contains("% of the roofline"), "{header}");
    let whole = text.lines().find(|line| line.contains("t0 = tile")).expect("a tile");
    assert!(whole.contains("kFLOP, 130 KiB") && whole.ends_with('%'), "{whole}");
    // For a machine that is not here nothing is measured, and its caches are guessed.
    let text = inspect(DENSE, &["--stage", "loops", "--target", "aarch64-unknown-linux-gnu"]).succeeds();
    assert!(text.contains("(assumed)") && !text.contains('%'), "{text}");
}

#[test]
fn stages_agree_on_the_numbers_of_kernels() {
    let count = |stage: &str| {
        let text = inspect("models/nb201_resnet.sonar", &["--stage", stage]).succeeds();
        text.lines().filter(|line| line.starts_with("// kernel ")).map(String::from).collect::<Vec<_>>()
    };
    let schedules = count("schedule");
    assert!(schedules.len() > 3);
    for stage in ["loops", "clif", "asm"] {
        assert_eq!(count(stage), schedules, "{stage}");
    }
}

#[test]
fn a_kernel_is_shown_as_on_record() {
    let scratch = Scratch::new();
    let (path, schedules) = records(&scratch);
    let shown = |args: &[&str]| {
        let all = [&["--stage", "schedule", "--kernel", "0", "--records", &path], args].concat();
        inspect(DENSE, &all).succeeds()
    };
    for (pick, which) in [("best", 0), ("1", 0), ("2", 1), ("default", 1), ("3", 2)] {
        let text = shown(&["--record", pick]);
        assert!(text.contains(schedules[which].trim()), "{pick}: {text}");
        assert!(text.contains(&format!("{:.2} µs on record", MICROSECONDS[which])), "{pick}: {text}");
    }
    // A schedule that is given: the text, and a file of it.
    let line = schedules[2].trim().replace('\n', "; ");
    let file = scratch.file("own.schedule", &schedules[2]);
    for given in [&line, &file] {
        let text = shown(&["--schedule", given]);
        assert!(text.contains(schedules[2].trim()) && text.contains("5.00 µs on record"), "{text}");
    }
    // Other stages follow the schedule.
    let code = |pick: &str| {
        let args = ["--stage", "asm", "--kernel", "0", "--records", &path, "--record", pick];
        inspect(DENSE, &args).succeeds()
    };
    assert_ne!(code("1"), code("2"));
    assert_eq!(code("2").lines().skip(2).collect::<Vec<_>>(), code("default").lines().skip(2).collect::<Vec<_>>());
}

#[test]
fn two_versions_stand_beside_each_other() {
    let scratch = Scratch::new();
    let (path, schedules) = records(&scratch);
    let diff = |stage: &str, a: &str, b: &str| {
        let args = ["--stage", stage, "--kernel", "0", "--records", &path, "--diff", a, b];
        inspect(DENSE, &args).succeeds()
    };
    let text = diff("schedule", "default", "best");
    assert!(text.contains("default, 3.00 µs on record") && text.contains("record 1 of 3, 2.00 µs"), "{text}");
    // Steps are rows; those that differ are marked.
    let marked = |text: &str| text.lines().filter(|line| line.chars().nth(59).is_some_and(|mark| "|<>".contains(mark))).count();
    let differing = schedules[0].lines().zip(schedules[1].lines()).filter(|(a, b)| a != b).count();
    assert!(differing > 0);
    assert_eq!(marked(&text), differing, "{text}");
    assert_eq!(marked(&diff("schedule", "2", "default")), 0);
    for stage in ["loops", "asm"] {
        let text = diff(stage, "1", "3");
        assert!(marked(&text) > 0, "{text}");
        assert!(text.lines().filter(|line| !line.starts_with("//")).all(|line| line.chars().count() <= 120), "{text}");
        assert_eq!(marked(&diff(stage, "best", "1")), 0, "{stage}");
    }
}

#[test]
fn what_is_not_there_is_not_shown() {
    let scratch = Scratch::new();
    let (path, _) = records(&scratch);
    let none = scratch.arg("none.db");
    let with = |args: &[&str]| inspect(DENSE, &[&["--stage", "loops"], args].concat());
    with(&["--kernel", "0", "--records", &path, "--record", "4"]).fails(3, &["kernel 0 has 3 schedules on record", "rank 4"]);
    with(&["--kernel", "0", "--records", &path, "--diff", "best", "9"]).fails(3, &["there is none of rank 9"]);
    with(&["--kernel", "0", "--records", &none, "--record", "best"]).fails(3, &["no records of kernel 0", "tune"]);
    with(&["--kernel", "0", "--records", &none, "--diff", "default", "best"]).fails(3, &["no records of kernel 0"]);
    // Records of another number of threads are none of these.
    with(&["--kernel", "0", "--threads", "2", "--records", &path, "--record", "1"]).fails(3, &["no records"]);
    with(&["--kernel", "7", "--records", &path, "--diff", "1", "2"]).fails(2, &["no kernel 7"]);
    with(&["--kernel", "0", "--record", "0"]).fails(2, &["counted from 1"]);
    with(&["--kernel", "0", "--record", "worst"]).fails(2, &["expected `default`, `best`"]);
    with(&["--kernel", "0", "--diff", "best"]).fails(2, &["2 values required"]);
    with(&["--record", "best"]).fails(2, &["--kernel"]);
    with(&["--kernel", "0", "--record", "1", "--schedule", ""]).fails(2, &["cannot be used with"]);
    with(&["--kernel", "0", "--schedule", "dance x 3"]).fails(3, &["--schedule", "no step `dance`"]);
    with(&["--kernel", "0", "--schedule", "split nowhere 3"]).fails(3, &["does not fit kernel 0", "no loop `nowhere`"]);
    for stage in ["graph", "egraph", "rewritten", "space"] {
        inspect(DENSE, &["--stage", stage, "--kernel", "0", "--record", "best"]).fails(2, &["go with --stage schedule"]);
    }
    let broken = scratch.file("broken.db", "no data base ".repeat(30));
    with(&["--kernel", "0", "--records", &broken, "--record", "1"]).fails(3, &["broken.db"]);
}

#[test]
fn a_page_shows_every_kernel() {
    let scratch = Scratch::new();
    let (file, none) = (scratch.arg("page.html"), scratch.arg("none.db"));
    let model = example("models/nb201_resnet.sonar");
    let args = ["bench", &model, "--runs", "5", "--records", &none, "--html", &file, "--format", "json"];
    let document = sonar(&args).json();
    let kernels = document["kernels"].as_array().expect("a page needs a profile").len();
    let page = fs::read_to_string(&file).expect("a page was written");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>"));
    assert!(kernels > 3 && page.matches("id=\"kernel-").count() == kernels);
    for part in ["GFLOP/s", "FLOP for each byte", "tensorize", "program @", "fits L1", "retq", "id=\"roofline\""] {
        assert!(page.contains(part), "{part}");
    }
    // Nothing is loaded from elsewhere.
    assert!(["src=", "<script", "<link", "@import", "url("].iter().all(|part| !page.contains(part)));
    let nowhere = scratch.arg("missing/page.html");
    sonar(&["bench", &model, "--runs", "2", "--html", &nowhere]).fails(3, &["cannot write", "missing/page.html"]);
    sonar(&["bench", &model, &model, "--html", &file]).fails(2, &["for one model"]);
    sonar(&["bench", &model, "--serve", "--html", &file]).fails(2, &["--serve writes no --html"]);
}

/// The slices of a trace on one thread, in order: begin and end in microseconds.
fn slices(trace: &Value, thread: usize) -> Vec<(f64, f64)> {
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap_or_else(|| panic!("no `{key}` in {event}"));
    let events = trace["traceEvents"].as_array().expect("there are events").iter();
    let own = events.filter(|event| event["ph"] == "X" && event["tid"] == thread);
    own.map(|event| (number(event, "ts"), number(event, "ts") + number(event, "dur"))).collect()
}

#[test]
fn a_trace_is_one_run() {
    let scratch = Scratch::new();
    let (file, none) = (scratch.arg("trace.json"), scratch.arg("none.db"));
    let model = example("models/nb201_resnet.sonar");
    for threads in [1, 2] {
        let count = threads.to_string();
        sonar(&["bench", &model, "--runs", "20", "--records", &none, "--trace", &file, "--threads", &count]).succeeds();
        let text = fs::read_to_string(&file).expect("a trace was written");
        let trace: Value = serde_json::from_str(&text).expect("a trace is JSON");
        let run = trace["otherData"]["run_us"].as_f64().expect("the time of the run");
        let calls = trace["otherData"]["calls"].as_u64().expect("how many calls") as usize;
        for thread in 0..threads {
            let slices = slices(&trace, thread);
            // Another thread may come too late for everything.
            assert!((thread > 0 || !slices.is_empty()) && slices.len() <= calls);
            assert!(slices.iter().all(|(start, end)| 0.0 <= *start && start <= end && *end <= run), "{slices:?}");
            assert!(slices.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{slices:?}");
        }
        // The thread that runs the model is nearly always at work on a kernel, if it is alone.
        let busy: f64 = slices(&trace, 0).iter().map(|(start, end)| end - start).sum();
        assert!(busy <= run && (threads > 1 || busy > 0.8 * run), "{busy} of {run}");
        let events = trace["traceEvents"].as_array().expect("there are events");
        let names: Vec<&Value> = events.iter().filter(|event| event["name"] == "thread_name").collect();
        assert_eq!(names.len(), threads);
        assert!(events.iter().any(|event| event["name"] == "process_name" && event["args"]["name"] == "nb201_resnet"));
        for event in events.iter().filter(|event| event["ph"] == "X") {
            let args = &event["args"];
            assert!(args["bytes"].as_u64() > Some(0) && args["gflops"].as_f64() >= Some(0.0), "{event}");
            assert_eq!(args["schedule"].as_str().map(str::len), Some(12));
            assert!(event["name"].as_str().is_some_and(|name| name.ends_with(&format!("#{}", args["kernel"]))), "{event}");
        }
        if threads == 1 {
            assert_eq!(slices(&trace, 0).len(), calls);
        }
    }
    let nowhere = scratch.arg("missing/trace.json");
    sonar(&["bench", &model, "--runs", "2", "--trace", &nowhere]).fails(3, &["cannot write", "missing/trace.json"]);
    sonar(&["bench", &model, &model, "--trace", &file]).fails(2, &["for one model"]);
}
