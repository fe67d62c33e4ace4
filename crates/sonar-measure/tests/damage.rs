//! Files that were damaged: noticed whenever a row is not what was written, and salvaged as far as they can be read. And trials that
//! go from file to file without a bit of difference.

use proptest::prelude::*;
use sonar_ir::schedule::Schedule;
use sonar_measure::records::{Contender, Known, NetworkRecord, Record, Setting, Verdict, salvage};
use sonar_measure::{Cache, Cause, Key, MeasureError, Outcome, Records, Trial};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

fn trial(number: usize) -> Trial {
    let cache = if number.is_multiple_of(2) { Cache::Warm } else { Cache::Cold };
    let (task, target) = (format!("task {}", number % 7), "x86-64-v3 (some processor)".into());
    let outcome = match number % 5 {
        0 => Outcome::Failed(Cause::WrongOutput(0.1 * number as f64)),
        1 => Outcome::Dropped(vec![1e9 / (number as f64 + 3.0)]),
        _ => Outcome::Ok((0..20).map(|i| 1e5 / (1.0 + number as f64 + f64::from(i))).collect()),
    };
    // Some do not fit into a page.
    let steps = format!("split i{number} 8\n").repeat(if number.is_multiple_of(50) { 400 } else { 1 + number % 9 });
    let schedule = steps.parse().expect("it is well-formed");
    let key = Key { task, target, threads: 1 + number % 2, compiler: "1".into(), cache };
    Trial { key, schedule, outcome, seconds: 0.1 * number as f64, at: 1e9 + number as f64 }
}

/// Every third record is of another kind than a trial.
fn record(number: usize) -> Record {
    let Trial { key, schedule, seconds, at, .. } = trial(number);
    let samples: Vec<f64> = (0..8).map(|i| 1e5 / (1.0 + number as f64 + f64::from(i))).collect();
    match number % 6 {
        0 => {
            let other = Contender { schedule: "unroll other".parse().expect("it is well-formed"), samples: samples.clone() };
            let setting = if number.is_multiple_of(4) { Setting::Alone } else { Setting::Network };
            let contenders = vec![Contender { schedule, samples }, other];
            Record::Verdict(Verdict { key, setting, contenders, seconds, at })
        }
        3 => {
            let text = format!("graph @g{number}(%x: f32[4]) {{\n  %0 = relu %x : f32[4]\n  return %0\n}}\n");
            let graph = sonar_ir::text::parse_graph(&text).expect("it is well-formed");
            Record::Network(NetworkRecord { key, graph, samples, won: number.is_multiple_of(2), at })
        }
        _ => Record::Trial(trial(number)),
    }
}

/// What comes of reading everything in a file.
fn read(path: &Path) -> Result<Vec<Record>, MeasureError> {
    let records = Records::open(path)?;
    records.check()?;
    let mut all = Vec::new();
    records.each(|record| {
        all.push(record);
        Ok(())
    })?;
    Ok(all)
}

fn forget(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", path.display()));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

/// A file of 300 records in the order in which they are read, its bytes.
fn whole(folder: &Path) -> (Vec<Record>, Vec<u8>) {
    let path = folder.join("whole.db");
    {
        let database = Records::open(&path).unwrap();
        (0..300).for_each(|number| database.add(&record(number)).unwrap());
    }
    (read(&path).unwrap(), fs::read(&path).unwrap())
}

/// Reads a damaged file, and salvages it; returns whether damage was noticed, and how many trials were salvaged.
fn examine(folder: &Path, bytes: &[u8], trials: &[Record]) -> (bool, usize) {
    let (path, saved) = (folder.join("damaged.db"), folder.join("saved.db"));
    forget(&path);
    forget(&saved);
    fs::write(&path, bytes).unwrap();
    let salvaged = salvage(&path, &saved).unwrap();
    let noticed = match read(&path) {
        Ok(found) => {
            assert_eq!(found, trials, "what is read is what was written, or else an error");
            false
        }
        Err(MeasureError::Corrupt { .. } | MeasureError::Version { .. } | MeasureError::Sqlite { .. }) => true,
        Err(other) => panic!("{other}"),
    };
    let found = read(&saved).unwrap();
    let known: HashSet<String> = trials.iter().map(|trial| format!("{trial:?}")).collect();
    assert!(found.iter().all(|trial| known.contains(&format!("{trial:?}"))), "nothing is made up");
    assert_eq!(found.len(), salvaged.records);
    (noticed, found.len())
}

#[test]
fn a_whole_file_is_salvaged_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (trials, bytes) = whole(folder.path());
    assert_eq!(examine(folder.path(), &bytes, &trials), (false, trials.len()));
    let saved = folder.path().join("saved.db");
    assert!(salvage(&folder.path().join("whole.db"), &saved).is_err(), "nothing is overwritten");
}

