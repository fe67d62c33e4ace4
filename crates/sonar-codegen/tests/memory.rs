//! Memory of dropped kernels comes back. This is a process of its own, because it looks at the whole of its memory.

use sonar_codegen::{CompiledKernel, Target};
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Program, Stmt, TileId};
use sonar_ir::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};

/// Resident memory of this process, in KiB.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// Fills a row through a tile.
fn program(lanes: usize, value: f32) -> Program {
    let fill = TileStmt::Inst(Inst::Const { dst: Reg(0), value });
    let store = TileStmt::Inst(Inst::Store { src: Reg(0), addr: Addr { ptr: Ptr(0), offset: 0 }, masked: false });
    let access = Access { buffer: BufId(0), index: Affine::constant(0) };
    Program {
        name: "fill".into(),
        buffers: vec![Buffer { name: "y".into(), len: lanes, kind: BufferKind::Output }].into(),
        vars: vec![].into(),
        setup: vec![],
        body: vec![Stmt::Call { tile: TileId(0), args: vec![access] }],
        tiles: vec![Tile { name: "fill".into(), lanes, tail: 0, pointers: 1, body: vec![fill, store] }].into(),
    }
}

#[test]
fn dropped_kernels_give_their_memory_back() {
    let target = Target::native().unwrap();
    let lanes = target.lanes();
    let compile = |count: usize| {
        for i in 0..count {
            let mut y = vec![0.0; lanes];
            CompiledKernel::compile(&program(lanes, i as f32), &target).unwrap().run(&mut [&mut y]).unwrap();
            assert_eq!(y, vec![i as f32; lanes]);
        }
    };
    compile(100);
    let before = resident();
    compile(300);
    if let (Some(before), Some(after)) = (before, resident()) {
        // A kernel that is not freed keeps two pages at least: 300 of them are 2400 KiB.
        assert!(after < before + 1000, "resident memory grew from {before} to {after} KiB");
    }
}
