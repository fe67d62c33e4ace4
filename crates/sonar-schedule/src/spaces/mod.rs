//! The schedules that are worth trying for a task, and an estimate of each.

mod compose;
mod default;
mod estimate;
mod innermost;
pub mod knobs;
mod register_tiles;
mod space;

pub use default::{default_point, default_program, default_schedule};
pub use estimate::{estimate, estimate_program};
pub use space::{Knob, Options, Point, ScheduleSpace, allows, largest_filter, space};
