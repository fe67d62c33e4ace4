//! Hand-written loop programs: their text, their results, and the ones that are refused.

use super::*;
use crate::scalar::{BinaryOp, ReduceOp, UnaryOp};
use crate::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
use crate::verify::ProgramProblem;
use expect_test::expect;
use std::sync::Arc;

fn buffer(name: &str, len: usize, kind: BufferKind) -> Buffer {
    Buffer { name: name.to_string(), len, kind }
}

fn program(buffers: Vec<Buffer>, vars: &[&str], body: Vec<Stmt>) -> Program {
    let vars = vars.iter().map(ToString::to_string).collect();
    Program { name: "test".to_string(), buffers: buffers.into(), vars, setup: vec![], body, tiles: EntityVec::new() }
}

fn access(buffer: u32, index: Affine) -> Access {
    Access { buffer: BufId(buffer), index }
}

fn load(buffer: u32, index: Affine) -> Expr {
    Expr::Load(access(buffer, index))
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    Expr::Binary(op, Arc::new(a), Arc::new(b))
}

fn serial(var: Var, extent: usize, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var, extent, kind: LoopKind::Serial, body }
}

const O: Var = Var(0);
const K: Var = Var(1);

/// `y[o] = max(Σ_k x[o + k - 1] · w[k] + 0.5, 0)` over 5 elements with zeros around `x`.
fn filter() -> Program {
    let position = Affine::var(O, 1).plus(K, 1).shift(-1);
    let inside = Bound { expr: position.clone(), low: 0, high: 5 };
    let padded = Expr::Guard { bounds: vec![inside], value: Arc::new(load(0, position)), otherwise: 0.0 };
    let update =
        Update { loops: vec![(K, 3)], op: ReduceOp::Sum, value: binary(BinaryOp::Mul, padded, load(1, Affine::var(K, 1))) };
    let reduce = Reduce {
        target: access(2, Affine::var(O, 1)),
        init: Expr::Const(0.5),
        updates: vec![update],
        finish: Expr::Unary(UnaryOp::Relu, Arc::new(Expr::Acc)),
    };
    let buffers = vec![buffer("x", 5, BufferKind::Input), buffer("w", 3, BufferKind::Input), buffer("y", 5, BufferKind::Output)];
    let nest = Stmt::For { var: O, extent: 5, kind: LoopKind::Parallel, body: vec![Stmt::Reduce(reduce)] };
    program(buffers, &["o", "k"], vec![nest])
}

/// `filter` with the middle element computed by a tile, and `x` doubled in a temporary first.
fn filter_with_tile() -> Program {
    let mut program = filter();
    program.buffers.push(buffer("twice", 5, BufferKind::Temp));
    program.buffers.push(buffer("copy", 3, BufferKind::Packed));
    program.vars.extend(["i", "j"].map(String::from));
    let (i, j) = (Affine::var(Var(2), 1), Affine::var(Var(3), 1));
    let doubled = binary(BinaryOp::Add, load(0, i.clone()), load(0, i.clone()));
    program.body.push(serial(Var(2), 5, vec![Stmt::Store { target: access(3, i), value: doubled }]));
    program.setup.push(serial(Var(3), 3, vec![Stmt::Store { target: access(4, j.clone()), value: load(1, j) }]));
    let at = |ptr, offset| Addr { ptr: Ptr(ptr), offset };
    let inst = |inst| TileStmt::Inst(inst);
    let sum = vec![
        inst(Inst::Load { dst: Reg(0), addr: at(0, 0), masked: true }),
        inst(Inst::Load { dst: Reg(1), addr: at(1, 0), masked: true }),
        inst(Inst::Binary { op: BinaryOp::Mul, dst: Reg(0), a: Reg(0), b: Reg(1) }),
        inst(Inst::Store { src: Reg(0), addr: at(2, 0), masked: true }),
    ];
    program.tiles.push(Tile { name: "products".to_string(), lanes: 4, tail: 3, pointers: 3, body: sum });
    let args = [(3, 1), (4, 0), (2, 1)].map(|(buffer, element)| access(buffer, Affine::constant(element)));
    program.body.push(Stmt::Call { tile: TileId(0), args: args.to_vec() });
    program
}

