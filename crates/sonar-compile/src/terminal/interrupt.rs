//! Ctrl-C and termination, for every command.
//!
//! A command without state stops at once. A command that [saves](saves) its progress is asked to stop. If it is in the middle
//! of a long step and takes too long, the process is ended; everything saved before that step stays. The second Ctrl-C always
//! ends the process at once.

use super::stderr;
use crate::exit::Exit;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The time that a command has to stop.
const GRACE: Duration = Duration::from_millis(1200);

/// The message of a command that can be continued.
pub const GOES_ON: &str = "interrupted; the same command goes on from here";

/// Whether the user asked to stop.
static ASKED: AtomicBool = AtomicBool::new(false);
/// Whether the command saves its progress.
static SAVES: AtomicBool = AtomicBool::new(false);

/// Handles Ctrl-C and termination from here on.
pub fn catch() {
    if let Err(error) = ctrlc::set_handler(interrupted) {
        stderr::warn(format_args!("Ctrl-C cannot be handled: {error}"));
    }
}

/// Declares that the command saves its progress from now on, and that it calls [`flow`] often.
pub fn saves() {
    SAVES.store(true, Ordering::Relaxed);
}

/// Whether to continue.
pub fn flow() -> ControlFlow<()> {
    if ASKED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn interrupted() {
    if ASKED.swap(true, Ordering::Relaxed) {
        end();
    }
    if !SAVES.load(Ordering::Relaxed) {
        stderr::leave();
        stderr::say("interrupted");
        end();
    }
    std::thread::spawn(|| {
        std::thread::sleep(GRACE);
        stderr::leave();
        stderr::say(GOES_ON);
        end();
    });
    stderr::say("stopping; press Ctrl-C again to stop at once");
}

fn end() -> ! {
    std::process::exit(Exit::Interrupted as i32)
}
