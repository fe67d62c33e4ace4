//! Files that were damaged: noticed whenever a row is not what was written, and salvaged as far as they can be read. And trials that
//! go from file to file without a bit of difference.

use proptest::prelude::*;
use sonar_measure::records::salvage;
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
    let schedule = format!("split i{number} by 8\n").repeat(if number.is_multiple_of(50) { 400 } else { 1 + number % 9 });
    let key = Key { task, target, threads: 1 + number % 2, compiler: "1".into(), cache };
    Trial { key, schedule, outcome, confirmed: number.is_multiple_of(3), seconds: 0.1 * number as f64, at: 1e9 + number as f64 }
}

/// What comes of reading everything in a file.
fn read(path: &Path) -> Result<Vec<Trial>, MeasureError> {
    let records = Records::open(path)?;
    records.check()?;
    let mut trials = Vec::new();
    records.each(|trial| {
        trials.push(trial);
        Ok(())
    })?;
    Ok(trials)
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

/// A file of 300 trials, its bytes.
fn whole(folder: &Path) -> (Vec<Trial>, Vec<u8>) {
    let path = folder.join("whole.db");
    let trials: Vec<Trial> = (0..300).map(trial).collect();
    {
        let records = Records::open(&path).unwrap();
        trials.iter().for_each(|trial| records.insert(trial).unwrap());
    }
    (trials, fs::read(&path).unwrap())
}

/// Reads a damaged file, and salvages it; returns whether damage was noticed, and how many trials were salvaged.
fn examine(folder: &Path, bytes: &[u8], trials: &[Trial]) -> (bool, usize) {
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
    assert_eq!(found.len(), salvaged.trials);
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
fn examine_cut(folder: &Path, bytes: &[u8], trials: &[Trial]) -> (bool, usize) {
    examine(folder, bytes, if bytes.is_empty() { &[] } else { trials })
}

#[test]
fn what_is_only_in_the_log_is_salvaged_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, saved) = (folder.path().join("records.db"), folder.path().join("saved.db"));
    let records = Records::open(&path).unwrap();
    (0..40).for_each(|number| records.insert(&trial(number)).unwrap());
    assert!(fs::metadata(folder.path().join("records.db-wal")).unwrap().len() > 0);
    assert_eq!(salvage(&path, &saved).unwrap().trials, 40);
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

    let best: Vec<(Key, Vec<Trial>)> =
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

fn any_trial() -> impl Strategy<Value = Trial> {
    let cache = prop_oneof![Just(Cache::Warm), Just(Cache::Cold)];
    let key = ("[^\u{0}]{0,9}", "[^\u{0}]{0,9}", 0usize..9, "[^\u{0}]{0,9}", cache)
        .prop_map(|(task, target, threads, compiler, cache)| Key { task, target, threads, compiler, cache });
    // Moments and durations have no sign if they are zero.
    let time = || number().prop_map(|number| number + 0.0);
    (key, "[^\u{0}]{0,60}", outcome(), any::<bool>(), time(), time())
        .prop_map(|(key, schedule, outcome, confirmed, seconds, at)| Trial { key, schedule, outcome, confirmed, seconds, at })
}

/// Bits and all: numbers that are equal may differ in the sign of zero.
fn bits(trials: &[Trial]) -> Vec<String> {
    trials.iter().map(|trial| format!("{trial:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn trials_go_through_lines_of_json_and_back_to_the_bit(trials in proptest::collection::vec(any_trial(), 0..12)) {
        let mut distinct = trials.clone();
        let mut seen = HashSet::new();
        distinct.retain(|trial| seen.insert(format!("{trial:?}")));

        let records = Records::in_memory().unwrap();
        for trial in &distinct {
            records.insert(trial).unwrap();
        }
        let mut text = Vec::new();
        prop_assert_eq!(records.export(&mut text).unwrap(), distinct.len());
        let copy = Records::in_memory().unwrap();
        prop_assert_eq!(copy.import(&mut text.as_slice()).unwrap().added, distinct.len());
        let mut found = Vec::new();
        copy.each(|trial| { found.push(trial); Ok(()) }).unwrap();
        prop_assert_eq!(bits(&found), bits(&distinct));
    }
}
