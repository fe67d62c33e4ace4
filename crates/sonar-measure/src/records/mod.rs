//! The memory of all measurements: SQLite tables of trials and of what they are keyed by, shared by all searches on a machine.
//!
//! A trial whose insertion returned is safe from the death of the process (write-ahead log, `synchronous=NORMAL`); it may
//! be lost with the power of the machine until [`Records::checkpoint`]. Several processes may use one file: each insertion
//! is a transaction, and a process waits for another up to [`BUSY_TIMEOUT`]. Every row has a checksum, so that damage to the file
//! is noticed when it is read.
//!
//! | module | what it holds |
//! |---|---|
//! | `schema` | the tables, and what becomes of those of older versions |
//! | `exchange` | trials as lines of JSON, and those of other files |
//! | `care` | checking and pruning |
//! | `salvage` | what can be read of a damaged file |

mod care;
mod exchange;
mod salvage;
mod schema;

pub use care::Pruned;
pub use exchange::Added;
pub use salvage::{Salvaged, salvage};
pub use schema::SCHEMA_VERSION;

use crate::error::MeasureError;
use crate::timing::job::{Cache, Cause, Outcome};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long to wait for another process to release the file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What decides whether two trials are comparable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Which computation: the [`digest`] of a task's canonical program.
    pub task: String,
    /// For which instruction set, and on which processor: as `sonar_codegen::Target::key` tells.
    pub target: String,
    /// On how many threads.
    pub threads: usize,
    /// By which version of the code generator.
    pub compiler: String,
    /// Where the kernel found its data.
    #[serde(default)]
    pub cache: Cache,
}

/// One measurement of one schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was measured, and where.
    #[serde(flatten)]
    pub key: Key,
    /// Text of the schedule.
    pub schedule: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether the candidate was timed in turns with others, rather than alone.
    pub confirmed: bool,
    /// What the measurement cost, in seconds.
    pub seconds: f64,
    /// When it ended, in seconds since 1970.
    pub at: f64,
}

/// An open file of trials.
///
/// ```
/// # use sonar_measure::records::{Key, Records, Trial, digest, unix_time};
/// # use sonar_measure::{Cache, Outcome};
/// let records = Records::in_memory()?;
/// let (task, target, compiler) = (digest("for i in 0..4 …"), "x86-64-v3".into(), "1".into());
/// let key = Key { task, target, threads: 1, compiler, cache: Cache::Warm };
/// let outcome = Outcome::Ok(vec![110.0, 105.0, 120.0]);
/// records.insert(&Trial { key: key.clone(), schedule: "parallel i".into(), outcome, confirmed: false, seconds: 0.1, at: unix_time() })?;
/// assert_eq!(records.best(&key)?.map(|trial| trial.schedule), Some("parallel i".into()));
/// # Ok::<(), sonar_measure::MeasureError>(())
/// ```
#[derive(Debug)]
pub struct Records {
    connection: Connection,
    path: PathBuf,
    /// Row of every key. Rows of keys are never removed.
    keys: RefCell<HashMap<Key, i64>>,
}

/// The latest trial of each schedule of the key `?1`: the one with the latest time, of equal times the one that was added last.
const LATEST: &str = "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY schedule ORDER BY at DESC, id DESC) AS age
    FROM trials WHERE key = ?1) WHERE age = 1";

impl Records {
    /// Opens a file of trials, and makes it if it does not exist. One of an older version is brought up to this one.
    pub fn open(path: &Path) -> Result<Records, MeasureError> {
        let connection = Connection::open(path).map_err(|e| explain(path, e))?;
        Records::prepare(connection, path)
    }

    /// Trials that are gone when the value is dropped.
    pub fn in_memory() -> Result<Records, MeasureError> {
        let path = Path::new(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| explain(path, e))?;
        Records::prepare(connection, path)
    }

    fn prepare(connection: Connection, path: &Path) -> Result<Records, MeasureError> {
        let records = Records { connection, path: path.to_owned(), keys: RefCell::default() };
        records.run(|c| {
            c.busy_timeout(BUSY_TIMEOUT)?;
            c.pragma_update(None, "journal_mode", "wal")?;
            c.pragma_update(None, "synchronous", "normal")
        })?;
        schema::prepare(&records)?;
        records.load_keys()?;
        Ok(records)
    }

