//! The schedules that are worth trying for a task, and an estimate of each.

mod compose;
mod estimate;
mod innermost;
pub mod knobs;
mod register_tiles;
mod space;

pub use estimate::{default_point, default_program, default_schedule, estimate, estimate_program};
pub use space::{Knob, Options, Point, ScheduleSpace, allows, largest_filter, space};
