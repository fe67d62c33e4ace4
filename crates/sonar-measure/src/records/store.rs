//! The records: adding them, and reading the best of a task or a network.

use super::database::Database;
use super::record::{Contender, Key, Known, NetworkRecord, Record, Trial, Verdict};
use super::rows::{self, NetworkRow, Stored, TrialRow, VerdictRow};
use super::schema;
use crate::error::MeasureError;
use rusqlite::params;
use sonar_ir::schedule::Schedule;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// An open file of records.
///
/// ```
/// # use sonar_measure::records::{Key, Records, Trial, digest, unix_time};
/// # use sonar_measure::{Cache, Outcome};
/// # use sonar_ir::schedule::Schedule;
/// let records = Records::in_memory()?;
/// let (task, target, compiler) = (digest("for i in 0..4 …"), "x86-64-v3".into(), "1".into());
/// let key = Key { task, target, threads: 1, compiler, cache: Cache::Warm };
/// let schedule: Schedule = "parallel i".parse().unwrap();
/// let outcome = Outcome::Ok(vec![110.0, 105.0, 120.0]);
/// records.insert(&Trial { key: key.clone(), schedule: schedule.clone(), outcome, seconds: 0.1, at: unix_time() })?;
/// assert_eq!(records.best(&key)?.map(|best| best.schedule), Some(schedule));
/// # Ok::<(), sonar_measure::MeasureError>(())
/// ```
#[derive(Debug)]
pub struct Records {
    database: Database,
}

/// The latest trial of each schedule of the key `?1`. If two have the same time, the one that was added last.
const LATEST: &str = "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY schedule ORDER BY at DESC, id DESC) AS age
    FROM trials WHERE key = ?1) WHERE age = 1";

impl Records {
    /// Opens a record file. Creates it if it does not exist, and converts a file of an older version.
    pub fn open(path: &Path) -> Result<Records, MeasureError> {
        Records::prepare(Database::open(path)?)
    }

    /// Records in memory. They are lost when the value is dropped.
    pub fn in_memory() -> Result<Records, MeasureError> {
        Records::prepare(Database::in_memory()?)
    }

    fn prepare(database: Database) -> Result<Records, MeasureError> {
        schema::prepare(&database)?;
        database.load_keys()?;
        Ok(Records { database })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.database.path
    }

    /// The database of the records.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Adds a trial. It survives a crash of the process.
    pub fn insert(&self, trial: &Trial) -> Result<(), MeasureError> {
        self.add(&Record::Trial(trial.clone()))
    }

    /// Adds a record. It survives a crash of the process.
    pub fn add(&self, record: &Record) -> Result<(), MeasureError> {
        rows::insert(&self.database, record)
    }

    /// The best schedule of a key: the first of [`Records::top`].
    pub fn best(&self, key: &Key) -> Result<Option<Known>, MeasureError> {
        self.best_permitted(key, &|_| true)
    }

    /// The best of the permitted schedules of a key.
    pub fn best_permitted(&self, key: &Key, permitted: &dyn Fn(&Schedule) -> bool) -> Result<Option<Known>, MeasureError> {
        Ok(self.top_permitted(key, 1, permitted)?.pop())
    }

    /// The `count` best schedules of a key, best first.
    pub fn top(&self, key: &Key, count: usize) -> Result<Vec<Known>, MeasureError> {
        self.top_permitted(key, count, &|_| true)
    }

    /// The `count` best permitted schedules of a key, best first. The schedules of the latest verdict come before all others,
    /// because the smallest of many noisy times often belongs to a slower schedule. The others are ordered by the times of
    /// their latest trials.
    pub fn top_permitted(
        &self,
        key: &Key,
        count: usize,
        permitted: &dyn Fn(&Schedule) -> bool,
    ) -> Result<Vec<Known>, MeasureError> {
        let permitted_of = |verdict: Verdict| -> Vec<Contender> {
            verdict.contenders.into_iter().filter(|contender| permitted(&contender.schedule)).collect()
        };
        let verdicts = self.verdicts(key)?.into_iter().rev();
        let compared = verdicts.map(permitted_of).find(|contenders| !contenders.is_empty()).unwrap_or_default();
        let known = |Contender { schedule, samples }| Known { schedule, samples, compared: true };
        let mut top: Vec<Known> = compared.into_iter().take(count).map(known).collect();
        let Some(row) = self.database.known_key(key)? else { return Ok(top) };
        if top.len() == count {
            return Ok(top);
        }
        let seen: HashSet<Schedule> = top.iter().map(|known| known.schedule.clone()).collect();
        let explained = |error| self.database.explain(error);
        let sql = format!("{LATEST} AND median IS NOT NULL ORDER BY median, id");
        let mut statement = self.database.connection.prepare_cached(&sql).map_err(explained)?;
        let mut found = statement.query(params![row]).map_err(explained)?;
        while top.len() < count
            && let Some(row) = found.next().map_err(explained)?
        {
            let row = TrialRow::read(row).map_err(explained)?;
            let Record::Trial(Trial { schedule, outcome, .. }) = rows::record(&self.database, &row, Some(key))? else { continue };
            if permitted(&schedule) && !seen.contains(&schedule) {
                let samples = outcome.samples().unwrap_or_default().to_vec();
                top.push(Known { schedule, samples, compared: false });
            }
        }
        Ok(top)
    }

