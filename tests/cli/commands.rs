//! What every subcommand answers when all is well.

use crate::command::sonar;
use crate::{SPACE, Scratch, data, example};
use std::fs;

#[test]
fn check_and_compile() {
    assert!(sonar(&["check", &example("kernels/attention.sonar")]).succeeds().contains("correct"));
    assert!(sonar(&["check", &example("spaces/nas-bench-201.sonar")]).succeeds().contains("15625"));
    for target in ["x86-64-v2", "x86-64-v3", "x86-64-v4", "native"] {
        let compiled =
            sonar(&["compile", &example("kernels/residual_block.sonar"), "--target", target, "--format", "json"]).json();
        assert_eq!(compiled["schema"], 1);
        assert!(compiled["kernel_calls"].as_u64() > Some(0) && compiled["parameters"].as_u64() > Some(0));
        assert!(compiled["arena_bytes"].as_u64() > Some(0));
        assert!(compiled["weight_bytes"].as_u64() >= Some(4), "{compiled:#}");
        let passes = compiled["pass_seconds"].as_object().expect("there are passes");
        assert!(["read", "rewrite", "codegen"].iter().all(|pass| passes.contains_key(*pass)), "{passes:?}");
        let sum: f64 = passes.values().filter_map(|s| s.as_f64()).sum();
        let total = compiled["seconds"].as_f64().expect("a number");
        assert!((sum - total).abs() < 1e-9, "{sum} of {total}");
    }
}

#[test]
fn run_agrees_with_the_interpreter() {
    let scratch = Scratch::new();
    let resnet =
        [example("spaces/nas-bench-201.sonar"), "--arch=baseline".into(), "--set=channels=4".into(), "--set=cells=1".into()];
    let mut args: Vec<&str> = vec!["run"];
    args.extend(resnet.iter().map(String::as_str));
    args.extend(["--check", "--batch", "3", "--threads", "2", "--format", "json"]);
    let document = sonar(&args).json();
    assert!(document["relative_error"].as_f64().is_some_and(|e| e <= 1e-4));
    assert_eq!(document["outputs"][0]["shape"], serde_json::json!([3, 10]));

    // What is written can be read, and the same input gives the same output.
    let dense = example("models/dense.sonar");
    let input = scratch.file("input.f32", (0..256).flat_map(|i| (i as f32 / 256.0).to_le_bytes()).collect::<Vec<u8>>());
    let output = scratch.arg("output.f32");
    let runs = [0, 1].map(|_| {
        sonar(&["run", &dense, "--input", &input, "--output", &output, "--check", "1e-4"]).succeeds();
        fs::read(&output).expect("the output is written")
    });
    assert_eq!(runs[0].len(), 4 * 128);
    assert_eq!(runs[0], runs[1]);

    sonar(&["run", &example("models/nb201_resnet.sonar"), "--check", "0"]).fails(5, &["the output is off by", "is allowed"]);
}

#[test]
fn export_writes_what_can_be_read_again() {
    let scratch = Scratch::new();
    let (resnet, exported, again) = (example("models/nb201_resnet.sonar"), scratch.arg("net.onnx"), scratch.arg("again.onnx"));
    assert!(sonar(&["export", &resnet, "-o", &exported, "--seed", "3"]).succeeds().contains("nb201_resnet"));
    assert!(sonar(&["check", &exported]).succeeds().contains("supported"));
    sonar(&["export", &exported, "-o", &again]).succeeds();
    let outputs = [&resnet, &exported, &again].map(|model| {
        let document = sonar(&["run", model, "--seed", "3", "--check", "1e-4", "--format", "json"]).json();
        let data = document["outputs"][0]["data"].as_array().expect("an output").clone();
        data.iter().filter_map(|v| v.as_f64()).collect::<Vec<f64>>()
    });
    assert!(!outputs[0].is_empty());
    for other in &outputs[1..] {
        assert_eq!(other.len(), outputs[0].len());
        let largest = outputs[0].iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(other.iter().zip(&outputs[0]).all(|(a, b)| (a - b).abs() <= 1e-4 * largest), "{outputs:?}");
    }
    sonar(&["export", &example("kernels/gradients.sonar"), "-o", &again]).fails(3, &["an operator of training"]);
    sonar(&["export", &resnet, "-o", &scratch.arg("none/net.onnx")]).fails(3, &["cannot write"]);
    sonar(&["export", &resnet, "-o", &again, "--batch", "0"]).fails(2, &["--batch", "must be at least 1"]);
}

