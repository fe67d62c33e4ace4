//! The bytes of a file.

use std::fs::File;
use std::io::{ErrorKind, Read};
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
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is a device, which may be endless.
    #[error("cannot read {}: it is a device, not a file", path.display())]
    Device {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than allowed.
    #[error("{} has {size} bytes or more; at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes; for a pipe, the number of bytes that were read.
        size: u64,
        /// The most bytes.
        limit: u64,
    },
}

/// All bytes of a file or a pipe, at most `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::System { path: path.to_path_buf(), source };
    let too_large = |size| ReadError::TooLarge { path: path.to_path_buf(), size, limit };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if is_device(&metadata) {
        return Err(ReadError::Device { path: path.to_path_buf() });
    }
    // A pipe has no size. It is read until it ends or the limit is exceeded.
    let size = if metadata.is_file() { metadata.len() } else { 0 };
    if size > limit {
        return Err(too_large(size));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size as usize).map_err(|_| failed(ErrorKind::OutOfMemory.into()))?;
    (&mut file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn is_device(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_char_device() || metadata.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &std::fs::Metadata) -> bool {
    false
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
        assert!(error.contains("four.bin has 4 bytes or more; at most 3 are read"), "{error}");
        let error = read(&folder.path().join("none"), 3).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("none: No such file"), "{error}");
        assert!(read(folder.path(), 3).unwrap_err().to_string().contains("directory"));
    }

    #[cfg(unix)]
    #[test]
    fn devices_without_end_are_refused() {
        let error = read(Path::new("/dev/zero"), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("/dev/zero: it is a device"), "{error}");
    }
}
