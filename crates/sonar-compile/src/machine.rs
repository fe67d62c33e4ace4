//! The machine parameters that the commands use for estimates.

use crate::exit::{Exit, Failure, OrExit, fail};
use crate::terminal::stderr;
use sonar_codegen::Target;
use sonar_ir::machine::Machine;
use sonar_measure::machine::{Loaded, here};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The value of `--machine`: a file, or `usual`.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Stores the value of `--machine`. Called before any command runs.
pub fn choose(option: Option<PathBuf>) {
    if let Some(option) = option {
        // There is only one command line, so nothing was stored before.
        let _ = CHOSEN.set(option);
    }
}

/// The machine parameters for compiling for a target: `--machine` if given. Otherwise those of this machine if it is the
/// target, else the usual ones for the target's vector length.
pub fn of_target(target: &Target) -> Result<&'static Machine, Failure> {
    match CHOSEN.get() {
        Some(_) => this(target.lanes()),
        None if target.is_native() => this(target.lanes()),
        None => Ok(Machine::usual(target.lanes())),
    }
}

/// The parameters of the machine that runs the code: `--machine` if given, or this machine. Read or measured only once.
pub fn this(lanes: usize) -> Result<&'static Machine, Failure> {
    static THIS: OnceLock<Machine> = OnceLock::new();
    if THIS.get().is_none() {
        let machine = record(lanes, false)?.machine;
        // Another thread may have been faster.
        let _ = THIS.set(machine);
    }
    THIS.get().ok_or_else(|| fail(Exit::Internal, "the record of this machine is missing"))
}

/// The same with its origin, for `doctor`. It is measured again if `anew`. Problems with its file are reported.
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

/// Reads a file with machine parameters: alone, or as part of the output of `doctor --format json`, under `machine`.
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
