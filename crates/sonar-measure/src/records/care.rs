//! Checks and prunes a record file.

use super::rows::{NetworkRow, Stored, TrialRow, VerdictRow};
use super::store::Records;
use crate::error::MeasureError;
use rusqlite::params;
use std::fmt;

/// Number of records of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Trials of schedules.
    pub trials: usize,
    /// Verdicts on schedules.
    pub verdicts: usize,
    /// Graphs of networks.
    pub networks: usize,
}

/// What [`Records::prune`] removed and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Number of removed records.
    pub removed: usize,
    /// Number of remaining records.
    pub kept: usize,
}

impl Counts {
    /// The total.
    pub fn sum(self) -> usize {
        self.trials + self.verdicts + self.networks
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trials, {} comparisons, {} graphs of networks", self.trials, self.verdicts, self.networks)
    }
}

impl Records {
    /// Counts the records.
    pub fn counts(&self) -> Result<Counts, MeasureError> {
        let [trials, verdicts, networks] =
            [TrialRow::TABLE, VerdictRow::TABLE, NetworkRow::TABLE].map(|table| self.count_in(table));
        Ok(Counts { trials: trials?, verdicts: verdicts?, networks: networks? })
    }

    /// Reads everything and verifies the checksums. Fails if anything is damaged or unreadable.
    pub fn check(&self) -> Result<Counts, MeasureError> {
        let trouble: Option<String> = self.database().run(|c| {
            let mut statement = c.prepare("PRAGMA integrity_check(1)")?;
            let said: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            Ok(said.into_iter().find(|line| line != "ok"))
        })?;
        if let Some(trouble) = trouble {
            return Err(self.database().corrupt(trouble));
        }
        self.each(|_| Ok(()))?;
        self.counts()
    }

    /// Keeps, for each key of `compiler`: the latest verdict, the latest trials of the `keep` best schedules, and the `keep`
    /// latest graphs that won. Removes all other records and frees their space. With `keep` 0, nothing is left. Schedules whose
    /// trials are removed can be tried again, including failed ones.
    pub fn prune(&self, keep: usize, compiler: &str) -> Result<Pruned, MeasureError> {
        let before = self.counts()?.sum();
        let database = self.database();
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        database.transaction(|| {
            database.run(|c| {
                c.execute(
                    "DELETE FROM trials WHERE id NOT IN (
                        SELECT id FROM (
                            SELECT id, ROW_NUMBER() OVER (PARTITION BY key ORDER BY median, id) AS place FROM (
                                SELECT *, ROW_NUMBER() OVER (PARTITION BY key, schedule ORDER BY at DESC, id DESC) AS age
                                FROM trials WHERE key IN (SELECT id FROM keys WHERE compiler = ?1)
                            ) WHERE age = 1 AND median IS NOT NULL
                        ) WHERE place <= ?2)",
                    params![compiler, keep],
                )?;
                for (table, chosen, most) in [("verdicts", "1", keep.min(1)), ("networks", "won = 1", keep)] {
                    let sql = format!(
                        "DELETE FROM {table} WHERE id NOT IN (
                            SELECT id FROM (
                                SELECT id, ROW_NUMBER() OVER (PARTITION BY key ORDER BY at DESC, id DESC) AS place FROM {table}
                                WHERE {chosen} AND key IN (SELECT id FROM keys WHERE compiler = ?1)
                            ) WHERE place <= ?2)"
                    );
                    c.execute(&sql, params![compiler, most])?;
                }
                Ok(())
            })
        })?;
        database.run(|c| c.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"))?;
        let kept = self.counts()?.sum();
        Ok(Pruned { removed: before.saturating_sub(kept), kept })
    }
}
