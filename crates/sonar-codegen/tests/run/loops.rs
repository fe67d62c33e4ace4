//! Hand-written loop programs: guards, reductions, unrolled and parallel loops, packing, scalar functions.

use crate::{SPECIAL, affine, at, binary, buffer, check, check_with, compiled, load, random_arguments, repeat, targets, vars};
use sonar_codegen::{CodegenError, CompiledKernel, Target};
use sonar_ir::loops::{Bound, BufferKind, Expr, LoopKind, Program, Reduce, Stmt, Update, Var};
use sonar_ir::{BinaryOp, ReduceOp, UnaryOp};
use std::sync::Arc;

fn unary(op: UnaryOp, a: Expr) -> Expr {
    Expr::Unary(op, Arc::new(a))
}

fn with_kind(stmt: Stmt, kind: LoopKind) -> Stmt {
    match stmt {
        Stmt::For { var, extent, body, .. } => Stmt::For { var, extent, kind, body },
        other => other,
    }
}

fn bound(terms: &[(u32, i64)], offset: i64, high: i64) -> Bound {
    Bound { expr: affine(terms, offset), low: 0, high }
}

/// A 3×3 convolution with padding 1 of a 7×6 image with 5 channels to 4, with ReLU; the outermost loop is of this kind.
fn convolution(kind: LoopKind) -> Program {
    let (h, w, c, o) = (7i64, 6i64, 5i64, 4i64);
    let x = load(0, &[(0, w * c), (3, w * c), (1, c), (4, c), (5, 1)], -(w + 1) * c);
    let weight = load(1, &[(3, 3 * c * o), (4, c * o), (5, o), (2, 1)], 0);
    let guarded = Expr::Guard {
        bounds: vec![bound(&[(0, 1), (3, 1)], -1, h), bound(&[(1, 1), (4, 1)], -1, w)],
        value: Arc::new(x),
        otherwise: 0.0,
    };
    let update = Update {
        loops: vec![(Var(3), 3), (Var(4), 3), (Var(5), c as usize)],
        op: ReduceOp::Sum,
        value: binary(BinaryOp::Mul, guarded, weight),
    };
    let reduce = Stmt::Reduce(Reduce {
        target: at(2, &[(0, w * o), (1, o), (2, 1)], 0),
        init: Expr::Const(0.5),
        updates: vec![update],
        finish: unary(UnaryOp::Relu, Expr::Acc),
    });
    let body = repeat(0, h as usize, vec![repeat(1, w as usize, vec![repeat(2, o as usize, vec![reduce])])]);
    Program {
        name: "convolution".into(),
        buffers: vec![
            buffer("x", (h * w * c) as usize, BufferKind::Input),
            buffer("w", (9 * c * o) as usize, BufferKind::Input),
            buffer("y", (h * w * o) as usize, BufferKind::Output),
        ]
        .into(),
        vars: vars(6),
        setup: vec![],
        body: vec![with_kind(body, kind)],
        tiles: vec![].into(),
    }
}

/// Softmax of 9 rows of 13, by way of temporaries for the exponentials and their sum.
fn softmax(kind: LoopKind) -> Program {
    let x = load(0, &[(0, 13), (1, 1)], 0);
    let row = |op, value, init, target| {
        Stmt::Reduce(Reduce {
            target,
            init: Expr::Const(init),
            updates: vec![Update { loops: vec![(Var(1), 13)], op, value }],
            finish: Expr::Acc,
        })
    };
    let body = vec![
        row(ReduceOp::Max, x.clone(), f32::NEG_INFINITY, at(2, &[], 0)),
        repeat(
            2,
            13,
            vec![Stmt::Store {
                target: at(3, &[(2, 1)], 0),
                value: unary(UnaryOp::Exp, binary(BinaryOp::Sub, load(0, &[(0, 13), (2, 1)], 0), load(2, &[], 0))),
            }],
        ),
        row(ReduceOp::Sum, load(3, &[(1, 1)], 0), 0.0, at(2, &[], 1)),
        repeat(
            3,
            13,
            vec![Stmt::Store {
                target: at(1, &[(0, 13), (3, 1)], 0),
                value: binary(BinaryOp::Div, load(3, &[(3, 1)], 0), load(2, &[], 1)),
            }],
        ),
    ];
    Program {
        name: "softmax".into(),
        buffers: vec![
            buffer("x", 117, BufferKind::Input),
            buffer("y", 117, BufferKind::Output),
            buffer("row", 2, BufferKind::Temp),
            buffer("exp", 13, BufferKind::Temp),
        ]
        .into(),
        vars: vars(4),
        setup: vec![],
        body: vec![with_kind(repeat(0, 9, body), kind)],
        tiles: vec![].into(),
    }
}

