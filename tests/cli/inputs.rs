//! Bad input gives a message that says what, where and what to do, and its exit code: never a panic.

use crate::command::sonar;
use crate::{SPACE, Scratch, data, example, write_images, write_labels};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;

/// Checks a text: it may be right or wrong, but `check` has to say which.
fn survives(scratch: &Scratch, content: &[u8]) -> bool {
    let ran = sonar(&["check", &scratch.file("input.sonar", content)]);
    match ran.code {
        Some(0) => true,
        Some(3) if ran.stderr.contains("input.sonar") => false,
        _ => panic!("{ran:#?}\n{}", String::from_utf8_lossy(content)),
    }
}

/// Refuses a model text with exit code 3, the parts in its message.
fn refused(text: &str, parts: &[&str]) {
    let scratch = Scratch::new();
    sonar(&["check", &scratch.file("input.sonar", text)]).fails(3, parts);
}

/// The files that are cut and mutated.
const VICTIMS: [&str; 3] = ["kernels/residual_block.sonar", "kernels/attention.sonar", "spaces/width-kernel.sonar"];

#[test]
fn truncated_files() {
    let scratch = Scratch::new();
    for name in VICTIMS {
        let text = fs::read(example(name)).expect("examples are part of the repository");
        for i in 0..60 {
            survives(&scratch, &text[..text.len() * i / 60]);
        }
        assert!(survives(&scratch, &text), "{name} as it is");
        let last_brace = text.iter().rposition(|&b| b == b'}').expect("a graph ends");
        assert!(!survives(&scratch, &text[..last_brace]), "{name} without its end");
    }
}

#[test]
fn random_bytes() {
    let (scratch, mut rng) = (Scratch::new(), StdRng::seed_from_u64(1));
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..rng.random_range(1..400)).map(|_| rng.random()).collect();
        assert!(!survives(&scratch, &bytes));
    }
}

#[test]
fn mutated_files() {
    let (scratch, mut rng) = (Scratch::new(), StdRng::seed_from_u64(2));
    let texts = VICTIMS.map(|name| fs::read(example(name)).expect("examples are part of the repository"));
    for round in 0..150 {
        let mut text = texts[round % texts.len()].clone();
        for _ in 0..rng.random_range(1..4) {
            let (from, to) = (rng.random_range(0..text.len()), rng.random_range(0..text.len()));
            let end = (from + rng.random_range(1..20)).min(text.len());
            match rng.random_range(0..4) {
                0 => text[from] = rng.random_range(b' '..b'~'),
                1 => text[from] = rng.random(),
                2 => drop(text.drain(from..end)),
                _ => {
                    let piece = text[from..end].to_vec();
                    text.splice(to..to, piece);
                }
            }
        }
        survives(&scratch, &text);
    }
}

#[test]
fn descriptions_that_mean_nothing() {
    refused("graph @f(%x: f32[2,3], %y: f32[4,5]) { return matmul(%x, %y) }", &["input.sonar:1:", "[2,3]", "[4,5]"]);
    refused("graph @f(%x: f32[2,3]) { return add(%x, %y) }", &["input.sonar:1:", "y"]);
    refused("graph @f(%x: f32[2,3]) {\n  return rleu(%x)\n}", &["input.sonar:2:", "rleu", "relu"]);
    refused("graph @f(%x: f32[2,3]) {\n  return relu(%x) : f32[3,2]\n}", &["input.sonar:2:"]);
    refused("graph @f(%x: f32[N,8,8,2], param %w: f32[3,3,4,1]) { return conv2d(%x, %w) }", &["input.sonar:1:"]);
    refused(
        &format!("graph @f(%x: f32[2]) {{ return {}%x{} }}", "relu(".repeat(50_000), ")".repeat(50_000)),
        &["input.sonar:1:", "deep"],
    );
    refused("graph @f(%x: f32[2]) { return @f(%x) }", &["input.sonar:1:"]);
    refused("graph @f(%x: f32[99999999999999999999]) { return %x }", &["input.sonar:1:"]);
    refused("", &["input.sonar"]);
    let scratch = Scratch::new();
    sonar(&["check", &scratch.file("bad.sonar", b"graph @f(\xff\xfe")]).fails(3, &["bad.sonar", "UTF-8"]);
}

