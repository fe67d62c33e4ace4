//! From a graph to kernels: which nodes share a kernel, memory layouts, and the loop program of each kernel.

pub(crate) mod layout;
pub(crate) mod operators;
mod partition;
pub(crate) mod stage;
mod task;

pub use stage::{TaskKind, Value};
pub use task::{Kernel, Task, TaskId, Tasks, tasks, unfused_tasks};
