//! Ctrl-C ends every command soon, wherever it is, with exit code 130.

use crate::command::command;
use crate::{SPACE, Scratch, data, example};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How soon a command must have ended: two seconds, and as much again on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(4);
const INTERRUPT: u32 = 2;

/// Whether a process handles the interrupt signal already: before, the system ends it.
fn handles_interrupts(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(|mask| u64::from_str_radix(mask.trim(), 16));
    matches!(mask, Some(Ok(mask)) if mask >> (INTERRUPT - 1) & 1 == 1)
}

fn interrupt(child: &Child) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

/// Starts a command, interrupts it after a random part of `longest`, and returns whether it was still running. `twice` sends a second
/// interrupt at once.
fn check(args: &[&str], longest: Duration, seed: u64, twice: bool) -> bool {
    let mut child = command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    while !handles_interrupts(&child) {
        if child.try_wait().expect("it can be waited for").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(longest.mul_f64(StdRng::seed_from_u64(seed).random_range(0.0..1.0)));
    if child.try_wait().expect("it can be waited for").is_some() {
        return false;
    }
    interrupt(&child);
    if twice {
        interrupt(&child);
    }
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        assert!(begun.elapsed() < SOON, "{args:?} goes on after Ctrl-C");
        std::thread::sleep(Duration::from_millis(5));
    };
    // A command that was about to end may have ended first.
    assert!(matches!(status.code(), Some(130 | 0)), "{args:?}: {status}");
    status.code() == Some(130)
}

/// Interrupts a command that takes long at several moments; at least one of them must have met it.
fn check_long(args: &[&str], longest: Duration) {
    let met = (0..3).filter(|&seed| check(args, longest, seed, false)).count();
    assert!(met > 0, "{args:?} was over each time");
}

/// Interrupts a command that may be over before the signal.
fn check_short(args: &[&str]) {
    for seed in 0..4 {
        check(args, Duration::from_millis(200), seed, false);
    }
}

const SECONDS: Duration = Duration::from_secs(3);

#[test]
fn a_search_that_draws() {
    let scratch = Scratch::new();
    check_long(&["search", "--candidates", "5000", "--time", "1h", "--out", &scratch.arg("run")], SECONDS);
}

#[test]
fn a_search_that_trains_tunes_and_times() {
    let scratch = Scratch::new();
    let (space, data) = (scratch.file("space.sonar", SPACE), data(&scratch));
    let config = scratch.file("config.toml", "epochs = 2000\ntrials = 12\ncandidates = 3\n[training]\nbatch = 8\n");
    check_long(&["search", &space, "--data", &data, "--config", &config, "--out", &scratch.arg("small")], SECONDS);
    // Epochs of this one take longer than a user wants to wait.
    let args = ["search", "--candidates", "3", "--set", "channels=16", "--set", "cells=5", "--time", "1h"];
    check_long(&[&args[..], &["--out", &scratch.arg("large")]].concat(), 2 * SECONDS);
    check_long(&["resume", &scratch.arg("large")], SECONDS);
}

#[test]
fn a_training() {
    let scratch = Scratch::new();
    let space = example("spaces/nas-bench-201.sonar");
    let images = ["--set", "height=28", "--set", "width=28", "--set", "in=1", "--set", "cells=1"];
    let args = ["train", &space, "--arch", "baseline", "--epochs", "1000", "--out", &scratch.arg("run")];
    check_long(&[&args[..], &images].concat(), SECONDS);
}

#[test]
fn tuning_and_timing() {
    let scratch = Scratch::new();
    let records = scratch.arg("records.db");
    let resnet = example("models/nb201_resnet.sonar");
    check_long(&["tune", &resnet, "--time", "1h", "--records", &records], 2 * SECONDS);
    check_long(&["tune", &example("models/inception_v3.sonar"), "--time", "1h", "--records", &records], SECONDS);
    check_long(&["bench", &example("models/vgg19.sonar"), "--records", &records], SECONDS);
    check_long(&["doctor", "--aa"], SECONDS);
    for action in ["top", "check", "export"] {
        check_short(&["db", action, "--records", &records]);
    }
    check_short(&["db", "prune", "--keep", "3", "--records", &records]);
}

#[test]
fn compiling_running_and_looking() {
    let scratch = Scratch::new();
    let large = example("models/inception_v3.sonar");
    check_long(&["compile", &large, "--emit", "object", "--out", &scratch.arg("large")], SECONDS);
    check_long(&["run", &example("models/vgg19.sonar"), "--check"], SECONDS);
    check_long(&["inspect", &large, "--stage", "rewritten", "--explain"], SECONDS);
    check_long(&["inspect", &example("spaces/nas-bench-201.sonar"), "--count"], SECONDS);
    check_short(&["check", &large]);
    check_short(&["export", &example("models/mlp.sonar"), "--output", &scratch.arg("mlp.onnx")]);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let scratch = Scratch::new();
    let args = ["search", "--candidates", "3", "--set", "channels=16", "--set", "cells=5", "--time", "1h"];
    assert!(check(&[&args[..], &["--out", &scratch.arg("run")]].concat(), SECONDS, 1, true));
}
