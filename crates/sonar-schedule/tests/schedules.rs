//! Scheduled programs against unscheduled ones: the default schedule and random points of the space of every task.

mod common;

use common::{Sketch, conv, error, graphs, run_program};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::loops::Stmt;
use sonar_ir::schedule::Schedule;
use sonar_ir::{Op, Term};
use sonar_schedule::{Options, Task, apply, default_schedule, space, tasks};

/// Different orders of summation round differently.
const TOLERANCE: f64 = 2e-5;

fn check(name: &str, task: &Task, schedule: &Schedule, lanes: usize) {
    let program = apply(&task.program, schedule, lanes).unwrap_or_else(|e| panic!("{name}: {e}\n{schedule}\n{}", task.program));
    sonar_ir::verify::program(&program).unwrap_or_else(|e| panic!("{name}: {e}\n{schedule}\n{program}"));
    let expected = run_program(&task.program, 3);
    let found = run_program(&program, 3);
    let error = error(&found, &expected);
    assert!(error < TOLERANCE, "{name} is off by {error} for {lanes} lanes\n{schedule}\n{program}");
}

/// Schedules name buffers; kernels that are one task must give these the same names, whatever graph they come from.
#[test]
fn a_schedule_fits_the_same_task_of_another_graph() {
    let graph = |before: usize| {
        let mut s = Sketch::new();
        let mut x = s.input(&[1, 8, 8, 16]);
        for _ in 0..before {
            let w = s.param(&[1, 1, 16, 16]);
            x = s.op(Op::Conv2d(conv(1, 0, 1, 1)), &[x, w]);
        }
        let (w, b) = (s.param(&[3, 3, 16, 128]), s.param(&[128]));
        let y = s.op(Op::Conv2d(conv(2, 1, 1, 1)), &[x, w]);
        let y = s.add(y, b);
        tasks(&s.finish(&[y])).unwrap()
    };
    let (first, second) = (graph(0), graph(2));
    let (task, other) = (&first.tasks[0], &second.tasks[1]);
    assert_eq!(task.key, other.key);
    assert_eq!(task.program.buffers, other.program.buffers);
    let schedule = default_schedule(task, &Options::new(16));
    assert!(schedule.to_string().contains("pack"), "{schedule}");
    check("another graph", other, &schedule, 16);
}

fn only_calls(stmts: &[Stmt]) -> bool {
    stmts.iter().all(|stmt| match stmt {
        Stmt::For { body, .. } | Stmt::If { body, .. } => only_calls(body),
        Stmt::Call { .. } => true,
        Stmt::Store { .. } | Stmt::Reduce(_) => false,
    })
}

/// Nothing of a convolution is left to plain loops: not the transforms of Winograd's filtering either.
#[test]
fn every_way_to_compute_a_convolution_is_made_of_micro_kernels() {
    let mut s = Sketch::new();
    let (x, w, b) = (s.input(&[1, 10, 9, 20]), s.param(&[3, 3, 20, 40]), s.param(&[40]));
    let r = s.input(&[1, 10, 9, 40]);
    let y = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w]);
    let y = s.add(y, b);
    let y = s.add(y, r);
    let y = s.relu(y);
    let tasks = tasks(&s.finish(&[y])).unwrap();
    for lanes in [4, 8, 16] {
        let space = space(&tasks.tasks[0], &Options::new(lanes));
        let algorithm = space.knobs().iter().position(|knob| knob.name == "algorithm").unwrap();
        assert!(space.knobs()[algorithm].choices.len() > 1);
        for choice in 0..space.knobs()[algorithm].choices.len() {
            let mut point = sonar_schedule::default_point(&space);
            point[algorithm] = choice;
            let schedule = space.schedule(&point);
            let program = apply(&tasks.tasks[0].program, &schedule, lanes).unwrap();
            assert!(only_calls(&program.body) && only_calls(&program.setup), "{schedule}{program}");
        }
    }
}

#[test]
fn default_schedules_keep_the_meaning() {
    for (name, graph) in graphs() {
        for task in &tasks(&graph).expect("it lowers").tasks {
            for lanes in [4, 8, 16] {
                for threads in [1, 2] {
                    check(name, task, &default_schedule(task, &Options { threads, ..Options::new(lanes) }), lanes);
                }
            }
        }
    }
}

#[test]
fn random_points_keep_the_meaning() {
    let mut rng = StdRng::seed_from_u64(11);
    for (name, graph) in graphs() {
        for task in &tasks(&graph).expect("it lowers").tasks {
            for lanes in [4, 8, 16] {
                let space = space(task, &Options::new(lanes));
                for _ in 0..4 {
                    let point = space.point(rng.random_range(0..space.len()));
                    check(name, task, &space.schedule(&point), lanes);
                }
            }
        }
    }
}

/// Convolutions, products and poolings become micro-kernels altogether. The one exception is the gradient of a grouped
/// convolution with one input channel and several output channels in a group, which reads its channels with a stride.
#[test]
fn default_schedules_leave_no_scalar_sum_of_products() {
    for (name, graph) in graphs().into_iter().filter(|(name, _)| *name != "conv multiplier") {
        for task in &tasks(&graph).expect("it lowers").tasks {
            if task.kind != sonar_schedule::TaskKind::Contraction && task.kind != sonar_schedule::TaskKind::Window {
                continue;
            }
            for threads in [1, 2] {
                let schedule = default_schedule(task, &Options { threads, ..Options::new(8) });
                let program = apply(&task.program, &schedule, 8).expect("it applies");
                let text = format!("{:?}", program.body);
                assert!(!text.contains("Reduce("), "{name}\n{schedule}\n{program}");
            }
        }
    }
}

/// Sums of any width become micro-kernels too, whatever register tile suits them.
#[test]
fn default_schedules_leave_no_scalar_sum() {
    for channels in [1, 3, 7, 16, 24, 32, 48, 64, 100] {
        for operands in 2..6 {
            for relu in [false, true] {
                let mut g = common::Sketch::new();
                let values: Vec<_> = (0..operands).map(|_| g.input(&[1, 16, 16, channels])).collect();
                let sum = g.op(Op::FusedSum { terms: vec![Term::Add; operands], relu }, &values);
                for task in &tasks(&g.finish(&[sum])).expect("it lowers").tasks {
                    for lanes in [4, 8, 16] {
                        let schedule = default_schedule(task, &Options::new(lanes));
                        let program = apply(&task.program, &schedule, lanes).expect("it applies");
                        let text = format!("{:?}", program.body);
                        assert!(
                            !text.contains("Reduce(") && !text.contains("Store {"),
                            "{channels} channels\n{schedule}\n{program}"
                        );
                    }
                }
            }
        }
    }
}
