//! Rows of the tables: each kind of record is stored with a checksum and verified when it is read.

use super::database::{Database, bits, checksum, key_checksum};
use super::record::{Contender, Key, NetworkRecord, Record, Setting, Trial, Verdict};
use crate::error::MeasureError;
use rusqlite::{OptionalExtension, Row, params};
use sonar_ir::text::parse_graph;

/// Why a row does not give a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It was changed after it was written.
    Damaged,
    /// It is undamaged, but this program does not understand it.
    Unreadable(String),
}

/// A kind of record, with its table.
pub trait Stored: Sized {
    /// The table.
    const TABLE: &'static str;

    /// The row numbers of the record and of its key.
    fn place(&self) -> (i64, i64);

    /// The stored checksum.
    fn sum(&self) -> i64;

    /// Reads the columns.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self>;

    /// The record, if the row is undamaged and belongs to this key.
    fn record(&self, key: &Key) -> Result<Record, Fault>;
}

/// A row of the table of trials.
#[derive(Clone, Debug)]
pub struct TrialRow {
    pub id: i64,
    pub key: i64,
    pub schedule: String,
    pub outcome: String,
    pub median: Option<f64>,
    pub seconds: f64,
    pub at: f64,
    pub sum: i64,
}

/// A row of the table of verdicts.
#[derive(Clone, Debug)]
pub struct VerdictRow {
    pub id: i64,
    pub key: i64,
    pub setting: String,
    pub contenders: String,
    pub seconds: f64,
    pub at: f64,
    pub sum: i64,
}

/// A row of the table of networks.
#[derive(Clone, Debug)]
pub struct NetworkRow {
    pub id: i64,
    pub key: i64,
    pub won: i64,
    pub graph: String,
    pub samples: String,
    pub at: f64,
    pub sum: i64,
}

/// The checksum of a row of a kind: of its key, its two texts and its numbers.
fn row_checksum(kind: &str, key: &Key, [first, second]: [&str; 2], numbers: &str) -> i64 {
    checksum(&[kind, &format!("{:x}", key_checksum(key)), first, second, numbers])
}

impl TrialRow {
    /// The row of a trial, without a row number yet.
    fn of(key: i64, trial: &Trial) -> Result<TrialRow, MeasureError> {
        let Trial { schedule, outcome, seconds, at, .. } = trial;
        let (median, outcome) = (outcome.time(), json(outcome)?);
        let row = TrialRow { id: 0, key, schedule: schedule.to_string(), outcome, median, seconds: *seconds, at: *at, sum: 0 };
        Ok(TrialRow { sum: row.checksum(&trial.key), ..row })
    }

    fn checksum(&self, key: &Key) -> i64 {
        row_checksum("trial", key, [&self.schedule, &self.outcome], &format!("{:x} {:x}", bits(self.seconds), bits(self.at)))
    }
}

impl Stored for TrialRow {
    const TABLE: &'static str = "trials";

    fn place(&self) -> (i64, i64) {
        (self.id, self.key)
    }

    fn sum(&self) -> i64 {
        self.sum
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(TrialRow {
            id: row.get("id")?,
            key: row.get("key")?,
            schedule: row.get("schedule")?,
            outcome: row.get("outcome")?,
            median: row.get("median")?,
            seconds: row.get("seconds")?,
            at: row.get("at")?,
            sum: row.get("sum")?,
        })
    }

    fn record(&self, key: &Key) -> Result<Record, Fault> {
        if self.checksum(key) != self.sum {
            return Err(Fault::Damaged);
        }
        let trial = Trial {
            key: key.clone(),
            schedule: self.schedule.parse().map_err(unreadable)?,
            outcome: serde_json::from_str(&self.outcome).map_err(unreadable)?,
            seconds: self.seconds,
            at: self.at,
        };
        // The median follows from the outcome, so it is not part of the checksum.
        let same = trial.outcome.time().map(bits) == self.median.map(bits);
        if same { Ok(Record::Trial(trial)) } else { Err(Fault::Damaged) }
    }
}

impl VerdictRow {
    fn of(key: i64, verdict: &Verdict) -> Result<VerdictRow, MeasureError> {
        let Verdict { setting, contenders, seconds, at, .. } = verdict;
        let (setting, contenders) = (setting.name().to_owned(), json(contenders)?);
        let row = VerdictRow { id: 0, key, setting, contenders, seconds: *seconds, at: *at, sum: 0 };
        Ok(VerdictRow { sum: row.checksum(&verdict.key), ..row })
    }

    fn checksum(&self, key: &Key) -> i64 {
        row_checksum("verdict", key, [&self.setting, &self.contenders], &format!("{:x} {:x}", bits(self.seconds), bits(self.at)))
    }
}

impl Stored for VerdictRow {
    const TABLE: &'static str = "verdicts";

    fn place(&self) -> (i64, i64) {
        (self.id, self.key)
    }

    fn sum(&self) -> i64 {
        self.sum
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(VerdictRow {
            id: row.get("id")?,
            key: row.get("key")?,
            setting: row.get("setting")?,
            contenders: row.get("contenders")?,
            seconds: row.get("seconds")?,
            at: row.get("at")?,
            sum: row.get("sum")?,
        })
    }

