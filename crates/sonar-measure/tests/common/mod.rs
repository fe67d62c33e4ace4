//! A worker, and a kernel to give it.

use sonar_ir::BinaryOp;
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Expr, LoopKind, Program, Stmt, Var};
use sonar_measure::worker::{MEMORY, WorkerMeasurer, WorkerOptions};
use sonar_measure::{Budget, Cache, Job};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const LEN: usize = 64;

/// A measurer whose worker is the one of this crate.
pub fn measurer(time_limit: Duration) -> WorkerMeasurer {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_sonar-measure-worker"));
    WorkerMeasurer::new(WorkerOptions { program, arguments: vec![], pin: true, time_limit, memory: MEMORY })
}

/// `y[i] = x[i] + addend`, in `nests` further loops of `repeats` iterations each that change nothing.
pub fn add(addend: f32, nests: usize, repeats: usize) -> Program {
    let element = |buffer| Access { buffer: BufId(buffer), index: Affine::var(Var(0), 1) };
    let sum = Expr::Binary(BinaryOp::Add, Arc::new(Expr::Load(element(0))), Arc::new(Expr::Const(addend)));
    let mut body = vec![Stmt::Store { target: element(1), value: sum }];
    let mut vars = vec!["i".to_string()];
    for nest in 0..nests {
        let var = Var(vars.len() as u32);
        vars.push(format!("again{nest}"));
        body = vec![Stmt::For { var, extent: repeats, kind: LoopKind::Serial, body }];
    }
    let body = vec![Stmt::For { var: Var(0), extent: LEN, kind: LoopKind::Serial, body }];
    let buffer = |name: &str, kind| Buffer { name: name.into(), len: LEN, kind };
    let buffers = vec![buffer("x", BufferKind::Input), buffer("y", BufferKind::Output)];
    Program { name: "add".into(), buffers: buffers.into(), vars: vars.into(), setup: vec![], body, tiles: vec![].into() }
}

/// A candidate for the task of adding one.
pub fn job(candidate: Program) -> Job {
    Job {
        task: "add one".into(),
        schedule: Default::default(),
        reference: add(1.0, 0, 0),
        candidate,
        target: "native".into(),
        threads: 1,
        seed: 7,
        check_tolerance: 1e-5,
        incumbent: None,
        budget: Budget { samples: 5, seconds: 0.1 },
        cache: Cache::Warm,
        fault: None,
    }
}
