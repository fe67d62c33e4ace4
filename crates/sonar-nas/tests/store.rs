//! The run directory: who may open it, what it refuses, and what it says when the disk fails.

use serde_json::{Value, json};
use sonar_nas::{Cost, Event, SearchError, State, Store, store};
use std::fs;
use std::path::Path;

fn open(dir: &Path, config: Value) -> Result<(Store, State), SearchError> {
    Store::open(dir, &config, false)
}

fn events(count: usize) -> Vec<(Event, Cost)> {
    (0..count).map(|_| (Event::Opened, Cost { other: 0.1, ..Cost::default() })).collect()
}

#[test]
fn a_second_process_is_refused_until_the_first_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), json!({})).unwrap();
    assert!(matches!(open(dir.path(), json!({})), Err(SearchError::Locked(path)) if path == dir.path()));
    assert!(store::read(dir.path()).unwrap().is_some(), "a running search can be looked at");
    drop(first);
    assert!(open(dir.path(), json!({})).is_ok());
}

#[test]
fn another_configuration_is_refused_by_name_and_fresh_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let old = json!({ "training": { "batch": 8 }, "eta": 3, "latency-limit": null, "space": "a" });
    let new = json!({ "training": { "batch": 16 }, "eta": 3, "latency-limit": 3.5, "space": "b" });
    let (mut opened, _) = open(dir.path(), old.clone()).unwrap();
    opened.append(&events(3)).unwrap();
    drop(opened);
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error = open(dir.path(), new.clone()).unwrap_err();
    let SearchError::ConfigChanged { changes, .. } = &error else { panic!("{error}") };
    assert_eq!(
        changes[..],
        ["`latency-limit` is not given there, 3.5 here", "`space` is a there, b here", "`training.batch` is 8 there, 16 here"]
    );
    assert_eq!(store::read(dir.path()).unwrap().map(|(config, state)| (config, state.sessions)), Some((old, 3)));
    let (_, state) = Store::open(dir.path(), &new, true).unwrap();
    assert_eq!(state, State::default());
    assert!(dir.path().join("notes.txt").exists(), "a file that no search wrote was removed");
}

#[test]
fn more_time_and_more_candidates_extend_a_run_and_less_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = |time: Option<f64>, candidates| json!({ "time": time, "candidates": candidates });
    drop(open(dir.path(), config(Some(60.0), 10)).unwrap());
    assert_eq!(open(dir.path(), config(Some(60.0), 10)).unwrap().1.extensions, 0);
    assert_eq!(open(dir.path(), config(Some(90.0), 10)).unwrap().1.extensions, 1);
    assert_eq!(open(dir.path(), config(Some(90.0), 20)).unwrap().1.extensions, 2);
    let refused = |time, candidates| match open(dir.path(), config(time, candidates)) {
        Err(SearchError::ConfigChanged { changes, .. }) => changes.join(", "),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Some(60.0), 20), "`time` is 90 s there, 60 s here");
    assert_eq!(refused(Some(100.0), 10), "`candidates` is 20 there, 10 here");
    assert_eq!(open(dir.path(), config(None, 20)).unwrap().1.extensions, 3, "without a limit there is more time");
    assert_eq!(refused(Some(1e9), 20), "`time` is not given there, 1000000000 s here");
}

#[test]
fn what_was_written_is_read_back_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut opened, mut state) = open(dir.path(), json!({})).unwrap();
    let written = events(7);
    for (event, cost) in &written {
        state.apply(event, cost).unwrap();
    }
    opened.append(&written).unwrap();
    drop(opened);
    assert_eq!(open(dir.path(), json!({})).unwrap().1, state);
}

#[test]
fn there_is_no_run_where_none_was_begun() {
    let dir = tempfile::tempdir().unwrap();
    assert!(store::read(dir.path()).unwrap().is_none());
    assert!(store::read(&dir.path().join("nowhere")).unwrap().is_none());
}

#[test]
fn a_directory_that_cannot_be_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&file.join("run"), json!({})), Err(SearchError::NotWritable { .. })));
}

#[test]
fn damaged_files_are_said_to_be_damaged() {
    let check = |damage: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        let (mut opened, _) = open(dir.path(), json!({})).unwrap();
        opened.append(&events(3)).unwrap();
        drop(opened);
        damage(&dir.path().join("run.db"));
        let error = open(dir.path(), json!({})).unwrap_err();
        assert!(matches!(error, SearchError::Corrupt { .. } | SearchError::OtherVersion { .. }), "{error}");
        assert!(Store::open(dir.path(), &json!({}), true).is_ok(), "starting over did not help");
    };
    let sql = |path: &Path, statement: &str| {
        rusqlite::Connection::open(path).unwrap().execute_batch(statement).unwrap();
    };
    check(&|path| fs::write(path, "this was never a database, however long it is read for").unwrap());
    check(&|path| sql(path, "UPDATE events SET body = '{\"kind\":\"promo'"));
    check(&|path| sql(path, "UPDATE events SET body = '{\"kind\":\"cut\",\"candidates\":[5]}'"));
    check(&|path| sql(path, "PRAGMA user_version = 99"));
    check(&|path| sql(path, "DELETE FROM config"));
    check(&|path| sql(path, "DROP TABLE events"));
}

#[test]
fn a_full_disk_is_said_to_be_full_and_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut opened, _) = open(dir.path(), json!({})).unwrap();
    opened.limit_pages(16).unwrap();
    let mut written = 0;
    let error = loop {
        match opened.append(&events(50)) {
            Ok(()) => written += 50,
            Err(error) => break error,
        }
        assert!(written < 100_000);
    };
    assert!(matches!(error, SearchError::DiskFull(_)), "{error}");
    drop(opened);
    assert_eq!(open(dir.path(), json!({})).unwrap().1.sessions, written);
}
