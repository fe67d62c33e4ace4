//! The overhead of starting work, on this thread and on others.

use crate::error::CodegenError;
use crate::run::model::CompiledPlan;
use crate::run::pool::Pool;
use crate::target::Target;
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Expr, LoopKind, Program, Stmt, Var};
use sonar_ir::plan::{KernelCall, KernelId, Plan, Slot, SlotId, SlotKind};
use sonar_ir::tensor::Values;
use std::time::Instant;

/// Calls of one run.
const CALLS: usize = 256;
/// Number of runs; the fastest counts.
const RUNS: usize = 50;
/// Elements that a nearly empty kernel copies.
const ELEMENTS: usize = 4;

/// Seconds for a call of a nearly empty kernel of a plan.
pub(super) fn call(target: &Target) -> Result<f64, CodegenError> {
    let slot = |kind| Slot { shape: vec![ELEMENTS], kind };
    let call = KernelCall { kernel: KernelId(0), args: vec![SlotId(0), SlotId(1)], scratch: 0 };
    let plan = Plan {
        name: "calls".into(),
        kernels: vec![copy()].into(),
        slots: vec![slot(SlotKind::Input(0)), slot(SlotKind::Output(0))].into(),
        calls: vec![call; CALLS],
        arena: 0,
    };
    let mut context = CompiledPlan::compile(&plan, target, 1)?.load(&Values::default())?.context()?;
    let (input, mut output) = ([1.0; ELEMENTS], [0.0; ELEMENTS]);
    let mut seconds = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        context.run(&[&input], &mut [&mut output])?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(seconds / CALLS as f64)
}

/// Seconds to hand empty work to a second thread and to wait for it.
pub(super) fn fork() -> Result<f64, CodegenError> {
    let mut pool = Pool::new(2)?;
    let mut seconds = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        pool.run(2, &|_, _| {});
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

/// A kernel that copies a few elements.
fn copy() -> Program {
    let buffer = |name: &str, kind| Buffer { name: name.into(), len: ELEMENTS, kind };
    let element = |buffer| Access { buffer: BufId(buffer), index: Affine::var(Var(0), 1) };
    let body = vec![Stmt::Store { target: element(1), value: Expr::Load(element(0)) }];
    Program {
        name: "copy".into(),
        buffers: vec![buffer("x", BufferKind::Input), buffer("y", BufferKind::Output)].into(),
        vars: vec!["i".into()].into(),
        setup: vec![],
        body: vec![Stmt::For { var: Var(0), extent: ELEMENTS, kind: LoopKind::Serial, body }],
        tiles: vec![].into(),
    }
}
