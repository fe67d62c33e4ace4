//! From graphs to scheduled kernels: partition, lowering, schedule primitives, spaces, and the memory plan.

mod error;
mod lower;
mod nest;
mod partition;
pub mod primitives;
mod task;
mod tilegen;
mod walk;
mod work;

pub use error::{LowerError, ScheduleError};
pub use primitives::{apply, apply_step};
pub use task::{Kernel, Task, TaskKind, Tasks, Value, tasks};