#[test]
fn two_hundred_flipped_bytes_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let (trials, bytes) = whole(folder.path());
    let mut random = Random(1);
    let mut noticed = 0;
    for _ in 0..200 {
        let mut damaged = bytes.clone();
        damaged[random.below(bytes.len())] ^= 1 + random.below(255) as u8;
        let (was_noticed, salvaged) = examine(folder.path(), &damaged, &trials);
        noticed += usize::from(was_noticed);
        assert!(salvaged + 1 >= trials.len(), "one byte costs one trial at most, but {salvaged} are left");
    }
    assert!(noticed > 100, "only {noticed} were noticed");
}

#[test]
fn two_hundred_flipped_bytes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (trials, bytes) = whole(folder.path());
    let mut random = Random(2);
    for _ in 0..5 {
        let mut damaged = bytes.clone();
        for _ in 0..200 {
            damaged[random.below(bytes.len())] ^= 1 + random.below(255) as u8;
        }
        let (noticed, salvaged) = examine(folder.path(), &damaged, &trials);
        assert!(noticed && salvaged > 100, "{salvaged} are left");
    }
}

#[test]
fn truncated_files() {
    let folder = tempfile::tempdir().unwrap();
    let (trials, bytes) = whole(folder.path());
    let mut before = 0;
    for cut in 0..40 {
        let length = bytes.len() * cut / 40;
        let (noticed, salvaged) = examine_cut(folder.path(), &bytes[..length], &trials);
        assert!(noticed || length == 0, "{length} of {}", bytes.len());
        assert!(salvaged >= before, "what is longer holds more");
        before = salvaged;
    }
    assert!(before > trials.len() / 2);
}

/// As [`examine`], but an empty file is a file of no trials.
fn examine_cut(folder: &Path, bytes: &[u8], trials: &[Record]) -> (bool, usize) {
    examine(folder, bytes, if bytes.is_empty() { &[] } else { trials })
}

#[test]
fn what_is_only_in_the_log_is_salvaged_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, saved) = (folder.path().join("records.db"), folder.path().join("saved.db"));
    let records = Records::open(&path).unwrap();
    (0..40).for_each(|number| records.insert(&trial(number)).unwrap());
    assert!(fs::metadata(folder.path().join("records.db-wal")).unwrap().len() > 0);
    assert_eq!(salvage(&path, &saved).unwrap().records, 40);
}

#[test]
fn files_are_merged_and_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::in_memory().unwrap();
    let other = Records::open(&folder.path().join("other.db")).unwrap();
    (0..60).for_each(|number| records.insert(&trial(number)).unwrap());
    (40..100).for_each(|number| other.insert(&trial(number)).unwrap());
    let added = records.merge(&other).unwrap();
    assert_eq!((added.added, added.known), (40, 20));
    assert_eq!(records.merge(&other).unwrap().added, 0);
    assert_eq!(records.count().unwrap(), 100);

    let best: Vec<(Key, Vec<Known>)> =
        records.keys().unwrap().into_iter().map(|(key, _)| (key.clone(), records.top(&key, 2).unwrap())).collect();
    let older = Trial { key: Key { compiler: "0".into(), ..trial(2).key }, ..trial(2) };
    records.insert(&older).unwrap();
    let pruned = records.prune(2, "1").unwrap();
    assert_eq!(pruned.kept, best.iter().map(|(_, trials)| trials.len()).sum::<usize>());
    assert_eq!(pruned.removed + pruned.kept, 101);
    for (key, trials) in best {
        assert_eq!(records.top(&key, 9).unwrap(), trials);
    }
    assert_eq!(records.trials(&older.key).unwrap(), vec![]);
    records.check().unwrap();
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("is finite", |v| v.is_finite()), Just(0.1), Just(-0.0), Just(5e-324), 0.0..1e12]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let samples = || proptest::collection::vec(number(), 1..8);
    let cause = prop_oneof![
        any::<String>().prop_map(Cause::Crash),
        any::<String>().prop_map(Cause::Illegal),
        number().prop_map(Cause::WrongOutput),
        Just(Cause::Timeout),
        Just(Cause::Segfault),
        Just(Cause::OutOfMemory),
    ];
    prop_oneof![samples().prop_map(Outcome::Ok), samples().prop_map(Outcome::Dropped), cause.prop_map(Outcome::Failed)]
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let step = ("[^\u{0}\\s/]{1,9}", 1usize..99).prop_map(|(name, factor)| format!("split {name} {factor}\n"));
    proptest::collection::vec(step, 0..4).prop_map(|steps| steps.concat().parse().expect("it is well-formed"))
}

