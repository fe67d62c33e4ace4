//! Ctrl-C and termination: the first asks long commands to save and stop, the second ends the process at once.

use super::stderr;
use crate::exit::Exit;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Catches interruptions from here on.
pub fn catch() {
    let caught = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
        stderr::say("stopping after the step that is under way; once more to stop at once");
    });
    if let Err(error) = caught {
        tracing::warn!("interruptions cannot be caught: {error}");
    }
}

/// Whether to go on.
pub fn flow() -> ControlFlow<()> {
    if ASKED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
