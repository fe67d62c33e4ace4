//! Random tiles: every instruction, loops, tails, many pointers.

use crate::{Random, SPECIAL, at, buffer, check_on, check_with, targets};
use sonar_codegen::{CodegenError, CompiledKernel, Target};
use sonar_ir::loops::{BufferKind, Program, Stmt, TileId};
use sonar_ir::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
use sonar_ir::{BinaryOp, UnaryOp};

/// Elements on either side of where a pointer starts; more than a random tile moves it.
const REACH: usize = 2000;

/// Builds tiles from two kinds of registers: operands, which are reloaded often, and accumulators, into which operands
/// go. So rounding errors stay small, and results are comparable.
struct Generator {
    random: Random,
    lanes: usize,
    tail: usize,
    inputs: u32,
    outputs: u32,
    operands: u32,
    accumulators: u32,
    /// How often the current block runs.
    iterations: u32,
}

impl Generator {
    fn operand(&mut self) -> Reg {
        Reg(self.random.below(self.operands as usize) as u32)
    }

    fn accumulator(&mut self) -> Reg {
        Reg(self.operands + self.random.below(self.accumulators as usize) as u32)
    }

    fn input(&mut self) -> Addr {
        Addr { ptr: Ptr(self.random.below(self.inputs as usize) as u32), offset: self.random.below(200) as i32 - 100 }
    }

    fn masked(&mut self) -> bool {
        self.tail > 0 && self.random.below(2) == 0
    }

    fn loaded(&mut self, dst: Reg) -> Inst {
        let addr = self.input();
        match self.random.below(4) {
            0 => Inst::Broadcast { dst, addr },
            1 => Inst::Const { dst, value: self.random.number() },
            _ => Inst::Load { dst, addr, masked: self.masked() },
        }
    }

    fn store(&mut self, src: Reg, slot: i32) -> Inst {
        let ptr = Ptr(self.inputs + self.random.below(self.outputs as usize) as u32);
        Inst::Store { src, addr: Addr { ptr, offset: slot * self.lanes as i32 }, masked: self.masked() }
    }

    fn inst(&mut self) -> Inst {
        let (acc, a, b, dst) = (self.accumulator(), self.operand(), self.operand(), self.operand());
        let combine = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Max, BinaryOp::Min];
        match self.random.below(12) {
            0..=2 => self.loaded(dst),
            3 | 4 => Inst::Fma { acc, a, b },
            5 => Inst::FmaBroadcast { acc, addr: self.input(), b },
            6 | 7 => Inst::Binary { op: combine[self.random.below(4)], dst: acc, a: acc, b },
            8 => {
                let op = [BinaryOp::Mul, BinaryOp::Max, BinaryOp::Min, BinaryOp::Gate][self.random.below(4)];
                Inst::Binary { op, dst, a, b }
            }
            9 => Inst::Unary { op: [UnaryOp::Neg, UnaryOp::Abs][self.random.below(2)], dst: acc, a: acc },
            10 => Inst::Unary { op: [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Step][self.random.below(3)], dst, a },
            _ => self.store(acc, self.iterations as i32 % 8),
        }
    }

    fn block(&mut self, depth: usize, size: usize) -> Vec<TileStmt> {
        let mut block = Vec::new();
        for _ in 0..size {
            match self.random.below(8) {
                0 if depth < Tile::MAX_DEPTH => {
                    let trips = 1 + self.random.below(3) as u32;
                    self.iterations *= trips;
                    let size = 1 + self.random.below(6);
                    let body = self.block(depth + 1, size);
                    self.iterations /= trips;
                    block.push(TileStmt::Loop { trips, body });
                }
                1 => block.push(TileStmt::Advance {
                    ptr: Ptr(self.random.below(self.inputs as usize) as u32),
                    by: [1, -1, 3, 16][self.random.below(4)],
                }),
                _ => block.push(TileStmt::Inst(self.inst())),
            }
        }
        block
    }

    fn tile(&mut self) -> Tile {
        let mut body = Vec::new();
        for r in 0..self.operands + self.accumulators {
            let inst = self.loaded(Reg(r));
            body.push(TileStmt::Inst(inst));
        }
        let size = 10 + self.random.below(30);
        body.extend(self.block(0, size));
        for r in 0..self.accumulators {
            let inst = self.store(Reg(self.operands + r), 8 + r as i32);
            body.push(TileStmt::Inst(inst));
        }
        let pointers = (self.inputs + self.outputs) as usize;
        Tile { name: "random".into(), lanes: self.lanes, tail: self.tail, pointers, body }
    }
}

