//! Trials as lines of JSON, and trials of other files.

use super::{Records, Trial, checksum};
use crate::error::MeasureError;
use rusqlite::{OptionalExtension, params};
use std::io::{BufRead, Write};

/// What came of adding trials from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Trials that were not there.
    pub added: usize,
    /// Trials that were there already, the same in every bit; they are not added again.
    pub known: usize,
}

impl Records {
    /// Writes all trials, each as a line of JSON, in order of insertion. Numbers can be read back to the bit. Returns how many.
    pub fn export(&self, output: &mut dyn Write) -> Result<usize, MeasureError> {
        let mut count = 0;
        self.each(|trial| {
            serde_json::to_writer(&mut *output, &trial).map_err(std::io::Error::from)?;
            output.write_all(b"\n")?;
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Adds trials that [`export`](Records::export) wrote: all of them, or none if one is unreadable.
    pub fn import(&self, input: &mut dyn BufRead) -> Result<Added, MeasureError> {
        self.transaction(|| {
            let mut added = Added::default();
            for (index, line) in input.lines().enumerate() {
                let line = line?;
                if !line.trim().is_empty() {
                    let trial = serde_json::from_str(&line);
                    self.add(&trial.map_err(|source| MeasureError::Import { line: index + 1, source })?, &mut added)?;
                }
            }
            Ok(added)
        })
    }

    /// Adds the trials of another file: all of them, or none if one is unreadable.
    pub fn merge(&self, other: &Records) -> Result<Added, MeasureError> {
        self.transaction(|| {
            let mut added = Added::default();
            other.each(|trial| self.add(&trial, &mut added))?;
            Ok(added)
        })
    }

    fn add(&self, trial: &Trial, added: &mut Added) -> Result<(), MeasureError> {
        if self.contains(trial)? {
            added.known += 1;
            return Ok(());
        }
        added.added += 1;
        self.insert(trial)
    }

    fn contains(&self, trial: &Trial) -> Result<bool, MeasureError> {
        let Some(key) = self.known_key(&trial.key)? else { return Ok(false) };
        let outcome = serde_json::to_string(&trial.outcome).map_err(std::io::Error::from)?;
        let sum = checksum(trial, &outcome);
        self.run(|c| {
            let sql = "SELECT 1 FROM trials WHERE key = ? AND at = ? AND sum = ? LIMIT 1";
            c.prepare_cached(sql)?.query_row(params![key, trial.at, sum], |_| Ok(())).optional()
        })
        .map(|found| found.is_some())
    }
}
