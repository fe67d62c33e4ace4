//! Each primitive: what it gives on a small program, and what it refuses.

mod common;

use common::{Sketch, conv, error, run_program};
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, LoopKind, Program, Stmt, Var};
use sonar_ir::{BinaryOp, Op, ReduceOp, UnaryOp};
use sonar_schedule::primitives::{
    compute_at, fuse, pack, parallel, reorder, split, tensorize, tensorize_across, unroll, winograd,
};
use sonar_schedule::{ScheduleError, TaskId, TileRefusal, tasks};

/// A 3 x 3 convolution of a `[2, 8, 8, 4]` image to 32 channels: a padded temporary `xp`, then `n`, `y`, `x`, `c`.
fn padded_convolution() -> Program {
    let mut s = Sketch::new();
    let (x, w) = (s.input(&[2, 8, 8, 4]), s.param(&[3, 3, 4, 32]));
    let y = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w]);
    only(&s.finish(&[y]))
}

/// `[6, 8] · [8, 32]` with loops `m` and `n`.
fn product() -> Program {
    let mut s = Sketch::new();
    let (a, b) = (s.input(&[6, 8]), s.param(&[8, 32]));
    let y = s.op(Op::MatMul, &[a, b]);
    only(&s.finish(&[y]))
}

fn only(graph: &sonar_ir::Graph) -> Program {
    let tasks = tasks(graph).expect("it lowers");
    assert_eq!(tasks.tasks.len(), 1);
    tasks.tasks[TaskId(0)].program.clone()
}

/// The step succeeds and keeps the meaning.
fn check(before: &Program, after: Result<Program, ScheduleError>) -> Program {
    close(before, after, 1e-6)
}