    /// Where the trials are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a trial. It is kept even if the process dies right after.
    pub fn insert(&self, trial: &Trial) -> Result<(), MeasureError> {
        let key = self.key_row(&trial.key)?;
        let outcome = serde_json::to_string(&trial.outcome).map_err(std::io::Error::from)?;
        let sum = checksum(trial, &outcome);
        self.run(|c| {
            let sql = "INSERT INTO trials (key, schedule, outcome, median, confirmed, seconds, at, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
            let Trial { schedule, confirmed, seconds, at, .. } = trial;
            let values = params![key, schedule, outcome, trial.outcome.time(), confirmed, seconds, at, sum];
            c.prepare_cached(sql)?.execute(values).map(drop)
        })
    }

    /// The best trial of a key: the fastest confirmed one, or the fastest one if none is confirmed.
    pub fn best(&self, key: &Key) -> Result<Option<Trial>, MeasureError> {
        Ok(self.top(key, 1)?.pop())
    }

    /// The `count` best schedules of a key, best first, each with its latest trial; confirmed ones come before all others,
    /// because the smallest of many noisy times is not that of the fastest schedule.
    pub fn top(&self, key: &Key, count: usize) -> Result<Vec<Trial>, MeasureError> {
        let sql = format!("{LATEST} AND median IS NOT NULL ORDER BY confirmed DESC, median, id LIMIT ?2");
        self.select(key, &sql, count)
    }

    /// All trials of a key, in order of insertion.
    pub fn trials(&self, key: &Key) -> Result<Vec<Trial>, MeasureError> {
        self.select(key, "SELECT * FROM trials WHERE key = ?1 ORDER BY id LIMIT ?2", i64::MAX as usize)
    }

    fn select(&self, key: &Key, sql: &str, limit: usize) -> Result<Vec<Trial>, MeasureError> {
        let Some(row) = self.known_key(key)? else { return Ok(vec![]) };
        let read = self.run(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let rows = statement.query_map(params![row, limit as i64], Stored::read)?;
            rows.collect::<rusqlite::Result<Vec<Stored>>>()
        })?;
        read.into_iter().map(|stored| stored.trial(key).ok_or_else(|| self.damaged(stored.id))).collect()
    }

    /// Calls a function with every trial, in order of insertion, until it fails.
    pub fn each(&self, mut visit: impl FnMut(Trial) -> Result<(), MeasureError>) -> Result<(), MeasureError> {
        self.load_keys()?;
        let keys: HashMap<i64, Key> = self.keys.borrow().iter().map(|(key, &row)| (row, key.clone())).collect();
        let explained = |error| explain(&self.path, error);
        let mut statement = self.connection.prepare("SELECT * FROM trials ORDER BY id").map_err(explained)?;
        let mut rows = statement.query([]).map_err(explained)?;
        while let Some(row) = rows.next().map_err(explained)? {
            let stored = Stored::read(row).map_err(explained)?;
            let trial = keys.get(&stored.key).and_then(|key| stored.trial(key));
            visit(trial.ok_or_else(|| self.damaged(stored.id))?)?;
        }
        Ok(())
    }

    /// All keys with how many trials each has, in order of their first trials.
    pub fn keys(&self) -> Result<Vec<(Key, usize)>, MeasureError> {
        self.load_keys()?;
        let counts: HashMap<i64, i64> = self.run(|c| {
            let mut statement = c.prepare("SELECT key, COUNT(*) FROM trials GROUP BY key")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let mut keys: Vec<(i64, Key)> = self.keys.borrow().iter().map(|(key, &row)| (row, key.clone())).collect();
        keys.sort_by_key(|(row, _)| *row);
        Ok(keys.into_iter().map(|(row, key)| (key, counts.get(&row).map_or(0, |&n| n as usize))).collect())
    }

    /// How many trials there are, of all keys.
    pub fn count(&self) -> Result<usize, MeasureError> {
        self.run(|c| c.query_row("SELECT COUNT(*) FROM trials", [], |row| row.get::<_, i64>(0))).map(|n| n as usize)
    }

    /// Makes all trials so far safe from a loss of power.
    pub fn checkpoint(&self) -> Result<(), MeasureError> {
        self.run(|c| {
            c.pragma_update(None, "synchronous", "full")?;
            c.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))?;
            c.pragma_update(None, "synchronous", "normal")
        })
    }

    /// Does several changes at once: all of them, or none if one fails.
    fn transaction<T>(&self, change: impl FnOnce() -> Result<T, MeasureError>) -> Result<T, MeasureError> {
        self.run(|c| c.execute_batch("BEGIN IMMEDIATE"))?;
        let result = change().and_then(|value| self.run(|c| c.execute_batch("COMMIT")).map(|()| value));
        if result.is_err() {
            // It fails only where the failure itself has ended the transaction.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.keys.borrow_mut().clear();
        }
        result
    }

    /// Reads all keys, each with its checksum.
    fn load_keys(&self) -> Result<(), MeasureError> {
        let rows = self.run(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM keys")?;
            let rows = statement.query_map([], |row| Ok((key_of_row(row)?, row.get("id")?, row.get::<_, i64>("sum")?)))?;
            rows.collect::<rusqlite::Result<Vec<(Key, i64, i64)>>>()
        })?;
        if let Some((_, row, _)) = rows.iter().find(|(key, _, sum)| key_checksum(key) != *sum) {
            return Err(self.corrupt(format!("key {row} is not what was written")));
        }
        self.keys.replace(rows.into_iter().map(|(key, row, _)| (key, row)).collect());
        Ok(())
    }

    /// The row of a key, if it has one; another process may have added it.
    fn known_key(&self, key: &Key) -> Result<Option<i64>, MeasureError> {
        if let Some(&row) = self.keys.borrow().get(key) {
            return Ok(Some(row));
        }
        let Key { task, target, threads, compiler, cache } = key;
        let row = self.run(|c| {
            let sql = "SELECT id FROM keys WHERE task = ? AND target = ? AND threads = ? AND compiler = ? AND cache = ?";
            let values = params![task, target, *threads as i64, compiler, cache.name()];
            c.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()
        })?;
        if let Some(row) = row {
            self.keys.borrow_mut().insert(key.clone(), row);
        }
        Ok(row)
    }

    /// The row of a key, which is added if there is none.
    fn key_row(&self, key: &Key) -> Result<i64, MeasureError> {
        if let Some(row) = self.known_key(key)? {
            return Ok(row);
        }
        let Key { task, target, threads, compiler, cache } = key;
        self.run(|c| {
            let sql = "INSERT OR IGNORE INTO keys (task, target, threads, compiler, cache, sum) VALUES (?, ?, ?, ?, ?, ?)";
            let values = params![task, target, *threads as i64, compiler, cache.name(), key_checksum(key)];
            c.prepare_cached(sql)?.execute(values)
        })?;
        self.known_key(key)?.ok_or_else(|| self.corrupt("a key cannot be found again".into()))
    }

    fn damaged(&self, row: i64) -> MeasureError {
        self.corrupt(format!("trial {row} is not what was written"))
    }

    fn corrupt(&self, reason: String) -> MeasureError {
        MeasureError::Corrupt { path: self.path.clone(), reason }
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, MeasureError> {
        query(&self.connection).map_err(|e| explain(&self.path, e))
    }
}