fn any_record() -> impl Strategy<Value = Record> {
    let cache = prop_oneof![Just(Cache::Warm), Just(Cache::Cold)];
    let key = ("[^\u{0}]{0,9}", "[^\u{0}]{0,9}", 0usize..9, "[^\u{0}]{0,9}", cache)
        .prop_map(|(task, target, threads, compiler, cache)| Key { task, target, threads, compiler, cache });
    // Moments and durations have no sign if they are zero.
    let time = || number().prop_map(|number| number + 0.0);
    let samples = proptest::collection::vec(number(), 0..8);
    (key, any_schedule(), outcome(), samples, any::<bool>(), time(), time()).prop_map(
        |(key, schedule, outcome, samples, judged, seconds, at)| {
            if judged {
                let contenders = vec![Contender { schedule, samples }];
                Record::Verdict(Verdict { key, setting: Setting::Network, contenders, seconds, at })
            } else {
                Record::Trial(Trial { key, schedule, outcome, seconds, at })
            }
        },
    )
}

/// Bits and all: numbers that are equal may differ in the sign of zero.
fn bits(records: &[Record]) -> Vec<String> {
    let mut bits: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    bits.sort();
    bits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_go_through_lines_of_json_and_back_to_the_bit(all in proptest::collection::vec(any_record(), 0..12)) {
        let mut distinct = all.clone();
        let mut seen = HashSet::new();
        distinct.retain(|record| seen.insert(format!("{record:?}")));

        let records = Records::in_memory().unwrap();
        for record in &distinct {
            records.add(record).unwrap();
        }
        let mut text = Vec::new();
        prop_assert_eq!(records.export(&mut text).unwrap(), distinct.len());
        let copy = Records::in_memory().unwrap();
        prop_assert_eq!(copy.import(&mut text.as_slice()).unwrap().added, distinct.len());
        let mut found = Vec::new();
        copy.each(|record| { found.push(record); Ok(()) }).unwrap();
        prop_assert_eq!(bits(&found), bits(&distinct));
    }
}

#[test]
fn lines_of_an_older_version_are_brought_up() {
    let line = |schedule: &str, confirmed: bool, at: usize| {
        format!(
            "{{\"task\":\"t\",\"target\":\"x\",\"threads\":1,\"compiler\":\"1\",\"cache\":\"warm\",\"schedule\":\"{schedule}\",\
             \"outcome\":{{\"ok\":[{at}.5]}},\"confirmed\":{confirmed},\"seconds\":0.5,\"at\":{at}.0}}\n"
        )
    };
    let graph = "graph @g(%x: f32[4]) {\\n  %0 = relu %x : f32[4]\\n  return %0\\n}\\n";
    let text = [line("unroll a\\n", false, 1), line("unroll a\\n", true, 2), line(graph, true, 3)].concat();
    let records = Records::in_memory().unwrap();
    assert_eq!(records.import(&mut text.as_bytes()).unwrap().added, 3);
    assert_eq!(records.import(&mut text.as_bytes()).unwrap().known, 3);
    let key = Key { task: "t".into(), target: "x".into(), threads: 1, compiler: "1".into(), cache: Cache::Warm };
    let best = records.best(&key).unwrap().unwrap();
    assert_eq!(
        (best.schedule.to_string().as_str(), best.samples.as_slice(), best.compared),
        ("unroll a\n", [2.5].as_slice(), true)
    );
    assert_eq!(records.network(&key).unwrap().unwrap().samples, [3.5]);
}
