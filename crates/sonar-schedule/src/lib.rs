//! From graphs to scheduled kernels: partition, lowering, schedule primitives, spaces, and the memory plan.
//!
//! | folder | what it does |
//! |---|---|
//! | `lowering` | which nodes share a kernel, memory layouts, and each kernel as an unscheduled program; equal programs are one [`Task`] |
//! | [`primitives`] | the steps of schedules, and [`apply`], which replays them |
//! | `microkernels` | makes tile programs of inner nests, for `tensorize` and `tensorize_across` |
//! | `spaces` | the knobs of schedules, the schedules worth trying for a task, and a time estimate of each |
//! | `memory` | scheduled kernels and the memory of their tensors |
//! | `footprints` | operations and memory footprint of each loop |
//! | `loops` | builds loop programs, and visits all their parts |
//!
//! This crate does not depend on machine code or on a clock. A target is described by its number of vector lanes.
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
