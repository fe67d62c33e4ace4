//! What `bench` tells, and in which form.

use crate::command::{Ran, command, ran, sonar};
use crate::example;
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

/// Times the examples with these names.
fn bench(models: &[&str], args: &[&str]) -> Ran {
    let models: Vec<String> = models.iter().map(|name| example(name)).collect();
    let mut all = vec!["bench"];
    all.extend(models.iter().map(String::as_str));
    sonar(&[&all[..], args].concat())
}

fn number(document: &Value, key: &str) -> f64 {
    document[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {document:#}"))
}

/// Asserts what holds for every set of timings.
fn assert_timings(document: &Value, runs: usize) {
    assert_eq!(document["samples_ns"].as_array().map(Vec::len), Some(runs));
    let order = ["min_us", "median_us", "p90_us", "p95_us", "p99_us", "max_us"].map(|key| number(document, key));
    assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    let mut samples: Vec<f64> =
        document["samples_ns"].as_array().into_iter().flatten().map(|ns| ns.as_f64().expect("a number") / 1e3).collect();
    samples.sort_by(f64::total_cmp);
    assert_eq!((order[0], order[5]), (samples[0], samples[runs - 1]));
    let mean = samples.iter().sum::<f64>() / runs as f64;
    assert!((number(document, "mean_us") - mean).abs() < 1e-6 * mean);
    let late = samples.iter().filter(|&&us| us > 1.5 * order[1]).count();
    assert_eq!(document["outliers"], late);
    let [low, high] = [0, 1].map(|i| document["interval_us"][i].as_f64().expect("an interval"));
    assert!(order[0] <= low && low <= order[1] && order[1] <= high && high <= order[5]);
    assert!(0.0 < number(document, "compile_seconds") && number(document, "compile_seconds") < number(document, "ready_seconds"));
}

#[test]
fn a_document_holds_every_sample() {
    let document = bench(&["models/dense.sonar"], &["--runs", "30", "--format", "json"]).json();
    assert_eq!(document["schema"], 1);
    assert_timings(&document, 30);
    assert_eq!(document["inputs"], serde_json::json!([[1, 256]]));
    assert_eq!(document["compared"], serde_json::json!([]));
    assert_eq!(document["kernels"], serde_json::json!([]));
}

#[test]
fn text_for_people() {
    let text = bench(&["models/dense.sonar"], &["--runs", "5"]).succeeds();
    assert!(["median", "95% interval", "p99", "of the FMA peak", "ready in"].iter().all(|part| text.contains(part)), "{text}");
    // Five samples are one too few for the interval.
    assert!(bench(&["models/dense.sonar"], &["--runs", "5"]).stderr.contains("too few runs"));
}

#[test]
fn kernels_have_a_roofline() {
    let args = ["--runs", "20", "--profile", "--format", "json"];
    let document = bench(&["models/nb201_resnet.sonar"], &args).json();
    let levels = document["bandwidth_one_core"].as_array().expect("it was measured");
    let fastest = number(&levels[0], "gb_per_s");
    assert!(levels.len() > 3 && levels.iter().all(|level| number(level, "gb_per_s") > 0.0));
    let kernels = document["kernels"].as_array().expect("there are kernels");
    assert!(kernels.len() > 3);
    let shares: f64 = kernels.iter().map(|k| number(k, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    for kernel in kernels {
        let [us, floor, gflops] = ["microseconds", "floor_us", "gflops"].map(|key| number(kernel, key));
        let [flops, bytes] = ["flops", "bytes"].map(|key| number(kernel, key));
        let peak = number(&document, "peak_gflops");
        assert!((gflops - flops / us / 1e3).abs() <= 1e-6 * gflops);
        assert!((number(kernel, "peak_share") - gflops / peak).abs() <= 1e-6);
        assert!((number(kernel, "roofline_share") - floor / us).abs() <= 1e-6);
        // No data move faster than those of the smallest level.
        assert!(floor > 0.0 && floor * (1.0 + 1e-9) >= bytes / fastest / 1e3, "{kernel:#}");
        assert!(kernel["bound"] == "compute" || kernel["bound"] == "memory");
    }
    let text = bench(&["models/dense.sonar"], &["--runs", "5", "--profile"]).succeeds();
    assert!(["of roofline", "bound", "all kernels"].iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn models_are_compared_with_the_first() {
    let two = ["models/dense.sonar", "models/nb201_resnet.sonar"];
    let document = bench(&two, &["--runs", "20", "--format", "json"]).json();
    assert_timings(&document, 20);
    assert_eq!(document["ratio"], Value::Null);
    let other = &document["compared"][0];
    assert_timings(other, 20);
    assert_ne!(other["model"], document["model"]);
    let ratio = number(&other["ratio"], "median");
    let [low, high] = [0, 1].map(|i| other["ratio"]["interval"][i].as_f64().expect("an interval"));
    assert!(1.0 < ratio && low <= ratio && ratio <= high, "a network takes longer than one of its layers: {low} {ratio} {high}");

    assert!(bench(&two, &["--runs", "6"]).succeeds().contains("times as long as"));
    for option in [&["--serve"][..], &["--input", "x.f32"], &["--output", "y.f32"], &["--weights", "w.f32"]] {
        bench(&two, option).fails(2, &["for one model"]);
    }
}

#[test]
fn tables_for_programs_and_pages() {
    let two = ["models/dense.sonar", "models/nb201_resnet.sonar"];
    let fields = |text: String| text.lines().map(|l| l.split(',').map(String::from).collect()).collect::<Vec<Vec<String>>>();
    let rows = fields(bench(&two, &["--runs", "6", "--format", "csv"]).succeeds());
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
    let median = rows[0].iter().position(|name| name == "median_us").expect("there is a median");
    assert!(rows[1..].iter().all(|row| row[median].parse::<f64>().is_ok_and(|us| us > 0.0)), "{rows:?}");

    let kernels = fields(bench(&two[..1], &["--runs", "6", "--profile", "--format", "csv"]).succeeds());
    let share = kernels[0].iter().position(|name| name == "roofline_share").expect("there is a share");
    assert!(kernels.len() > 1 && kernels[1..].iter().all(|row| row[share].parse::<f64>().is_ok_and(|s| s > 0.0)), "{kernels:?}");

    let page = bench(&two, &["--runs", "6", "--format", "markdown"]).succeeds();
    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(lines.len(), 4, "{page}");
    let bars = |line: &str| line.matches('|').count();
    assert!(lines.iter().all(|line| line.starts_with("| ") && bars(line) == bars(lines[0])), "{page}");
}

#[test]
fn bench_serves_timings() {
    let dense = example("models/dense.sonar");
    let serve = |requests: &str| {
        let args = ["bench", &dense, "--serve"];
        let mut child = command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("it is piped").write_all(requests.as_bytes()).expect("it listens");
        ran(&args, child.wait_with_output().expect("it ends"))
    };
    let answer = serve("3 5\n0 2\n").succeeds();
    let lines: Vec<serde_json::Value> = answer.lines().map(|l| serde_json::from_str(l).expect("JSON lines")).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0]["compile_s"].as_f64() > Some(0.0));
    assert_eq!([&lines[1], &lines[2]].map(|l| l.as_array().map(Vec::len)), [Some(5), Some(2)]);
    serve("five\n").fails(2, &["expected two numbers", "five"]);
}

/// The training step of a model takes the same road as the model: it prints at every stage, runs, and is timed.
#[test]
fn a_training_step_is_a_model_too() {
    let (model, step) = (example("models/nb201_poolskip.sonar"), ["--train", "--batch", "2"]);
    for stage in ["graph", "loops", "schedule", "asm"] {
        let text = sonar(&[&["inspect", &model, "--stage", stage], &step[..]].concat()).succeeds();
        assert!(text.contains("conv2d_grad_weight"), "{stage}");
    }
    let timed = sonar(&[&["bench", &model, "--profile", "--runs", "2", "--format", "json"], &step[..]].concat()).json();
    let kernels = timed["kernels"].as_array().expect("kernels");
    assert!(kernels.iter().any(|kernel| kernel["kernel"].as_str().is_some_and(|name| name.contains("grad"))));
    let text = sonar(&[&["bench", &model, "--runs", "2"], &step[..]].concat()).succeeds();
    assert!(text.contains("images a second") && text.contains(" more, "), "{text}");
    sonar(&["bench", &example("kernels/fused_attention.sonar"), "--train"]).fails(3, &["expected one input, found 4"]);
}
