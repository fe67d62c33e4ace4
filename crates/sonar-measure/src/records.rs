//! The memory of all measurements: one SQLite table of trials, shared by all searches on a machine.
//!
//! A trial whose insertion returned is safe from the death of the process (write-ahead log, `synchronous=NORMAL`); it may
//! be lost with the power of the machine until [`Records::checkpoint`]. Several processes may use one file: each insertion
//! is a transaction, and a process waits for another up to [`BUSY_TIMEOUT`].

use crate::error::MeasureError;
use crate::job::{Cause, Outcome};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Version of the table, kept in the file as SQLite's `user_version`.
pub const SCHEMA_VERSION: i64 = 1;
/// How long to wait for another process to release the file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS trials (
        id        INTEGER PRIMARY KEY,
        task      TEXT    NOT NULL,
        target    TEXT    NOT NULL,
        threads   INTEGER NOT NULL,
        compiler  TEXT    NOT NULL,
        schedule  TEXT    NOT NULL,
        outcome   TEXT    NOT NULL,
        median    REAL,
        confirmed INTEGER NOT NULL,
        seconds   REAL    NOT NULL,
        at        REAL    NOT NULL
    );
    CREATE INDEX IF NOT EXISTS trials_by_key ON trials (task, target, threads, compiler, schedule);
    CREATE INDEX IF NOT EXISTS trials_by_time ON trials (task, target, threads, compiler, median);
";

/// What decides whether two trials are comparable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Which computation: the [`digest`] of a task's canonical program.
    pub task: String,
    /// For which instruction set.
    pub target: String,
    /// On how many threads.
    pub threads: usize,
    /// By which version of the code generator.
    pub compiler: String,
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
/// # use sonar_measure::Outcome;
/// let records = Records::in_memory()?;
/// let key = Key { task: digest("for i in 0..4 …"), target: "x86-64-v3".into(), threads: 1, compiler: "1".into() };
/// let outcome = Outcome::Ok(vec![110.0, 105.0, 120.0]);
/// records.insert(&Trial { key: key.clone(), schedule: "parallel i".into(), outcome, confirmed: false, seconds: 0.1, at: unix_time() })?;
/// assert_eq!(records.best(&key)?.map(|trial| trial.schedule), Some("parallel i".into()));
/// # Ok::<(), sonar_measure::MeasureError>(())
/// ```
#[derive(Debug)]
pub struct Records {
    connection: Connection,
    path: PathBuf,
}

