//! `train`: what it writes, what it refuses, and that it goes on after whatever ended it as if nothing had happened.

use crate::command::{Ran, command, ran, sonar};
use crate::runs::signal;
use crate::{SPACE, Scratch, data, write_images};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_files::{Array, npz, safetensors};
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A classifier of the images of [`data`], with running statistics.
const NETWORK: &str = "
    graph @network(%image: f32[N,8,8,1]) {
      param %stem: f32[3,3,1,4] = he
      param %gain: f32[4] = ones
      param %bias: f32[4] = zeros
      param %mean: f32[4] = zeros
      param %variance: f32[4] = ones
      param %head: f32[4,2] = uniform
      %x = batch_norm(conv2d(%image, %stem) {pad=same}, %gain, %bias, %mean, %variance)
      return matmul(global_avg_pool(relu(%x)), %head)
    }
";

/// A training of a few epochs.
struct Training {
    scratch: Scratch,
    args: Vec<String>,
}

impl Training {
    fn new(options: &[&str]) -> Training {
        let scratch = Scratch::new();
        let (model, data) = (scratch.file("network.sonar", NETWORK), data(&scratch));
        let fixed = ["train", &model, "--data", &data, "--batch", "8", "--augment", "none", "--validation", "0.25"];
        let args = fixed.iter().chain(options).map(|arg| arg.to_string()).collect();
        Training { scratch, args }
    }

    fn args(&self, run: &str, more: &[&str]) -> Vec<String> {
        let mut args = [&self.args[..], &["--out".to_string(), self.scratch.arg(run)]].concat();
        for name in more.iter().filter(|arg| arg.starts_with("--")) {
            if let Some(at) = args.iter().position(|arg| arg == name) {
                args.drain(at..at + 2);
            }
        }
        args.extend(more.iter().map(|arg| arg.to_string()));
        args
    }