/// The program, which must compute the same up to an error.
fn close(before: &Program, after: Result<Program, ScheduleError>, bound: f64) -> Program {
    let after = after.unwrap_or_else(|e| panic!("{e}\n{before}"));
    sonar_ir::verify::program(&after).unwrap_or_else(|e| panic!("{e}\n{after}"));
    let error = error(&run_program(&after, 1), &run_program(before, 1));
    assert!(error < bound, "off by {error}\n{after}");
    after
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn split_with_and_without_a_remainder() {
    let program = product();
    let even = check(&program, split(&program, "m", 3));
    assert!(even.vars.contains(&"m.i".to_owned()) && !even.vars.contains(&"m.t".to_owned()));
    let uneven = check(&program, split(&program, "m", 4));
    assert!(uneven.vars.contains(&"m.t".to_owned()));
    check(&uneven, split(&uneven, "n", 5));
    assert!(matches!(split(&program, "m", 0), Err(ScheduleError::BadFactor { .. })));
    assert!(matches!(split(&program, "m", 7), Err(ScheduleError::BadFactor { extent: 6, .. })));
    assert_eq!(split(&program, "q", 2), Err(ScheduleError::NoLoop("q".to_owned())));
}

#[test]
fn fuse_only_where_addresses_stay_affine() {
    let program = padded_convolution();
    assert!(matches!(fuse(&program, "y", "x"), Err(ScheduleError::NotAffine { .. })));
    assert!(matches!(fuse(&program, "n", "x"), Err(ScheduleError::NotPerfect { .. })));
    let program = product();
    let cut = check(&program, split(&program, "m", 2));
    check(&cut, fuse(&cut, "m.o", "m.i"));
}

#[test]
fn reorder_perfect_nests() {
    let program = padded_convolution();
    check(&program, reorder(&program, &names(&["c", "x", "y"])));
    check(&program, reorder(&program, &names(&["x", "n", "y"])));
    assert!(reorder(&program, &names(&["y", "c"])).is_err(), "x lies between");
    assert!(reorder(&program, &names(&["y", "xp_y"])).is_err(), "they are not nested");
}

#[test]
fn parallel_only_independent_iterations() {
    let program = product();
    check(&program, parallel(&program, "m"));
    assert!(matches!(parallel(&program, "n"), Err(ScheduleError::NotOutermost(_))));
    let padded = padded_convolution();
    assert!(matches!(parallel(&padded, "n"), Err(ScheduleError::NotOutermost(_))), "the fill comes first");
    let moved = check(&padded, compute_at(&padded, "xp", "n"));
    check(&moved, parallel(&moved, "n"));
}

#[test]
fn parallel_refuses_a_shared_target() {
    let mut program = product();
    // Every row goes to the first one.
    let sonar_ir::loops::Stmt::For { var, body, .. } = &mut program.body[0] else { panic!("a loop") };
    let sonar_ir::loops::Stmt::For { body, .. } = &mut body[0] else { panic!("a loop") };
    let sonar_ir::loops::Stmt::Reduce(reduce) = &mut body[0] else { panic!("a reduction") };
    reduce.target.index = reduce.target.index.substitute(*var, &sonar_ir::loops::Affine::default());
    assert!(matches!(parallel(&program, "m"), Err(ScheduleError::Dependent { .. })));
}

/// Stores of one iteration that reach into the next one are seen, also if they are several.
#[test]
fn parallel_refuses_stores_that_meet_others() {
    let store = |offset: i64| sonar_ir::loops::Stmt::Store {
        target: Access { buffer: BufId(0), index: Affine::var(Var(0), 10).plus(Var(1), 1).shift(offset) },
        value: sonar_ir::loops::Expr::Const(1.0),
    };
    let body = |offset: i64| {
        let inner = Stmt::For { var: Var(1), extent: 10, kind: LoopKind::Serial, body: vec![store(0), store(offset)] };
        vec![Stmt::For { var: Var(0), extent: 4, kind: LoopKind::Serial, body: vec![inner] }]
    };
    let program = |offset: i64| Program {
        name: "stores".to_owned(),
        buffers: vec![Buffer { name: "out".to_owned(), len: 100, kind: BufferKind::Output }].into(),
        vars: vec!["i".to_owned(), "j".to_owned()].into(),
        setup: vec![],
        body: body(offset),
        tiles: vec![].into(),
    };
    assert!(parallel(&program(0), "i").is_ok());
    assert!(parallel(&program(50), "i").is_ok(), "the second half of the output");
    for offset in [5, 10, 15] {
        assert!(matches!(parallel(&program(offset), "i"), Err(ScheduleError::Dependent { .. })), "{offset}");
    }
}

#[test]
fn unroll_short_serial_loops() {
    let program = product();
    check(&program, unroll(&program, "m"));
    let mut s = Sketch::new();
    let x = s.input(&[100]);
    let y = s.relu(x);
    let long = only(&s.finish(&[y]));
    assert!(matches!(unroll(&long, "i0"), Err(ScheduleError::Illegal { .. })));
}

#[test]
fn compute_at_shrinks_the_temporary() {
    let program = padded_convolution();
    let len = |program: &Program| program.buffers.iter().find(|b| b.name == "xp").map(|b| b.len);
    assert_eq!(len(&program), Some(2 * 10 * 10 * 4));
    let image = check(&program, compute_at(&program, "xp", "n"));
    assert_eq!(len(&image), Some(10 * 10 * 4));
    let cut = check(&program, split(&program, "y", 2));
    let rows = check(&cut, compute_at(&cut, "xp", "y.o"));
    assert_eq!(len(&rows), Some(4 * 10 * 4));
    let uneven = check(&program, split(&program, "y", 3));
    assert!(compute_at(&uneven, "xp", "y.o").is_err(), "the remainder reads it too");
    assert!(matches!(compute_at(&program, "x1", "n"), Err(ScheduleError::NoBuffer { .. })));
}

#[test]
fn tensorize_across_with_every_remainder() {
    for (op, shape, axes) in [
        (ReduceOp::Sum, vec![7, 70], vec![1]),
        (ReduceOp::Mean, vec![3, 5, 16], vec![1, 2]),
        (ReduceOp::Max, vec![9, 3], vec![1]),
        (ReduceOp::Min, vec![1, 33], vec![1]),
    ] {
        let mut s = Sketch::new();
        let x = s.input(&shape);
        let y = s.op(Op::Unary(UnaryOp::Exp), &[x]);
        let z = s.op(Op::Reduce { op, axes, keep: false }, &[y]);
        let program = only(&s.finish(&[z]));
        let over = program.vars.iter().rfind(|name| name.starts_with('r')).expect("a reduction");
        let rows = if program.vars.contains(&"i0".to_owned()) { "i0" } else { "-" };
        for lanes in [4, 8, 16] {
            for shape in [[1, 1], [1, 3], [2, 2], [4, 1]] {
                check(&program, tensorize_across(&program, rows, over, shape, lanes));
            }
        }
    }
    let program = product();
    let refused = tensorize_across(&program, "n", "k", [1, 1], 8);
    assert!(matches!(refused, Err(ScheduleError::Illegal { .. } | ScheduleError::NoTile { .. })), "a stride: {refused:?}");
    assert!(matches!(tensorize_across(&program, "n", "q", [1, 1], 8), Err(ScheduleError::NoLoop(_))));

    // An error names the step that it came from.
    let mut s = Sketch::new();
    let x = s.input(&[64, 70]);
    let y = s.op(Op::Reduce { op: ReduceOp::Sum, axes: vec![1], keep: false }, &[x]);
    let program = only(&s.finish(&[y]));
    let over = program.vars.iter().rfind(|name| name.starts_with('r')).expect("a reduction");
    let refused = tensorize_across(&program, "i0", over, [64, 1], 8).expect_err("there are not that many registers");
    assert!(
        matches!(refused, ScheduleError::NoTile { step: "tensorize_across", refusal: TileRefusal::Registers { .. }, .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("`tensorize_across`"), "{refused}");
}

#[test]
fn winograd_with_every_remainder() {
    for [height, width, channels, outputs] in [[8, 8, 4, 32], [7, 9, 3, 5], [4, 6, 16, 20], [5, 2, 20, 17], [1, 13, 8, 8]] {
        let mut s = Sketch::new();
        let x = s.input(&[2, height, width, channels]);
        let (y, w) = (s.input(&[2, height, width, outputs]), s.param(&[3, 3, channels, outputs]));
        let z = s.op(Op::Conv2d(conv(1, 1, 1, 1)), &[x, w]);
        let z = s.op(Op::Binary(BinaryOp::Add), &[z, y]);
        let z = s.relu(z);
        let program = only(&s.finish(&[z]));
        for m in [2, 4] {
            for rows in (1..=height.div_ceil(m)).filter(|rows| height.div_ceil(m).is_multiple_of(*rows)) {
                for (panel, parts) in [(4, 1), (16, 1), (64, 1), (1, outputs), (outputs.div_ceil(2), 2 - outputs % 2)] {
                    let after = winograd(&program, [m, rows, panel, parts]);
                    if height == 1 {
                        assert!(after.is_err(), "there is no loop over rows");
                    } else {
                        close(&program, after, 1e-5);
                    }
                }
            }
        }
    }
}

#[test]
fn winograd_refuses_what_is_no_such_convolution() {
    let refused = |program: &Program, m: usize, rows: usize, width: usize| {
        let refused = matches!(winograd(program, [m, rows, width, 1]), Err(ScheduleError::Illegal { step: "winograd", .. }));
        assert!(refused, "tiles of {m}, {rows} rows, panels of {width}\n{program}");
    };
    let program = padded_convolution();
    refused(&program, 3, 1, 16);
    refused(&program, 4, 0, 16);
    refused(&program, 4, 2, 0);
    refused(&program, 2, 3, 16);
    refused(&product(), 2, 1, 16);
    assert!(winograd(&program, [2, 1, 1 << 40, 1 << 40]).is_err());
    for attrs in [conv(2, 1, 1, 1), conv(1, 1, 2, 1), conv(1, 1, 1, 2), conv(1, 0, 1, 1)] {
        let mut s = Sketch::new();
        let (x, w) = (s.input(&[1, 9, 9, 4]), s.param(&[3, 3, 4 / attrs.groups, 8]));
        let y = s.op(Op::Conv2d(attrs), &[x, w]);
        refused(&only(&s.finish(&[y])), 4, 1, 16);
    }
}

#[test]
fn pack_weights_in_panels() {
    let program = product();
    let cut = check(&program, split(&program, "n", 8));
    let packed = check(&cut, pack(&cut, "w", 8));
    assert!(packed.buffers.iter().any(|b| b.name == "w.p"));
    let uneven = check(&program, split(&program, "n", 12));
    check(&uneven, pack(&uneven, "w", 12));
    assert!(pack(&cut, "w", 16).is_err(), "it is read in other panels");
    assert!(pack(&program, "w", 8).is_err(), "it is not read in panels");
    assert!(matches!(pack(&cut, "out", 8), Err(ScheduleError::NoBuffer { .. })));
}

#[test]
fn tensorize_with_every_remainder() {
    let program = product();
    for lanes in [4, 8, 16] {
        for shape in [[1, 1, 1], [4, 1, 3], [2, 3, 2], [6, 2, 8]] {
            if lanes == 16 || shape[0] * shape[1] <= 8 {
                check(&program, tensorize(&program, "m", "n", shape, lanes));
            }
        }
    }
    check(&program, tensorize(&program, "-", "n", [1, 2, 4], 8));
}

#[test]
fn tensorize_refuses_what_no_tile_can_do() {
    let program = product();
    assert!(matches!(
        tensorize(&program, "m", "n", [8, 4, 1], 8),
        Err(ScheduleError::NoTile { refusal: TileRefusal::Registers { .. }, .. })
    ));
    assert!(matches!(tensorize(&program, "n", "m", [1, 1, 1], 8), Err(ScheduleError::NoTile { .. })), "a stride");
    assert!(matches!(tensorize(&program, "-", "m", [1, 1, 1], 8), Err(ScheduleError::NoTile { .. })), "not innermost");
    assert!(matches!(tensorize(&program, "m", "q", [1, 1, 1], 8), Err(ScheduleError::NoLoop(_))));
    // As wide as the columns are, whatever a text says.
    check(&program, tensorize(&program, "m", "n", [1, 1 << 60, 1 << 60], 16));
}

#[test]
fn tensorize_puts_functions_together_from_vector_instructions() {
    for op in [UnaryOp::Exp, UnaryOp::Log, UnaryOp::Tanh, UnaryOp::Sigmoid, UnaryOp::Erf] {
        let mut s = Sketch::new();
        let x = s.input(&[40]);
        let y = s.op(Op::Unary(UnaryOp::Abs), &[x]);
        let y = s.op(Op::Unary(op), &[y]);
        let z = s.op(Op::Binary(BinaryOp::Add), &[y, x]);
        let program = only(&s.finish(&[z]));
        for lanes in [4, 8, 16] {
            check(&program, tensorize(&program, "-", "i0", [1, 1, 1], lanes));
        }
    }
}
