//! From a graph to kernels: which nodes share one, where their values lie, and the loop program of each.

pub(crate) mod layout;
pub(crate) mod operators;
mod partition;
mod task;

pub use task::{Kernel, Task, TaskId, TaskKind, Tasks, Value, tasks, unfused_tasks};
