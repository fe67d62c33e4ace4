//! Compiled code against the interpreter of the loop IR, on every target that this machine runs.

mod loops;
mod models;
mod tiles;

use sonar_codegen::{CompiledKernel, Target};
use sonar_ir::BinaryOp;
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::interp;
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Expr, LoopKind, Program, Stmt, Var};
use std::sync::Arc;

/// The targets that this machine runs.
fn targets() -> Vec<Target> {
    let all = ["x86-64-v2", "x86-64-v3", "x86-64-v4", "native"];
    all.iter().map(|name| Target::parse(name).unwrap()).filter(Target::runs_here).collect()
}

/// A small generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number whose magnitude is between 1/4 and 1.
    fn number(&mut self) -> f32 {
        let magnitude = 0.25 + 0.75 * (self.next() >> 40) as f32 / (1u64 << 24) as f32;
        if self.below(2) == 0 { magnitude } else { -magnitude }
    }
}

/// Numbers that functions may treat in a way of their own.
const SPECIAL: [f32; 16] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    1e-40,
    -1e-40,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    1e30,
    -1e30,
    88.0,
    -3.0,
    1.5,
    -1.5,
];

/// Inputs from `draw`, which is told the number of the element, and outputs that are not numbers yet, as on the interpreter, for
/// the arguments of a program.
fn arguments(program: &Program, mut draw: impl FnMut(usize) -> f32) -> Vec<Vec<f32>> {
    let passed = program.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Input | BufferKind::Output));
    passed.map(|b| (0..b.len).map(|i| if b.kind == BufferKind::Input { draw(i) } else { f32::NAN }).collect()).collect()
}

/// Random inputs.
fn random_arguments(program: &Program, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random(seed);
    arguments(program, |_| random.number())
}

/// Outputs of the compiled program.
fn compiled(program: &Program, target: &Target, threads: usize, mut args: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let mut kernel = CompiledKernel::compile_threaded(program, target, threads).unwrap();
    let mut slices: Vec<&mut [f32]> = args.iter_mut().map(Vec::as_mut_slice).collect();
    kernel.setup(&mut slices).unwrap();
    kernel.run(&mut slices).unwrap();
    args
}

/// Compares the compiled program with the interpreter.
fn compare(program: &Program, target: &Target, args: Vec<Vec<f32>>) {
    let mut expected = args.clone();
    interp::run(program, &mut expected).unwrap();
    let found = compiled(program, target, 1, args);
    for (buffer, (expected, found)) in expected.iter().zip(&found).enumerate() {
        for (i, (e, f)) in expected.iter().zip(found).enumerate() {
            let close = e == f || (e.is_nan() && f.is_nan()) || (e - f).abs() <= 1e-4 * e.abs().max(1.0);
            assert!(close, "{} on {target}: buffer {buffer}[{i}] is {f}, expected {e}\n{program}", program.name);
        }
    }
}

/// Compares on random inputs.
fn check_on(program: &Program, target: &Target, seed: u64) {
    compare(program, target, random_arguments(program, seed));
}

/// Compares on inputs from `draw`, which is told the number of the element.
fn check_with(program: &Program, target: &Target, draw: impl FnMut(usize) -> f32) {
    compare(program, target, arguments(program, draw));
}

/// As [`check_on`], on every target.
fn check(program: &Program) {
    targets().iter().for_each(|target| check_on(program, target, 7));
}

fn buffer(name: &str, len: usize, kind: BufferKind) -> Buffer {
    Buffer { name: name.to_string(), len, kind }
}

/// `buffer[Σ coefficient · variable + offset]`.
fn at(buffer: u32, terms: &[(u32, i64)], offset: i64) -> Access {
    Access { buffer: BufId(buffer), index: affine(terms, offset) }
}

fn affine(terms: &[(u32, i64)], offset: i64) -> Affine {
    terms.iter().fold(Affine::constant(offset), |sum, &(v, c)| sum.plus(Var(v), c))
}

fn load(buffer: u32, terms: &[(u32, i64)], offset: i64) -> Expr {
    Expr::Load(at(buffer, terms, offset))
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    Expr::Binary(op, Arc::new(a), Arc::new(b))
}

fn repeat(var: u32, extent: usize, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var: Var(var), extent, kind: LoopKind::Serial, body }
}

fn vars(count: usize) -> EntityVec<Var, String> {
    (0..count).map(|i| format!("i{i}")).collect()
}
