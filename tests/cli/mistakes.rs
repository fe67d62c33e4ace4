//! Mistakes that people make: what the program says names the place, the cause and what to do. Nothing panics, nothing hangs.

use crate::command::{Ran, command, ran, sonar};
use crate::{SPACE, Scratch, data, example};
use std::fs;

/// A command that has to be refused: with exit code 2 or 3, in a few lines, and without words of the inside.
#[track_caller]
fn refused(args: &[&str], parts: &[&str]) -> Ran {
    let ran = sonar(args);
    let code = ran.code.unwrap_or(-1);
    assert!(code == 2 || code == 3, "{ran:#?}");
    assert!(!ran.stderr.contains("Os {") && !ran.stderr.contains("Error("), "{ran:#?}");
    ran.fails(code, parts)
}

#[test]
fn files_that_are_something_else() {
    let scratch = Scratch::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let files = [
        ("pointer.sonar", pointer.as_bytes(), "git lfs pull"),
        ("page.sonar", b"<!DOCTYPE html>\n<html></html>", "web page"),
        ("packed.sonar", b"\x1f\x8b\x08\x00\xff", "gunzip"),
        ("net.sonar", b"PK\x03\x04\xff\xfe archive/data.pkl", "torch.onnx.export"),
        ("empty.sonar", b"", "empty"),
    ];
    for (name, content, part) in files {
        refused(&["check", &scratch.file(name, content)], &[name, part]);
    }
    // The same for data.
    let space = scratch.file("space.sonar", SPACE);
    let folder = data(&scratch);
    scratch.file("train-labels-idx1-ubyte", pointer);
    refused(&["search", &space, "--data", &folder, "--out", &scratch.arg("run")], &["train-labels-idx1-ubyte", "git lfs pull"]);
    refused(&["search", &space, "--data", &space], &["space.sonar", "not a data set"]);
    assert!(!scratch.path("run").exists());
}

#[test]
fn folders_where_files_are_expected() {
    let (scratch, dense) = (Scratch::new(), example("models/dense.sonar"));
    let folder = scratch.arg("");
    for command in ["check", "compile", "run", "bench", "inspect", "tune"] {
        refused(&[command, &folder], &["directory"]);
    }
    refused(&["run", &dense, "--input", &folder], &["cannot read", "directory"]);
    refused(&["run", &dense, "--weights", &folder], &["cannot read", "directory"]);
    refused(&["run", &dense, "--output", &folder], &["cannot write", "directory"]);
    refused(&["export", &dense, "-o", &folder], &["cannot write", "directory"]);
    refused(&["compile", &dense, "--rules", &folder], &["cannot read", "directory"]);
    refused(&["compile", &dense, "--records", &folder], &["records"]);
    refused(&["db", "check", "--records", &folder], &["records"]);
    refused(&["db", "merge", &folder], &["there is no file"]);
    refused(&["db", "import", &folder, "--records", &scratch.arg("new.db")], &["directory"]);
    refused(&["db", "export", "-o", &folder, "--records", &folder], &["records"]);
    refused(&["search", "--config", &folder], &["directory"]);
    refused(&["compile", &dense, "--emit", "object", "--out", &folder], &["a folder", "DIR/STEM"]);
    refused(&["bench", &dense, "--runs", "1", "--html", &folder], &["cannot write", "directory"]);
}

#[test]
fn numbers_out_of_range() {
    let (scratch, dense) = (Scratch::new(), example("models/dense.sonar"));
    let space = scratch.file("space.sonar", SPACE);
    let huge = "99999999999999999999999";
    for number in ["-1", "x", huge, "1.5"] {
        refused(&["compile", &dense, "--threads", number], &["--threads"]);
        refused(&["compile", &dense, "--batch", number], &["--batch"]);
        refused(&["bench", &dense, "--runs", number], &["--runs"]);
        refused(&["run", &dense, "--seed", number], &["--seed"]);
        refused(&["tune", &dense, "--trials", number], &["--trials"]);
        refused(&["search", &space, "--candidates", number], &["--candidates"]);
        refused(&["inspect", &dense, "--stage", "loops", "--kernel", number], &["--kernel"]);
    }
    for command in ["compile", "run", "bench", "tune"] {
        refused(&[command, &dense, "--threads", "0"], &["--threads", "1"]);
        refused(&[command, &dense, "--batch", "0"], &["--batch", "1"]);
        refused(&[command, &dense, "--threads", "1000000"], &["--threads"]);
        refused(&[command, &dense, "--batch", "18446744073709551615"], &["too many elements"]);
        refused(&[command, &dense, "--tolerance", "-1"], &["--tolerance"]);
        refused(&[command, &dense, "--tolerance", "NaN"], &["--tolerance"]);
    }
    refused(&["inspect", &dense, "--stage", "loops", "--threads", "0"], &["--threads", "1"]);
    refused(&["inspect", &dense, "--batch", "0"], &["--batch", "1"]);
    refused(&["inspect", &dense, "--stage", "rewritten", "--batch", "0"], &["--batch", "1"]);
    refused(&["run", &dense, "--check", "-1"], &["--check"]);
    refused(&["run", &dense, "--check", "x"], &["--check"]);
    refused(&["doctor", "--aa", "0"], &["--aa", "1"]);
    for time in ["0s", "-1", "1e300h", "NaN", "", "10 apples"] {
        refused(&["tune", &dense, "--time", time], &["--time"]);
        refused(&["search", &space, "--time", time], &["--time"]);
    }
    for option in ["--threads", "--latency-threads", "--candidates", "--epochs"] {
        refused(&["search", &space, option, "0", "--out", &scratch.arg("run")], &["at least"]);
    }
    for limit in ["0", "-1", "NaN", "inf", "x"] {
        refused(&["search", &space, "--latency-limit", limit, "--out", &scratch.arg("run")], &["latency-limit"]);
    }
    assert!(!scratch.path("run").exists(), "nothing is begun");
}

