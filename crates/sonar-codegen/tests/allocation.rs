//! Runs allocate nothing. This is a process of its own, because it counts all of its allocations.

#![allow(unsafe_code)]

use sonar_codegen::{CompiledPlan, Target};
use sonar_ir::Values;
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Expr, LoopKind, Program, Stmt, Var};
use sonar_ir::plan::{KernelCall, KernelId, Plan, Slot, SlotId, SlotKind};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, and how often it was asked.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it does what the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: by the contract of this function.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two copies in a row, in parallel loops.
fn plan() -> Plan {
    let buffer = |name: &str, kind| Buffer { name: name.into(), len: 64, kind };
    let element = |buffer| Access { buffer: BufId(buffer), index: Affine::var(Var(0), 1) };
    let store = Stmt::Store { target: element(1), value: Expr::Load(element(0)) };
    let copy = Program {
        name: "copy".into(),
        buffers: vec![buffer("x", BufferKind::Input), buffer("y", BufferKind::Output)].into(),
        vars: vec!["i".into()].into(),
        setup: vec![],
        body: vec![Stmt::For { var: Var(0), extent: 64, kind: LoopKind::Parallel, body: vec![store] }],
        tiles: vec![].into(),
    };
    let slots = [SlotKind::Input(0), SlotKind::Arena { offset: 0 }, SlotKind::Output(0)];
    Plan {
        name: "copies".into(),
        kernels: vec![copy].into(),
        slots: slots.map(|kind| Slot { shape: vec![64], kind }).to_vec().into(),
        calls: (0..2).map(|i| KernelCall { kernel: KernelId(0), args: vec![SlotId(i), SlotId(i + 1)], scratch: 0 }).collect(),
        arena: 64,
    }
}

#[test]
fn runs_allocate_nothing() {
    for threads in [1, 2] {
        let compiled = CompiledPlan::compile(&plan(), &Target::native().unwrap(), threads).unwrap();
        let mut context = compiled.load(&Values::new()).unwrap().context().unwrap();
        let (x, mut y) = ([1.5; 64], [0.0; 64]);
        context.run(&[&x], &mut [&mut y]).unwrap();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..100 {
            context.run(&[&x], &mut [&mut y]).unwrap();
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!((y, allocations), ([1.5; 64], 0), "{threads} threads");
    }
}
