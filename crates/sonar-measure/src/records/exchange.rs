//! Export and import as lines of JSON, and merging of record files.

use super::older::{BroughtUp, OldTrial, bring_up};
use super::record::{Record, Trial};
use super::rows;
use super::store::Records;
use crate::error::MeasureError;
use serde::de::Error;
use serde_json::Value;
use std::io::{BufRead, Write};

/// The result of adding records from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Number of new records.
    pub added: usize,
    /// Number of records that existed already, bit for bit. They are not added again.
    pub known: usize,
}

/// A line of an import.
enum Line {
    Record(Record),
    /// From an older version.
    Old(OldTrial),
}

impl Records {
    /// Writes all records as lines of JSON: trials, verdicts, networks, each kind in order of insertion. Numbers can be read
    /// back exactly. Returns the number of records.
    pub fn export(&self, output: &mut dyn Write) -> Result<usize, MeasureError> {
        let mut count = 0;
        self.each(|record| {
            serde_json::to_writer(&mut *output, &record).map_err(std::io::Error::from)?;
            output.write_all(b"\n")?;
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Adds records that [`export`](Records::export) wrote, in this version or an older one. Adds all of them, or none if one
    /// is unreadable.
    pub fn import(&self, input: &mut dyn BufRead) -> Result<Added, MeasureError> {
        self.database().transaction(|| {
            let mut added = Added::default();
            let mut old = Vec::new();
            for (index, line) in input.lines().enumerate() {
                let line = line?;
                if line.trim().is_empty() {
                    continue;
                }
                match parse(&line).map_err(|source| MeasureError::Import { line: index + 1, source })? {
                    Line::Record(record) => self.add_new(&record, &mut added)?,
                    Line::Old(trial) => old.push(trial),
                }
            }
            let BroughtUp { records, unreadable } = bring_up(old);
            if unreadable > 0 {
                tracing::warn!("{unreadable} trials of an older version cannot be read and were left out");
            }
            records.iter().try_for_each(|record| self.add_new(record, &mut added))?;
            Ok(added)
        })
    }

    /// Adds the records of another file. Adds all of them, or none if one is unreadable.
    pub fn merge(&self, other: &Records) -> Result<Added, MeasureError> {
        self.database().transaction(|| {
            let mut added = Added::default();
            other.each(|record| self.add_new(&record, &mut added))?;
            Ok(added)
        })
    }

    fn add_new(&self, record: &Record, added: &mut Added) -> Result<(), MeasureError> {
        if rows::contains(self.database(), record)? {
            added.known += 1;
            return Ok(());
        }
        added.added += 1;
        self.add(record)
    }
}

/// Reads a line. Its fields determine the kind of record.
fn parse(line: &str) -> serde_json::Result<Line> {
    let value: Value = serde_json::from_str(line)?;
    let has = |field: &str| value.get(field).is_some();
    if has("confirmed") {
        serde_json::from_value(value).map(Line::Old)
    } else if has("outcome") {
        serde_json::from_value::<Trial>(value).map(|trial| Line::Record(Record::Trial(trial)))
    } else if has("contenders") {
        serde_json::from_value(value).map(|verdict| Line::Record(Record::Verdict(verdict)))
    } else if has("graph") {
        serde_json::from_value(value).map(|network| Line::Record(Record::Network(network)))
    } else {
        Err(serde_json::Error::custom("it has none of `outcome`, `contenders` and `graph`"))
    }
}
