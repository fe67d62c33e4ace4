//! ONNX files on the command line: their weights, their shapes, and what is wrong with them.

use crate::command::sonar;
use crate::onnx_file::{file, input, int, node, weight};
use crate::{Scratch, example};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;

/// `relu(x · w + b)` of three numbers, the number of samples left open.
fn dense() -> Vec<u8> {
    let nodes = vec![node("Gemm", &["x", "w", "b"], "sum"), node("Relu", &["sum"], "y")];
    let weights = vec![weight("w", &[3, 2], &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]), weight("b", &[2], &[0.5, 15.0])];
    file(nodes, vec![input("x", &[0, 3])], "y", weights)
}

/// The second of two channels, by a convolution; height and width are left open.
fn second_channel() -> Vec<u8> {
    let nodes = vec![node("Conv", &["image", "w"], "y")];
    file(nodes, vec![input("image", &[1, 2, 0, 0])], "y", vec![weight("w", &[1, 2, 1, 1], &[0.0, 1.0])])
}

/// A file with five faults, all of a different sort.
fn faulty() -> Vec<u8> {
    let mut strange = node("Relu", &["x"], "strange");
    strange.attribute.push(int("slope", 1));
    let mut foreign = node("Relu", &["x"], "foreign");
    foreign.domain = "com.example".to_string();
    let mut text = weight("text", &[1], &[1.0]);
    text.data_type = 8;
    let nodes = vec![
        node("NonMaxSuppression", &["x"], "boxes"),
        strange,
        foreign,
        node("Add", &["x", "nothing"], "sum"),
        node("Relu", &["x"], "y"),
    ];
    file(nodes, vec![input("x", &[1, 3])], "y", vec![text])
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn numbers(path: &str) -> Vec<f32> {
    let bytes = fs::read(path).expect("the output is written");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

#[test]
fn the_weights_of_the_file_count() {
    let scratch = Scratch::new();
    let (model, output) = (scratch.file("dense.onnx", dense()), scratch.arg("y.f32"));
    let (one, two) =
        (scratch.file("one.f32", bytes(&[1.0, 1.0, 1.0])), scratch.file("two.f32", bytes(&[1.0, 1.0, 1.0, 0.0, 4.0, 0.0])));
    for command in ["run", "bench"] {
        sonar(&[command, &model, "--input", &one, "--output", &output]).succeeds();
        assert_eq!(numbers(&output), [6.5, 9.0]);
        sonar(&[command, &model, "--batch", "2", "--input", &two, "--output", &output]).succeeds();
        assert_eq!(numbers(&output), [6.5, 9.0, 8.5, 7.0]);
        sonar(&[command, &model, "--shape", "x=2,3", "--input", &two, "--output", &output]).succeeds();
        assert_eq!(numbers(&output), [6.5, 9.0, 8.5, 7.0]);
        // Other weights, in the order of the parameters.
        let other = scratch.file("w.f32", bytes(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.25, 0.75]));
        sonar(&[command, &model, "--weights", &other, "--input", &one, "--output", &output]).succeeds();
        assert_eq!(numbers(&output), [3.25, 0.75]);
    }
    sonar(&["run", &model, "--check"]).succeeds();
    assert!(sonar(&["bench", &model, "--serve", "--input", &one]).succeeds().starts_with("{\"compile_s\":"));
}

#[test]
fn images_keep_the_order_of_the_file() {
    let scratch = Scratch::new();
    let (model, output) = (scratch.file("second.onnx", second_channel()), scratch.arg("y.f32"));
    let image: Vec<f32> = (0..2 * 3 * 5).map(|i| i as f32).collect();
    let input = scratch.file("image.f32", bytes(&image));
    sonar(&["run", &model, "--shape", "image=1,2,3,5", "--input", &input, "--output", &output, "--check"]).succeeds();
    assert_eq!(numbers(&output), image[15..]);
    sonar(&["run", &model]).fails(3, &["`image`", "axis 2", "shape must be given"]);
    sonar(&["run", &model, "--shape", "image=1,3,3,5"]).fails(3, &["`image`", "axis 1", "2", "3"]);
    sonar(&["run", &model, "--shape", "image=1,2,3"]).fails(3, &["`image`", "4 axes", "3"]);
    sonar(&["run", &model, "--shape", "picture=1,2,3,5"]).fails(3, &["no input `picture`", "image"]);
}

#[test]
fn every_command_takes_them() {
    let scratch = Scratch::new();
    let model = scratch.file("dense.onnx", dense());
    let compiled = sonar(&["compile", &model, "--format", "json"]).json();
    assert_eq!((&compiled["model"], &compiled["parameters"]), (&"net".into(), &8.into()));
    let passes = compiled["pass_seconds"].as_object().expect("there are passes");
    assert!(passes.contains_key("read") && passes.contains_key("weights"), "{passes:?}");
    assert!(sonar(&["inspect", &model]).succeeds().contains("graph @net(%x: f32[1,3]"));
    assert!(sonar(&["inspect", &model, "--batch", "4"]).succeeds().contains("graph @net(%x: f32[4,3]"));
    for stage in ["egraph", "rewritten", "loops", "schedule", "clif", "asm"] {
        assert!(!sonar(&["inspect", &model, "--stage", stage]).succeeds().is_empty());
    }
    let records = scratch.arg("records.db");
    let tuned = sonar(&["tune", &model, "--trials", "2", "--records", &records, "--format", "json", "--quiet"]).json();
    assert!(tuned["tuned_us"].as_f64() > Some(0.0));
    assert_eq!(sonar(&["bench", &model, "--runs", "6", "--format", "json"]).json()["model"], "net");
}

#[test]
fn check_lists_everything() {
    let scratch = Scratch::new();
    let text = sonar(&["check", &scratch.file("dense.onnx", dense())]).succeeds();
    for part in ["net", "8 parameters", "supported", "x: f32[1, 3]", "y: f32[1, 2]"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let faulty = scratch.file("faulty.onnx", faulty());
    let parts = [
        "faulty.onnx",
        "5 problems",
        "NonMaxSuppression `boxes`",
        "`strange`",
        "`slope`",
        "`foreign`",
        "com.example",
        "`sum`",
        "`nothing`",
        "`text`",
    ];
    for command in ["check", "compile", "run", "bench", "inspect", "tune"] {
        sonar(&[command, &faulty]).fails(3, &parts);
    }
}

#[test]
fn contents_tell_what_a_file_is() {
    let scratch = Scratch::new();
    sonar(&["check", &scratch.file("model.bin", dense())]).succeeds();
    sonar(&["check", &scratch.file("text.onnx", "graph @f(%x: f32[2]) { return %x }")])
        .fails(3, &["text.onnx", "not an ONNX model"]);
    sonar(&["check", &scratch.file("empty.onnx", "")]).fails(3, &["empty.onnx", "not an ONNX model"]);
    sonar(&["check", &scratch.arg("nowhere.onnx")]).fails(3, &["cannot read", "nowhere.onnx", "No such file"]);
}

#[test]
fn options_that_do_not_fit() {
    let scratch = Scratch::new();
    let model = scratch.file("dense.onnx", dense());
    sonar(&["run", &model, "--arch", "baseline"]).fails(2, &["--arch", "ONNX"]);
    sonar(&["check", &model, "--set", "c=16"]).fails(2, &["--set", "ONNX"]);
    sonar(&["run", &model, "--shape", "x"]).fails(2, &["NAME=EXTENTS"]);
    sonar(&["run", &model, "--shape", "x=0,3"]).fails(2, &["NAME=EXTENTS"]);
    sonar(&["run", &example("models/dense.sonar"), "--shape", "x=1,256"]).fails(2, &["--shape x", "--batch"]);
    sonar(&["check", &example("models/dense.sonar"), "--shape", "x=1,256"]).fails(2, &["--shape x", "--batch"]);
    let fixed = file(vec![node("Relu", &["x"], "y")], vec![input("x", &[1, 3])], "y", vec![]);
    let fixed = scratch.file("fixed.onnx", fixed);
    sonar(&["run", &fixed, "--batch", "4"]).fails(3, &["--batch 4", "fixed.onnx"]);
}

#[test]
fn damaged_files() {
    let (scratch, mut rng, whole) = (Scratch::new(), StdRng::seed_from_u64(3), dense());
    let survives = |content: &[u8]| {
        let ran = sonar(&["check", &scratch.file("damaged.onnx", content)]);
        assert!(ran.code == Some(0) || ran.code == Some(3) && ran.stderr.contains("damaged.onnx"), "{ran:#?}\n{content:?}");
    };
    (0..whole.len()).step_by(3).for_each(|end| survives(&whole[..end]));
    for _ in 0..100 {
        let mut damaged = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..damaged.len());
            damaged[place] = rng.random();
        }
        survives(&damaged);
    }
}
