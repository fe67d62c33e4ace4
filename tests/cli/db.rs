//! Records from outside: what `db` does with them, what is said of damaged, locked and full ones, and what a search that meets only
//! bad kernels does.

use crate::command::{Ran, command, ran, sonar};
use crate::{Scratch, example};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Records of a small model, and its path.
fn tuned(scratch: &Scratch, name: &str) -> (String, String) {
    let (dense, records) = (example("models/dense.sonar"), scratch.arg(name));
    sonar(&["tune", &dense, "--trials", "4", "--records", &records, "--quiet"]).succeeds();
    (dense, records)
}

#[test]
fn the_best_are_listed() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let all = sonar(&["db", "top", "--records", &records, "--format", "json"]).json();
    let task = all["tasks"][0]["key"]["task"].as_str().expect("a task").to_string();
    assert!(sonar(&["db", "top", "--records", &records]).succeeds().contains(&task));
    let chosen = sonar(&["db", "top", &task[..8], "-k", "2", "--records", &records, "--format", "json"]).json();
    // Others may have been so slow that they were dropped.
    assert!(matches!(chosen["tasks"][0]["top"].as_array().map(Vec::len), Some(1 | 2)), "{chosen:#}");
    let of_model = sonar(&["db", "top", "--model", &dense, "--records", &records]).succeeds();
    assert!(of_model.contains(&task) && of_model.contains("1. "), "{of_model}");

    sonar(&["db", "top", "nothing", "--records", &records]).fails(3, &["no trials"]);
    sonar(&["db", "top", "--records", &scratch.arg("nowhere.db")]).fails(3, &["no records"]);
    assert!(!scratch.path("nowhere.db").exists());
}

#[test]
fn records_go_from_file_to_file_and_give_the_same_code() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let (lines, copy, merged) = (scratch.arg("trials.jsonl"), scratch.arg("copy.db"), scratch.arg("merged.db"));
    assert!(sonar(&["db", "export", "-o", &lines, "--records", &records]).succeeds().contains("records written"));
    assert!(sonar(&["db", "import", &lines, "--records", &copy]).succeeds().contains(" 0 known"));
    assert!(sonar(&["db", "import", &lines, "--records", &copy]).succeeds().contains(" 0 records added"));
    sonar(&["db", "merge", &copy, &records, "--records", &merged]).succeeds();
    assert!(sonar(&["db", "check", "--records", &merged]).succeeds().contains("all of them whole"));
    assert_eq!(sonar(&["db", "export", "--records", &merged]).succeeds(), fs::read_to_string(&lines).expect("it is written"));
    assert!(sonar(&["db", "prune", "--keep", "1", "--records", &merged]).succeeds().contains("trials removed"));

    // A record replays: the same schedule is the same machine code, wherever it comes from.
    let code = [&records, &records, &copy, &merged].map(|records| {
        let stem = scratch.arg("code");
        sonar(&["compile", &dense, "--records", records, "--emit", "object", "--out", &stem]).succeeds();
        let object = fs::read(scratch.path("code.o")).expect("an object file");
        (sonar(&["inspect", &dense, "--stage", "asm", "--records", records]).succeeds(), object)
    });
    assert!(code.iter().all(|other| *other == code[0]));

    sonar(&["db", "import", &scratch.file("bad.jsonl", "{}\n"), "--records", &copy]).fails(3, &["bad.jsonl", "line 1"]);
    sonar(&["db", "merge", &scratch.arg("nowhere.db"), "--records", &copy]).fails(3, &["nowhere.db"]);
}