#[test]
fn keys_of_a_configuration_are_suggested() {
    let scratch = Scratch::new();
    let space = scratch.file("space.sonar", SPACE);
    for (text, parts) in [
        ("candidats = 3", ["candidats", "did you mean `candidates`?"]),
        ("latency_limit = 3", ["latency_limit", "did you mean `latency-limit`?"]),
        ("[training]\nbatsh = 3", ["batsh", "did you mean `batch`?"]),
        ("[training]\nimages_per_epochs = 3", ["images_per_epochs", "did you mean"]),
        ("time = 5", ["time", "string"]),
        ("candidates = -1", ["candidates", "-1"]),
    ] {
        let config = scratch.file("config.toml", text);
        refused(&["search", &space, "--config", &config, "--out", &scratch.arg("run")], &["config.toml", parts[0], parts[1]]);
    }
    // An empty file says nothing, which is allowed.
    let config = scratch.file("config.toml", "");
    refused(&["search", &space, "--config", &config, "--data", "none", "--out", &scratch.arg("run")], &["cannot read none"]);
}

#[test]
fn places_where_nothing_may_be_written() {
    let (scratch, dense) = (Scratch::new(), example("models/dense.sonar"));
    // Nobody may write below a file, not even a superuser.
    let file = scratch.file("file", "");
    let below = |name: &str| format!("{file}/{name}");
    refused(&["tune", &dense, "--trials", "1", "--records", &below("records.db")], &["file", "records"]);
    refused(&["compile", &dense, "--emit", "object", "--out", &below("net")], &["cannot create", "file"]);
    refused(&["run", &dense, "--output", &below("out")], &["cannot write", "out"]);
    refused(&["export", &dense, "-o", &below("x.onnx")], &["cannot write", "x.onnx"]);
    refused(&["inspect", &dense, "--svg", &below("x.svg")], &["cannot write", "x.svg"]);
    refused(&["db", "recover", &file, "-o", &below("new.db")], &["new.db"]);
    let output = command(&["tune", &dense, "--trials", "1"]).env("XDG_DATA_HOME", below("share")).output().expect("it starts");
    ran(&["tune"], output).fails(3, &["cannot create", "share", "records"]);
}

#[test]
fn wrong_words() {
    let (scratch, dense) = (Scratch::new(), example("models/dense.sonar"));
    refused(&[], &["Usage"]);
    refused(&["tun", &dense], &["tun", "tune"]);
    refused(&["tune"], &["MODEL"]);
    refused(&["compile", &dense, "--emit", "exe"], &["exe", "object"]);
    refused(&["compile", &dense, "--thread", "2"], &["--thread", "--threads"]);
    refused(&["compile", &dense, "--shape", "x"], &["--shape", "NAME=EXTENTS"]);
    refused(&["compile", &dense, "--shape", "x=1"], &["--shape"]);
    refused(&["compile", &dense, "--arch", "baseline"], &[]);
    refused(&["inspect", &dense, "--schedule", "unroll i 4", "--stage", "loops"], &["--kernel"]);
    refused(&["inspect", &dense, "--kernel", "0", "--stage", "loops", "--schedule", "fly i 4"], &["--schedule", "fly"]);
    refused(&["db", "top", "--model", &dense, "--records", &scratch.arg("none.db")], &["no records"]);
    refused(&["search", "--data", "mnist"], &["cannot read mnist"]);
    refused(&["search", "--target", "z80", "--out", &scratch.arg("run")], &["z80"]);
    assert!(fs::read_dir(scratch.path("")).expect("a folder").next().is_none(), "nothing is left behind");
}
