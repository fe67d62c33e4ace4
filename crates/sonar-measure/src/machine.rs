//! The parameters of this machine, measured once and kept in a file.
//!
//! The file is in the user's cache directory. Its name is a digest of everything that affects the numbers: the processor with
//! its model, stepping and caches, the virtual machine, the cores that this process may use, and the version of this program.
//! If the file cannot be read, the machine is measured again and the file is replaced. If the file cannot be written, the
//! parameters are used for this process only. Both cases give a warning.

use crate::records::digest;
use serde::{Deserialize, Serialize};
use sonar_codegen::machine::environment;
use sonar_codegen::{CodegenError, Target};
use sonar_ir::machine::Machine;
use std::path::{Path, PathBuf};

/// The machine parameters, and their origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The parameters.
    pub machine: Machine,
    /// The file that it was read from or written to.
    pub file: Option<PathBuf>,
    /// Whether they were measured just now.
    pub measured: bool,
    /// A warning for the user.
    pub warning: Option<Warning>,
}

/// Why the machine was measured although there is a file, or why the parameters could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The user has no cache directory.
    #[error("the record of this machine is measured at every start: set XDG_CACHE_HOME or HOME to keep it")]
    NoFolder,
    /// The file exists, but it does not hold parameters of this machine.
    #[error("{} is damaged ({reason}): this machine is measured anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The parameters could not be written.
    #[error("the record of this machine cannot be kept in {} ({reason}): it is measured at every start", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        reason: String,
    },
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Identifies the machine: for people, and to detect copied files.
    key: String,
    machine: Machine,
}

/// The parameters of this machine: from the user's cache directory, or measured and stored there. With `anew`, they are
/// measured even if they are known.
pub fn here(anew: bool) -> Result<Loaded, CodegenError> {
    let key = format!("{}, {}, sonar {}", Target::native()?.key(), environment(), env!("CARGO_PKG_VERSION"));
    load(cache_folder().as_deref(), &key, anew, sonar_codegen::machine::measure)
}

/// The user's cache directory for this program, according to the XDG base directory specification.
fn cache_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("sonar"))
}

/// Reads the parameters stored under a key in a folder, or measures them and stores them there.
fn load<E>(folder: Option<&Path>, key: &str, anew: bool, measure: impl FnOnce() -> Result<Machine, E>) -> Result<Loaded, E> {
    let Some(folder) = folder else {
        return Ok(Loaded { machine: measure()?, file: None, measured: true, warning: Some(Warning::NoFolder) });
    };
    let path = folder.join(format!("machine-{}.json", &digest(key)[..16]));
    let mut warning = None;
    if !anew {
        match read(&path, key) {
            Ok(Some(machine)) => return Ok(Loaded { machine, file: Some(path), measured: false, warning: None }),
            Ok(None) => {}
            Err(reason) => warning = Some(Warning::Damaged { path: path.clone(), reason }),
        }
    }
    let machine = measure()?;
    let kept = write(&path, &Kept { key: key.to_owned(), machine: machine.clone() });
    if let Err(error) = &kept {
        warning = Some(Warning::NotKept { path: path.clone(), reason: error.to_string() });
    }
    Ok(Loaded { machine, file: kept.is_ok().then_some(path), measured: true, warning })
}

/// The parameters in a file, or `None` if there is no file. The error is a description of the damage.
fn read(path: &Path, key: &str) -> Result<Option<Machine>, String> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| error.to_string())?,
    };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if kept.key != key {
        return Err(format!("it is of another machine, {}", kept.key));
    }
    kept.machine.check().map_err(str::to_owned)?;
    Ok(Some(kept.machine))
}

/// Writes the file completely or not at all, even if other processes write it too.
fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text = serde_json::to_string_pretty(kept)?;
    let part = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The file may not exist.
        let _ = std::fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Loads with a fake measurement that counts its calls and reports this number of cores.
    fn loaded(folder: Option<&Path>, key: &str, anew: bool, cores: usize) -> (Loaded, u32) {
        let count = Cell::new(0);
        let measure = || {
            count.set(count.get() + 1);
            Ok::<_, CodegenError>(Machine { cores, ..Machine::usual(8).clone() })
        };
        let loaded = load(folder, key, anew, measure).expect("the measurement does not fail");
        (loaded, count.get())
    }

    #[test]
    fn a_machine_is_measured_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("deep").join("sonar");
        let (first, measured) = loaded(Some(&folder), "this one", false, 3);
        assert_eq!((measured, &first.warning, first.measured), (1, &None, true));
        let (second, measured) = loaded(Some(&folder), "this one", false, 4);
        assert_eq!((measured, second), (0, Loaded { measured: false, ..first }));
        // Another key means another machine, so it is measured.
        assert_eq!(loaded(Some(&folder), "that one", false, 5).1, 1);
        let (third, measured) = loaded(Some(&folder), "this one", true, 6);
        assert_eq!((measured, third.machine.cores, loaded(Some(&folder), "this one", false, 7).0.machine.cores), (1, 6, 6));
        assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 2);
    }

    #[test]
    fn a_damaged_file_is_told_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = loaded(Some(folder.path()), "key", false, 3).0.file.expect("it is kept");
        let good = std::fs::read_to_string(&file).expect("it is there");
        let negative = good.replace("\"call\":", "\"call\": -1.0, \"called\":");
        let empty = good.replace(
            &good[good.find("\"peaks\"").expect("peaks")..good.find("\"bandwidths\"").expect("bandwidths")],
            "\"peaks\": [], ",
        );
        for bad in ["", "{}", &good[..good.len() / 2], &good.replace("\"key\": \"key\"", "\"key\": \"other\""), &negative, &empty]
        {
            std::fs::write(&file, bad).expect("it can be written");
            let (again, measured) = loaded(Some(folder.path()), "key", false, 9);
            assert!(matches!(again.warning, Some(Warning::Damaged { .. })) && measured == 1, "{bad}: {again:?}");
            assert_eq!(loaded(Some(folder.path()), "key", false, 1).0.machine.cores, 9);
        }
    }

    #[test]
    fn a_record_that_cannot_be_kept_is_used_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").expect("it can be written");
        let (loaded_there, _) = loaded(Some(&file), "key", false, 3);
        assert_eq!((loaded_there.machine.cores, &loaded_there.file), (3, &None));
        assert!(matches!(loaded_there.warning, Some(Warning::NotKept { .. })), "{loaded_there:?}");
        assert_eq!(loaded(None, "key", false, 3).0.warning, Some(Warning::NoFolder));
    }
}
