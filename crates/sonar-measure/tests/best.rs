//! Which schedule is the best on record, what is refused, and what is told.

use rusqlite::Connection;
use sonar_ir::schedule::{Schedule, Step};
use sonar_measure::records::{Added, Contender, Record, Setting, Verdict};
use sonar_measure::{Cache, Cause, Key, MeasureError, Outcome, Records, Trial};
use std::time::Duration;

fn key(task: &str) -> Key {
    Key { task: task.into(), target: "x86-64-v3".into(), threads: 1, compiler: "1".into(), cache: Cache::Warm }
}

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap()
}

fn trial(task: &str, text: &str, outcome: Outcome) -> Trial {
    Trial { key: key(task), schedule: schedule(text), outcome, seconds: 0.25, at: 1e9 }
}

fn verdict(at: f64, contenders: &[(&str, f64)]) -> Record {
    let contenders = contenders.iter().map(|&(text, time)| Contender { schedule: schedule(text), samples: vec![time] }).collect();
    Record::Verdict(Verdict { key: key("a"), setting: Setting::Alone, contenders, seconds: 0.5, at })
}

fn ok(nanoseconds: f64) -> Outcome {
    Outcome::Ok(vec![nanoseconds, nanoseconds + 1.0, nanoseconds - 1.0])
}

fn top(records: &Records) -> Vec<String> {
    let top = records.top(&key("a"), 9).unwrap();
    top.iter().map(|known| known.schedule.to_string().trim().to_owned()).collect()
}

#[test]
fn what_is_inserted_comes_back() {
    let records = Records::in_memory().unwrap();
    let outcomes = [
        ok(100.0),
        Outcome::Dropped(vec![5e3]),
        Outcome::Failed(Cause::Timeout),
        Outcome::Failed(Cause::Crash("signal 11".into())),
        Outcome::Failed(Cause::WrongOutput(0.5)),
        Outcome::Failed(Cause::Illegal("no loop `x`".into())),
    ];
    let trials: Vec<Trial> = outcomes.into_iter().map(|outcome| trial("a", "unroll s", outcome)).collect();
    for trial in &trials {
        records.insert(trial).unwrap();
    }
    assert_eq!(records.trials(&key("a")).unwrap(), trials);
    assert_eq!(records.trials(&key("b")).unwrap(), vec![]);
    assert_eq!(records.count().unwrap(), 6);
}

#[test]
fn the_best_is_the_fastest_of_the_latest_unless_there_is_a_verdict() {
    let records = Records::in_memory().unwrap();
    for (text, outcome) in [
        ("unroll lucky", ok(50.0)),
        ("unroll good", ok(100.0)),
        ("unroll lucky", ok(150.0)),
        ("unroll slow", Outcome::Dropped(vec![10.0])),
        ("unroll broken", Outcome::Failed(Cause::Timeout)),
    ] {
        records.insert(&trial("a", text, outcome)).unwrap();
    }
    assert_eq!(top(&records), ["unroll good", "unroll lucky"]);
    records.add(&verdict(2e9, &[("unroll lucky", 149.0)])).unwrap();
    assert_eq!(top(&records), ["unroll lucky", "unroll good"]);
    // The latest verdict counts, whatever the order in which they were added.
    records.add(&verdict(1.5e9, &[("unroll good", 10.0)])).unwrap();
    assert_eq!(top(&records), ["unroll lucky", "unroll good"]);
    assert_eq!(records.best(&key("b")).unwrap(), None);
}