    fn run(&self, run: &str, more: &[&str]) -> Ran {
        let args = self.args(run, more);
        sonar(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, run: &str) -> Child {
        let args = self.args(run, &[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    fn weights(&self, run: &str) -> [Vec<u8>; 2] {
        ["best.safetensors", "last.safetensors"].map(|name| fs::read(self.scratch.path(run).join(name)).expect("it is written"))
    }

    /// Waits until an epoch is on disk.
    fn wait(&self, run: &str) {
        let begun = Instant::now();
        while !self.scratch.path(run).join("last.safetensors").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the training does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn end(child: Child) -> Ran {
    ran(&["train"], child.wait_with_output().expect("it can be waited for"))
}

#[test]
fn a_training_writes_its_results() {
    let training = Training::new(&["--epochs", "12", "--label-smoothing", "0.1"]);
    let result = training.run("run", &["--format", "json"]).json();
    let epochs = result["epochs"].as_array().expect("a curve");
    assert_eq!((epochs.len(), &result["test"]["images"], &result["model"]), (12, &32.into(), &"network".into()));
    assert!(epochs[11]["loss"].as_f64() < epochs[0]["loss"].as_f64() && result["test"]["accuracy"].as_f64() > Some(0.9));
    assert_eq!(result["settings"]["label-smoothing"], 0.1);
    let file = |what: &str| result["files"][what].as_str().expect("a path").to_string();
    let written: serde_json::Value = serde_json::from_slice(&fs::read(file("document")).expect("it is written")).expect("JSON");
    assert_eq!(written, result);
    assert!(fs::read_to_string(file("curve")).is_ok_and(|svg| svg.starts_with("<svg") && svg.contains("validation")));
    let names = safetensors::parse(&fs::read(file("best")).expect("it is written")).expect("it can be read");
    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["bias", "gain", "head", "mean", "stem", "variance"]);

    // The weights and the ONNX file are the same network.
    let outputs = |args: &[&str]| sonar(args).json()["outputs"][0]["data"].clone();
    let image = training.scratch.file("image.f32", [0.5f32; 64].map(f32::to_le_bytes).concat());
    let common = ["--input", &image, "--format", "json", "--tolerance", "exact"];
    let described = outputs(&[&["run", &training.args[1], "--weights", &file("best")], &common[..]].concat());
    let exported = outputs(&[&["run", &file("onnx")], &common[..]].concat());
    let numbers =
        |value: &serde_json::Value| value.as_array().expect("numbers").iter().filter_map(|v| v.as_f64()).collect::<Vec<_>>();
    let (described, exported) = (numbers(&described), numbers(&exported));
    assert!(
        described.len() == 2 && described.iter().zip(&exported).all(|(a, b)| (a - b).abs() < 1e-4),
        "{described:?} {exported:?}"
    );

    // The same command again has nothing to do; people read a line for each epoch.
    assert!(training.run("run", &[]).succeeds().contains("test accuracy"));
    let said = training.run("other", &[]).fails(0, &["epoch 12 of 12: loss", "validation", "images/s", "0 s left"]);
    assert!(said.stdout.contains("best epoch"), "{said:?}");
    let quiet = training.run("quiet", &["--quiet"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_point_of_a_space() {
    let scratch = Scratch::new();
    let (space, data) = (scratch.file("space.sonar", SPACE), data(&scratch));
    let args = ["train", &space, "--data", &data, "--batch", "8", "--epochs", "1", "--out", &scratch.arg("run")];
    sonar(&args).fails(2, &["this is a search space", "--arch baseline"]);
    sonar(&[&args[..], &["--arch", "baseline", "--optimizer", "adamw"]].concat()).succeeds();
}

#[test]
fn a_killed_training_goes_on_as_if_nothing_had_happened() {
    for threads in ["1", "2"] {
        let training = Training::new(&["--epochs", "40", "--threads", threads]);
        let begun = Instant::now();
        training.run("whole", &[]).succeeds();
        let duration = begun.elapsed();
        let mut rng = StdRng::seed_from_u64(5);
        for round in 0..5 {
            let mut child = training.start("killed");
            std::thread::sleep(duration.mul_f64(rng.random_range(0.1..0.6)));
            assert!(round > 0 || child.try_wait().expect("it can be waited for").is_none());
            child.kill().expect("it can be killed");
            end(child);
        }
        training.run("killed", &[]).succeeds();
        assert!(training.weights("killed") == training.weights("whole"), "with {threads} threads");
    }
}

#[test]
fn an_interrupted_training_saves_and_goes_on() {
    let training = Training::new(&["--epochs", "300"]);
    training.run("whole", &[]).succeeds();
    let child = training.start("run");
    training.wait("run");
    training.run("run", &[]).fails(3, &["is in use by another process", "--out"]);
    signal(&child, "-INT");
    let begun = Instant::now();
    end(child).fails(130, &["interrupted", "goes on"]);
    assert!(begun.elapsed() < Duration::from_secs(4));
    training.run("run", &[]).fails(0, &["going on after epoch"]);
    assert!(training.weights("run") == training.weights("whole"));
}

#[test]
fn other_settings_are_refused_by_name() {
    let training = Training::new(&["--epochs", "2"]);
    training.run("run", &[]).succeeds();
    training.run("run", &["--learning-rate", "0.2"]).fails(3, &["`learning-rate` was 0.1 and is 0.2", "--fresh"]);
    training.run("run", &["--threads", "7"]).fails(3, &["`threads` was"]);
    training
        .run("run", &["--optimizer", "adamw"])
        .fails(3, &["`learning-rate` was 0.1 and is 0.001, `optimizer` was \"sgd\" and is \"adamw\""]);
    training.run("run", &["--learning-rate", "0.2", "--fresh"]).succeeds();
    training.scratch.file("network.sonar", NETWORK.replace("uniform", "zeros"));
    training.run("run", &["--learning-rate", "0.2"]).fails(3, &["the network, the images or the initial weights have changed"]);
    fs::write(training.scratch.path("run/train.json"), "{").expect("it can be written");
    training.run("run", &[]).fails(3, &["train.json does not describe a training"]);
}

#[test]
fn a_time_limit_ends_a_training_that_can_go_on() {
    let training = Training::new(&["--epochs", "100000"]);
    training.run("short", &["--time", "1ms"]).fails(6, &["longer --time"]);
    let result = training.run("run", &["--time", "2s", "--format", "json"]).json();
    assert!(result["epochs"].as_array().is_some_and(|epochs| !epochs.is_empty()) && result["test"]["images"] == 32);
    training.run("run", &["--time", "1s"]).fails(0, &["going on after epoch"]);
}

#[test]
fn test_images_change_no_weight() {
    let training = Training::new(&["--epochs", "3"]);
    training.run("one", &[]).succeeds();
    write_images(&training.scratch, "t10k", 32, &[7; 64 * 32]);
    training.run("other", &[]).succeeds();
    assert!(training.weights("one") == training.weights("other"));
}

#[test]
fn an_onnx_file_is_tuned_finely() {
    let training = Training::new(&["--epochs", "12"]);
    let first = training.run("run", &["--format", "json"]).json();
    let onnx = training.scratch.arg("run/model.onnx");
    let args = ["train", &onnx, "--data", &training.scratch.arg(""), "--batch", "8", "--epochs", "1"];
    let rest = ["--learning-rate", "1e-6", "--augment", "none", "--format", "json", "--out", &training.scratch.arg("tuned")];
    let second = sonar(&[&args[..], &rest].concat());
    assert_eq!(second.json()["test"]["accuracy"], first["test"]["accuracy"]);
    sonar(&["run", &training.scratch.arg("tuned/model.onnx"), "--check"]).succeeds();
}

#[test]
fn initial_weights() {
    let training = Training::new(&["--epochs", "1", "--learning-rate", "1e-9"]);
    training.run("run", &["--ema-decay", "0"]).succeeds();
    let best = training.scratch.arg("run/best.safetensors");
    let arrays = safetensors::parse(&fs::read(&best).expect("it is written")).expect("it can be read");
    let named = || arrays.iter().map(|(name, array)| (name.as_str(), array));
    let npz = training.scratch.file("w.npz", npz::format(named()).expect("it can be written"));
    training.run("a", &["--init", &best]).succeeds();
    training.run("b", &["--init", &npz]).succeeds();
    assert!(training.weights("a") == training.weights("b"));

    // The file with another array, or without it.
    let other = |name: &str, array: Option<Array>| {
        let mut all: Vec<(String, Array)> = arrays.iter().filter(|(found, _)| found != name).cloned().collect();
        all.extend(array.map(|array| (name.to_string(), array)));
        let all = all.iter().map(|(name, array)| (name.as_str(), array));
        training.scratch.file("w.safetensors", safetensors::format(all).expect("it can be written"))
    };
    let refused = |file: &str, parts: &[&str]| training.run("c", &["--init", file]).fails(3, parts);
    refused(&other("head", None), &["w.safetensors", "no array `head`", "`stem`"]);
    refused(&other("head", Some(Array::from_f32(vec![2, 4], &[0.0; 8]))), &["shape [2, 4]", "`head` has the shape [4, 2]"]);
    let whole = fs::read(&best).expect("it is written");
    let cut = training.scratch.file("cut.safetensors", &whole[..whole.len() - 1]);
    refused(&cut, &["cut.safetensors", "cut off"]);
    refused(&training.scratch.arg("no.safetensors"), &["no.safetensors"]);
    let extra = other("more", Some(Array::from_f32(vec![1], &[1.0])));
    training.run("extra", &["--init", &extra]).fails(0, &["warning", "the array `more` is not used"]);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let training = Training::new(&["--epochs", "1"]);
    let refused = |more: &[&str], code: i32, parts: &[&str]| {
        training.run("run", more).fails(code, parts);
    };
    refused(&["--augment", "flip,turn=3"], 2, &["`turn=3` is no augmentation", "flip,crop=4,cutout=8"]);
    refused(&["--validation", "1"], 2, &["at least 0 and below 1"]);
    refused(&["--train"], 2, &["`train` trains the model itself"]);
    refused(&["--batch", "999"], 3, &["training images, fewer than `batch` = 999"]);
    refused(&["--learning-rate", "1e30", "--optimizer", "sgd", "--epochs", "5"], 4, &["diverged in step", "--learning-rate"]);
    let model = |text: &str| {
        let file = training.scratch.file("other.sonar", text);
        sonar(&["train", &file, "--data", &training.scratch.arg(""), "--batch", "8", "--out", &training.scratch.arg("other")])
    };
    model(&NETWORK.replace("8,8,1", "9,8,1")).fails(3, &["[9, 8, 1]", "are [8, 8, 1]"]);
    model(&NETWORK.replace("4,2", "4,3")).fails(3, &["the network has 3 classes", "has 2"]);
    model("graph @f(%x: f32[N,4]) { return relu(%x) }").fails(3, &["cannot be trained", "expected images"]);
    model("graph @f(%image: f32[N,8,8,1]) {\n  return global_avg_pool(%image)\n}").fails(3, &["classes"]);
}
