//! The tables of the records, version by version.

use super::{Key, Records, Trial, explain};
use crate::error::MeasureError;
use crate::timing::job::{Cache, Outcome};
use rusqlite::OptionalExtension;

/// Version of the tables, kept in the file as SQLite's `user_version`.
pub const SCHEMA_VERSION: i64 = 2;

/// `salvage` knows the order of the columns.
const SCHEMA: &str = "
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
    CREATE TABLE trials (
        id        INTEGER PRIMARY KEY,
        key       INTEGER NOT NULL,
        schedule  TEXT    NOT NULL,
        outcome   TEXT    NOT NULL,
        median    REAL,
        confirmed INTEGER NOT NULL,
        seconds   REAL    NOT NULL,
        at        REAL    NOT NULL,
        sum       INTEGER NOT NULL
    );
    CREATE INDEX trials_by_key ON trials (key, at);
";

/// Makes the tables of a new file, or brings those of an older version up to this one; refuses a file of a newer version, or of
/// somebody else.
pub(super) fn prepare(records: &Records) -> Result<(), MeasureError> {
    match version(records)? {
        SCHEMA_VERSION => return Ok(()),
        0 | 1 => {}
        found => {
            return Err(MeasureError::Version { path: records.path.clone(), found, known: SCHEMA_VERSION });
        }
    }
    records.transaction(|| {
        // Another process may have been faster.
        match version(records)? {
            0 => create(records)?,
            1 => migrate_from_1(records)?,
            _ => return Ok(()),
        }
        records.run(|c| c.pragma_update(None, "user_version", SCHEMA_VERSION))
    })
}

fn version(records: &Records) -> Result<i64, MeasureError> {
    records.run(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))
}

fn create(records: &Records) -> Result<(), MeasureError> {
    let foreign: Option<String> = records
        .run(|c| c.query_row("SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 1", [], |row| row.get(0)).optional())?;
    if let Some(table) = foreign {
        return Err(records.corrupt(format!("it is a data base of something else, with a table `{table}`")));
    }
    records.run(|c| c.execute_batch(SCHEMA))
}

/// Version 1 had everything in one table, and kernels were timed with warm caches.
fn migrate_from_1(records: &Records) -> Result<(), MeasureError> {
    records.run(|c| {
        c.execute_batch(
            "DROP INDEX IF EXISTS trials_by_key; DROP INDEX IF EXISTS trials_by_time; ALTER TABLE trials RENAME TO old;",
        )?;
        c.execute_batch(SCHEMA)
    })?;
    let explained = |error| explain(&records.path, error);
    {
        let mut statement = records.connection.prepare("SELECT * FROM old ORDER BY id").map_err(explained)?;
        let mut rows = statement.query([]).map_err(explained)?;
        while let Some(row) = rows.next().map_err(explained)? {
            let (trial, outcome) = trial_of_version_1(row).map_err(explained)?;
            let Ok(outcome) = serde_json::from_str::<Outcome>(&outcome) else { continue };
            records.insert(&Trial { outcome, ..trial })?;
        }
    }
    records.run(|c| c.execute_batch("DROP TABLE old"))
}

/// A trial of version 1 without its outcome, and the text of that.
fn trial_of_version_1(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Trial, String)> {
    let key = Key {
        task: row.get("task")?,
        target: row.get("target")?,
        threads: row.get::<_, i64>("threads")? as usize,
        compiler: row.get("compiler")?,
        cache: Cache::Warm,
    };
    let trial = Trial {
        key,
        schedule: row.get("schedule")?,
        outcome: Outcome::Ok(vec![]),
        confirmed: row.get("confirmed")?,
        seconds: row.get("seconds")?,
        at: row.get("at")?,
    };
    Ok((trial, row.get("outcome")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

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
                 INSERT INTO trials VALUES (1, 't', 'x86-64-v3', 2, '1', 's', '{\"ok\":[3.5,2.5,4.0]}', 3.5, 1, 0.5, 1e9);
                 INSERT INTO trials VALUES (2, 't', 'x86-64-v3', 2, '1', 'u', '{\"failed\":\"timeout\"}', NULL, 0, 0.5, 1e9);
                 PRAGMA user_version = 1;",
            )
            .unwrap();
        let key = Key { task: "t".into(), target: "x86-64-v3".into(), threads: 2, compiler: "1".into(), cache: Cache::Warm };
        for _ in 0..2 {
            let records = Records::open(&path).unwrap();
            assert_eq!(version(&records).unwrap(), SCHEMA_VERSION);
            let trials = records.trials(&key).unwrap();
            assert_eq!(trials.iter().map(|t| t.schedule.as_str()).collect::<Vec<_>>(), ["s", "u"]);
            assert_eq!(records.best(&key).unwrap().unwrap().outcome, Outcome::Ok(vec![3.5, 2.5, 4.0]));
            records.check().unwrap();
        }
    }
}