#[test]
fn the_best_of_the_permitted_is_taken() {
    let records = Records::in_memory().unwrap();
    let filtered = "winograd tile=4 rows=1 width=16 parts=1";
    records.insert(&trial("a", filtered, ok(10.0))).unwrap();
    records.insert(&trial("a", "unroll direct", ok(30.0))).unwrap();
    records.insert(&trial("a", "unroll slower", ok(40.0))).unwrap();
    let direct = |schedule: &Schedule| !schedule.steps.iter().any(|step| matches!(step, Step::Winograd { .. }));
    let best =
        |permitted: &dyn Fn(&Schedule) -> bool| records.best_permitted(&key("a"), permitted).unwrap().map(|known| known.schedule);
    assert_eq!(best(&|_| true), Some(schedule(filtered)));
    assert_eq!(best(&direct), Some(schedule("unroll direct")));
    // The same of what was compared: an earlier verdict counts where the latest has nothing that is permitted.
    records.add(&verdict(1e9, &[("unroll slower", 5.0), ("unroll direct", 6.0)])).unwrap();
    records.add(&verdict(2e9, &[(filtered, 9.0)])).unwrap();
    assert_eq!(best(&|_| true), Some(schedule(filtered)));
    assert_eq!(best(&direct), Some(schedule("unroll slower")));
    assert_eq!(best(&|_| false), None);
}

#[test]
fn export_and_import_are_inverse() {
    let records = Records::in_memory().unwrap();
    records.insert(&trial("a", "unroll s", ok(7.0))).unwrap();
    records.insert(&trial("b", "unroll t", Outcome::Failed(Cause::Timeout))).unwrap();
    let mut text = Vec::new();
    assert_eq!(records.export(&mut text).unwrap(), 2);

    let copy = Records::in_memory().unwrap();
    assert_eq!(copy.import(&mut text.as_slice()).unwrap(), Added { added: 2, known: 0 });
    assert_eq!(copy.import(&mut text.as_slice()).unwrap(), Added { added: 0, known: 2 });
    assert_eq!(copy.trials(&key("a")).unwrap(), records.trials(&key("a")).unwrap());

    text.truncate(text.len() - 5);
    let cut = Records::in_memory().unwrap();
    assert!(matches!(cut.import(&mut text.as_slice()), Err(MeasureError::Import { line: 2, .. })));
    assert_eq!(cut.count().unwrap(), 0);
}

#[test]
fn a_file_that_holds_no_records_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");

    std::fs::write(&path, "this is no data base, and it is long enough to have a header of a hundred bytes ".repeat(9)).unwrap();
    assert!(matches!(Records::open(&path), Err(MeasureError::Corrupt { .. })));

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    assert!(matches!(Records::open(&other), Err(MeasureError::Corrupt { .. })));

    let newer = folder.path().join("newer.db");
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Records::open(&newer), Err(MeasureError::Version { found: 99, .. })));

    let nowhere = folder.path().join("missing").join("records.db");
    assert!(matches!(Records::open(&nowhere), Err(MeasureError::Sqlite { .. })));
}

#[test]
fn a_lock_is_waited_for_and_one_that_does_not_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let records = Records::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = records.insert(&trial("a", "unroll s", ok(1.0))).unwrap_err();
    assert!(matches!(&error, MeasureError::Locked { path: found } if *found == path), "{error}");
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        other.execute_batch("COMMIT").unwrap();
    });
    records.insert(&trial("a", "unroll s", ok(1.0))).unwrap();
    waiting.join().unwrap();
    records.checkpoint().unwrap();
}

#[test]
fn a_schedule_of_unknown_steps_is_told_with_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    Records::open(&path).unwrap().insert(&trial("a", "unroll s", ok(1.0))).unwrap();
    // As another version may have written it: the checksum is right.
    let mut text = Vec::new();
    Records::open(&path).unwrap().export(&mut text).unwrap();
    let line = String::from_utf8(text).unwrap().replace("unroll s", "teleport s");
    let error = Records::open(&path).unwrap().import(&mut line.as_bytes()).unwrap_err();
    assert!(matches!(error, MeasureError::Import { line: 1, .. }) && error.to_string().contains("teleport"), "{error}");

    Connection::open(&path).unwrap().execute_batch("UPDATE trials SET schedule = 'teleport s'").unwrap();
    let error = Records::open(&path).unwrap().best(&key("a")).unwrap_err();
    assert!(matches!(error, MeasureError::Corrupt { .. }), "without a new checksum it is damage: {error}");
}