#[test]
fn reductions_guards_and_tiles() {
    let args = || [vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![1.0, 10.0, -100.0], vec![0.0; 5]];
    let mut simple = args();
    run(&filter(), &mut simple).unwrap();
    assert_eq!(simple[2], [0.0, 0.0, 0.0, 0.0, 54.5]);
    let mut tiled = args();
    run(&filter_with_tile(), &mut tiled).unwrap();
    assert_eq!(tiled[2], [0.0, 4.0, 60.0, -800.0, 54.5]);
    assert_eq!(tiled[..2], args()[..2]);
}

#[test]
fn select_and_if() {
    // y[o] = x[o] > 0 ? x[o] : -1 where o >= 1; nothing is stored elsewhere.
    let x = || Arc::new(load(0, Affine::var(O, 1)));
    let (right, otherwise) = (Arc::new(Expr::Const(0.0)), Arc::new(Expr::Const(-1.0)));
    let value = Expr::Select { left: x(), right, value: x(), otherwise };
    let store = Stmt::Store { target: access(1, Affine::var(O, 1)), value };
    let guarded = Stmt::If { bounds: vec![Bound { expr: Affine::var(O, 1), low: 1, high: 9 }], body: vec![store] };
    let buffers = vec![buffer("x", 3, BufferKind::Input), buffer("y", 3, BufferKind::Output)];
    let mut args = [vec![1.0, 2.0, -3.0], vec![7.5; 3]];
    run(&program(buffers, &["o"], vec![serial(O, 3, vec![guarded])]), &mut args).unwrap();
    assert_eq!(args[1], [7.5, 2.0, -1.0], "an element that is not written stays as it is");
}

