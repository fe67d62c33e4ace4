//! Disks that are full and files that were damaged.

use crate::command::{Ran, sonar};
use crate::runs::assert_goes_on;
use crate::{SPACE, Scratch, data};
use sonar_nas::search::result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A search into a directory; only its size is of interest.
fn search(scratch: &Scratch, out: &str) -> Ran {
    let (space, config) = (scratch.arg("space.sonar"), scratch.arg("config.toml"));
    sonar(&["search", &space, "--data", &scratch.arg(""), "--config", &config, "--out", out])
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    data(&scratch);
    scratch.file("space.sonar", SPACE);
    scratch.file("config.toml", "epochs = 100\ntrials = 12\ncandidates = 3\n[training]\nbatch = 8\n");
    scratch
}

/// A file system in memory, unmounted at the end.
struct Disk(String);

impl Disk {
    /// Nothing where mounting is not allowed.
    fn mount(path: String, size: &str) -> Option<Disk> {
        fs::create_dir(&path).expect("temporary directories can be made");
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none", &path]).then_some(Disk(path))
    }

    fn resize(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}"), &self.0]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_stops_a_search_that_goes_on_when_there_is_room() {
    let scratch = scratch();
    // From too small for anything to too small for the last steps.
    for size in ["16k", "48k", "64k", "80k", "100k", "120k", "140k", "200k", "300k", "400k"] {
        let Some(disk) = Disk::mount(scratch.arg(size), size) else {
            println!("skipped: this user may not mount a file system");
            return;
        };
        let run = format!("{}/run", disk.0);
        let stopped = search(&scratch, &run);
        assert!(stopped.code == Some(0) || stopped.code == Some(3), "{size}: {stopped:#?}");
        if stopped.code == Some(3) {
            stopped.fails(3, &[&disk.0, "space"]);
        }
        disk.resize("64m");
        let known = || result(Path::new(&run)).expect("what is written can be read");
        let before = known();
        search(&scratch, &run).succeeds();
        if let (Some(before), Some(after)) = (before, known()) {
            assert_goes_on(&before, &after);
        }
    }
}

#[test]
fn a_damaged_run_is_refused() {
    let scratch = scratch();
    let run = scratch.arg("run");
    fs::create_dir(&run).expect("temporary directories can be made");
    fs::write(scratch.path("run/run.db"), "this is no database, however long one looks at it".repeat(100))
        .expect("it can be written");
    search(&scratch, &run).fails(3, &["run.db", "--fresh"]);
    sonar(&["report", &run]).fails(3, &["run.db"]);
    sonar(&["resume", &run]).fails(3, &["run.db"]);
    let fresh = ["search", &scratch.arg("space.sonar"), "--data", &scratch.arg(""), "--config", &scratch.arg("config.toml")];
    sonar(&[&fresh[..], &["--out", &run, "--fresh"]].concat()).succeeds();
}
