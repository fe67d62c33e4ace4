//! From graphs to scheduled kernels: partition, lowering, schedule primitives, spaces, and the memory plan.
//!
//! | folder | what it does |
//! |---|---|
//! | `lowering` | which nodes of a graph share a kernel, where values lie, and each kernel as an unscheduled loop program; equal ones are one [`Task`] |
//! | [`primitives`] | the steps of schedules, and [`apply`], which replays them |
//! | `microkernels` | an inner nest to a tile program: what `tensorize` and `tensorize_across` put in its place |
//! | `spaces` | what can be decided about a schedule, the schedules worth trying for a task, and an estimate of each |
//! | `memory` | scheduled kernels and where in memory tensors live |
//! | `footprints` | how much each loop computes, and how much memory it touches |
//! | `loops` | building loop programs, and visiting every part of them |
//!
//! Nothing here knows machine code or time: a target is its number of vector lanes.
//!
//! ```
//! use sonar_ir::{Graph, Init, Op, TensorType};
//! use sonar_schedule::{Options, TaskId, default_program, default_schedule, plan, tasks};
//!
//! let mut graph = Graph::new("dense");
//! let x = graph.input("x", TensorType::fixed(&[8, 64]));
//! let w = graph.param("w", &[64, 32], Init::He);
//! let y = graph.push(Op::MatMul, &[x, w]).unwrap();
//! graph.outputs = vec![y];
//!
//! let tasks = tasks(&graph).unwrap();
//! let schedule = default_schedule(&tasks.tasks[TaskId(0)], &Options::new(16));
//! assert!(schedule.to_string().contains("tensorize rows=m cols=n"));
//! let programs = tasks.tasks.iter().map(|task| default_program(task, &Options::new(16)).1).collect();
//! let plan = plan(&tasks, programs);
//! assert_eq!(plan.kernels.len(), 1);
//! ```

mod error;
mod footprints;
mod loops;
mod lowering;
mod memory;
mod microkernels;
pub mod primitives;
mod spaces;

pub use error::{LowerError, ScheduleError, TileRefusal};
pub use footprints::{LoopCost, executed_flops, loop_costs};
pub use lowering::{Kernel, Task, TaskId, TaskKind, Tasks, Value, tasks, unfused_tasks};
pub use memory::plan;
pub use primitives::{apply, apply_step};
pub use spaces::{
    Knob, Options, Point, ScheduleSpace, allows, default_point, default_program, default_schedule, estimate, estimate_program,
    knobs, largest_filter, space,
};