/// A row of the table of trials.
struct Stored {
    id: i64,
    key: i64,
    schedule: String,
    outcome: String,
    median: Option<f64>,
    confirmed: i64,
    seconds: f64,
    at: f64,
    sum: i64,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
        Ok(Stored {
            id: row.get("id")?,
            key: row.get("key")?,
            schedule: row.get("schedule")?,
            outcome: row.get("outcome")?,
            median: row.get("median")?,
            confirmed: row.get("confirmed")?,
            seconds: row.get("seconds")?,
            at: row.get("at")?,
            sum: row.get("sum")?,
        })
    }

    /// The trial, if the row is as it was written for this key.
    fn trial(&self, key: &Key) -> Option<Trial> {
        // A newer version may know outcomes that this one does not.
        let unreadable = || Outcome::Failed(Cause::Illegal("the record of the outcome is unreadable".into()));
        let trial = Trial {
            key: key.clone(),
            schedule: self.schedule.clone(),
            outcome: serde_json::from_str(&self.outcome).unwrap_or_else(|_| unreadable()),
            confirmed: self.confirmed != 0,
            seconds: self.seconds,
            at: self.at,
        };
        let same = trial.outcome.time().map(bits) == self.median.map(bits) && matches!(self.confirmed, 0 | 1);
        (same && checksum(&trial, &self.outcome) == self.sum).then_some(trial)
    }
}

/// A short name for a long text: 128 bits of its SHA-256, in hexadecimal.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// 64 bits that tell whether a trial is what it was, with the text of its outcome as it is stored.
fn checksum(trial: &Trial, outcome: &str) -> i64 {
    let numbers = format!("{} {:x} {:x}", trial.confirmed, bits(trial.seconds), bits(trial.at));
    sum_of([&format!("{:x}", key_checksum(&trial.key)), &trial.schedule, outcome, &numbers])
}