/// One loop that applies an expression of `x[i]` and `z[i]`.
fn elementwise(name: &str, extent: usize, kind: LoopKind, value: Expr) -> Program {
    let store = Stmt::Store { target: at(2, &[(0, 1)], 0), value };
    Program {
        name: name.into(),
        buffers: vec![
            buffer("x", extent, BufferKind::Input),
            buffer("z", extent, BufferKind::Input),
            buffer("y", extent, BufferKind::Output),
        ]
        .into(),
        vars: vars(1),
        setup: vec![],
        body: vec![with_kind(repeat(0, extent, vec![store]), kind)],
        tiles: vec![].into(),
    }
}

fn x() -> Expr {
    load(0, &[(0, 1)], 0)
}

fn z() -> Expr {
    load(1, &[(0, 1)], 0)
}

#[test]
fn convolution_with_padding() {
    check(&convolution(LoopKind::Serial));
    check(&convolution(LoopKind::Unrolled));
    check(&convolution(LoopKind::Parallel));
}

#[test]
fn softmax_with_temporaries() {
    check(&softmax(LoopKind::Serial));
    check(&softmax(LoopKind::Parallel));
}

#[test]
fn scalar_functions() {
    for op in UnaryOp::ALL {
        // Logarithms and roots take positive numbers only.
        check(&elementwise(op.name(), 37, LoopKind::Serial, unary(*op, unary(UnaryOp::Abs, x()))));
        if !matches!(op, UnaryOp::Log | UnaryOp::Log1p | UnaryOp::Sqrt | UnaryOp::Rsqrt) {
            check(&elementwise(op.name(), 37, LoopKind::Unrolled, unary(*op, x())));
        }
    }
    for op in BinaryOp::ALL {
        check(&elementwise(op.name(), 37, LoopKind::Serial, binary(*op, x(), z())));
    }
    let select = Expr::Select {
        left: Arc::new(x()),
        right: Arc::new(z()),
        value: Arc::new(Expr::Const(1.0)),
        otherwise: Arc::new(binary(BinaryOp::Add, x(), z())),
    };
    check(&elementwise("select", 37, LoopKind::Serial, select));
}

/// Every function on every pair of special values, with variables and with constants as operands.
#[test]
fn scalar_functions_of_special_values() {
    let count = SPECIAL.len();
    for target in targets() {
        for op in UnaryOp::ALL {
            let program = elementwise(op.name(), count, LoopKind::Serial, unary(*op, x()));
            check_with(&program, &target, |i| SPECIAL[i]);
        }
        for (op, shift) in BinaryOp::ALL.iter().flat_map(|op| (0..count).map(move |shift| (*op, shift))) {
            // The second argument is the first, turned by so many elements.
            let mut inputs = 0..;
            let program = elementwise(op.name(), count, LoopKind::Serial, binary(op, x(), z()));
            check_with(&program, &target, |i| {
                let second = inputs.next().is_some_and(|n: usize| n >= count);
                SPECIAL[if second { (i + shift) % count } else { i }]
            });
            for value in [binary(op, x(), Expr::Const(SPECIAL[shift])), binary(op, Expr::Const(SPECIAL[shift]), x())] {
                check_with(&elementwise(op.name(), count, LoopKind::Serial, value), &target, |i| SPECIAL[i]);
            }
        }
    }
}

