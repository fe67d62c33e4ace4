//! An SQLite file: transactions, keys, and the meaning of its errors.

use super::record::Key;
use crate::error::MeasureError;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait until another process releases the file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An open file.
#[derive(Debug)]
pub struct Database {
    /// The connection.
    pub connection: Connection,
    /// Where the file is.
    pub path: PathBuf,
    /// The row of every key. Rows of keys are never removed.
    pub keys: RefCell<HashMap<Key, i64>>,
}

impl Database {
    /// Opens a file. Creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Database, MeasureError> {
        Database::prepare(Connection::open(path).map_err(|e| explain(path, e))?, path)
    }

    /// A database in memory. It is lost when the value is dropped.
    pub fn in_memory() -> Result<Database, MeasureError> {
        let path = Path::new(":memory:");
        Database::prepare(Connection::open_in_memory().map_err(|e| explain(path, e))?, path)
    }

    fn prepare(connection: Connection, path: &Path) -> Result<Database, MeasureError> {
        let database = Database { connection, path: path.to_owned(), keys: RefCell::default() };
        database.run(|c| {
            c.busy_timeout(BUSY_TIMEOUT)?;
            c.pragma_update(None, "journal_mode", "wal")?;
            c.pragma_update(None, "synchronous", "normal")
        })?;
        Ok(database)
    }

    /// Runs a query.
    pub fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, MeasureError> {
        query(&self.connection).map_err(|e| self.explain(e))
    }

    /// Makes several changes in one transaction: all of them, or none if one fails.
    pub fn transaction<T>(&self, change: impl FnOnce() -> Result<T, MeasureError>) -> Result<T, MeasureError> {
        self.run(|c| c.execute_batch("BEGIN IMMEDIATE"))?;
        let result = change().and_then(|value| self.run(|c| c.execute_batch("COMMIT")).map(|()| value));
        if result.is_err() {
            // Fails only if the first failure has already ended the transaction.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.keys.borrow_mut().clear();
        }
        result
    }

    /// The meaning of an SQLite error.
    pub fn explain(&self, error: rusqlite::Error) -> MeasureError {
        explain(&self.path, error)
    }

    /// The error for a damaged file.
    pub fn corrupt(&self, reason: String) -> MeasureError {
        MeasureError::Corrupt { path: self.path.clone(), reason }
    }

    /// Reads all keys and verifies their checksums.
    pub fn load_keys(&self) -> Result<(), MeasureError> {
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

    /// All keys by their rows.
    pub fn keys_by_row(&self) -> Result<HashMap<i64, Key>, MeasureError> {
        self.load_keys()?;
        Ok(self.keys.borrow().iter().map(|(key, &row)| (row, key.clone())).collect())
    }

    /// The row of a key, if it has one. Another process may have added it.
    pub fn known_key(&self, key: &Key) -> Result<Option<i64>, MeasureError> {
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

    /// The row of a key. It is added if there is none.
    pub fn key_row(&self, key: &Key) -> Result<i64, MeasureError> {
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
}

/// A 64-bit checksum of a key.
pub fn key_checksum(key: &Key) -> i64 {
    checksum(&[&key.task, &key.target, &format!("{} {}", key.threads, key.cache), &key.compiler])
}

/// A 64-bit checksum that detects changed texts.
pub fn checksum(texts: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize()[..8].iter().fold(0, |sum, &byte| sum << 8 | i64::from(byte))
}

/// The bits of a number as SQLite stores it: without the sign of zero.
pub fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
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
        // SQLite's error code if there is no space for the index of the write-ahead log.
        _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
            MeasureError::Full { path }
        }
        // Tables are missing or wrong, or values have the wrong type.
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
