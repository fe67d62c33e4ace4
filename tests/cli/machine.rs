//! The record of the machine: measured once, kept, told when it is damaged, and replaced by `--machine`.

use crate::command::{Ran, command, ran, sonar};
use crate::{Scratch, example};
use std::fs;
use std::path::PathBuf;

/// Runs the program with a cache directory of its own, and no machine given.
fn with_cache(cache: &str, args: &[&str]) -> Ran {
    let mut command = command(args);
    command.env("XDG_CACHE_HOME", cache).env_remove("SONAR_MACHINE");
    ran(args, command.output().expect("the program starts"))
}

/// The one file of a cache directory.
fn kept(cache: &str) -> PathBuf {
    let files: Vec<PathBuf> =
        fs::read_dir(format!("{cache}/sonar")).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_machine_is_measured_once() {
    let scratch = Scratch::new();
    let cache = scratch.path("cache").display().to_string();
    let dense = example("models/dense.sonar");
    with_cache(&cache, &["compile", &dense]).succeeds();
    let file = kept(&cache);
    let first = fs::read_to_string(&file).expect("it is readable");
    let findings = with_cache(&cache, &["doctor", "--format", "json"]).json();
    assert_eq!((&findings["machine_measured"], &findings["machine_file"]), (&false.into(), &file.display().to_string().into()));
    let record: serde_json::Value = serde_json::from_str(&first).expect("it is JSON");
    assert_eq!(findings["machine"], record["machine"]);
    assert_eq!(fs::read_to_string(&file).expect("it is readable"), first);
    let text = with_cache(&cache, &["doctor", "--measure"]).succeeds();
    assert!(text.contains("measured now, kept in") && text.contains("data caches") && text.contains("kernel call"), "{text}");
    kept(&cache);
}

#[test]
fn a_damaged_record_is_told() {
    let scratch = Scratch::new();
    let cache = scratch.path("cache").display().to_string();
    let dense = example("models/dense.sonar");
    with_cache(&cache, &["compile", &dense]).succeeds();
    let file = kept(&cache);
    fs::write(&file, "{\"key\": 1}").expect("it can be written");
    let again = with_cache(&cache, &["compile", &dense]);
    assert!(again.stderr.contains("warning") && again.stderr.contains("is damaged"), "{again:#?}");
    again.succeeds();
    assert!(with_cache(&cache, &["compile", &dense]).stderr.is_empty());
    // A folder that is a file.
    let blocked = scratch.path("blocked");
    fs::write(&blocked, "").expect("it can be written");
    let ran = with_cache(&blocked.display().to_string(), &["compile", &dense]);
    assert!(ran.stderr.contains("cannot be kept"), "{ran:#?}");
    ran.succeeds();
}

#[test]
fn another_machine_can_be_assumed() {
    let scratch = Scratch::new();
    let resnet = example("models/nb201_resnet.sonar");
    let schedules = |machine: &str| sonar(&["inspect", &resnet, "--stage", "schedule", "--machine", machine]);
    let usual = schedules("usual").succeeds();
    // What `doctor` prints says the same.
    let findings = sonar(&["doctor", "--format", "json"]).json();
    assert_eq!(findings["machine_file"], serde_json::Value::Null);
    let file = scratch.path("machine.json").display().to_string();
    fs::write(&file, findings.to_string()).expect("it can be written");
    assert_eq!(schedules(&file).succeeds(), usual);
    // Where weights come slowly, larger ones do not pay.
    let mut slow = findings["machine"].clone();
    for at in slow["bandwidths"].as_array_mut().expect("bandwidths") {
        let far = at["bytes"].as_u64() > Some(1 << 18);
        if far {
            for way in ["read", "write", "copy"] {
                at[way] = 0.5.into();
            }
        }
    }
    fs::write(&file, slow.to_string()).expect("it can be written");
    assert!(usual.contains("winograd tile=4") && !schedules(&file).succeeds().contains("winograd tile=4"));
    fs::write(&file, "{}").expect("it can be written");
    schedules(&file).fails(3, &["--machine", "no record of a machine"]);
    schedules("/nowhere/machine.json").fails(3, &["--machine", "/nowhere/machine.json"]);
    sonar(&["doctor", "--measure", "--machine", "usual"]).fails(2, &["cannot be used with"]);
}
