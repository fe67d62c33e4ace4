//! Plans: memory of every kind, parameters, and errors at the boundary.

use crate::{at, binary, buffer, load, repeat, vars};
use sonar_codegen::{CodegenError, CompiledPlan, Model, Target};
use sonar_ir::loops::{BufferKind, LoopKind, Program, Stmt};
use sonar_ir::plan::{KernelCall, KernelId, Plan, Slot, SlotId, SlotKind};
use sonar_ir::{BinaryOp, Tensor, Values};

const N: usize = 100;

/// `y = op(x, w)` by way of a temporary and of a packed copy of `w`, in a parallel loop.
fn kernel(op: BinaryOp) -> Program {
    let stmts = vec![
        Stmt::Store { target: at(3, &[], 0), value: binary(op, load(0, &[(0, 1)], 0), load(4, &[(0, 1)], 0)) },
        Stmt::Store { target: at(2, &[(0, 1)], 0), value: load(3, &[], 0) },
    ];
    Program {
        name: op.name().into(),
        buffers: vec![
            buffer("x", N, BufferKind::Input),
            buffer("w", N, BufferKind::Input),
            buffer("y", N, BufferKind::Output),
            buffer("t", 1, BufferKind::Temp),
            buffer("p", N, BufferKind::Packed),
        ]
        .into(),
        vars: vars(2),
        setup: vec![repeat(1, N, vec![Stmt::Store { target: at(4, &[(1, 1)], 0), value: load(1, &[(1, 1)], 0) }])],
        body: vec![Stmt::For { var: sonar_ir::loops::Var(0), extent: N, kind: LoopKind::Parallel, body: stmts }],
        tiles: vec![].into(),
    }
}

/// `(x + a) · b + 1`, where `a` and `b` are parameters and 1 a constant.
fn plan() -> Plan {
    let slot = |kind| Slot { shape: vec![N / 10, 10], kind };
    Plan {
        name: "affine".into(),
        kernels: vec![kernel(BinaryOp::Add), kernel(BinaryOp::Mul)].into(),
        slots: vec![
            slot(SlotKind::Input(0)),
            slot(SlotKind::Param("a".into())),
            slot(SlotKind::Arena { offset: 0 }),
            slot(SlotKind::Param("b".into())),
            slot(SlotKind::Arena { offset: 112 }),
            slot(SlotKind::Const(vec![1.0; N])),
            slot(SlotKind::Output(0)),
        ]
        .into(),
        calls: vec![
            KernelCall { kernel: KernelId(0), args: [0, 1, 2].map(SlotId).to_vec(), scratch: 224 },
            KernelCall { kernel: KernelId(1), args: [2, 3, 4].map(SlotId).to_vec(), scratch: 224 },
            KernelCall { kernel: KernelId(0), args: [4, 5, 6].map(SlotId).to_vec(), scratch: 224 },
        ],
        arena: 240,
    }
}

fn values(shape: Vec<usize>) -> Values {
    let tensor = |value| Tensor::full(shape.clone(), value);
    [("a".to_string(), tensor(3.0)), ("b".to_string(), tensor(2.0))].into()
}

fn model(threads: usize) -> Model {
    let plan = CompiledPlan::compile(&plan(), &Target::native().unwrap(), threads).unwrap();
    plan.load(&values(vec![N / 10, 10])).unwrap()
}

#[test]
fn a_plan_runs_on_any_number_of_threads() {
    let x: Vec<f32> = (0..N).map(|i| i as f32).collect();
    let expected: Vec<f32> = x.iter().map(|x| (x + 3.0) * 2.0 + 1.0).collect();
    for threads in 1..4 {
        let mut context = model(threads).context().unwrap();
        for _ in 0..3 {
            let mut y = vec![0.0; N];
            context.run(&[&x], &mut [&mut y]).unwrap();
            assert_eq!(y, expected);
        }
        let mut y = vec![0.0; N];
        let traced = context.trace(&[&x], &mut [&mut y]).unwrap();
        assert_eq!(y, expected);
        // Calls follow one another, every part is within its call, and thread by thread nothing overlaps.
        assert!(traced.windows(2).all(|pair| pair[0].end <= pair[1].start), "{traced:?}");
        for call in &traced {
            assert!(!call.parts.is_empty() && call.parts.is_sorted_by(|a, b| a.thread < b.thread), "{call:?}");
            for part in &call.parts {
                assert!(part.thread < threads && part.pieces > 0, "{call:?}");
                assert!(call.start <= part.start && part.start <= part.end && part.end <= call.end, "{call:?}");
            }
        }
        let times = context.profile(&[&x], &mut [&mut y], 2).unwrap();
        assert_eq!(y, expected);
        assert_eq!(times.iter().map(|t| t.kernel.as_str()).collect::<Vec<_>>(), ["add", "mul", "add"]);
        assert!(times.iter().all(|t| t.seconds.is_finite()));
    }
}