#[test]
fn files_that_cannot_be_read() {
    let scratch = Scratch::new();
    let nowhere = scratch.arg("nowhere.sonar");
    for command in ["check", "compile", "run", "bench", "inspect", "tune"] {
        sonar(&[command, &nowhere]).fails(3, &["cannot read", "nowhere.sonar", "No such file"]);
        sonar(&[command, &scratch.arg("")]).fails(3, &["cannot read", "directory"]);
    }
    sonar(&["search", &nowhere]).fails(3, &["cannot read", "nowhere.sonar"]);
    sonar(&["resume", &scratch.arg("")]).fails(3, &["holds no run"]);
    sonar(&["report", &scratch.arg("none")]).fails(3, &["holds no run"]);
}

#[test]
fn options_that_make_no_sense() {
    let (dense, nb201) = (example("models/dense.sonar"), example("spaces/nas-bench-201.sonar"));
    sonar(&["compile", &dense, "--target", "z80"]).fails(3, &["z80", "x86-64-v3"]);
    sonar(&["run", &dense, "--target", "aarch64-unknown-linux-gnu"]).fails(3, &["this machine cannot run", "aarch64"]);
    sonar(&["compile", &dense, "--threads", "0"]).fails(2, &["--threads", "at least 1"]);
    sonar(&["compile", &dense, "--batch", "0"]).fails(2, &["--batch", "at least 1"]);
    let large = sonar(&["compile", &dense, "--batch", "99999999999"]).fails(3, &["too many elements"]);
    assert_eq!(large.stderr.matches("too many elements").count(), 1, "a cause is told once: {large:#?}");
    sonar(&["bench", &dense, "--runs", "0"]).fails(2, &["--runs", "at least 1"]);
    sonar(&["compile", &dense, "--set", "nonsense"]).fails(2, &["--set nonsense", "NAME=VALUE"]);
    sonar(&["check", &nb201, "--set", "chanels=4"]).fails(3, &["chanels", "channels"]);
    sonar(&["check", &nb201, "--set", "channels=many"]).fails(3, &["many"]);
    sonar(&["compile", &nb201]).fails(2, &["search space", "--arch baseline"]);
    sonar(&["compile", &nb201, "--arch", "e01=nothing"]).fails(2, &["nothing"]);
    sonar(&["compile", &nb201, "--arch", "e01=none"]).fails(2, &["e02"]);
    for stage in ["space", "schedule", "loops", "clif", "asm"] {
        sonar(&["inspect", &dense, "--stage", stage, "--kernel", "99"]).fails(2, &["no kernel 99"]);
    }
    sonar(&["inspect", &dense, "--stage", "dream"]).fails(2, &["dream", "rewritten"]);
    sonar(&["tune", &dense, "--time", "5 parsecs"]).fails(2, &["parsecs", "10m"]);
    sonar(&["search", "--algorithm", "annealing"]).fails(2, &["annealing", "sequential"]);
    sonar(&["search", "--time", "soon"]).fails(2, &["soon"]);
    sonar(&["search", "--time", "0s"]).fails(2, &["above zero"]);
    sonar(&["serach"]).fails(2, &["serach", "search"]);
    sonar(&["completions", "tcl"]).fails(2, &["tcl", "bash"]);
}

#[test]
fn searches_that_cannot_begin() {
    let scratch = Scratch::new();
    let (space, data, out) = (scratch.file("space.sonar", SPACE), data(&scratch), scratch.arg("run"));
    let refused = |more: &[&str], code: i32, parts: &[&str]| {
        let place: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", &out] };
        sonar(&[&["search", &space], place, more].concat()).fails(code, parts);
    };
    refused(&["--data", &data], 3, &["52 training images", "fewer than `batch` = 64"]);
    let small = scratch.file("small.toml", "[training]\nbatch = 8\n");
    refused(&["--data", &data, "--config", &small, "--target", "z80"], 3, &["z80"]);
    refused(&["--data", &data, "--candidates", "0"], 2, &["--candidates", "at least 1"]);
    refused(&["--data", "fashion-mnist"], 3, &["28"]);
    refused(
        &["--data", &data, "--config", &small, "--candidates", "1", "--out", &format!("{space}/run")],
        3,
        &["space.sonar/run"],
    );
    let faulty = [
        ("candidats = 3", "candidats"),
        ("[training]\nbatsh = 3", "batsh"),
        ("[training.augment]\nflop = true", "flop"),
        ("[training.optimizer.sgd]\nmomentun = 0.9", "momentun"),
        ("threads = \"many\"", "threads"),
        ("time = \"soon\"", "soon"),
        ("= 3", "line 1"),
    ];
    for (text, part) in faulty {
        let config = scratch.file("config.toml", text);
        refused(&["--data", &data, "--config", &config], 3, &["config.toml", part]);
    }
    refused(&["--data", &data, "--config", &scratch.arg("none.toml")], 3, &["cannot read", "none.toml"]);
    assert!(!scratch.path("run").exists(), "nothing is begun");
}