/// Max pooling over all that lies within the image, and a tail of the loop over columns under a condition.
#[test]
fn conditions_around_statements() {
    let pooled = Stmt::Reduce(Reduce {
        target: at(1, &[(0, 4), (1, 1)], 0),
        init: Expr::Const(f32::NEG_INFINITY),
        updates: vec![Update {
            loops: vec![(Var(2), 3)],
            op: ReduceOp::Max,
            value: Expr::Guard {
                bounds: vec![bound(&[(0, 4), (1, 1), (2, 1)], -1, 18)],
                value: Arc::new(load(0, &[(0, 4), (1, 1), (2, 1)], -1)),
                otherwise: f32::NEG_INFINITY,
            },
        }],
        finish: Expr::Acc,
    });
    let tail = Stmt::If { bounds: vec![bound(&[(0, 4), (1, 1)], 0, 18)], body: vec![pooled] };
    let inner = repeat(1, 4, vec![tail]);
    for kind in [LoopKind::Serial, LoopKind::Unrolled] {
        check(&Program {
            name: "pool".into(),
            buffers: vec![buffer("x", 18, BufferKind::Input), buffer("y", 18, BufferKind::Output)].into(),
            vars: vars(3),
            setup: vec![],
            body: vec![repeat(0, 5, vec![with_kind(inner.clone(), kind)])],
            tiles: vec![].into(),
        });
    }
}

/// A weight is transposed once, then read in the new layout.
fn packed() -> Program {
    let pack = Stmt::Store { target: at(3, &[(0, 6), (1, 1)], 0), value: load(1, &[(1, 5), (0, 1)], 0) };
    let product = Stmt::Reduce(Reduce {
        target: at(2, &[(2, 1)], 0),
        init: Expr::Const(0.0),
        updates: vec![
            Update {
                loops: vec![(Var(3), 6)],
                op: ReduceOp::Sum,
                value: binary(BinaryOp::Mul, load(0, &[(3, 1)], 0), load(3, &[(2, 6), (3, 1)], 0)),
            },
            Update { loops: vec![(Var(4), 6)], op: ReduceOp::Min, value: load(0, &[(4, 1)], 0) },
        ],
        finish: binary(BinaryOp::Mul, Expr::Acc, Expr::Const(2.0)),
    });
    Program {
        name: "packed".into(),
        buffers: vec![
            buffer("x", 6, BufferKind::Input),
            buffer("w", 30, BufferKind::Input),
            buffer("y", 5, BufferKind::Output),
            buffer("p", 30, BufferKind::Packed),
        ]
        .into(),
        vars: vars(5),
        setup: vec![repeat(0, 5, vec![repeat(1, 6, vec![pack])])],
        body: vec![repeat(2, 5, vec![product])],
        tiles: vec![].into(),
    }
}

#[test]
fn setup_packs_weights() {
    check(&packed());
}

#[test]
fn threads_do_not_change_a_bit() {
    for target in targets() {
        for program in [convolution(LoopKind::Parallel), softmax(LoopKind::Parallel)] {
            let one = compiled(&program, &target, 1, random_arguments(&program, 5));
            for threads in [2, 3, 20] {
                assert_eq!(
                    one,
                    compiled(&program, &target, threads, random_arguments(&program, 5)),
                    "{} with {threads} threads",
                    program.name
                );
            }
        }
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let mut kernel = CompiledKernel::compile(&elementwise("id", 8, LoopKind::Serial, x()), &Target::native().unwrap()).unwrap();
    let (mut a, mut b, mut c, mut short) = ([0.0; 8], [0.0; 8], [0.0; 8], [0.0; 7]);
    let count = kernel.run(&mut [&mut a, &mut b]);
    assert!(matches!(count, Err(CodegenError::ArgumentCount { expected: 3, found: 2, .. })));
    let length = kernel.run(&mut [&mut a, &mut short, &mut c]);
    assert!(matches!(length, Err(CodegenError::ArgumentLength { index: 1, expected: 8, found: 7, .. })));
}

#[test]
fn invalid_programs_are_errors() {
    let native = Target::native().unwrap();
    let mut outside = elementwise("outside", 8, LoopKind::Serial, x());
    outside.body = vec![Stmt::Store { target: at(2, &[(0, 1)], 0), value: Expr::Const(0.0) }];
    assert!(matches!(CompiledKernel::compile(&outside, &native), Err(CodegenError::Invalid(_))));
    let beyond = elementwise("beyond", 8, LoopKind::Serial, load(0, &[(0, 1)], 1));
    assert!(matches!(CompiledKernel::compile(&beyond, &native), Err(CodegenError::Invalid(_))));
}
