//! Files with weights next to a model.
//!
//! A model from the internet must not read other files of the user. So the path in the model must be relative and must not go up,
//! and the file must lie in one of the model's folders. These are the folder of the path that the user gave
//! and, if that path is a link, the folder of each file along the chain of links. Caches of model hubs need this: they are folders
//! of links to files that lie together in another folder.

use crate::error::Refusal;
use crate::file::proto::TensorProto;
use bytes::Bytes;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The most links in a chain that are followed; Linux has the same limit.
const MAX_LINKS: usize = 40;

/// The folders in which a model's weight files may lie.
#[derive(Clone, Debug)]
pub struct Folders(Vec<PathBuf>);

impl Folders {
    /// A folder.
    pub fn only(folder: &Path) -> Folders {
        Folders(vec![folder.to_path_buf()])
    }

    /// The folder of a model's path, and those of the files along its chain of links, in order.
    pub fn of(model: &Path) -> Folders {
        let parent = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut path = model.to_path_buf();
        let mut folders = vec![parent(&path)];
        for _ in 0..MAX_LINKS {
            let Ok(target) = std::fs::read_link(&path) else { break };
            path = parent(&path).join(target);
            folders.push(parent(&path));
        }
        Folders(folders)
    }

    /// The file that a path in the model refers to, with links resolved.
    fn find(&self, location: &str) -> Result<PathBuf, Refusal> {
        let refused = |why: String| Refusal::invalid(format!("external data in `{location}`: {why}"));
        let goes_down = Path::new(location).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !goes_down {
            return Err(refused("the path leaves the model's folder".to_string()));
        }
        let mut missing = None;
        for folder in &self.0 {
            let path = folder.join(location);
            let real = match path.canonicalize() {
                Ok(real) => real,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing.get_or_insert_with(|| refused(format!("cannot read {}: {error}", path.display())));
                    continue;
                }
                Err(error) => return Err(refused(format!("cannot read {}: {error}", path.display()))),
            };
            let inside = |folder: &PathBuf| {
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                folder.canonicalize().is_ok_and(|folder| real.starts_with(folder))
            };
            if !self.0.iter().any(inside) {
                return Err(refused(format!(
                    "{} is a link to {}, which lies outside of the model's folder: copy the file into the folder",
                    path.display(),
                    real.display()
                )));
            }
            return Ok(real);
        }
        Err(missing.unwrap_or_else(|| refused("the model has no folder".to_string())))
    }
}

/// The `expected` bytes of a tensor from the file that it names.
pub fn bytes(tensor: &TensorProto, expected: usize, folders: &Folders) -> Result<Bytes, Refusal> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str, default: u64| match entry(key) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| Refusal::invalid(format!("the {key} `{text}` of external data"))),
    };
    let location = entry("location").ok_or_else(|| Refusal::invalid("external data without a location"))?;
    let (offset, length) = (number("offset", 0)?, number("length", expected as u64)?);
    if length != expected as u64 {
        return Err(Refusal::invalid(format!(
            "{length} bytes of external data where the shape {:?} has {expected}",
            tensor.dims
        )));
    }
    let path = folders.find(location)?;
    let refused = |why: String| Refusal::invalid(format!("external data in `{location}`: {why}"));
    let unreadable = |error: std::io::Error| refused(format!("cannot read {}: {error}", path.display()));
    // Pipes and devices are not opened: that could block for ever.
    let metadata = std::fs::metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refused(format!("{} is not a regular file", path.display())));
    }
    if offset.checked_add(length).is_none_or(|end| end > metadata.len()) {
        let head = sonar_files::read_head(&path, 1 << 9).unwrap_or_default();
        let hint = sonar_files::seems(&head, metadata.len()).map(|seems| format!("; {seems}")).unwrap_or_default();
        let size = metadata.len();
        return Err(refused(format!("{} has {size} bytes and not {length} from {offset} on{hint}", path.display())));
    }
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; expected];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    read().map(Bytes::from).map_err(unreadable)
}