#[test]
fn data_sets_that_cannot_be_read() {
    let scratch = Scratch::new();
    let (space, folder) = (scratch.file("space.sonar", SPACE), data(&scratch));
    let out = scratch.arg("run");
    let refused = |data: &str, parts: &[&str]| {
        sonar(&["search", &space, "--data", data, "--out", &out]).fails(3, parts);
        assert!(!scratch.path("run").exists(), "nothing is begun");
    };
    refused(&scratch.arg("nowhere"), &["cannot read", "nowhere", "No such file"]);
    refused(&example("models"), &["not a data set", "IDX"]);
    refused(&space, &["space.sonar", "not a data set", "bytes"]);

    let mut labels = [0, 1].repeat(32);
    labels[5] = 7;
    write_labels(&scratch, "train", &labels);
    refused(&folder, &["train-labels-idx1-ubyte", "label 7 of training image 5", "out of range", "3 classes have labels 0 to 2"]);
    write_labels(&scratch, "train", &[0, 1, 0]);
    refused(&folder, &["64 images but 3 labels"]);
    scratch.file("train-labels-idx1-ubyte", [0, 0, 8]);
    refused(&folder, &["train-labels-idx1-ubyte", "found 3"]);
    fs::remove_file(scratch.path("train-labels-idx1-ubyte")).expect("it was there");
    refused(&folder, &["there are no training labels", "train-labels-idx1-ubyte"]);
    write_labels(&scratch, "train", &[0, 1].repeat(32));
    scratch.file("train-images-idx3-ubyte", b"P5 8 8 255 these are no images");
    refused(&folder, &["train-images-idx3-ubyte", "not an IDX file"]);
    scratch.file("train-images-idx3-ubyte", [&[0, 0, 8, 3][..], &[0xff; 12], &[0; 8]].concat());
    refused(&folder, &["train-images-idx3-ubyte"]);
    write_images(&scratch, "train", 64, &[0; 100]);
    refused(&folder, &["expected 4112 bytes by its header, found 116"]);

    let packed = fs::read(crate::repository("data/fashion-mnist-subset/train-images-idx3-ubyte.gz")).expect("it is there");
    fs::remove_file(scratch.path("train-images-idx3-ubyte")).expect("it was there");
    scratch.file("train-images-idx3-ubyte.gz", &packed[..packed.len() / 2]);
    refused(&folder, &["train-images-idx3-ubyte.gz", "damaged gzip"]);
}

#[test]
fn values_of_the_wrong_size() {
    let (scratch, dense) = (Scratch::new(), example("models/dense.sonar"));
    let (short, odd) = (scratch.file("short.f32", [0; 400]), scratch.file("odd.f32", [0; 1023]));
    for command in ["run", "bench"] {
        sonar(&[command, &dense, "--input", &short]).fails(3, &["short.f32 holds 100 numbers", "256"]);
        sonar(&[command, &dense, "--input", &odd]).fails(3, &["odd.f32 has 1023 bytes", "f32"]);
        sonar(&[command, &dense, "--output", &scratch.arg("no/folder")]).fails(3, &["cannot write", "no/folder"]);
    }
    sonar(&["bench", &dense, "--weights", &short]).fails(3, &["short.f32 holds 100 numbers", "parameters have 32896"]);
    sonar(&["compile", &dense, "--records", &odd]).fails(3, &["odd.f32"]);
    sonar(&["tune", &dense, "--records", &odd]).fails(3, &["odd.f32"]);
}