#[test]
fn tune_records_what_it_finds() {
    let scratch = Scratch::new();
    let (dense, records) = (example("models/dense.sonar"), scratch.arg("records.db"));
    let tuned = sonar(&["tune", &dense, "--trials", "3", "--records", &records, "--format", "json", "--quiet"]).json();
    assert!(tuned["tuned_us"].as_f64() > Some(0.0));
    assert!(tuned["kernels"].as_array().is_some_and(|k| k.iter().all(|k| k["trials"].as_u64() >= Some(3))), "{tuned:#}");
    assert!(scratch.path("records.db").exists());
    sonar(&["run", &dense, "--records", &records, "--check"]).succeeds();
}

#[test]
fn inspect_counts_spaces() {
    let count =
        sonar(&["inspect", &example("spaces/nas-bench-201.sonar"), "--count", "--set=cells=1", "--format", "json"]).json();
    assert_eq!(count["candidates"], "15625");
    assert_eq!(count["distinct_topologies"], 6466);
    assert!(count["distinct_functions"].as_u64().is_some_and(|n| 0 < n && n < 15625));
    let scratch = Scratch::new();
    let text = sonar(&["inspect", &scratch.file("space.sonar", SPACE), "--count"]).succeeds();
    let counts: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().next_back()).collect();
    assert!(text.starts_with("network: 2 decisions"), "{text}");
    assert_eq!(counts, ["4"; 3], "{text}");
}

#[test]
fn targets_change_the_code() {
    let asm = |target| sonar(&["inspect", &example("models/dense.sonar"), "--stage", "asm", "--target", target]).succeeds();
    let [v2, v3, v4] = ["x86-64-v2", "x86-64-v3", "x86-64-v4"].map(asm);
    assert!(!v2.contains("ymm") && !v2.contains("zmm"));
    assert!(v3.contains("ymm") && !v3.contains("zmm"));
    assert!(v4.contains("zmm"));
}

#[test]
fn the_space_of_a_kernel_is_counted() {
    let dense = example("models/dense.sonar");
    let space = |options: &[&str]| {
        let text = sonar(&[&["inspect", &dense, "--stage", "space", "--kernel", "0"], options].concat()).succeeds();
        let points: usize =
            text.lines().find_map(|line| line.split_once(" points, ")?.0.parse().ok()).expect("a number of points");
        (text, points)
    };
    let (text, one) = space(&[]);
    for knob in sonar_schedule::knobs::KNOBS {
        assert!(text.lines().any(|line| line.starts_with(knob.name) && line.contains(knob.meaning)), "{}: {text}", knob.name);
    }
    assert!(text.contains("of them legal"), "{text}");
    // On two threads a loop may be parallel or not.
    assert_eq!(space(&["--threads", "2"]).1, 2 * one);
}

#[test]
fn the_tolerance_decides_what_may_be_filtered() {
    let resnet = example("models/nb201_resnet.sonar");
    let steps = |tolerance: &str| sonar(&["inspect", &resnet, "--stage", "schedule", "--tolerance", tolerance]).succeeds();
    assert!(steps("1e-4").contains("winograd tile="));
    assert!(!steps("exact").contains("winograd"));
    assert!(!steps("6e-6").contains("winograd tile=4"));
    sonar(&["bench", &resnet, "--tolerance=2"]).fails(2, &["expected a number from 0 to 1"]);
}

