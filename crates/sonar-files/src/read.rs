//! The bytes of a file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is larger than allowed.
    #[error("{} has {}; at most {limit} are read", path.display(), match size { Some(size) => format!("{size} bytes"), None => "more bytes than allowed".to_string() })]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes, if it is a regular file; others have no size.
        size: Option<u64>,
        /// The most bytes.
        limit: u64,
    },
}

/// All bytes of a file, of which there may be `limit` at most.
///
/// Pipes and devices are read as well. They tell no size, so reading stops where the limit is passed.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::System { path: path.to_path_buf(), source };
    let too_large = |size| ReadError::TooLarge { path: path.to_path_buf(), size, limit };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() && metadata.len() > limit {
        return Err(too_large(Some(metadata.len())));
    }
    let mut bytes = Vec::new();
    if metadata.is_file() {
        bytes.reserve_exact(metadata.len() as usize);
    }
    (&mut file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(None));
    }
    Ok(bytes)
}

/// The first bytes of a file, at most `count`.
pub fn read_head(path: &Path, count: usize) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::System { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(count as u64).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("four.bin");
        std::fs::write(&path, [1, 2, 3, 4]).unwrap();
        assert_eq!(read(&path, 4).unwrap(), [1, 2, 3, 4]);
        assert_eq!(read_head(&path, 2).unwrap(), [1, 2]);
        assert_eq!(read_head(&path, 9).unwrap(), [1, 2, 3, 4]);
        let error = read(&path, 3).unwrap_err().to_string();
        assert!(error.contains("four.bin has 4 bytes; at most 3 are read"), "{error}");
        let error = read(&folder.path().join("none"), 3).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("none: No such file"), "{error}");
        assert!(read(folder.path(), 3).unwrap_err().to_string().contains("directory"));
    }

    #[cfg(unix)]
    #[test]
    fn devices_without_end_are_refused() {
        let error = read(Path::new("/dev/zero"), 1 << 10).unwrap_err().to_string();
        assert!(error.contains("more bytes than allowed"), "{error}");
    }
}