#[test]
fn threads_share_a_model() {
    let model = model(2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let model = &model;
            scope.spawn(move || {
                let mut context = model.context().unwrap();
                for run in 0..50 {
                    let x = (thread * 50 + run) as f32;
                    let mut y = vec![0.0; N];
                    context.run(&[&[x; N]], &mut [&mut y]).unwrap();
                    assert_eq!(y, vec![(x + 3.0) * 2.0 + 1.0; N]);
                }
            });
        }
    });
}

#[test]
fn weights_outlive_the_code_they_came_from_and_are_kept_once() {
    let context = model(1).context().unwrap();
    // Each of the three weights is read by a setup only, so only its packed copy is kept: 100 numbers in 7 cache lines.
    assert_eq!(context.model().weight_bytes(), 3 * 7 * 64);
    let mut context = std::thread::spawn(move || context).join().unwrap();
    let mut y = vec![0.0; N];
    context.run(&[&[0.0; N]], &mut [&mut y]).unwrap();
    assert_eq!(y, vec![7.0; N]);
}

#[test]
fn calls_that_pack_a_weight_alike_share_it() {
    let mut plan = plan();
    plan.calls[2].args[1] = SlotId(1);
    let model = CompiledPlan::compile(&plan, &Target::native().unwrap(), 1).unwrap().load(&values(vec![N / 10, 10])).unwrap();
    assert_eq!(model.weight_bytes(), 2 * 7 * 64);
    let mut y = vec![0.0; N];
    model.context().unwrap().run(&[&[0.0; N]], &mut [&mut y]).unwrap();
    assert_eq!(y, vec![9.0; N]);
}

#[test]
fn wrong_use_is_an_error() {
    let plan = CompiledPlan::compile(&plan(), &Target::native().unwrap(), 1).unwrap();
    assert!(matches!(plan.load(&Values::new()), Err(CodegenError::MissingParam(_))));
    assert!(matches!(plan.load(&values(vec![N])), Err(CodegenError::ParamShape { .. })));
    let mut context = plan.load(&values(vec![N / 10, 10])).unwrap().context().unwrap();
    let mut y = vec![0.0; N];
    let short = context.run(&[&[0.0; N - 1]], &mut [&mut y]);
    assert!(matches!(short, Err(CodegenError::ArgumentLength { what: "input", .. })));
    let none = context.run(&[&[0.0; N]], &mut []);
    assert!(matches!(none, Err(CodegenError::ArgumentCount { what: "output", .. })));
}

#[test]
fn a_setup_that_reads_no_weight_is_refused() {
    let mut plan = plan();
    plan.slots[SlotId(1)].kind = SlotKind::Input(1);
    let refused = CompiledPlan::compile(&plan, &Target::native().unwrap(), 1).map(|_| ());
    assert!(matches!(refused, Err(CodegenError::Unsupported { .. })), "{refused:?}");
}

#[test]
fn invalid_plans_are_errors() {
    let compile = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        CompiledPlan::compile(&plan, &Target::native().unwrap(), 1).map(|_| ())
    };
    assert!(compile(|_| {}).is_ok());
    let changes: [fn(&mut Plan); 7] = [
        |plan| plan.arena = 200,
        |plan| plan.calls[0].scratch = 240,
        |plan| plan.calls[0].kernel = KernelId(2),
        |plan| plan.calls[0].args[0] = SlotId(7),
        |plan| plan.calls[0].args[2] = SlotId(1),
        |plan| plan.slots[SlotId(5)].kind = SlotKind::Const(vec![]),
        |plan| plan.slots[SlotId(0)].shape = vec![N + 1],
    ];
    for (i, change) in changes.into_iter().enumerate() {
        assert!(matches!(compile(change), Err(CodegenError::Invalid(_))), "change {i}");
    }
}
