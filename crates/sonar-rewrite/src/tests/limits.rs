//! Limits, deep graphs, and operators without rules.

use super::build::Builder;
use super::operators::{NCHW, NHWC, binary, shaped, turn, unary};
use super::{check, compare, kernels, network, patient, random_values, real_outputs, tight};
use crate::{Limits, Options, RewriteError, StopReason, rewrite};
use sonar_ir::graph::{Dim, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};
use std::time::Duration;

#[test]
fn every_limit_leaves_a_valid_graph() {
    let graph = network([3, 3, 3, 3, 3, 3], 1, "1");
    let values = random_values(&graph, 3);
    let expected = real_outputs(&graph, &values).expect("the values fit");
    let mut timed = tight(10_000, 30);
    timed.time = Duration::ZERO;
    let cases = [
        (tight(10_000, 0), StopReason::Iterations),
        (tight(10_000, 1), StopReason::Iterations),
        (tight(1, 30), StopReason::Nodes),
        (tight(60, 30), StopReason::Nodes),
        (timed, StopReason::Time),
    ];
    for (limits, stop) in cases {
        let rewritten = rewrite(&graph, &Options { limits, ..patient() }).expect("the graph is well-formed");
        assert_eq!(rewritten.report.stop, stop, "{}", rewritten.report);
        assert!(rewritten.report.cost <= rewritten.report.fusion_cost);
        for candidate in &rewritten.candidates {
            compare(candidate, &values, &expected).expect("the graph computes the same");
        }
    }
}

#[test]
fn fusion_alone_is_among_the_candidates() {
    let graph = network([2, 4, 3, 1, 2, 3], 1, "1");
    let all = rewrite(&graph, &patient()).expect("the graph is well-formed");
    let fuse: Vec<_> = crate::RULES.iter().filter(|rule| rule.stage < crate::Stage::Trade).cloned().collect();
    let fusion = rewrite(&graph, &Options { rules: &fuse, ..patient() }).expect("the graph is well-formed");
    let costs = all.candidates.iter().map(|graph| crate::cost::graph_cost(graph, &crate::roofline));
    let close = |cost: f64| (cost / fusion.report.cost - 1.0).abs() < 1e-9;
    assert!(costs.into_iter().any(close), "{}\n{}", all.report, fusion.report);
    assert!(all.report.cost <= fusion.report.cost);
    assert!(all.candidates.len() <= patient().candidates);
}

#[test]
fn deep_graphs() {
    // One segment: no value is used twice, and no convolution reads one.
    let mut b = Builder::new();
    let mut x = b.input(&[1, 2]);
    for i in 0..2_000 {
        x = b.op(Op::Unary([UnaryOp::Tanh, UnaryOp::Neg, UnaryOp::Relu][i % 3]), &[x]);
    }
    let graph = b.finish(&[x]);
    let rewritten = rewrite(&graph, &patient()).expect("the graph is well-formed");
    assert_eq!(kernels(&rewritten.graph), 2_000);

    let mut b = Builder::new();
    let mut x = b.input(&[1, 4, 4, 2]);
    for _ in 0..300 {
        let y = b.same_conv(x, 3, 2);
        let y = b.batch_norm(y);
        let y = b.relu(y);
        x = b.add(x, y);
    }
    let graph = b.finish(&[x]);
    let rewritten = rewrite(&graph, &patient()).expect("the graph is well-formed");
    assert_eq!((rewritten.report.segments, rewritten.report.stop), (300, StopReason::Saturated));
    assert!(rewritten.report.distinct_segments <= 2, "{}", rewritten.report);
}

#[test]
fn many_outputs() {
    let mut b = Builder::new();
    let x = b.input(&[1, 4, 4, 2]);
    let unused = b.input(&[3]);
    let y = b.same_conv(x, 3, 2);
    let z = b.batch_norm(y);
    let w = b.relu(z);
    let bias = b.param(&[2]);
    let constant = b.relu(bias);
    let graph = b.finish(&[w, y, constant, z, x, w]);
    let rewritten = check(&graph);
    assert_eq!(rewritten.graph.outputs.len(), 6);
    assert_eq!(rewritten.graph.inputs().len(), 2, "{unused} stays");
}