/// A program that calls the tile once, each pointer in the middle of its own buffer.
fn program(tile: Tile, inputs: usize) -> Program {
    let kind = |i| if i < inputs { BufferKind::Input } else { BufferKind::Output };
    Program {
        name: tile.name.clone(),
        buffers: (0..tile.pointers).map(|i| buffer(&format!("p{i}"), 2 * REACH, kind(i))).collect(),
        vars: vec![].into(),
        setup: vec![],
        body: vec![Stmt::Call { tile: TileId(0), args: (0..tile.pointers).map(|i| at(i as u32, &[], REACH as i64)).collect() }],
        tiles: vec![tile].into(),
    }
}

fn random_program(lanes: usize, seed: u64) -> Program {
    let mut random = Random(seed);
    let inputs = 1 + random.below(9) as u32;
    let outputs = 1 + random.below(3) as u32;
    let most = if lanes == 16 { 14 } else { 7 };
    let (operands, accumulators) = (1 + random.below(most) as u32, 1 + random.below(most) as u32);
    let tail = random.below(lanes);
    let mut generator = Generator { random, lanes, tail, inputs, outputs, operands, accumulators, iterations: 1 };
    program(generator.tile(), inputs as usize)
}

fn check_random(lanes: usize) {
    for target in targets().into_iter().filter(|t| t.lanes() >= lanes) {
        for seed in 0..300 {
            check_on(&random_program(lanes, seed), &target, seed);
        }
    }
}

#[test]
fn random_tiles_of_4_lanes() {
    check_random(4);
}

#[test]
fn random_tiles_of_8_lanes() {
    check_random(8);
}

#[test]
fn random_tiles_of_16_lanes() {
    check_random(16);
}

fn inst(inst: Inst) -> TileStmt {
    TileStmt::Inst(inst)
}

fn addr(ptr: u32, offset: i32) -> Addr {
    Addr { ptr: Ptr(ptr), offset }
}

/// Copies a row of `tail` elements after some whole vectors.
fn copy(lanes: usize, tail: usize) -> Program {
    let mut body = Vec::new();
    for (i, masked) in [(0, false), (1, true)] {
        body.push(inst(Inst::Load { dst: Reg(0), addr: addr(0, i * lanes as i32), masked }));
        body.push(inst(Inst::Store { src: Reg(0), addr: addr(1, i * lanes as i32), masked }));
        // A masked store leaves the register as it is.
        body.push(inst(Inst::Store { src: Reg(0), addr: addr(1, (i + 8) * lanes as i32), masked: false }));
    }
    program(Tile { name: "copy".into(), lanes, tail, pointers: 2, body }, 1)
}

#[test]
fn tails_touch_exactly_their_lanes() {
    for target in targets() {
        for lanes in [4, 8, 16].into_iter().filter(|l| *l <= target.lanes()) {
            (1..lanes).for_each(|tail| check_on(&copy(lanes, tail), &target, 3));
        }
    }
}