#[test]
fn programs_print_readably() {
    expect![[r#"
        program @test {
          input x[5]
          input w[3]
          output y[5]
          temp twice[5]
          packed copy[3]
          setup {
            for j in 0..3 {
              copy[j] = w[j]
            }
          }
          parallel o in 0..5 {
            y[o] = reduce from 0.5 {
              sum k in 0..3: (0 <= o + k - 1 < 5 ? x[o + k - 1] : 0.0) * w[k]
            } then relu(acc)
          }
          for i in 0..5 {
            twice[i] = x[i] + x[i]
          }
          call t0(twice[1], copy[0], y[1])
          t0 = tile @products lanes=4 tail=3 pointers=3 {
            v0 = load.masked p0[0]
            v1 = load.masked p1[0]
            v0 = mul v0, v1
            store.masked p2[0], v0
          }
        }
    "#]]
    .assert_eq(&filter_with_tile().to_string());
}

#[test]
fn expressions_keep_their_grouping() {
    let (a, b, c) = (|| Expr::Const(1.0), || Expr::Const(-2.0), || Expr::Acc);
    let check = |expr: Expr, expected: &str| assert_eq!(expr.to_string(), expected);
    check(binary(BinaryOp::Sub, a(), binary(BinaryOp::Sub, b(), c())), "1.0 - (-2.0 - acc)");
    check(binary(BinaryOp::Sub, binary(BinaryOp::Sub, a(), b()), c()), "1.0 - -2.0 - acc");
    check(binary(BinaryOp::Mul, binary(BinaryOp::Add, a(), b()), c()), "(1.0 + -2.0) * acc");
    check(binary(BinaryOp::Max, binary(BinaryOp::Add, a(), b()), c()), "max(1.0 + -2.0, acc)");
    check(load(3, Affine::var(K, -2).plus(O, 1).shift(4)), "b3[i0 - 2*i1 + 4]");
}

#[test]
fn the_canonical_text_does_not_depend_on_names() {
    let program = filter_with_tile();
    let mut renamed = program.clone();
    renamed.name = "other".to_string();
    renamed.tiles[TileId(0)].name = "other".to_string();
    renamed.buffers[BufId(0)].name = "image".to_string();
    renamed.vars[Var(0)] = "pixel".to_string();
    assert_eq!(renamed.canonical_text(), program.canonical_text());
    // Neither does it depend on which variables have which number.
    let mut swapped = filter();
    let Stmt::For { var, body, .. } = &mut swapped.body[0] else { unreachable!() };
    *var = K;
    let Stmt::Reduce(reduce) = &mut body[0] else { unreachable!() };
    reduce.target.index = Affine::var(K, 1);
    reduce.updates[0].loops[0].0 = O;
    let Expr::Binary(_, _, weight) = &mut reduce.updates[0].value else { unreachable!() };
    *Arc::make_mut(weight) = load(1, Affine::var(O, 1));
    assert_eq!(swapped.canonical_text(), filter().canonical_text());
    let mut longer = program.clone();
    longer.buffers[BufId(0)].len = 6;
    assert_ne!(longer.canonical_text(), program.canonical_text());
}

#[test]
fn wrong_arguments_are_refused() {
    let check = |args: &mut [Vec<f32>], expected: &str| {
        assert_eq!(run(&filter(), args).unwrap_err().to_string(), expected);
    };
    check(&mut [], "`test` takes 3 arguments, but 0 are given");
    check(&mut [vec![0.0; 5], vec![0.0; 4], vec![0.0; 5]], "`w` has 3 elements, but 4 are given");
}

#[test]
fn ill_formed_programs_are_refused() {
    let check = |change: &dyn Fn(&mut Program), expected: &str| {
        let mut program = filter_with_tile();
        change(&mut program);
        let VerifyError::Program { problem, .. } = verify::program(&program).unwrap_err() else { unreachable!() };
        assert_eq!(problem.to_string(), expected);
    };
    let store = |buffer, index| Stmt::Store { target: access(buffer, index), value: Expr::Const(0.0) };
    check(&|p| p.buffers[BufId(0)].kind = BufferKind::Temp, "argument `w` comes after a buffer that is none");
    check(&|p| p.vars[Var(0)] = "k".to_string(), "the name `k` is used twice");
    check(&|p| p.body.push(store(9, Affine::constant(0))), "there is no buffer b9");
    check(&|p| p.body.push(Stmt::Call { tile: TileId(1), args: vec![] }), "there is no tile t1");
    check(&|p| p.body.push(Stmt::Call { tile: TileId(0), args: vec![] }), "tile `products` takes 3 pointers, but 0 are passed");
    check(&|p| p.body.push(store(2, Affine::var(O, 1))), "variable `o` is used outside its loop");
    check(&|p| p.body = vec![serial(O, 5, p.body.clone())], "the parallel loop over `o` is not outermost in the body");
    check(&|p| p.body = vec![serial(O, 5, vec![serial(O, 5, vec![])])], "variable `o` is declared within its own loop");
    check(&|p| p.body.push(serial(O, 0, vec![])), "the loop over `o` runs 0 times");
    check(&|p| p.body.push(store(0, Affine::constant(0))), "the body writes the input buffer `x`");
    check(&|p| p.body.push(store(4, Affine::constant(0))), "the body writes the packed buffer `copy`");
    check(&|p| p.setup.push(store(2, Affine::constant(0))), "the setup writes the output buffer `y`");
    check(&|p| p.body.push(store(2, Affine { terms: vec![(O, 0)], offset: 0 })), "variable `o` is used outside its loop");
    check(
        &|p| p.body.push(Stmt::Store { target: access(2, Affine::constant(0)), value: Expr::Acc }),
        "the accumulator is used outside the end of a reduction",
    );
    check(
        &|p| p.body.push(serial(O, 6, vec![store(2, Affine::var(O, 1))])),
        "`y[o]` may be outside `y`, which has 5 elements (touched: (0, 0) relative to the address)",
    );
    check(
        &|p| p.buffers[BufId(2)].len = 3,
        "`y[o]` may be outside `y`, which has 3 elements (touched: (0, 0) relative to the address)",
    );
    check(
        &|p| {
            let Some(Stmt::Call { args, .. }) = p.body.last_mut() else { unreachable!() };
            args[0].index.offset = 3;
        },
        "`twice[3]` may be outside `twice`, which has 5 elements (touched: (0, 2) relative to the address)",
    );
    check(
        &|p| {
            let Some(Stmt::Call { args, .. }) = p.body.last_mut() else { unreachable!() };
            args[2].buffer = BufId(0);
        },
        "the body writes the input buffer `x`",
    );
}

#[test]
fn too_large_an_address_is_refused_rather_than_computed() {
    let store = Stmt::Store { target: access(2, Affine::var(O, i64::MAX)), value: Expr::Const(0.0) };
    let mut program = filter();
    program.body.push(serial(O, 5, vec![store]));
    let error = verify::program(&program).unwrap_err();
    assert!(matches!(error, VerifyError::Program { problem: ProgramProblem::Affine(_), .. }), "{error}");
}
