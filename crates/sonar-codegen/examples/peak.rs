//! How fast generated code is: a matrix product in registers against the peak of the core, and the time it takes to
//! generate.
//!
//! `cargo run --release -p sonar-codegen --example peak`

use sonar_codegen::{Kernel, Target, asm, peak_gflops};
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, LoopKind, Program, Stmt, Var};
use sonar_ir::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
use std::time::Instant;

/// Length of the inner dimension.
const K: usize = 256;
/// Tiles of one call of the kernel.
const TILES: usize = 64;

/// `C += A · B` for `rows` rows of panel-major A and `vectors` vectors of panel-major B.
fn gemm(lanes: usize, rows: u32, vectors: u32, unroll: u32) -> Tile {
    let acc = |m: u32, n: u32| Reg(m * vectors + n);
    let b = |n: u32| Reg(rows * vectors + n);
    let a = Reg(rows * vectors + vectors);
    let addr = |ptr: u32, offset: u32| Addr { ptr: Ptr(ptr), offset: offset as i32 };
    let width = vectors * lanes as u32;
    let mut inner = Vec::new();
    for k in 0..unroll {
        for n in 0..vectors {
            inner.push(Inst::Load { dst: b(n), addr: addr(1, k * width + n * lanes as u32), masked: false });
        }
        for m in 0..rows {
            inner.push(Inst::Broadcast { dst: a, addr: addr(0, k * rows + m) });
            inner.extend((0..vectors).map(|n| Inst::Fma { acc: acc(m, n), a, b: b(n) }));
        }
    }
    let mut inner: Vec<TileStmt> = inner.into_iter().map(TileStmt::Inst).collect();
    inner.push(TileStmt::Advance { ptr: Ptr(0), by: (unroll * rows) as i32 });
    inner.push(TileStmt::Advance { ptr: Ptr(1), by: (unroll * width) as i32 });
    let mut body = Vec::new();
    let each = || (0..rows).flat_map(|m| (0..vectors).map(move |n| (m, n)));
    for (m, n) in each() {
        let addr = addr(2, m * width + n * lanes as u32);
        body.push(TileStmt::Inst(Inst::Load { dst: acc(m, n), addr, masked: false }));
    }
    body.push(TileStmt::Loop { trips: K as u32 / unroll, body: inner });
    for (m, n) in each() {
        let addr = addr(2, m * width + n * lanes as u32);
        body.push(TileStmt::Inst(Inst::Store { src: acc(m, n), addr, masked: false }));
    }
    Tile { name: format!("gemm {rows}x{width}"), lanes, tail: 0, pointers: 3, body }
}

/// Calls a tile on one pair of panels and many pieces of C.
fn program(tile: Tile, rows: usize, width: usize) -> Program {
    let buffer = |name: &str, len, kind| Buffer { name: name.into(), len, kind };
    let at = |buffer, index| Access { buffer: BufId(buffer), index };
    let piece = Affine::var(Var(0), (rows * width) as i64);
    let args = vec![at(0, Affine::constant(0)), at(1, Affine::constant(0)), at(2, piece)];
    Program {
        name: tile.name.clone(),
        buffers: vec![
            buffer("a", rows * K, BufferKind::Input),
            buffer("b", width * K, BufferKind::Input),
            buffer("c", rows * width * TILES, BufferKind::Output),
        ],
        vars: vec!["i".into()],
        setup: vec![],
        body: vec![Stmt::For { var: Var(0), extent: TILES, kind: LoopKind::Serial, body: vec![Stmt::Call { tile: 0, args }] }],
        tiles: vec![tile],
    }
}

/// The shortest of several runs, in seconds.
fn shortest(runs: usize, mut f: impl FnMut()) -> f64 {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:10} {:>12} {:>14} {:>9} {:>8} {:>12}", "target", "peak GFLOP/s", "tile", "GFLOP/s", "of peak", "compile µs");
    for (name, rows, vectors) in [
        ("x86-64-v2", 4, 2),
        ("x86-64-v2", 6, 2),
        ("x86-64-v3", 6, 2),
        ("x86-64-v3", 4, 3),
        ("x86-64-v4", 12, 2),
        ("x86-64-v4", 8, 2),
        ("x86-64-v4", 14, 2),
        ("x86-64-v4", 6, 4),
        ("x86-64-v4", 28, 1),
    ] {
        let target = Target::parse(name)?;
        if !target.runs_here() {
            continue;
        }
        let peak = peak_gflops(&target)?;
        let width = vectors as usize * target.lanes();
        let program = program(gemm(target.lanes(), rows, vectors, 4), rows as usize, width);
        if std::env::args().any(|arg| arg == "--asm") {
            println!("{}", asm(&program, &target)?);
        }
        let compile = shortest(20, || drop(Kernel::compile(&program, &target)));
        let mut kernel = Kernel::compile(&program, &target)?;
        let mut args: Vec<Vec<f32>> = program.buffers.iter().map(|b| vec![0.25; b.len]).collect();
        let mut slices: Vec<&mut [f32]> = args.iter_mut().map(Vec::as_mut_slice).collect();
        kernel.run(&mut slices)?;
        let seconds = shortest(50, || kernel.run(&mut slices).unwrap_or_default());
        let speed = (2 * rows as usize * width * K * TILES) as f64 / seconds / 1e9;
        let tile = format!("{rows}x{width}");
        println!("{name:10} {peak:12.1} {tile:>14} {speed:9.1} {:7.0}% {:12.0}", 100.0 * speed / peak, 1e6 * compile);
    }
    Ok(())
}