    /// All trials of a key, in order of insertion.
    pub fn trials(&self, key: &Key) -> Result<Vec<Trial>, MeasureError> {
        let records = self.select::<TrialRow>(key, "ORDER BY id")?.into_iter();
        Ok(records.filter_map(|record| if let Record::Trial(trial) = record { Some(trial) } else { None }).collect())
    }

    /// All verdicts on schedules of a key, the latest last.
    pub fn verdicts(&self, key: &Key) -> Result<Vec<Verdict>, MeasureError> {
        let records = self.select::<VerdictRow>(key, "ORDER BY at, id")?.into_iter();
        Ok(records.filter_map(|record| if let Record::Verdict(verdict) = record { Some(verdict) } else { None }).collect())
    }

    /// The graph that won the latest comparison of a network's graphs.
    pub fn network(&self, key: &Key) -> Result<Option<NetworkRecord>, MeasureError> {
        let records = self.select::<NetworkRow>(key, "AND won = 1 ORDER BY at DESC, id DESC LIMIT 1")?.into_iter();
        Ok(records.filter_map(|record| if let Record::Network(network) = record { Some(network) } else { None }).next())
    }

    fn select<R: Stored>(&self, key: &Key, order: &str) -> Result<Vec<Record>, MeasureError> {
        let Some(row) = self.database.known_key(key)? else { return Ok(vec![]) };
        let sql = format!("SELECT * FROM {} WHERE key = ?1 {order}", R::TABLE);
        let read = self.database.run(|c| {
            let mut statement = c.prepare_cached(&sql)?;
            statement.query_map(params![row], R::read)?.collect::<rusqlite::Result<Vec<R>>>()
        })?;
        read.iter().map(|row| rows::record(&self.database, row, Some(key))).collect()
    }

    /// Calls a function with every record until it returns an error: trials, verdicts, networks, each kind in order of
    /// insertion.
    pub fn each(&self, mut visit: impl FnMut(Record) -> Result<(), MeasureError>) -> Result<(), MeasureError> {
        let keys = self.database.keys_by_row()?;
        self.each_of::<TrialRow>(&keys, &mut visit)?;
        self.each_of::<VerdictRow>(&keys, &mut visit)?;
        self.each_of::<NetworkRow>(&keys, &mut visit)
    }

    fn each_of<R: Stored>(
        &self,
        keys: &HashMap<i64, Key>,
        visit: &mut dyn FnMut(Record) -> Result<(), MeasureError>,
    ) -> Result<(), MeasureError> {
        let explained = |error| self.database.explain(error);
        let sql = format!("SELECT * FROM {} ORDER BY id", R::TABLE);
        let mut statement = self.database.connection.prepare(&sql).map_err(explained)?;
        let mut found = statement.query([]).map_err(explained)?;
        while let Some(row) = found.next().map_err(explained)? {
            let row = R::read(row).map_err(explained)?;
            visit(rows::record(&self.database, &row, keys.get(&row.place().1))?)?;
        }
        Ok(())
    }

    /// The keys of all tasks with trials, with the number of trials, in order of the first trial. Networks are not included.
    pub fn keys(&self) -> Result<Vec<(Key, usize)>, MeasureError> {
        let keys = self.database.keys_by_row()?;
        let counts: Vec<(i64, i64)> = self.database.run(|c| {
            let sql = "SELECT key, SUM(trial) FROM (SELECT key, 1 AS trial FROM trials UNION ALL SELECT key, 0 FROM verdicts)
                GROUP BY key ORDER BY key";
            let mut statement = c.prepare(sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let lost = |row: i64| self.database.corrupt(format!("key {row} is missing"));
        counts.into_iter().map(|(row, n)| Ok((keys.get(&row).cloned().ok_or_else(|| lost(row))?, n as usize))).collect()
    }

    /// Total number of trials, of all keys.
    pub fn count(&self) -> Result<usize, MeasureError> {
        self.count_in(TrialRow::TABLE)
    }

    /// Number of rows of a table.
    pub(super) fn count_in(&self, table: &str) -> Result<usize, MeasureError> {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        self.database.run(|c| c.query_row(&sql, [], |row| row.get::<_, i64>(0))).map(|n| n as usize)
    }

    /// Makes sure that all records so far survive a power failure.
    pub fn checkpoint(&self) -> Result<(), MeasureError> {
        self.database.run(|c| {
            c.pragma_update(None, "synchronous", "full")?;
            c.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))?;
            c.pragma_update(None, "synchronous", "normal")
        })
    }
}
