//! The tables of the records, by version.

use super::database::Database;
use super::older::{BroughtUp, OldTrial, bring_up, old_checksum};
use super::record::Key;
use super::rows;
use crate::error::MeasureError;
use crate::timing::job::{Cache, Outcome};
use rusqlite::{OptionalExtension, params};

/// Version of the tables. The file stores it as SQLite's `user_version`.
pub const SCHEMA_VERSION: i64 = 3;

const KEYS: &str = "
    CREATE TABLE keys (
        id        INTEGER PRIMARY KEY,
        task      TEXT    NOT NULL,
        target    TEXT    NOT NULL,
        threads   INTEGER NOT NULL,
        compiler  TEXT    NOT NULL,
        cache     TEXT    NOT NULL,
        sum       INTEGER NOT NULL,
        UNIQUE (task, target, threads, compiler, cache)
    );
";

/// `salvage` depends on the order of the columns.
const RECORDS: &str = "
    CREATE TABLE trials (
        id         INTEGER PRIMARY KEY,
        key        INTEGER NOT NULL,
        schedule   TEXT    NOT NULL,
        outcome    TEXT    NOT NULL,
        median     REAL,
        seconds    REAL    NOT NULL,
        at         REAL    NOT NULL,
        sum        INTEGER NOT NULL
    );
    CREATE INDEX trials_by_key ON trials (key, at);
    CREATE TABLE verdicts (
        id         INTEGER PRIMARY KEY,
        key        INTEGER NOT NULL,
        setting    TEXT    NOT NULL,
        contenders TEXT    NOT NULL,
        seconds    REAL    NOT NULL,
        at         REAL    NOT NULL,
        sum        INTEGER NOT NULL
    );
    CREATE INDEX verdicts_by_key ON verdicts (key, at);
    CREATE TABLE networks (
        id         INTEGER PRIMARY KEY,
        key        INTEGER NOT NULL,
        won        INTEGER NOT NULL,
        graph      TEXT    NOT NULL,
        samples    TEXT    NOT NULL,
        at         REAL    NOT NULL,
        sum        INTEGER NOT NULL
    );
    CREATE INDEX networks_by_key ON networks (key, at);
";

/// Creates the tables of a new file, or converts those of an older version. Refuses a file of a newer version or of another
/// program.
pub fn prepare(database: &Database) -> Result<(), MeasureError> {
    match version(database)? {
        SCHEMA_VERSION => return Ok(()),
        0..SCHEMA_VERSION => {}
        found => {
            return Err(MeasureError::Version { path: database.path.clone(), found, known: SCHEMA_VERSION });
        }
    }
    database.transaction(|| {
        // Another process may have been faster.
        match version(database)? {
            0 => create(database)?,
            1 => migrate_from_1(database)?,
            2 => migrate_from_2(database)?,
            _ => return Ok(()),
        }
        database.run(|c| c.pragma_update(None, "user_version", SCHEMA_VERSION))
    })
}

fn version(database: &Database) -> Result<i64, MeasureError> {
    database.run(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))
}

fn create(database: &Database) -> Result<(), MeasureError> {
    let foreign: Option<String> = database
        .run(|c| c.query_row("SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 1", [], |row| row.get(0)).optional())?;
    if let Some(table) = foreign {
        return Err(database.corrupt(format!("it is a data base of something else, with a table `{table}`")));
    }
    database.run(|c| c.execute_batch(KEYS).and_then(|()| c.execute_batch(RECORDS)))
}

/// Version 1 had one table without checksums, and all kernels were timed with warm caches.
fn migrate_from_1(database: &Database) -> Result<(), MeasureError> {
    database.run(|c| {
        c.execute_batch(
            "DROP INDEX IF EXISTS trials_by_key; DROP INDEX IF EXISTS trials_by_time; ALTER TABLE trials RENAME TO old;",
        )?;
        c.execute_batch(KEYS)?;
        c.execute_batch(RECORDS)
    })?;
    let rows: Vec<(Key, OldRow)> = database.run(|c| {
        let mut statement = c.prepare("SELECT * FROM old ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            let key = Key {
                task: row.get("task")?,
                target: row.get("target")?,
                threads: row.get::<_, i64>("threads")? as usize,
                compiler: row.get("compiler")?,
                cache: Cache::Warm,
            };
            Ok((key, OldRow::read(row)?))
        })?;
        rows.collect()
    })?;
    let mut unreadable = 0;
    let mut trials = Vec::with_capacity(rows.len());
    for (key, row) in rows {
        match row.trial(&key) {
            Some(trial) => trials.push(trial),
            None => unreadable += 1,
        }
    }
    add(database, trials, &mut unreadable)?;
    tell(database, unreadable);
    database.run(|c| c.execute_batch("DROP TABLE old"))
}