#[test]
fn damaged_records_are_told_and_salvaged() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let mut bytes = fs::read(&records).expect("records");
    let before = sonar(&["db", "export", "--records", &records]).succeeds().lines().count();
    // Every page loses its header, the first one that of the file.
    for page in bytes.chunks_mut(4096) {
        page[..8].fill(0xee);
    }
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{records}{end}"));
    }
    fs::write(&records, bytes).expect("it can be written");
    for command in [&["tune", &dense][..], &["compile", &dense], &["db", "check"], &["db", "top"]] {
        sonar(&[command, &["--records", &records]].concat()).fails(3, &["is damaged", "db recover"]);
    }
    let saved = scratch.arg("saved.db");
    let said = sonar(&["db", "recover", &records, "-o", &saved]).succeeds();
    assert!(said.starts_with(&format!("{before} records saved")), "{said} of {before}");
    sonar(&["compile", &dense, "--records", &saved]).succeeds();
    sonar(&["db", "recover", &records, "-o", &saved]).fails(3, &["exists"]);
    sonar(&["db", "recover", &scratch.arg("nowhere.db"), "-o", &scratch.arg("new.db")]).fails(3, &["nowhere.db"]);
}

#[test]
fn kernels_that_misbehave_do_not_stop_the_search() {
    let scratch = Scratch::new();
    let (dense, records) = (example("models/dense.sonar"), scratch.arg("records.db"));
    let plant = "none,none,none,none,segfault,illegal-instruction,memory,stack,out-of-bounds,wrong-output";
    let args = ["tune", &dense, "--trials", "40", "--records", &records, "--plant", plant, "--quiet", "--format", "json"];
    let tuned = sonar(&args).json();
    let failures = tuned["failures"].as_object().expect("a histogram");
    let failed: u64 = failures.values().filter_map(|count| count.as_u64()).sum();
    assert!(failures.len() >= 4 && failed >= 8, "{tuned:#}");
    assert!(tuned["kernels"].as_array().is_some_and(|kernels| kernels.iter().any(|k| k["best_us"].is_number())), "{tuned:#}");
    assert!(tuned["trial_overhead_ms"]["median"].is_number(), "{tuned:#}");
    let recorded = sonar(&["db", "export", "--records", &records]).succeeds();
    assert!(recorded.lines().filter(|line| line.contains("\"failed\"")).count() as u64 >= failed, "{recorded}");
}

#[test]
fn a_search_without_a_sound_kernel_ends_early_and_says_why() {
    let scratch = Scratch::new();
    let (dense, records) = (example("models/dense.sonar"), scratch.arg("records.db"));
    let args = ["tune", &dense, "--trials", "1000", "--time", "10m", "--records", &records, "--plant", "segfault", "--quiet"];
    sonar(&args).fails(4, &["no schedule could be timed", "× segmentation fault"]);
}

#[test]
fn a_full_disk_is_told() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    let scratch = Scratch::new();
    let (_, records) = tuned(&scratch, "records.db");
    sonar(&["db", "export", "-o", "/dev/full", "--records", &records]).fails(3, &["space"]);
    // A file that may not grow is the same as a disk that is full.
    let program = env!("CARGO_BIN_EXE_sonar-compile");
    let lines = scratch.arg("trials.jsonl");
    sonar(&["db", "export", "-o", &lines, "--records", &records]).succeeds();
    let script = format!("trap '' XFSZ; ulimit -f 16; exec {program} db import {lines} --records {}", scratch.arg("small.db"));
    let output = Command::new("sh").args(["-c", &script]).output().expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("small.db") && !said.contains("panicked"), "{output:?}");
}

/// Puts a file of records where this machine's records are looked for, and runs a command with it.
fn with_default(scratch: &Scratch, records: &str, args: &[&str]) -> Ran {
    let home = scratch.path("share");
    fs::create_dir_all(home.join("sonar")).expect("it can be made");
    fs::copy(records, home.join("sonar/records.db")).expect("it can be copied");
    ran(args, command(args).env("XDG_DATA_HOME", &home).output().expect("the program starts"))
}

