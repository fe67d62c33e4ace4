//! A file that one process at a time holds.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How often a lock that is taken is tried, and the pause between two tries.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Locks a file, and creates it if it is missing. The lock is held until the file is dropped. `None` if another process holds it.
///
/// A process that another thread is starting holds the locks of this process for a moment, so a lock that is taken is tried again
/// for 0.2 seconds.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(held.is_some());
        assert!(lock(&path).unwrap().is_none());
        drop(held);
        assert!(lock(&path).unwrap().is_some());
        assert!(lock(&folder.path().join("none/lock")).is_err());
    }
}