/// Version 2 stored verdicts and graphs of networks as trials.
fn migrate_from_2(database: &Database) -> Result<(), MeasureError> {
    database.run(|c| {
        c.execute_batch("DROP INDEX IF EXISTS trials_by_key; ALTER TABLE trials RENAME TO old;")?;
        c.execute_batch("CREATE INDEX old_by_key ON old (key);")?;
        c.execute_batch(RECORDS)
    })?;
    let mut unreadable = 0;
    let mut keys: Vec<(i64, Key)> = database.keys_by_row()?.into_iter().collect();
    keys.sort_by_key(|(row, _)| *row);
    // One key at a time, because the file may be larger than memory.
    for (row, key) in keys {
        let rows: Vec<(OldRow, i64)> = database.run(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM old WHERE key = ? ORDER BY id")?;
            let rows = statement.query_map(params![row], |row| Ok((OldRow::read(row)?, row.get("sum")?)))?;
            rows.collect()
        })?;
        let mut trials = Vec::with_capacity(rows.len());
        for (row, sum) in rows {
            match row.trial(&key) {
                Some(trial) if old_checksum(&trial, &row.outcome) == sum => trials.push(trial),
                Some(_) => return Err(database.corrupt(format!("row {} of trials is not what was written", row.id))),
                None => unreadable += 1,
            }
        }
        add(database, trials, &mut unreadable)?;
    }
    tell(database, unreadable);
    database.run(|c| c.execute_batch("DROP TABLE old"))
}

fn add(database: &Database, trials: Vec<OldTrial>, unreadable: &mut usize) -> Result<(), MeasureError> {
    let BroughtUp { records, unreadable: more } = bring_up(trials);
    *unreadable += more;
    records.iter().try_for_each(|record| rows::insert(database, record))
}

/// Warns about trials that could not be converted.
fn tell(database: &Database, unreadable: usize) {
    if unreadable > 0 {
        let path = database.path.display();
        tracing::warn!("{path} was brought up to a new version; {unreadable} of its trials cannot be read and were left out");
    }
}

/// A trial of an older version, without its key.
struct OldRow {
    id: i64,
    schedule: String,
    outcome: String,
    confirmed: bool,
    seconds: f64,
    at: f64,
}

impl OldRow {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<OldRow> {
        Ok(OldRow {
            id: row.get("id")?,
            schedule: row.get("schedule")?,
            outcome: row.get("outcome")?,
            confirmed: row.get("confirmed")?,
            seconds: row.get("seconds")?,
            at: row.get("at")?,
        })
    }

