//! The run directory. Every event of a search is on disk before anyone is told about it.
//!
//! | file | what it is |
//! |---|---|
//! | `run.db` | SQLite: the configuration, and one row for each [`Event`] with its seconds |
//! | `run.lock` | locked while a process works on the search; the system releases the lock when the process ends, also after a crash |
//! | `checkpoints/` | weights of candidates in training, kept by the evaluator |
//!
//! The database uses write-ahead mode, and every commit is synchronised to disk.

use crate::candidates::measured::Cost;
use crate::error::SearchError;
use crate::state::State;
use crate::state::event::Event;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Version of the database's tables and of the events in them.
const SCHEMA: i64 = 2;

/// The settings that a run may increase. No other setting may change.
const GROWING: [&str; 2] = ["time", "candidates"];

const TABLES: &str = "
    CREATE TABLE config (body TEXT NOT NULL);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        candidate INTEGER,
        training REAL NOT NULL,
        tuning REAL NOT NULL,
        compiling REAL NOT NULL,
        rewriting REAL NOT NULL,
        other REAL NOT NULL,
        body TEXT NOT NULL
    );";

/// An open run directory, locked against other processes.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the run directory `dir`, creates missing files, and rebuilds the state of the search. A new run stores `config`.
    /// For an old run, `config` must equal the stored one, except that `time` (seconds) or `candidates` may be larger: then the
    /// stored configuration changes and the search is extended. With `fresh`, an old run is deleted first.
    pub fn open(dir: &Path, config: &Value, fresh: bool) -> Result<(Store, State), SearchError> {
        fs::create_dir_all(dir).map_err(|e| SearchError::io(dir, &e))?;
        let lock = lock(dir)?;
        if fresh {
            remove_run(dir)?;
        }
        let path = database(dir);
        let failed = |e: rusqlite::Error| SearchError::database(&path, &e);
        let connection = Connection::open(&path).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let mut store = Store { connection, path: path.clone(), _lock: lock };
        if version(&store.connection, &path)? == 0 {
            store.create(config)?;
        }
        let kept = read_config(&store.connection, &path)?;
        if kept != *config {
            let changes = differences("", &kept, config);
            if changes.iter().any(|change| !change.grows) {
                let changes = changes.into_iter().filter(|change| !change.grows).map(|change| change.text).collect();
                return Err(SearchError::ConfigChanged { path: dir.to_path_buf(), changes });
            }
            store.extend(config)?;
        }
        let state = replay(&store.connection, &path)?;
        Ok((store, state))
    }

    /// Writes events with their seconds, all or none. They are on disk when this returns.
    pub fn append(&mut self, events: &[(Event, Cost)]) -> Result<(), SearchError> {
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            insert(&transaction, events)?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(|e| SearchError::database(&self.path, &e))
    }

    /// Limits the database to this many pages, to simulate a full disk.
    pub fn limit_pages(&mut self, pages: u32) -> Result<(), SearchError> {
        let limited = self.connection.pragma_update(None, "max_page_count", pages);
        limited.map_err(|e| SearchError::database(&self.path, &e))
    }

    /// Replaces the stored configuration and adds the event of the extension.
    fn extend(&mut self, config: &Value) -> Result<(), SearchError> {
        let candidates = config["candidates"].as_u64().unwrap_or_default() as usize;
        let event = Event::Extended { candidates, seconds: config["time"].as_f64() };
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute("UPDATE config SET body = ?1", [config.to_string()])?;
            insert(&transaction, &[(event, Cost::default())])?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(|e| SearchError::database(&self.path, &e))
    }

    fn create(&mut self, config: &Value) -> Result<(), SearchError> {
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.execute("INSERT INTO config (body) VALUES (?1)", [config.to_string()])?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(|e| SearchError::database(&self.path, &e))
    }
}

/// The configuration and the state in a run directory, if there is a run. Takes no lock, so it works while a search is running.
pub fn read(dir: &Path) -> Result<Option<(Value, State)>, SearchError> {
    let path = database(dir);
    if !path.exists() {
        return Ok(None);
    }
    let failed = |e: rusqlite::Error| SearchError::database(&path, &e);
    let connection = Connection::open(&path).map_err(failed)?;
    if version(&connection, &path)? == 0 {
        return Ok(None);
    }
    Ok(Some((read_config(&connection, &path)?, replay(&connection, &path)?)))
}

/// The folder where an evaluator stores the weights of candidates in training.
pub fn checkpoints(dir: &Path) -> PathBuf {
    dir.join("checkpoints")
}

/// The file where an evaluator stores the records of measured kernels.
pub fn records(dir: &Path) -> PathBuf {
    dir.join("records.db")
}

fn database(dir: &Path) -> PathBuf {
    dir.join("run.db")
}

