//! What a file seems to be that was not understood.

use sonar_files::{read_head, seems};
use std::path::Path;

/// Bytes that are looked at.
const HEAD: usize = 1024;

/// What the file at a path seems to be and what to do then, as the end of a message. Nothing if there is no sign.
pub fn behind(path: &Path) -> String {
    let size = path.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
    let found = size.and_then(|size| seems(&read_head(path, HEAD).ok()?, size));
    found.map(|found| format!("; {found}")).unwrap_or_default()
}