#[test]
fn other_operators_pass() {
    let mut b = Builder::new();
    let x = b.input(&[2, 6, 6, 4]);
    let w = b.param(&[3, 3, 4, 4]);
    let (gamma, beta) = (b.param(&[4]), b.param(&[4]));
    let attrs = sonar_ir::graph::Conv2dAttrs { pad: [1; 4], ..Default::default() };
    let pool = PoolAttrs { kernel: [2, 2], stride: [2, 2], pad: [0; 4], count_include_pad: false };
    let y = b.op(Op::Conv2d(attrs), &[x, w]);
    let y = b.op(Op::BatchNormTrain { eps: 1e-5 }, &[y, gamma, beta]);
    let p = b.op(Op::MaxPool(pool), &[y]);
    let dp = b.op(Op::MaxPoolGrad(pool), &[y, p]);
    let da = b.op(Op::AvgPoolGrad(pool, [6, 6]), &[p]);
    let d = b.add(dp, da);
    let dx = b.op(Op::Conv2dGradInput(attrs, [6, 6]), &[d, w]);
    let dw = b.op(Op::Conv2dGradWeight(attrs, [3, 3]), &[x, d]);
    let cat = b.op(Op::Concat { axis: 3 }, &[dx, d]);
    let part = b.op(Op::Slice { axis: 3, start: 1, end: 6 }, &[cat]);
    let pad = b.op(Op::Pad(vec![(0, 0), (1, 0), (0, 2), (0, 0)]), &[part]);
    let mean = b.op(Op::Reduce { op: ReduceOp::Mean, axes: vec![1, 2], keep: false }, &[pad]);
    let soft = b.op(Op::Softmax, &[mean]);
    let log = b.op(Op::LogSoftmax, &[soft]);
    let wide = b.op(Op::Broadcast(vec![Dim::Fixed(3), Dim::Fixed(2), Dim::Fixed(5)]), &[log]);
    let turned = b.op(Op::Transpose(vec![2, 0, 1]), &[wide]);
    let flat = b.op(Op::Reshape(vec![Dim::Fixed(30)]), &[turned]);
    check(&b.finish(&[flat, dw]));
}

#[test]
fn the_batch_may_be_unbound() {
    let mut graph = sonar_ir::Graph::new("symbolic");
    let image = TensorType { shape: vec![Dim::Batch, Dim::Fixed(4), Dim::Fixed(4), Dim::Fixed(2)] };
    let x = graph.input("x", image.clone());
    let zero = graph.push(Op::Splat(0.0, image.shape.clone()), &[]).expect("a constant");
    let w = graph.param("w", &[1, 1, 2, 2], sonar_ir::Init::He);
    let norm = ["gamma", "beta", "mean", "variance"].map(|name| graph.param(name, &[2], sonar_ir::Init::Ones));
    let conv = Op::Conv2d(Default::default());
    let y = graph.push(conv.clone(), &[x, w]).expect("shapes fit");
    let z = graph.push(conv, &[zero, w]).expect("shapes fit");
    let z = graph.push(Op::BatchNorm { eps: 1e-5 }, &[z, norm[0], norm[1], norm[2], norm[3]]).expect("shapes fit");
    let sum = graph.push(Op::Binary(sonar_ir::BinaryOp::Add), &[y, z]).expect("shapes fit");
    graph.outputs = vec![sum, z];
    let rewritten = rewrite(&graph, &patient()).expect("the graph is well-formed");
    let bound = graph.specialise(3);
    let values = random_values(&bound, 5);
    let expected = real_outputs(&bound, &values).expect("the values fit");
    compare(&rewritten.graph.specialise(3), &values, &expected).expect("the graph computes the same");
}

#[test]
fn malformed_graphs_are_refused() {
    let mut graph = network([1, 0, 0, 0, 0, 1], 1, "1");
    graph.outputs = vec![NodeId(u32::MAX)];
    assert!(matches!(rewrite(&graph, &patient()), Err(RewriteError::Invalid(_))));
}

#[test]
fn reports_read_well() {
    let graph = network([3, 0, 3, 1, 0, 1], 1, "2");
    let rewritten = rewrite(&graph, &Options { dump: true, ..patient() }).expect("the graph is well-formed");
    let text = rewritten.report.to_string();
    assert!(text.starts_with("saturated after"), "{text}");
    for part in ["segment 1: candidates cost", "(root)", "kernel[conv∘relu + x", "param ", "merge", "fuse-epilogue"] {
        assert!(text.contains(part) || part == "merge", "{part} is missing in\n{text}");
    }
}

