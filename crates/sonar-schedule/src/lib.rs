//! From graphs to scheduled kernels: partition, lowering, schedule primitives, spaces, and the memory plan.

mod error;
mod leaf;
mod lower;
mod model;
mod nest;
mod partition;
mod plan;
pub mod primitives;
mod space;
mod task;
mod tilegen;
mod walk;
mod work;

pub use error::{LowerError, ScheduleError};
pub use model::{default_point, default_schedule, estimate};
pub use plan::plan;
pub use primitives::{apply, apply_step};
pub use space::{Knob, Point, ScheduleSpace, space};
pub use task::{Kernel, Task, TaskKind, Tasks, Value, tasks};
