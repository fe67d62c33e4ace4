//! Guesses the format of a file that could not be read.

use sonar_files::{read_head, seems};
use std::path::Path;

/// Number of bytes that are examined.
const HEAD: usize = 1024;

/// A guess about the format of the file at a path, with advice, as the end of a message. Empty if there is no guess.
pub fn behind(path: &Path) -> String {
    let size = path.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
    let found = size.and_then(|size| seems(&read_head(path, HEAD).ok()?, size));
    found.map(|found| format!("; {found}")).unwrap_or_default()
}
