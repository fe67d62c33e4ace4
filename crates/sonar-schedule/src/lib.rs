//! From graphs to scheduled kernels: partition, lowering, schedule primitives, spaces, and the memory plan.
//!
//! | module | what it does |
//! |---|---|
//! | `partition` | which nodes of a graph share a kernel |
//! | `lower` | kernels to unscheduled loop programs |
//! | `task` | kernels that compute the same thing are one [`Task`] |
//! | [`primitives`] | the steps of schedules, and [`apply`], which replays them |
//! | `tilegen` | an inner nest to a micro-kernel: what `tensorize` and `tensorize_across` put in its place |
//! | `transform` | the transforms of Winograd's convolutions |
//! | [`knobs`] | what can be decided about a schedule |
//! | `space`, `compose`, `tiles` | the schedules that are worth trying for a task, and how they are put together |
//! | `model` | an analytic estimate, and the schedule that it finds best |
//! | `plan`, `arena` | scheduled kernels and where in memory tensors live |
//! | `nest`, `walk` | building loop programs, and visiting every part of them |
//! | `leaf`, `work` | the innermost statements of a program, and how much it computes |
//! | `levels`, `bits` | how much one iteration of each loop computes, and how much memory it touches |
//!
//! Nothing here knows machine code or time: a target is its number of vector lanes.
//!
//! ```
//! use sonar_ir::{Graph, Init, Op, TensorType};
//! use sonar_schedule::{Options, default_program, default_schedule, plan, tasks};
//!
//! let mut graph = Graph::new("dense");
//! let x = graph.input("x", TensorType::fixed(&[8, 64]));
//! let w = graph.param("w", &[64, 32], Init::He);
//! let y = graph.push(Op::MatMul, &[x, w]).unwrap();
//! graph.outputs = vec![y];
//!
//! let tasks = tasks(&graph).unwrap();
//! let schedule = default_schedule(&tasks.tasks[0], &Options::new(16));
//! assert!(schedule.to_string().contains("tensorize rows=m cols=n"));
//! let programs = tasks.tasks.iter().map(|task| default_program(task, &Options::new(16)).1).collect();
//! let plan = plan(&tasks, programs);
//! assert_eq!(plan.kernels.len(), 1);
//! ```

mod arena;
mod bits;
mod compose;
mod error;
pub mod knobs;
mod layout;
mod leaf;
mod levels;
mod lower;
mod model;
mod nest;
mod partition;
mod plan;
pub mod primitives;
mod space;
mod task;
mod tilegen;
mod tiles;
mod transform;
mod walk;
mod work;

pub use error::{LowerError, ScheduleError};
pub use levels::{Level, levels};
pub use model::{default_point, default_program, default_schedule, estimate, estimate_program};
pub use plan::plan;
pub use primitives::{apply, apply_step};
pub use space::{Knob, Options, Point, ScheduleSpace, allows, largest_filter, space};
pub use task::{Kernel, Task, TaskKind, Tasks, Value, tasks, unfused_tasks};
pub use work::executed_flops;
