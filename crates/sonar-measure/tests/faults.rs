//! Kernels that misbehave in every way end a worker at most: the failure has its cause, and the next job is done. And kernels that
//! compute something else than they should are never timed.

mod common;

use common::{add, job, measurer};
use sonar_codegen::Fault;
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Expr, LoopKind, Program, Reduce, Stmt, Update, Var};
use sonar_ir::{BinaryOp, ReduceOp, UnaryOp};
use sonar_measure::{Cause, Job, Measurer, Outcome};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn every_planted_fault_is_told_by_its_cause() {
    let mut measurer = measurer(Duration::from_secs(3));
    let sound = job(add(1.0, 0, 0));
    assert!(measurer.measure(&sound).unwrap().time().is_some());
    for fault in Fault::ALL {
        let outcome = measurer.measure(&Job { fault: Some(fault), ..sound.clone() }).unwrap();
        let Outcome::Failed(cause) = outcome else { panic!("{fault:?}: {outcome:?}") };
        let expected = match fault {
            Fault::Segfault | Fault::OutOfBounds => matches!(cause, Cause::Segfault),
            Fault::IllegalInstruction => matches!(cause, Cause::IllegalInstruction),
            Fault::Endless => matches!(cause, Cause::Timeout),
            Fault::Memory => matches!(cause, Cause::OutOfMemory),
            Fault::Stack => matches!(cause, Cause::StackOverflow),
            Fault::WrongOutput => matches!(cause, Cause::WrongOutput(_)),
        };
        assert!(expected, "{fault:?}: {cause:?}");
        assert!(measurer.measure(&sound).unwrap().time().is_some(), "after {fault:?}");
    }
}