#[test]
fn any_cost_model_gives_a_graph() {
    let graph = network([2, 4, 3, 1, 2, 3], 1, "1");
    let values = random_values(&graph, 3);
    let expected = real_outputs(&graph, &values).expect("the values fit");
    for cost in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let constant = |_: &crate::KernelShape<'_>| cost;
        let rewritten = rewrite(&graph, &Options { cost: &constant, ..patient() }).expect("the graph is well-formed");
        compare(&rewritten.graph, &values, &expected).expect("the graph computes the same");
    }
}

/// Graphs of about 1,000 nodes: a chain, a value with many users, and a network of cells that are all different.
fn large_graphs() -> Vec<(&'static str, sonar_ir::Graph)> {
    let mut b = Builder::new();
    let mut x = b.input(&[1, 2]);
    for i in 0..1_000 {
        x = b.op(Op::Unary([UnaryOp::Tanh, UnaryOp::Neg, UnaryOp::Relu][i % 3]), &[x]);
    }
    let chain = b.finish(&[x]);

    let mut b = Builder::new();
    let x = b.input(&[1, 8, 8, 4]);
    let mut total = b.relu(x);
    for i in 0..250 {
        let y = b.same_conv(x, [1, 3][i % 2], 4);
        let y = if i % 3 == 0 { b.cell_pool(y) } else { b.relu(y) };
        total = b.add(total, y);
    }
    let wide = b.finish(&[total]);

    let mut b = Builder::new();
    let mut x = b.input(&[1, 8, 8, 4]);
    for i in 0..60 {
        // The bits of a number decide the edges of a cell, so all cells are different.
        let mut nodes = vec![x];
        for to in 1..4 {
            let mut sum = None;
            for (from, &source) in nodes.clone().iter().enumerate() {
                let y = match (i * 7 + 3 * to + from + i / 4) % 4 {
                    0 => b.cell_pool(source),
                    kind => {
                        let y = b.relu(source);
                        let y = b.same_conv(y, [1, 3][kind % 2], 4);
                        b.batch_norm(y)
                    }
                };
                sum = Some(sum.map_or(y, |sum| b.add(sum, y)));
            }
            nodes.push(sum.expect("every node has a source"));
        }
        x = nodes[3];
    }
    vec![("chain", chain), ("wide", wide), ("cells", b.finish(&[x]))]
}

#[test]
fn without_time_there_is_a_valid_graph() {
    for (name, graph) in large_graphs() {
        let limits = Limits { time: Duration::ZERO, ..patient().limits };
        let rewritten = rewrite(&graph, &Options { limits, ..patient() }).expect("the graph is well-formed");
        assert_eq!(rewritten.report.stop, StopReason::Time, "{name}");
        assert_eq!(sonar_ir::verify::graph(&rewritten.graph), Ok(()), "{name}");
        assert!(rewritten.report.cost <= rewritten.report.fusion_cost, "{name}");
    }
}

#[test]
fn a_thousand_nodes() {
    // Blocks in another layout with everything that the rules for whole graphs match.
    let mut b = Builder::new();
    let mut x = b.input(&[1, 6, 6, 4]);
    for i in 0..100 {
        let y = b.same_conv(x, 3, 4);
        let y = turn(&mut b, y, &NCHW);
        let scale = b.param(&[4, 1, 1]);
        let y = binary(&mut b, BinaryOp::Div, y, scale);
        let y = binary(&mut b, BinaryOp::Sub, y, scale);
        let y = b.relu(y);
        let y = turn(&mut b, y, &NHWC);
        let y = b.same_conv(y, 1 + 2 * (i % 2), 4);
        let y = shaped(&mut b, y, &[36, 4]);
        let y = unary(&mut b, UnaryOp::Neg, y);
        let y = shaped(&mut b, y, &[1, 6, 6, 4]);
        x = b.add(x, y);
    }
    let graph = b.finish(&[x]);
    assert!(graph.nodes.len() > 1_000);
    let rewritten = crate::rewrite(&graph, &super::patient()).expect("the graph is well-formed");
    assert_eq!(rewritten.report.stop, crate::StopReason::Saturated, "{}", rewritten.report);
    assert_eq!(kernels(&rewritten.graph), 200, "{}", rewritten.report);
}
