//! Static libraries.

use crate::error::CodegenError;
use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use std::io::Cursor;

/// An archive with one object file, named `member`, and an index of symbols.
pub fn archive(member: &str, object: &[u8]) -> Result<Vec<u8>, CodegenError> {
    let mut archive = Cursor::new(Vec::new());
    let members = [NewArchiveMember::new(object, &DEFAULT_OBJECT_READER, member.to_string())];
    write_archive_to_stream(&mut archive, &members, ArchiveKind::Gnu, false, None)
        .map_err(|e| CodegenError::Backend(format!("archive: {e}")))?;
    Ok(archive.into_inner())
}
