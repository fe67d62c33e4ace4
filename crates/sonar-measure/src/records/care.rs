//! Keeping a file of records whole and small.

use super::Records;
use crate::error::MeasureError;

/// What [`Records::prune`] removed and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Trials that are gone.
    pub removed: usize,
    /// Trials that are still there.
    pub kept: usize,
}

impl Records {
    /// Reads everything there is and compares it with its checksums. Returns how many trials are whole; all of them, or it fails.
    pub fn check(&self) -> Result<usize, MeasureError> {
        let trouble: Option<String> = self.run(|c| {
            let mut statement = c.prepare("PRAGMA integrity_check(1)")?;
            let said: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            Ok(said.into_iter().find(|line| line != "ok"))
        })?;
        if let Some(trouble) = trouble {
            return Err(self.corrupt(trouble));
        }
        let mut count = 0;
        self.each(|_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Leaves the latest trials of the `keep` best schedules of each key, of those keys that `compiler` made, and gives the space
    /// of all others back. What is removed can be tried again, failures too.
    pub fn prune(&self, keep: usize, compiler: &str) -> Result<Pruned, MeasureError> {
        let before = self.count()?;
        let sql = "DELETE FROM trials WHERE id NOT IN (
            SELECT id FROM (
                SELECT id, ROW_NUMBER() OVER (PARTITION BY key ORDER BY confirmed DESC, median, id) AS place FROM (
                    SELECT *, ROW_NUMBER() OVER (PARTITION BY key, schedule ORDER BY at DESC, id DESC) AS age FROM trials
                    WHERE key IN (SELECT id FROM keys WHERE compiler = ?1)
                ) WHERE age = 1 AND median IS NOT NULL
            ) WHERE place <= ?2)";
        self.run(|c| c.execute(sql, rusqlite::params![compiler, i64::try_from(keep).unwrap_or(i64::MAX)]))?;
        self.run(|c| c.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"))?;
        let kept = self.count()?;
        Ok(Pruned { removed: before.saturating_sub(kept), kept })
    }
}
