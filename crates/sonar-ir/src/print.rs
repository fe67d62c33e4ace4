//! Text of loop programs, tiles and schedules, by `Display`.
//!
//! Schedules also parse back. Loop programs and tiles are only printed, for people and as keys: see
//! [`Program::canonical_text`](crate::loops::Program::canonical_text).

mod loops;
mod schedule;
mod tile;

pub(crate) use loops::access;
pub use schedule::ParseScheduleError;