fn lock(dir: &Path) -> Result<File, SearchError> {
    let path = dir.join("run.lock");
    let locked = sonar_files::lock(&path).map_err(|e| SearchError::io(&path, &e))?;
    locked.ok_or_else(|| SearchError::Locked(dir.to_path_buf()))
}

/// Deletes the files that searches write. Other files in the directory stay.
fn remove_run(dir: &Path) -> Result<(), SearchError> {
    let gone = |path: &Path, result: std::io::Result<()>| match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(SearchError::io(path, &e)),
        _ => Ok(()),
    };
    for database in [database(dir), records(dir)] {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            let path = PathBuf::from(name);
            gone(&path, fs::remove_file(&path))?;
        }
    }
    let checkpoints = checkpoints(dir);
    gone(&checkpoints, fs::remove_dir_all(&checkpoints))
}

/// The fold of all events in a database.
fn replay(connection: &Connection, path: &Path) -> Result<State, SearchError> {
    let failed = |e: rusqlite::Error| SearchError::database(path, &e);
    let corrupt = |reason: String| SearchError::Corrupt { path: path.to_path_buf(), reason };
    let query = "SELECT body, training, tuning, compiling, rewriting, other FROM events ORDER BY seq";
    let mut statement = connection.prepare(query).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut state = State::default();
    while let Some(row) = rows.next().map_err(failed)? {
        let body: String = row.get(0).map_err(failed)?;
        let event: Event = serde_json::from_str(&body).map_err(|e| corrupt(e.to_string()))?;
        let seconds = |column| row.get::<_, f64>(column).map_err(failed);
        let cost = Cost {
            training: seconds(1)?,
            tuning: seconds(2)?,
            compiling: seconds(3)?,
            rewriting: seconds(4)?,
            other: seconds(5)?,
        };
        state.apply(&event, &cost).map_err(corrupt)?;
    }
    Ok(state)
}

/// Version of the tables in a database, or 0 if there are no tables yet.
fn version(connection: &Connection, path: &Path) -> Result<i64, SearchError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    match version.map_err(|e| SearchError::database(path, &e))? {
        version @ (0 | SCHEMA) => Ok(version),
        found => Err(SearchError::OtherVersion { path: path.to_path_buf(), found, expected: SCHEMA }),
    }
}

fn insert(transaction: &Transaction<'_>, events: &[(Event, Cost)]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO events (kind, candidate, training, tuning, compiling, rewriting, other, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (event, cost) in events {
        let body = serde_json::to_string(event).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        let candidate = event.subject().map(|id| id.0);
        let seconds = (cost.training, cost.tuning, cost.compiling, cost.rewriting, cost.other);
        statement.execute(params![event.kind(), candidate, seconds.0, seconds.1, seconds.2, seconds.3, seconds.4, body])?;
    }
    Ok(())
}

fn read_config(connection: &Connection, path: &Path) -> Result<Value, SearchError> {
    let body: Option<String> = connection
        .query_row("SELECT body FROM config", [], |row| row.get(0))
        .optional()
        .map_err(|e| SearchError::database(path, &e))?;
    let corrupt = |reason: String| SearchError::Corrupt { path: path.to_path_buf(), reason };
    let body = body.ok_or_else(|| corrupt("it holds no configuration".to_string()))?;
    serde_json::from_str(&body).map_err(|e| corrupt(e.to_string()))
}

/// A setting that differs between two configurations.
struct Change {
    /// Its key and both values, for messages.
    text: String,
    /// Whether this setting may increase, and it does.
    grows: bool,
}

/// The settings that differ between two configurations, with keys such as `training.batch`.
fn differences(prefix: &str, old: &Value, new: &Value) -> Vec<Change> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return vec![change(prefix, old, new)] };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let [old, new] = [old, new].map(|values| values.get(key).unwrap_or(&Value::Null));
        if old != new {
            changes.extend(differences(&name, old, new));
        }
    }
    changes
}

fn change(key: &str, old: &Value, new: &Value) -> Change {
    // No limit means infinite time.
    let number = |value: &Value| if value.is_null() { Some(f64::INFINITY) } else { value.as_f64() };
    let grows = GROWING.contains(&key) && number(old).zip(number(new)).is_some_and(|(old, new)| new > old);
    let shown = |value: &Value| match value {
        Value::Null => "not given".to_string(),
        Value::Number(seconds) if key == "time" => format!("{} s", seconds.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (old, new) = (shown(old), shown(new));
    let short = |text: &str| text.len() <= 40 && !text.contains('\n');
    let text =
        if short(&old) && short(&new) { format!("`{key}` is {old} there, {new} here") } else { format!("`{key}` differs") };
    Change { text, grows }
}
