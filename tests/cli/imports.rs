//! ONNX files that are invalid, unusual, or something else: the command line says what and where.

use crate::Scratch;
use crate::command::sonar;
use crate::onnx_file::{batched, file, file_of, node, weight};

/// The commands that read a model.
const COMMANDS: [&str; 6] = ["check", "compile", "run", "bench", "inspect", "tune"];

#[test]
fn a_symbol_that_inputs_share_is_one_extent() {
    let scratch = Scratch::new();
    let inputs = vec![batched("x", "N", &[3]), batched("z", "N", &[3])];
    let sum = file_of(vec![node("Add", &["x", "z"], "y")], inputs, &["y"], vec![]);
    let model = scratch.file("sum.onnx", sum);
    let checked = sonar(&["check", &model, "--shape", "x=4,3"]).succeeds();
    for part in ["x: f32[4, 3]", "z: f32[4, 3]", "y: f32[4, 3]"] {
        assert!(checked.contains(part), "`{part}` is not in {checked}");
    }
    assert!(sonar(&["run", &model, "--shape", "x=4,3", "--check"]).succeeds().contains("[4, 3]"));
    sonar(&["bench", &model, "--shape", "z=4,3", "--runs", "6"]).succeeds();
    sonar(&["compile", &model, "--shape", "x=4,3"]).succeeds();
    assert!(sonar(&["inspect", &model, "--shape", "x=4,3"]).succeeds().contains("%z: f32[4,3]"));
    let exported = scratch.arg("exported.onnx");
    sonar(&["export", &model, "--shape", "x=4,3", "-o", &exported]).succeeds();
    assert!(sonar(&["check", &exported]).succeeds().contains("z: f32[4, 3]"));
    for command in COMMANDS {
        let ran = sonar(&[command, &model, "--shape", "x=4,3", "--shape", "z=5,3"]);
        ran.fails(3, &["sum.onnx", "`z`", "`N`", "5 here and 4 on axis 0 of `x`"]);
    }
}

#[test]
fn invalid_graphs() {
    let scratch = Scratch::new();
    let input = || vec![batched("x", "N", &[3])];
    let twice = vec![node("Neg", &["x"], "a"), node("Relu", &["x"], "a"), node("Neg", &["a"], "y")];
    let model = scratch.file("twice.onnx", file(twice, input(), "y", vec![]));
    for command in COMMANDS {
        sonar(&[command, &model]).fails(3, &["twice.onnx", "Relu `a`", "computed twice", "Neg `a`"]);
    }
    let circle = vec![node("Add", &["x", "b"], "a"), node("Neg", &["a"], "b"), node("Relu", &["b"], "y")];
    sonar(&["check", &scratch.file("circle.onnx", file(circle, input(), "y", vec![]))])
        .fails(3, &["circle.onnx", "`a` → `b` → `a`", "1 more node depends"]);
    let unsorted = vec![node("Relu", &["a"], "y"), node("Neg", &["x"], "a")];
    sonar(&["run", &scratch.file("unsorted.onnx", file(unsorted, input(), "y", vec![])), "--check"]).succeeds();
    let hidden = vec![node("Mystery", &["x"], "a"), node("MatMul", &["a", "w"], "b"), node("Relu", &["b"], "y")];
    let weights = vec![weight("w", &[2, 2], &[0.0; 4])];
    let ran = sonar(&["check", &scratch.file("hidden.onnx", file(hidden, input(), "y", weights))]);
    ran.fails(3, &["1 problem stands in the way", "Mystery `a`", "2 more nodes depend"]);
}

/// A file of the wrong kind is told what it seems to be, under any name, with the path.
#[test]
fn files_that_are_something_else() {
    let scratch = Scratch::new();
    let kinds: [(&[u8], &str); 8] = [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "web page"),
        (b"PK\x03\x04\0\0\0\0archive/data.pkl", "torch.onnx.export"),
        (b"PK\x03\x04\0\0\0\0model.onnx", "zip archive"),
        (b"\x30\0\0\0ORTM\0\0\0\0", ".ort file"),
        (b"\x1c\0\0\0TFL3\0\0\0\0", "TensorFlow Lite"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gunzip"),
        (b"\x12\0\0\0\0\0\0\0{\"__metadata__\":{}}", "safetensors"),
    ];
    for (bytes, part) in kinds {
        for name in ["model.onnx", "model.pt", "model.sonar"] {
            let path = scratch.file(name, bytes);
            for command in ["check", "run", "search"] {
                sonar(&[command, &path]).fails(3, &[name, part]);
            }
        }
    }
    sonar(&["check", &scratch.file("text.onnx", "graph @f(%x: f32[2]) { return %x }")]).fails(3, &["text.onnx", ".sonar"]);
    sonar(&["check", &scratch.file("empty.onnx", "")]).fails(3, &["empty.onnx", "the file is empty"]);
}

#[cfg(unix)]
#[test]
fn devices_are_not_read_for_ever() {
    let scratch = Scratch::new();
    let link = scratch.path("zero.onnx");
    std::os::unix::fs::symlink("/dev/zero", link).expect("links can be made");
    sonar(&["check", &scratch.arg("zero.onnx")]).fails(3, &["cannot read", "zero.onnx", "a device"]);
}
