//! Random graphs of fused groups: kernels, scheduled at a random point, against the reference interpreter.

mod common;

use common::{Sketch, conv, error, pool, random_values, run_tasks};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::{BinaryOp, Graph, NodeId, Op, ReduceOp, Term, UnaryOp};
use sonar_schedule::{Options, apply, space, tasks};

/// A random graph over images: a dozen operators that read any earlier value.
fn random_graph(rng: &mut StdRng) -> Graph {
    let mut s = Sketch::new();
    let n = rng.random_range(1..3);
    let hw = rng.random_range(2..8);
    let c = [3, 8, 16, 20][rng.random_range(0..4)];
    let mut values: Vec<NodeId> = (0..2).map(|_| s.input(&[n, hw, hw, c])).collect();
    for _ in 0..rng.random_range(2..10) {
        let pick = |rng: &mut StdRng, values: &[NodeId]| values[rng.random_range(0..values.len())];
        let x = pick(rng, &values);
        let y = pick(rng, &values);
        let value = match rng.random_range(0..12) {
            0 => s.relu(x),
            1 => s.op(Op::Binary([BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Max][rng.random_range(0..3)]), &[x, y]),
            2 => {
                let b = s.param(&[c]);
                s.add(x, b)
            }
            3 => {
                let k = [1, 3][rng.random_range(0..2)];
                let w = s.param(&[k, k, c, c]);
                s.op(Op::Conv2d(conv(1, k / 2, 1, 1)), &[x, w])
            }
            4 => {
                let w = s.param(&[3, 3, 1, c]);
                s.op(Op::Conv2d(conv(1, 1, 1, c)), &[x, w])
            }
            5 => s.op(Op::AvgPool(pool(3, 1, 1, rng.random_range(0..2) == 1)), &[x]),
            6 => s.op(Op::MaxPool(pool(3, 1, 1, false)), &[x]),
            7 => {
                let k = [1, 3][rng.random_range(0..2)];
                let (w, v, b) = (s.param(&[k, k, c, c]), s.param(&[1, 1, c, c]), s.param(&[c]));
                let relu = rng.random_range(0..2) == 1;
                let terms = vec![
                    Term::Conv2d { attrs: conv(1, k / 2, 1, 1), relu },
                    Term::Conv2d { attrs: conv(1, 0, 1, 1), relu: !relu },
                    Term::Add,
                    Term::Add,
                ];
                s.op(Op::FusedSum { terms, relu }, &[x, w, y, v, b, x])
            }
            8 => {
                let [gamma, beta] = [0; 2].map(|_| s.param(&[c]));
                s.op(Op::BatchNormTrain { eps: 1e-3 }, &[x, gamma, beta])
            }
            9 => {
                // Views: halves of two images, side by side.
                let half = c.div_ceil(2);
                let a = s.op(Op::Slice { axis: 3, start: 0, end: half }, &[x]);
                let b = s.op(Op::Slice { axis: 3, start: half, end: c }, &[y]);
                s.op(Op::Concat { axis: 3 }, &[a, b])
            }
            10 => {
                let axis = rng.random_range(1..4);
                let wide = s.op(Op::Concat { axis }, &[x, y, x]);
                let extent = if axis == 3 { c } else { hw };
                let start = rng.random_range(0..=2 * extent);
                s.op(Op::Slice { axis, start, end: start + extent }, &[wide])
            }
            _ => {
                let mean = s.op(Op::Reduce { op: ReduceOp::Mean, axes: vec![1, 2], keep: true }, &[x]);
                let gate = s.op(Op::Unary(UnaryOp::Sigmoid), &[mean]);
                s.op(Op::Binary(BinaryOp::Mul), &[gate, y])
            }
        };
        values.push(value);
    }
    let last = values.len().saturating_sub(3);
    s.finish(&values[last..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_groups_keep_the_meaning(seed in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let graph = random_graph(&mut rng);
        let values = random_values(&graph, &mut rng);
        let expected = sonar_ir::graph::interp::run(&graph, &values).expect("the reference runs");
        let tasks = tasks(&graph).expect("it lowers");
        let lanes = [4, 8, 16][rng.random_range(0..3)];
        let found = run_tasks(&tasks, &values, &mut |task| {
            let space = space(task, &Options::new(lanes));
            let schedule = space.schedule(&space.point(rng.random_range(0..space.len())));
            apply(&task.program, &schedule, lanes).unwrap_or_else(|e| panic!("{e}\n{schedule}\n{}", task.program))
        });
        for (found, expected) in found.iter().zip(&expected) {
            let error = error(found, &expected.data);
            prop_assert!(error < 1e-4, "off by {}", error);
        }
    }
}
