//! Which record of a machine the commands estimate with.

use crate::exit::{Exit, Failure, OrExit, fail};
use crate::terminal::stderr;
use sonar_codegen::Target;
use sonar_ir::machine::Machine;
use sonar_measure::machine::{Loaded, here};
use std::path::PathBuf;
use std::sync::OnceLock;

/// What `--machine` says: a file, or `usual`.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Takes note of what `--machine` says, before any command runs.
pub fn choose(option: Option<PathBuf>) {
    if let Some(option) = option {
        // There is one command line, and so nothing was chosen before.
        let _ = CHOSEN.set(option);
    }
}

/// The record to make code for a target with: what `--machine` says; else that of this machine, if the target is this machine, or
/// the usual one of its vectors.
pub fn of_target(target: &Target) -> Result<&'static Machine, Failure> {
    match CHOSEN.get() {
        Some(_) => this(target.lanes()),
        None if target.is_native() => this(target.lanes()),
        None => Ok(Machine::usual(target.lanes())),
    }
}

/// The record of the machine that code runs on: what `--machine` says, or that of this machine. It is read or measured once.
pub fn this(lanes: usize) -> Result<&'static Machine, Failure> {
    static THIS: OnceLock<Machine> = OnceLock::new();
    if THIS.get().is_none() {
        let machine = record(lanes, false)?.machine;
        // Another thread may have been faster.
        let _ = THIS.set(machine);
    }
    THIS.get().ok_or_else(|| fail(Exit::Internal, "the record of this machine is missing"))
}

/// The same with where it came from, for `doctor`, and measured `anew` if that is wanted. What is wrong with its file is told.
pub fn record(lanes: usize, anew: bool) -> Result<Loaded, Failure> {
    let given = |machine| Loaded { machine, file: None, measured: false, warning: None };
    match CHOSEN.get() {
        Some(path) if path.as_os_str() == "usual" => Ok(given(Machine::usual(lanes).clone())),
        Some(path) => Ok(given(read(path)?)),
        None => {
            let loaded = here(anew).or_exit(Exit::Internal)?;
            if let Some(warning) = &loaded.warning {
                stderr::warn(warning);
            }
            Ok(loaded)
        }
    }
}

/// The record of a file: by itself, as `doctor --format json` prints it under `machine`, or within that document.
fn read(path: &PathBuf) -> Result<Machine, Failure> {
    let refuse = |reason: String| fail(Exit::BadInput, format!("--machine {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let document: serde_json::Value = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    let record = document.get("machine").unwrap_or(&document).clone();
    let machine: Machine = serde_json::from_value(record).map_err(|error| {
        refuse(format!("it is no record of a machine, as `sonar-compile doctor --format json` prints it: {error}"))
    })?;
    machine.check().map_err(|reason| refuse(format!("it is the record of no machine: {reason}")))?;
    Ok(machine)
}