#[test]
fn damaged_records_of_this_machine_are_told_and_done_without() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let tuned_code = sonar(&["inspect", &dense, "--stage", "schedule", "--records", &records]).succeeds();
    let untuned = sonar(&["inspect", &dense, "--stage", "schedule", "--records", &scratch.arg("none.db")]).succeeds();
    let whole = with_default(&scratch, &records, &["inspect", &dense, "--stage", "schedule"]);
    assert!(whole.stderr.is_empty(), "{whole:#?}");
    assert_eq!(whole.succeeds(), tuned_code);

    let nonsense =
        scratch.file("nonsense.db", "this is no data base, and it is longer than a header of a hundred bytes ".repeat(9));
    for args in [&["inspect", &dense, "--stage", "schedule"][..], &["compile", &dense], &["run", &dense], &["bench", &dense]] {
        let ran = with_default(&scratch, &nonsense, args);
        let said = &ran.stderr;
        assert!(said.contains("warning") && said.contains("records.db") && said.contains("db recover"), "{ran:#?}");
        let printed = ran.succeeds();
        assert!(args[0] != "inspect" || printed == untuned, "{printed}");
        // Where the user names the file, it must be whole.
        sonar(&[args, &["--records", &nonsense]].concat()).fails(3, &["nonsense.db", "db recover"]);
    }
    // What adds to the records needs them.
    with_default(&scratch, &nonsense, &["tune", &dense, "--trials", "1"]).fails(3, &["records.db", "db recover"]);
}

#[test]
fn locked_records_are_waited_for_and_told() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let lock = || {
        let connection = rusqlite::Connection::open(&records).expect("it can be opened");
        connection.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM networks;").expect("it is free");
        connection
    };
    let held = lock();
    for args in [&["compile", &dense, "--records", &records][..], &["db", "check", "--records", &records]] {
        sonar(args).fails(3, &["records.db", "locked by another process", "wait"]);
    }
    drop(held);
    // A lock that ends soon is waited for.
    let held = lock();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(held);
    });
    sonar(&["compile", &dense, "--records", &records]).succeeds();
    waiting.join().expect("it only waits");
}

#[test]
fn records_that_cannot_be_read_are_told() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let connection = rusqlite::Connection::open(&records).expect("it can be opened");
    connection.execute_batch("UPDATE trials SET schedule = 'teleport x'; DELETE FROM verdicts;").expect("it is free");
    drop(connection);
    for args in [&["compile", &dense, "--records", &records][..], &["db", "check", "--records", &records]] {
        sonar(args).fails(3, &["records.db", "trials", "db recover"]);
    }
    // Nothing of it is left to be saved but the graph of the network, which is whole.
    let saved = scratch.arg("saved.db");
    sonar(&["db", "recover", &records, "-o", &saved]).succeeds();
    sonar(&["compile", &dense, "--records", &saved]).succeeds();
}

#[test]
fn an_older_file_is_brought_up() {
    let scratch = Scratch::new();
    let (dense, records) = tuned(&scratch, "records.db");
    let before = sonar(&["inspect", &dense, "--stage", "schedule", "--records", &records]).succeeds();
    let steps = |text: &str| text.lines().filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\\n");
    let schedule = steps(&before);
    // The best schedule as version 0.2 exported it.
    let exported = sonar(&["db", "export", "--records", &records]).succeeds();
    let key: serde_json::Value = serde_json::from_str(exported.lines().next().expect("a trial")).expect("a line of JSON");
    let field = |name: &str| key[name].to_string();
    let line = format!(
        "{{\"task\":{},\"target\":{},\"threads\":1,\"compiler\":{},\"cache\":\"warm\",\"schedule\":\"{schedule}\",\
         \"outcome\":{{\"ok\":[5.5]}},\"confirmed\":true,\"seconds\":0.5,\"at\":1.0}}\n",
        field("task"),
        field("target"),
        field("compiler")
    );
    let copy = scratch.arg("copy.db");
    sonar(&["db", "import", &scratch.file("old.jsonl", line), "--records", &copy]).succeeds();
    let after = sonar(&["inspect", &dense, "--stage", "schedule", "--records", &copy]).succeeds();
    assert_eq!(steps(&after), schedule);
    // Five and a half nanoseconds, as the old line says.
    assert!(after.contains("0.01 µs on record"), "{after}");
    let top = sonar(&["db", "top", "-k", "3", "--model", &dense, "--records", &copy]).succeeds();
    assert!(top.contains("in turns with others"), "{top}");
}