/// Every instruction of one or two operands, on every pair of special values, in whole vectors and in tails, with a result in
/// the place of each operand and in another.
#[test]
fn instructions_of_special_values() {
    let unary = [UnaryOp::Neg, UnaryOp::Step, UnaryOp::Abs, UnaryOp::Sqrt];
    let count = SPECIAL.len();
    for target in targets() {
        for lanes in [4, 8, 16].into_iter().filter(|l| *l <= target.lanes()) {
            for tail in [0, lanes - 1] {
                for other in SPECIAL {
                    let mut insts: Vec<Inst> = unary.into_iter().map(|op| Inst::Unary { op, dst: Reg(2), a: Reg(0) }).collect();
                    for &op in BinaryOp::ALL {
                        for (dst, a, b) in [(2, 0, 1), (2, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (1, 1, 0)] {
                            insts.push(Inst::Binary { op, dst: Reg(dst), a: Reg(a), b: Reg(b) });
                        }
                    }
                    insts.push(Inst::Or { dst: Reg(2), a: Reg(0), b: Reg(1) });
                    if tail > 0 {
                        insts.push(Inst::Fill { dst: Reg(2), a: Reg(0), value: other });
                    }
                    let mut body = Vec::new();
                    for (i, result) in insts.into_iter().enumerate() {
                        for from in (0..count).step_by(lanes) {
                            let src = result.writes().unwrap_or(Reg(2));
                            let slot = (i * count + from) as i32;
                            body.push(inst(Inst::Load { dst: Reg(0), addr: addr(0, from as i32), masked: tail > 0 }));
                            body.push(inst(Inst::Const { dst: Reg(1), value: other }));
                            body.push(inst(result));
                            body.push(inst(Inst::Store { src, addr: addr(1, slot), masked: false }));
                        }
                    }
                    let tile = Tile { name: "special".into(), lanes, tail, pointers: 2, body };
                    check_with(&program(tile, 1), &target, |i| SPECIAL[(i + count - REACH % count) % count]);
                }
            }
        }
    }
}

/// Every function of a vector that starts at an odd element.
#[test]
fn operands_need_no_alignment() {
    let load = |dst, offset| inst(Inst::Load { dst: Reg(dst), addr: addr(0, offset), masked: false });
    for target in targets() {
        for lanes in [4, 8, 16].into_iter().filter(|l| *l <= target.lanes()) {
            let mut results = Vec::new();
            for op in [UnaryOp::Neg, UnaryOp::Step, UnaryOp::Abs] {
                results.push(Inst::Unary { op, dst: Reg(2), a: Reg(0) });
            }
            for op in BinaryOp::ALL.iter().copied() {
                results.push(Inst::Binary { op, dst: Reg(2), a: Reg(0), b: Reg(1) });
            }
            let each = results.into_iter().enumerate().flat_map(|(i, result)| {
                let store = Inst::Store { src: Reg(2), addr: addr(1, 16 * i as i32 + 1), masked: false };
                [load(0, 1), load(1, 3), inst(result), inst(store)]
            });
            let tile = Tile { name: "unaligned".into(), lanes, tail: 0, pointers: 2, body: each.collect() };
            check_on(&program(tile, 1), &target, 1);
        }
    }
}

#[test]
fn illegal_tiles_are_errors() {
    let compile = |tile: Tile, target: &str| {
        let target = Target::parse(target).unwrap();
        sonar_codegen::asm(&program(tile, 1), &target).map(|_| ())
    };
    let wide = Tile { name: "wide".into(), lanes: 16, tail: 0, pointers: 1, body: vec![] };
    for target in ["x86-64-v2", "x86-64-v3", "aarch64-unknown-linux-gnu", "riscv64gc-unknown-linux-gnu"] {
        assert!(matches!(compile(wide.clone(), target), Err(CodegenError::UnsupportedLanes { lanes: 16, .. })));
    }
    let undefined = inst(Inst::Store { src: Reg(0), addr: addr(0, 0), masked: false });
    for lanes in [4, 8, 16] {
        let tile = Tile { name: "undefined".into(), lanes, tail: 0, pointers: 1, body: vec![undefined.clone()] };
        assert!(matches!(compile(tile, "x86-64-v4"), Err(CodegenError::Invalid(_))));
    }
    let mut body: Vec<TileStmt> = (0..17).map(|r| inst(Inst::Const { dst: Reg(r), value: 1.0 })).collect();
    body.extend((0..17).map(|r| inst(Inst::Store { src: Reg(r), addr: addr(0, 0), masked: false })));
    let full = Tile { name: "full".into(), lanes: 8, tail: 0, pointers: 1, body };
    assert!(matches!(compile(full, "x86-64-v3"), Err(CodegenError::Invalid(_))));
    let foreign = Target::parse("riscv64gc-unknown-linux-gnu").unwrap();
    assert!(matches!(CompiledKernel::compile(&copy(4, 1), &foreign), Err(CodegenError::NotRunnable(_))));
}

#[test]
fn every_target_has_text() {
    for name in [
        "x86-64-v2",
        "x86-64-v3",
        "x86-64-v4",
        "aarch64-unknown-linux-gnu",
        "riscv64gc-unknown-linux-gnu",
        "riscv64gc-unknown-linux-gnu+v",
    ] {
        let target = Target::parse(name).unwrap();
        for seed in 0..20 {
            let program = random_program(target.lanes(), seed);
            assert!(sonar_codegen::asm(&program, &target).unwrap().contains("kernel0:"), "{name}");
            assert!(sonar_codegen::clif(&program, &target).unwrap().contains("function "), "{name}");
        }
    }
}