/// The bits of a number as SQLite keeps it, which is without the sign of zero.
fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

fn key_checksum(key: &Key) -> i64 {
    sum_of([&key.task, &key.target, &format!("{} {}", key.threads, key.cache), &key.compiler])
}

fn sum_of(texts: [&str; 4]) -> i64 {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize()[..8].iter().fold(0, |sum, &byte| sum << 8 | i64::from(byte))
}

fn key_of_row(row: &Row<'_>) -> rusqlite::Result<Key> {
    let cache: String = row.get("cache")?;
    Ok(Key {
        task: row.get("task")?,
        target: row.get("target")?,
        threads: row.get::<_, i64>("threads")? as usize,
        compiler: row.get("compiler")?,
        cache: cache.parse().map_err(|_| rusqlite::Error::InvalidColumnName(cache))?,
    })
}

fn explain(path: &Path, error: rusqlite::Error) -> MeasureError {
    use rusqlite::Error;
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MeasureError::Locked { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => MeasureError::Corrupt { path, reason: error.to_string() },
        Some(ErrorCode::DiskFull) => MeasureError::Full { path },
        // No room for the index of the write-ahead log, in the words of SQLite.
        _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
            MeasureError::Full { path }
        }
        // Tables are missing, or not what they should be, or values are of the wrong type.
        Some(ErrorCode::Unknown) => MeasureError::Corrupt { path, reason: error.to_string() },
        _ => match error {
            Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::InvalidColumnName(_) => MeasureError::Corrupt { path, reason: error.to_string() },
            source => MeasureError::Sqlite { path, source },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task: &str) -> Key {
        Key { task: task.into(), target: "x86-64-v3".into(), threads: 1, compiler: "1".into(), cache: Cache::Warm }
    }

    fn trial(task: &str, schedule: &str, outcome: Outcome, confirmed: bool) -> Trial {
        Trial { key: key(task), schedule: schedule.into(), outcome, confirmed, seconds: 0.25, at: 1e9 }
    }

    fn ok(nanoseconds: f64) -> Outcome {
        Outcome::Ok(vec![nanoseconds, nanoseconds + 1.0, nanoseconds - 1.0])
    }

    fn schedules(trials: Vec<Trial>) -> Vec<String> {
        trials.into_iter().map(|t| t.schedule).collect()
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
        let trials: Vec<Trial> = outcomes.into_iter().map(|o| trial("a", "s", o, false)).collect();
        for trial in &trials {
            records.insert(trial).unwrap();
        }
        assert_eq!(records.trials(&key("a")).unwrap(), trials);
        assert_eq!(records.trials(&key("b")).unwrap(), vec![]);
        assert_eq!(records.count().unwrap(), 6);
    }

    #[test]
    fn the_best_is_the_fastest_of_the_latest() {
        let records = Records::in_memory().unwrap();
        for (schedule, outcome, confirmed) in [
            ("lucky once", ok(50.0), false),
            ("good", ok(100.0), false),
            ("lucky once", ok(150.0), false),
            ("slow", Outcome::Dropped(vec![10.0]), false),
            ("broken", Outcome::Failed(Cause::Timeout), false),
        ] {
            records.insert(&trial("a", schedule, outcome, confirmed)).unwrap();
        }
        assert_eq!(schedules(records.top(&key("a"), 9).unwrap()), ["good", "lucky once"]);
        records.insert(&trial("a", "lucky once", ok(149.0), true)).unwrap();
        assert_eq!(schedules(records.top(&key("a"), 9).unwrap()), ["lucky once", "good"]);
        assert_eq!(records.best(&key("b")).unwrap(), None);
    }

    #[test]
    fn export_and_import_are_inverse() {
        let records = Records::in_memory().unwrap();
        records.insert(&trial("a", "s", ok(7.0), true)).unwrap();
        records.insert(&trial("b", "t", Outcome::Failed(Cause::Timeout), false)).unwrap();
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

        std::fs::write(&path, "this is no data base, and it is long enough to have a header of a hundred bytes ".repeat(9))
            .unwrap();
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
    fn a_lock_that_does_not_end_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.db");
        let records = Records::open(&path).unwrap();
        records.connection.busy_timeout(Duration::from_millis(20)).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(matches!(records.insert(&trial("a", "s", ok(1.0), false)), Err(MeasureError::Locked { .. })));
        other.execute_batch("COMMIT").unwrap();
        records.insert(&trial("a", "s", ok(1.0), false)).unwrap();
        records.checkpoint().unwrap();
    }
}