    /// The trial, or `None` if this program does not know its outcome.
    fn trial(&self, key: &Key) -> Option<OldTrial> {
        let outcome: Outcome = serde_json::from_str(&self.outcome).ok()?;
        let OldRow { schedule, confirmed, seconds, at, .. } = self;
        Some(OldTrial {
            key: key.clone(),
            schedule: schedule.clone(),
            outcome,
            confirmed: *confirmed,
            seconds: *seconds,
            at: *at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::key_checksum;
    use super::super::{Record, Records, Setting, Trial};
    use super::*;
    use rusqlite::Connection;
    use std::path::Path;

    fn key() -> Key {
        Key { task: "t".into(), target: "x86-64-v3".into(), threads: 2, compiler: "1".into(), cache: Cache::Warm }
    }

    fn texts(trials: &[Trial]) -> Vec<String> {
        trials.iter().map(|trial| trial.schedule.to_string().trim().to_owned()).collect()
    }

    /// Checks a converted file twice: when it is opened again, it already has the new version.
    fn check(path: &Path, trials: &[&str], best: (&str, &[f64])) {
        for _ in 0..2 {
            let records = Records::open(path).unwrap();
            assert_eq!(version(records.database()).unwrap(), SCHEMA_VERSION);
            assert_eq!(texts(&records.trials(&key()).unwrap()), trials);
            let known = records.best(&key()).unwrap().unwrap();
            assert_eq!((known.schedule.to_string().trim(), known.samples.as_slice()), best);
            assert!(known.compared);
            records.check().unwrap();
        }
    }

    #[test]
    fn trials_of_version_1_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE trials (id INTEGER PRIMARY KEY, task TEXT NOT NULL, target TEXT NOT NULL, threads INTEGER NOT NULL,
                     compiler TEXT NOT NULL, schedule TEXT NOT NULL, outcome TEXT NOT NULL, median REAL, confirmed INTEGER NOT NULL,
                     seconds REAL NOT NULL, at REAL NOT NULL);
                 CREATE INDEX trials_by_key ON trials (task, target, threads, compiler, schedule);
                 CREATE INDEX trials_by_time ON trials (task, target, threads, compiler, median);
                 INSERT INTO trials VALUES (1, 't', 'x86-64-v3', 2, '1', 'parallel a', '{\"ok\":[3.5,2.5,4.0]}', 3.5, 1, 0.5, 1e9);
                 INSERT INTO trials VALUES (2, 't', 'x86-64-v3', 2, '1', 'unroll a', '{\"failed\":\"timeout\"}', NULL, 0, 0.5, 1e9);
                 INSERT INTO trials VALUES (3, 't', 'x86-64-v3', 2, '1', 'what a', '{\"ok\":[3.5]}', 3.5, 0, 0.5, 1e9);
                 PRAGMA user_version = 1;",
            )
            .unwrap();
        check(&path, &["unroll a"], ("parallel a", &[3.5, 2.5, 4.0]));
    }

    /// Writes a file of version 2 with these trials.
    fn version_2(path: &Path, trials: &[OldTrial]) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(KEYS).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE trials (id INTEGER PRIMARY KEY, key INTEGER NOT NULL, schedule TEXT NOT NULL, outcome TEXT NOT NULL,
                     median REAL, confirmed INTEGER NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL, sum INTEGER NOT NULL);
                 CREATE INDEX trials_by_key ON trials (key, at);
                 PRAGMA user_version = 2;",
            )
            .unwrap();
        let Key { task, target, threads, compiler, cache } = key();
        let values = params![task, target, threads as i64, compiler, cache.name(), key_checksum(&key())];
        connection.execute("INSERT INTO keys VALUES (1, ?, ?, ?, ?, ?, ?)", values).unwrap();
        for trial in trials {
            let outcome = serde_json::to_string(&trial.outcome).unwrap();
            let OldTrial { schedule, confirmed, seconds, at, .. } = trial;
            let sum = old_checksum(trial, &outcome);
            let values = params![schedule, outcome, trial.outcome.time(), confirmed, seconds, at, sum];
            connection.execute("INSERT INTO trials VALUES (NULL, 1, ?, ?, ?, ?, ?, ?, ?)", values).unwrap();
        }
    }

    fn old(schedule: &str, time: f64, confirmed: bool, at: f64) -> OldTrial {
        let outcome = Outcome::Ok(vec![time]);
        OldTrial { key: key(), schedule: schedule.into(), outcome, confirmed, seconds: 0.5, at }
    }

    const GRAPH: &str = "graph @g(%x: f32[4]) {\n  %0 = relu %x : f32[4]\n  return %0\n}\n";

    #[test]
    fn verdicts_and_networks_of_version_2_become_records_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.db");
        version_2(
            &path,
            &[
                old("unroll a", 3.0, false, 1.0),
                old("parallel a", 4.0, false, 2.0),
                old("unroll a", 5.0, true, 3.0),
                old("parallel a", 4.5, true, 4.0),
                old(GRAPH, 7.0, true, 5.0),
            ],
        );
        check(&path, &["unroll a", "parallel a"], ("parallel a", &[4.5]));
        let records = Records::open(&path).unwrap();
        let verdicts = records.verdicts(&key()).unwrap();
        assert_eq!(verdicts.len(), 1);
        assert_eq!((verdicts[0].setting, verdicts[0].contenders.len(), verdicts[0].at), (Setting::Alone, 2, 4.0));
        let network = records.network(&key()).unwrap().unwrap();
        assert_eq!((network.graph, network.samples.as_slice()), (sonar_ir::text::parse_graph(GRAPH).unwrap(), [7.0].as_slice()));
        let mut count = 0;
        records
            .each(|record| {
                count += usize::from(matches!(record, Record::Trial(_)));
                Ok(())
            })
            .unwrap();
        assert_eq!(count, 2);
    }

    #[test]
    fn a_damaged_file_of_version_2_is_refused_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.db");
        version_2(&path, &[old("unroll a", 3.0, false, 1.0)]);
        Connection::open(&path).unwrap().execute_batch("UPDATE trials SET seconds = 9").unwrap();
        for _ in 0..2 {
            assert!(matches!(Records::open(&path), Err(MeasureError::Corrupt { .. })));
        }
    }
}