impl Records {
    /// Opens a file of trials, and makes it if it does not exist.
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
        let records = Records { connection, path: path.to_owned() };
        let found = records.run(|c| {
            c.busy_timeout(BUSY_TIMEOUT)?;
            c.pragma_update(None, "journal_mode", "wal")?;
            c.pragma_update(None, "synchronous", "normal")?;
            c.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        })?;
        match found {
            0 => records.create(),
            SCHEMA_VERSION => Ok(records),
            found => Err(MeasureError::Version { path: path.to_owned(), found, known: SCHEMA_VERSION }),
        }
    }

    /// Makes the table, unless the file is somebody else's.
    fn create(self) -> Result<Records, MeasureError> {
        let foreign = self.run(|c| {
            let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'trials' LIMIT 1";
            c.query_row(sql, [], |row| row.get::<_, String>(0)).optional()
        })?;
        if let Some(table) = foreign {
            let reason = format!("it is a data base of something else, with a table `{table}`");
            return Err(MeasureError::Corrupt { path: self.path, reason });
        }
        self.run(|c| c.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")))?;
        Ok(self)
    }

    /// Adds a trial. It is kept even if the process dies right after.
    pub fn insert(&self, trial: &Trial) -> Result<(), MeasureError> {
        let outcome = serde_json::to_string(&trial.outcome).map_err(std::io::Error::from)?;
        self.run(|c| {
            let sql = "INSERT INTO trials (task, target, threads, compiler, schedule, outcome, median, confirmed, seconds, at)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let Key { task, target, threads, compiler } = &trial.key;
            let median = trial.outcome.time();
            let values = params![
                task,
                target,
                *threads as i64,
                compiler,
                trial.schedule,
                outcome,
                median,
                trial.confirmed,
                trial.seconds,
                trial.at
            ];
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
        self.select(
            key,
            "median IS NOT NULL AND id IN
                (SELECT MAX(id) FROM trials WHERE task = ?1 AND target = ?2 AND threads = ?3 AND compiler = ?4 GROUP BY schedule)
             ORDER BY confirmed DESC, median, id LIMIT ?5",
            count,
        )
    }

    /// All trials of a key, in order of insertion.
    pub fn trials(&self, key: &Key) -> Result<Vec<Trial>, MeasureError> {
        self.select(key, "TRUE ORDER BY id LIMIT ?5", i64::MAX as usize)
    }

    fn select(&self, key: &Key, condition: &str, limit: usize) -> Result<Vec<Trial>, MeasureError> {
        let sql =
            format!("SELECT * FROM trials WHERE task = ?1 AND target = ?2 AND threads = ?3 AND compiler = ?4 AND {condition}");
        self.run(|c| {
            let values = params![key.task, key.target, key.threads as i64, key.compiler, limit as i64];
            c.prepare_cached(&sql)?.query_map(values, trial_of_row)?.collect()
        })
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

    /// Writes all trials, each as a line of JSON, in order of insertion. Returns how many.
    pub fn export(&self, output: &mut dyn Write) -> Result<usize, MeasureError> {
        let trials: Vec<Trial> = self.run(|c| {
            let mut statement = c.prepare("SELECT * FROM trials ORDER BY id")?;
            statement.query_map([], trial_of_row)?.collect()
        })?;
        for trial in &trials {
            serde_json::to_writer(&mut *output, trial).map_err(std::io::Error::from)?;
            output.write_all(b"\n")?;
        }
        Ok(trials.len())
    }

    /// Adds trials that [`export`](Records::export) wrote: all of them, or none if one is unreadable. Returns how many.
    pub fn import(&self, input: &mut dyn BufRead) -> Result<usize, MeasureError> {
        let mut trials: Vec<Trial> = Vec::new();
        for (index, line) in input.lines().enumerate() {
            let line = line?;
            if !line.trim().is_empty() {
                trials.push(serde_json::from_str(&line).map_err(|source| MeasureError::Import { line: index + 1, source })?);
            }
        }
        let transaction = self.connection.unchecked_transaction().map_err(|e| explain(&self.path, e))?;
        for trial in &trials {
            self.insert(trial)?;
        }
        transaction.commit().map_err(|e| explain(&self.path, e))?;
        Ok(trials.len())
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, MeasureError> {
        query(&self.connection).map_err(|e| explain(&self.path, e))
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

fn trial_of_row(row: &Row<'_>) -> rusqlite::Result<Trial> {
    let outcome: String = row.get("outcome")?;
    let unreadable = || Outcome::Failed(Cause::Illegal("the record of the outcome is unreadable".into()));
    Ok(Trial {
        key: Key {
            task: row.get("task")?,
            target: row.get("target")?,
            threads: row.get::<_, i64>("threads")? as usize,
            compiler: row.get("compiler")?,
        },
        schedule: row.get("schedule")?,
        outcome: serde_json::from_str(&outcome).unwrap_or_else(|_| unreadable()),
        confirmed: row.get("confirmed")?,
        seconds: row.get("seconds")?,
        at: row.get("at")?,
    })
}

fn explain(path: &Path, error: rusqlite::Error) -> MeasureError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MeasureError::Locked { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => MeasureError::Corrupt { path, reason: error.to_string() },
        Some(ErrorCode::DiskFull) => MeasureError::Full { path },
        // No room for the index of the write-ahead log, in the words of SQLite.
        _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
            MeasureError::Full { path }
        }
        _ => MeasureError::Sqlite { path, source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task: &str) -> Key {
        Key { task: task.into(), target: "x86-64-v3".into(), threads: 1, compiler: "1".into() }
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
        assert_eq!(copy.import(&mut text.as_slice()).unwrap(), 2);
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
