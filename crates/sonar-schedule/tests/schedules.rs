//! Scheduled programs against unscheduled ones: the default schedule and random points of the space of every task.

mod common;

use common::{Sketch, conv, error, graphs, run_program};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::loops::Stmt;
use sonar_ir::schedule::Schedule;
use sonar_ir::{Op, Term};
use sonar_schedule::{Options, ScheduleSpace, Task, TaskId, apply, default_schedule, knobs, space, tasks};
use std::collections::HashMap;

/// Different orders of summation round differently.
const CHECK_TOLERANCE: f64 = 2e-5;

fn check(name: &str, task: &Task, schedule: &Schedule, lanes: usize) {
    compare(name, task, schedule, lanes, &run_program(&task.program, 3));
}

fn compare(name: &str, task: &Task, schedule: &Schedule, lanes: usize, expected: &[f32]) {
    let program = apply(&task.program, schedule, lanes).unwrap_or_else(|e| panic!("{name}: {e}\n{schedule}\n{}", task.program));
    sonar_ir::verify::program(&program).unwrap_or_else(|e| panic!("{name}: {e}\n{schedule}\n{program}"));
    let found = run_program(&program, 3);
    let error = error(&found, expected);
    assert!(error < CHECK_TOLERANCE, "{name} is off by {error} for {lanes} lanes\n{schedule}\n{program}");
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
    let (task, other) = (&first.tasks[TaskId(0)], &second.tasks[TaskId(1)]);
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
        let space = space(&tasks.tasks[TaskId(0)], &Options::new(lanes));
        let algorithm = space.position(knobs::ALGORITHM).unwrap();
        assert!(space.knobs()[algorithm].choices.len() > 1);
        let tile = space.position(knobs::TILE).unwrap();
        for choice in 0..space.knobs()[algorithm].choices.len() {
            // The register tile of one algorithm may have too many registers for another, and other knobs may mean nothing to it.
            let with_tile = |shape: usize| {
                let mut point = sonar_schedule::default_point(&space);
                (point[algorithm], point[tile]) = (choice, shape);
                let refused = space.refused(&point).into_iter().filter_map(|knob| space.position(knob));
                refused.filter(|knob| ![algorithm, tile].contains(knob)).for_each(|knob| point[knob] = 0);
                point
            };
            let mut shapes = (0..space.knobs()[tile].choices.len()).map(with_tile);
            let point = shapes.find(|point| space.refused(point).is_empty()).expect("some register tile is legal");
            let schedule = space.schedule(&point);
            let program = apply(&tasks.tasks[TaskId(0)].program, &schedule, lanes).unwrap();
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

/// Points of all tasks together that are drawn.
const POINTS: usize = 10_000;
/// Tasks with more operations are left to the tests of compiled code: the interpreter would take too long.
const SMALL: u64 = 60_000;

/// Every point of a space gives the right result: 10,000 random ones, of every sort of task, for three widths of vectors, for one
/// thread and for two. Points with the same schedule are run once.
#[test]
fn random_points_keep_the_meaning() {
    let drawn =
        [Options::new(4), Options::new(8), Options::new(16)].map(|options| [1, 2].map(|threads| Options { threads, ..options }));
    let mut spaces: Vec<(String, Task, Options, ScheduleSpace)> = Vec::new();
    for (name, graph) in graphs() {
        for task in tasks(&graph).expect("it lowers").tasks.into_iter().filter(|task| task.flops <= SMALL) {
            spaces.extend(drawn.iter().flatten().map(|options| (name.to_owned(), task.clone(), *options, space(&task, options))));
        }
    }
    let mut rng = StdRng::seed_from_u64(11);
    let mut schedules: HashMap<(usize, Schedule), usize> = HashMap::new();
    for number in 0..POINTS {
        let index = number % spaces.len();
        let (.., space) = &spaces[index];
        *schedules.entry((index, space.schedule(&space.point(rng.random_range(0..space.len()))))).or_default() += 1;
    }
    assert_eq!(schedules.values().sum::<usize>(), POINTS);
    let mut work: Vec<_> = schedules.into_keys().collect();
    work.sort_by_key(|(index, _)| *index);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let spaces = &spaces;
    std::thread::scope(|scope| {
        for part in work.chunks(work.len().div_ceil(threads)) {
            scope.spawn(move || {
                let mut expected: (&str, Vec<f32>) = ("", vec![]);
                for (index, schedule) in part {
                    let (name, task, options, _) = &spaces[*index];
                    if expected.0 != task.key {
                        expected = (&task.key, run_program(&task.program, 3));
                    }
                    compare(name, task, schedule, options.lanes, &expected.1);
                }
            });
        }
    });
}

/// A choice that is refused is without effect: the first choice of its knob gives the same schedule. (Not so for a register tile that
/// does not fit.) And every way to choose is legal somewhere.
#[test]
fn refused_choices_are_without_effect() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let (mut legal, mut illegal) = (0, 0);
    for (name, graph) in graphs() {
        for task in &tasks(&graph).expect("it lowers").tasks {
            let space = space(task, &Options { threads: 2, ..Options::new(8) });
            for _ in 0..6 {
                let point = space.point(rng.random_range(0..space.len()));
                let refused = space.refused(&point);
                *(if refused.is_empty() { &mut legal } else { &mut illegal }) += 1;
                for (knob, &choice) in space.knobs().iter().zip(&point) {
                    *taken.entry(knob.name).or_default() += usize::from(choice > 0 && !refused.contains(&knob.name));
                }
                if !refused.contains(&knobs::TILE) {
                    let mut plain = point.clone();
                    for knob in &refused {
                        plain[space.position(knob).unwrap()] = 0;
                    }
                    assert_eq!(space.schedule(&plain), space.schedule(&point), "{name}: {refused:?} of {point:?}");
                }
            }
        }
    }
    assert!(legal > 100 && illegal > 100, "{legal} legal, {illegal} illegal");
    for knob in knobs::KNOBS {
        assert!(taken[knob.name] > 0, "no choice of `{}` is ever taken", knob.name);
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