#[test]
fn an_endless_candidate_is_ended_soon_if_a_fast_one_is_known() {
    let mut measurer = measurer(Duration::from_secs(60));
    let sound = job(add(1.0, 0, 0));
    assert!(measurer.measure(&sound).unwrap().time().is_some());
    let start = Instant::now();
    let endless = Job { fault: Some(Fault::Endless), incumbent: Some(1000.0), ..sound };
    assert_eq!(measurer.measure(&endless).unwrap(), Outcome::Failed(Cause::Timeout));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

const ROWS: usize = 6;
const INNER: usize = 10;
const COLUMNS: usize = 8;

/// An element of a matrix, `rows · row + columns · column + offset`.
fn at(buffer: u32, row: (u32, i64), column: (u32, i64), offset: i64) -> Access {
    Access { buffer: BufId(buffer), index: Affine::constant(offset).plus(Var(row.0), row.1).plus(Var(column.0), column.1) }
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    Expr::Binary(op, Arc::new(a), Arc::new(b))
}

/// What can be wrong with a product of matrices.
#[derive(Clone)]
struct Parts {
    left: Access,
    right: Access,
    bias: Access,
    target: Access,
    init: f32,
    op: ReduceOp,
    product: BinaryOp,
    sum: BinaryOp,
    activation: Option<UnaryOp>,
    rows: usize,
    inner: usize,
    columns: usize,
    with_bias: bool,
    shift: f32,
}

/// `y = relu(a · b + c)`, as loops: row 0, column 1, inner 2.
fn right() -> Parts {
    let (inner, columns) = (INNER as i64, COLUMNS as i64);
    Parts {
        left: at(0, (0, inner), (2, 1), 0),
        right: at(1, (2, columns), (1, 1), 0),
        bias: Access { buffer: BufId(2), index: Affine::var(Var(1), 1) },
        target: at(3, (0, columns), (1, 1), 0),
        init: 0.0,
        op: ReduceOp::Sum,
        product: BinaryOp::Mul,
        sum: BinaryOp::Add,
        activation: Some(UnaryOp::Relu),
        rows: ROWS,
        inner: INNER,
        columns: COLUMNS,
        with_bias: true,
        shift: 0.0,
    }
}

fn program(parts: &Parts) -> Program {
    let product = binary(parts.product, Expr::Load(parts.left.clone()), Expr::Load(parts.right.clone()));
    let mut finish = Expr::Acc;
    if parts.with_bias {
        finish = binary(parts.sum, finish, Expr::Load(parts.bias.clone()));
    }
    if parts.shift != 0.0 {
        finish = binary(BinaryOp::Add, finish, Expr::Const(parts.shift));
    }
    if let Some(activation) = parts.activation {
        finish = Expr::Unary(activation, Arc::new(finish));
    }
    let reduce = Stmt::Reduce(Reduce {
        target: parts.target.clone(),
        init: Expr::Const(parts.init),
        updates: vec![Update { loops: vec![(Var(2), parts.inner)], op: parts.op, value: product }],
        finish,
    });
    let loops = |var, extent, body| Stmt::For { var: Var(var), extent, kind: LoopKind::Serial, body: vec![body] };
    let buffer = |name: &str, len, kind| Buffer { name: name.into(), len, kind };
    Program {
        name: "product".into(),
        buffers: vec![
            buffer("a", ROWS * INNER, BufferKind::Input),
            buffer("b", INNER * COLUMNS, BufferKind::Input),
            buffer("c", COLUMNS, BufferKind::Input),
            buffer("y", ROWS * COLUMNS, BufferKind::Output),
        ]
        .into(),
        vars: ["row", "column", "inner"].map(String::from).to_vec().into(),
        setup: vec![],
        body: vec![loops(0, parts.rows, loops(1, parts.columns, reduce))],
        tiles: vec![].into(),
    }
}

/// Twenty ways to get it wrong, as a code generator or a schedule step might.
fn miscompiles() -> Vec<(&'static str, Parts)> {
    let (inner, columns) = (INNER as i64, COLUMNS as i64);
    let with = |change: &dyn Fn(&mut Parts)| {
        let mut parts = right();
        change(&mut parts);
        parts
    };
    vec![
        ("a row too few", with(&|p| p.rows -= 1)),
        ("a column too few", with(&|p| p.columns -= 1)),
        ("a term too few", with(&|p| p.inner -= 1)),
        ("no bias", with(&|p| p.with_bias = false)),
        ("no activation", with(&|p| p.activation = None)),
        ("another activation", with(&|p| p.activation = Some(UnaryOp::Tanh))),
        ("another first value", with(&|p| p.init = 0.01)),
        ("a maximum instead of a sum", with(&|p| p.op = ReduceOp::Max)),
        ("a sum instead of a product", with(&|p| p.product = BinaryOp::Add)),
        ("a difference instead of a product", with(&|p| p.product = BinaryOp::Sub)),
        ("a bias with the wrong sign", with(&|p| p.sum = BinaryOp::Sub)),
        ("a bias that is multiplied", with(&|p| p.sum = BinaryOp::Mul)),
        ("a constant that is off", with(&|p| p.shift = 1e-3)),
        ("the left matrix transposed", with(&|p| p.left = at(0, (0, 1), (2, ROWS as i64), 0))),
        ("the right matrix transposed", with(&|p| p.right = at(1, (2, 1), (1, inner), 0))),
        ("operands swapped", with(&|p| (p.left, p.right) = (at(1, (0, inner), (2, 1), 0), at(0, (2, 1), (1, 1), 0)))),
        ("always the first bias", with(&|p| p.bias.index = Affine::constant(0))),
        ("the same row again and again", with(&|p| p.left = at(0, (0, 0), (2, 1), 0))),
        ("the result transposed", with(&|p| p.target = at(3, (0, 1), (1, ROWS as i64), 0))),
        (
            "an index that is off by one",
            with(&|p| {
                p.inner -= 1;
                p.right = at(1, (2, columns), (1, 1), columns);
            }),
        ),
    ]
}

#[test]
fn twenty_miscompiles_are_caught() {
    let mut measurer = measurer(Duration::from_secs(30));
    let sound = Job { task: "product".into(), reference: program(&right()), ..job(program(&right())) };
    assert!(measurer.measure(&sound).unwrap().time().is_some());
    let mutants = miscompiles();
    assert_eq!(mutants.len(), 20);
    for (name, parts) in mutants {
        let outcome = measurer.measure(&Job { candidate: program(&parts), ..sound.clone() }).unwrap();
        assert!(matches!(outcome, Outcome::Failed(Cause::WrongOutput(_))), "{name}: {outcome:?}");
    }
}
