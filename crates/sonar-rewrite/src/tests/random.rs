//! Random whole graphs, with all rules.

use super::build::Builder;
use super::check_rules;
use crate::{RULES, StopReason};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::{Conv2dAttrs, Dim, Graph, NodeId, Op, PoolAttrs};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// A graph of images of one size, with values used several times, dead edges, and all patterns that rules match.
pub fn random_graph(seed: u64) -> Graph {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut b = Builder::new();
    let (n, h, w) = (rng.random_range(1..3), rng.random_range(3..6), rng.random_range(3..6));
    let mut values = vec![b.input(&[n, h, w, 4])];
    let steps = rng.random_range(4..16);
    for _ in 0..steps {
        // Recent values are more likely, so that graphs are deep.
        let recent = values.len().saturating_sub(4);
        let x = values[rng.random_range(recent..values.len())];
        let other = values[rng.random_range(0..values.len())];
        let y = match rng.random_range(0..21) {
            0 => b.relu(x),
            1 | 2 => b.same_conv(x, 1, 4),
            3 => b.same_conv(x, 3, 4),
            4 => {
                let groups = [2, 4][rng.random_range(0..2)];
                b.conv(x, 3, 4, Conv2dAttrs { pad: [1; 4], groups, ..Conv2dAttrs::default() })
            }
            5 => b.batch_norm(x),
            6 => b.cell_pool(x),
            7 => b.avg_pool(x, PoolAttrs { kernel: [3, 2], stride: [1, 1], pad: [1, 0, 1, 1], count_include_pad: true }),
            8 => {
                let bias = b.param(&[4]);
                b.add(bias, x)
            }
            9 => {
                let zero = b.zeros(x);
                b.add(zero, x)
            }
            10 => {
                let y = b.zeros(x);
                let y = b.same_conv(y, 3, 4);
                b.batch_norm(y)
            }
            11 => b.op(Op::Unary(UnaryOp::Tanh), &[x]),
            12 => b.op(Op::MaxPool(PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad: false }), &[x]),
            13 | 14 => {
                // Two products of one matrix.
                let rows = b.op(Op::Reshape([n * h * w, 4].map(Dim::Fixed).to_vec()), &[x]);
                let [one, two] = [(); 2].map(|()| {
                    let weight = b.param(&[4, 4]);
                    b.op(Op::MatMul, &[rows, weight])
                });
                let sum = b.add(one, two);
                b.op(Op::Reshape([n, h, w, 4].map(Dim::Fixed).to_vec()), &[sum])
            }
            15 => {
                let scale = b.param(&[4]);
                b.mul(scale, x)
            }
            16 => {
                let y = b.op(Op::Transpose(vec![0, 1, 2, 3]), &[x]);
                let one = b.op(Op::Splat(1.0, vec![Dim::Fixed(4)]), &[]);
                let zero = b.op(Op::Splat(0.0, vec![Dim::Fixed(4)]), &[]);
                let y = b.op(Op::Binary(BinaryOp::Div), &[y, one]);
                b.op(Op::Binary(BinaryOp::Sub), &[y, zero])
            }
            17 => {
                let both = b.op(Op::Concat { axis: 3 }, &[x, other]);
                b.same_conv(both, 3, 4)
            }
            18 => {
                let both = b.op(Op::Concat { axis: 3 }, &[x, other]);
                b.op(Op::Slice { axis: 3, start: 2, end: 6 }, &[both])
            }
            19 => {
                let wide = b.op(Op::Pad(vec![(0, 0), (1, 1), (1, 1), (0, 0)]), &[x]);
                b.conv(wide, 3, 4, Conv2dAttrs::default())
            }
            _ => b.add(x, other),
        };
        values.push(y);
    }
    let mut outputs: Vec<NodeId> = vec![*values.last().expect("there are values")];
    if rng.random_range(0..3) == 0 {
        // The head of a network, with a stride and a mean.
        let x = values[rng.random_range(0..values.len())];
        let y = b.conv(x, 3, 6, Conv2dAttrs { stride: [2, 2], pad: [1; 4], ..Conv2dAttrs::default() });
        let y = b.op(Op::GlobalAvgPool, &[y]);
        let (weight, bias) = (b.param(&[6, 3]), b.param(&[3]));
        let y = b.op(Op::MatMul, &[y, weight]);
        let y = b.add(y, bias);
        outputs.push(y);
    }
    if rng.random_range(0..3) == 0 {
        outputs.push(values[rng.random_range(0..values.len())]);
    }
    b.finish(&outputs)
}

#[test]
fn random_graphs() {
    for seed in 0..150 {
        let graph = random_graph(seed);
        let results = check_rules(&graph, RULES).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        for rewritten in results {
            let report = rewritten.report;
            assert_eq!(report.stop, StopReason::Saturated, "seed {seed}: {report} {graph}");
            assert!(report.cost <= report.fusion_cost * (1.0 + 1e-9), "seed {seed}: {report}");
        }
    }
}