#[test]
fn doctor_and_completions() {
    let findings = sonar(&["doctor", "--format", "json"]).json();
    assert!(findings["peak_gflops"].as_f64() > Some(0.0) && findings["cores"].as_u64() > Some(0));
    assert!(findings["pinning"].is_boolean() && findings["noisy"].is_boolean(), "{findings:#}");
    assert!(findings["frequency_drift"].as_f64() >= Some(1.0), "{findings:#}");
    let text = sonar(&["doctor", "--aa", "3"]).succeeds();
    assert!(text.contains("FMA peak") && text.contains("false differences"), "{text}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(sonar(&["completions", shell]).succeeds().contains("sonar-compile"));
    }
    assert!(sonar(&["--help"]).succeeds().contains("Exit codes"));
    assert!(sonar(&["--version"]).succeeds().starts_with("sonar-compile"));
}

#[test]
fn search_and_report() {
    let scratch = Scratch::new();
    let (space, data, out) = (scratch.file("space.sonar", SPACE), data(&scratch), scratch.arg("run"));
    let config = scratch.file("config.toml", "epochs = 9\ntrials = 2\n[training]\nbatch = 8\n");
    let search = ["search", &space, "--data", &data, "--out", &out, "--config", &config, "--candidates", "3", "--epochs", "2"];
    let found = sonar(&[&search[..], &["--format", "json"]].concat()).json();

    let front = found["front"].as_array().expect("there is a front");
    assert!(!front.is_empty());
    for architecture in front {
        let number = |name: &str| architecture[name].as_f64().unwrap_or_else(|| panic!("no {name} in {architecture:#}"));
        assert!(architecture["architecture"].is_string() && architecture["decisions"]["width"].is_string());
        assert!((0.0..=1.0).contains(&number("accuracy")) && number("parameters") > 0.0 && number("flops") > 0.0);
        assert!(architecture["rung"].is_u64());
        assert_eq!(architecture["epochs"], 2, "a flag wins over the file");
        let [low, median, high] = ["low_us", "median_us", "high_us"].map(|n| architecture["latency"][n].as_f64());
        assert!(Some(0.0) < low && low <= median && median <= high, "{architecture:#}");
    }
    let cost = found["cost"].as_object().expect("there is a cost");
    let parts = ["training", "tuning", "compiling", "rewriting", "other"].map(|part| cost[part].as_f64().expect("a number"));
    assert!((parts.iter().sum::<f64>() - cost["total"].as_f64().expect("a number")).abs() < 1e-6, "{cost:?}");
    assert!(found["winner"].is_string() && found["baseline"].is_object());

    // A search that is over gives its result again, as a table too; with other settings it has to be started over.
    assert_eq!(sonar(&[&search[..], &["--format", "json"]].concat()).json(), found);
    assert_eq!(sonar(&["resume", &out, "--format", "json"]).json(), found);
    assert!(sonar(&search).succeeds().contains("architecture"));
    sonar(&[&search[..], &["--seed", "5"]].concat()).fails(3, &["`seed` is 0 there, 5 here", "--fresh"]);
    sonar(&[&search[..], &["--seed", "5", "--fresh"]].concat()).succeeds();

    let written = sonar(&["report", &out]).succeeds();
    assert!(written.lines().count() > 3, "{written}");
    for path in written.lines() {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let outside = text.replace("http://www.w3.org/2000/svg", "");
        assert!(text.contains("<svg") && !outside.contains("http://") && !outside.contains("https://"), "{path}");
    }
    let html = fs::read_to_string(scratch.path("run/report.html")).expect("it is written");
    assert!(["src=", "<link", "@import", "url("].iter().all(|reference| !html.contains(reference)));
}

#[test]
fn a_search_without_valid_networks_or_time_says_so() {
    let scratch = Scratch::new();
    let (space, data) = (scratch.file("space.sonar", SPACE), data(&scratch));
    let config = scratch.file("config.toml", "epochs = 1\ntrials = 1\ncandidates = 2\n[training]\nbatch = 8\n");
    let search = ["search", &space, "--data", &data, "--config", &config, "--out"];
    sonar(&[&search[..], &[&scratch.arg("fast"), "--latency-limit", "0.000001"]].concat())
        .fails(4, &["no valid candidate", "none meets `latency-limit`", "the fastest that was timed"]);
    sonar(&[&search[..], &[&scratch.arg("short"), "--time", "1ms"]].concat())
        .fails(6, &["before any candidate was trained", "the shortest useful search takes about"]);
}