    fn record(&self, key: &Key) -> Result<Record, Fault> {
        if self.checksum(key) != self.sum {
            return Err(Fault::Damaged);
        }
        let unknown = || Fault::Unreadable(format!("the setting `{}` is unknown", self.setting));
        let contenders: Vec<Contender> = serde_json::from_str(&self.contenders).map_err(unreadable)?;
        Ok(Record::Verdict(Verdict {
            key: key.clone(),
            setting: Setting::named(&self.setting).ok_or_else(unknown)?,
            contenders,
            seconds: self.seconds,
            at: self.at,
        }))
    }
}

impl NetworkRow {
    fn of(key: i64, network: &NetworkRecord) -> Result<NetworkRow, MeasureError> {
        let NetworkRecord { graph, samples, won, at, .. } = network;
        let (won, graph, samples) = (i64::from(*won), graph.to_string(), json(samples)?);
        let row = NetworkRow { id: 0, key, won, graph, samples, at: *at, sum: 0 };
        Ok(NetworkRow { sum: row.checksum(&network.key), ..row })
    }

    fn checksum(&self, key: &Key) -> i64 {
        row_checksum("network", key, [&self.graph, &self.samples], &format!("{} {:x}", self.won, bits(self.at)))
    }
}

impl Stored for NetworkRow {
    const TABLE: &'static str = "networks";

    fn place(&self) -> (i64, i64) {
        (self.id, self.key)
    }

    fn sum(&self) -> i64 {
        self.sum
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(NetworkRow {
            id: row.get("id")?,
            key: row.get("key")?,
            won: row.get("won")?,
            graph: row.get("graph")?,
            samples: row.get("samples")?,
            at: row.get("at")?,
            sum: row.get("sum")?,
        })
    }

    fn record(&self, key: &Key) -> Result<Record, Fault> {
        if self.checksum(key) != self.sum || !matches!(self.won, 0 | 1) {
            return Err(Fault::Damaged);
        }
        Ok(Record::Network(NetworkRecord {
            key: key.clone(),
            graph: parse_graph(&self.graph).map_err(unreadable)?,
            samples: serde_json::from_str(&self.samples).map_err(unreadable)?,
            won: self.won == 1,
            at: self.at,
        }))
    }
}

/// Adds a record.
pub fn insert(database: &Database, record: &Record) -> Result<(), MeasureError> {
    let key = database.key_row(record.key())?;
    match record {
        Record::Trial(trial) => {
            let TrialRow { schedule, outcome, median, seconds, at, sum, .. } = TrialRow::of(key, trial)?;
            database.run(|c| {
                let sql = "INSERT INTO trials (key, schedule, outcome, median, seconds, at, sum) VALUES (?, ?, ?, ?, ?, ?, ?)";
                c.prepare_cached(sql)?.execute(params![key, schedule, outcome, median, seconds, at, sum]).map(drop)
            })
        }
        Record::Verdict(verdict) => {
            let VerdictRow { setting, contenders, seconds, at, sum, .. } = VerdictRow::of(key, verdict)?;
            database.run(|c| {
                let sql = "INSERT INTO verdicts (key, setting, contenders, seconds, at, sum) VALUES (?, ?, ?, ?, ?, ?)";
                c.prepare_cached(sql)?.execute(params![key, setting, contenders, seconds, at, sum]).map(drop)
            })
        }
        Record::Network(network) => {
            let NetworkRow { won, graph, samples, at, sum, .. } = NetworkRow::of(key, network)?;
            database.run(|c| {
                let sql = "INSERT INTO networks (key, won, graph, samples, at, sum) VALUES (?, ?, ?, ?, ?, ?)";
                c.prepare_cached(sql)?.execute(params![key, won, graph, samples, at, sum]).map(drop)
            })
        }
    }
}

/// Whether a record exists already, bit for bit.
pub fn contains(database: &Database, record: &Record) -> Result<bool, MeasureError> {
    let Some(key) = database.known_key(record.key())? else { return Ok(false) };
    let (table, at, sum) = match record {
        Record::Trial(trial) => (TrialRow::TABLE, trial.at, TrialRow::of(key, trial)?.sum),
        Record::Verdict(verdict) => (VerdictRow::TABLE, verdict.at, VerdictRow::of(key, verdict)?.sum),
        Record::Network(network) => (NetworkRow::TABLE, network.at, NetworkRow::of(key, network)?.sum),
    };
    let sql = format!("SELECT 1 FROM {table} WHERE key = ? AND at = ? AND sum = ? LIMIT 1");
    let found = database.run(|c| c.prepare_cached(&sql)?.query_row(params![key, at, sum], |_| Ok(())).optional())?;
    Ok(found.is_some())
}

/// Converts a row to a record. The error names the row.
pub fn record<R: Stored>(database: &Database, row: &R, key: Option<&Key>) -> Result<Record, MeasureError> {
    let (number, table) = (row.place().0, R::TABLE);
    match key.ok_or(Fault::Damaged).and_then(|key| row.record(key)) {
        Ok(record) => Ok(record),
        Err(Fault::Damaged) => Err(database.corrupt(format!("row {number} of {table} is not what was written"))),
        Err(Fault::Unreadable(reason)) => {
            Err(MeasureError::Unreadable { path: database.path.clone(), table, row: number, reason })
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Fault {
    Fault::Unreadable(error.to_string())
}

fn json(value: &impl serde::Serialize) -> Result<String, MeasureError> {
    Ok(serde_json::to_string(value).map_err(std::io::Error::from)?)
}
