//! Proofs hold, are short, and fail if a rule is wrong.

use super::build::Builder;
use super::random::random_graph;
use super::{network, patient, tight, wrong_rule};
use crate::language::import;
use crate::language::{Analysis, EGraph, nodes};
use crate::proofs::{Claim, prove};
use crate::rules::Match;
use crate::{Options, RULES, RewriteError, Rewritten, Rule, rewrite};
use egg::Id;
use sonar_ir::graph::{Graph, Op};
use sonar_ir::scalar::UnaryOp;

fn proven(graph: &Graph, rules: &[Rule]) -> Result<Rewritten, RewriteError> {
    rewrite(graph, &Options { rules, explain: true, ..patient() })
}

#[test]
fn random_graphs_are_proven() {
    for seed in 0..40 {
        let graph = random_graph(seed);
        let rewritten = proven(&graph, RULES).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let unasked = rewrite(&graph, &patient()).expect("the graph is well-formed");
        assert_eq!(rewritten.graph, unasked.graph, "seed {seed}: asking for a proof changes what is chosen");
    }
}

#[test]
fn networks_are_proven() {
    for ops in [[3, 3, 3, 3, 3, 3], [1, 1, 1, 1, 1, 1], [0, 4, 2, 3, 1, 4], [3, 2, 4, 1, 4, 2]] {
        let graph = network(ops, 1, "2");
        let report = proven(&graph, RULES).unwrap_or_else(|error| panic!("{ops:?}: {error}")).report;
        assert!(report.proof_steps >= report.distinct_segments, "{}", report.proof);
    }
}

#[test]
fn steps_are_those_that_are_needed() {
    let mut b = Builder::new();
    let x = b.input(&[1, 6, 6, 4]);
    let (y, z) = (b.same_conv(x, 3, 4), b.same_conv(x, 1, 4));
    let y = b.add(y, z);
    let y = b.relu(y);
    let report = proven(&b.finish(&[y]), RULES).expect("it is proven").report;
    for said in ["merge-convs", "fuse-epilogue", "conv2d %x0, %p1 {pad=[1,1,1,1]}", "= %", "pad %p2"] {
        assert!(report.proof.contains(said), "{said}:\n{}", report.proof);
    }
    assert_eq!(report.proof_steps, 2, "{}", report.proof);
}

#[test]
fn stated_rules_are_steps() {
    let stated = crate::rules::load(
        "rule @inwards exact: neg(max(%x, %y)) => min(neg(%x), neg(%y))\nrule @twice exact: neg(neg(%x)) => %x",
    );
    let others = RULES.iter().filter(|rule| rule.family != "strength");
    let rules: Vec<Rule> = others.cloned().chain(stated.expect("both hold")).collect();
    let mut b = Builder::new();
    let x = b.input(&[2, 3]);
    let y = b.op(Op::Unary(UnaryOp::Neg), &[x]);
    let y = b.op(Op::Unary(UnaryOp::Neg), &[y]);
    let y = b.op(Op::Unary(UnaryOp::Tanh), &[y]);
    let report = proven(&b.finish(&[y]), &rules).expect("it is proven").report;
    assert!(report.proof.contains("twice (exact): neg(neg(%x)) => %x"), "{}", report.proof);
}

/// A wrong rule for a test: it drops an activation.
fn forget(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let inner = |id: Id| nodes(egraph, id).any(|(op, _)| matches!(op, Op::Unary(UnaryOp::Tanh)));
    if matches!(m.op, Op::Unary(UnaryOp::Relu)) && inner(m.operands[0]) { vec![m.operands[0]] } else { vec![] }
}

fn active() -> Graph {
    let mut b = Builder::new();
    let x = b.input(&[2, 3]);
    let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
    let y = b.relu(y);
    b.finish(&[y])
}

#[test]
fn a_wrong_rule_is_no_proof() {
    let rules = [wrong_rule("forget", forget)];
    match proven(&active(), &rules) {
        Err(RewriteError::Unproven(why)) => assert!(why.contains("a step by `forget` differ"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_steps_nothing_is_proven() {
    let (source, target) = (active(), {
        let mut b = Builder::new();
        let x = b.input(&[2, 3]);
        let y = b.op(Op::Unary(UnaryOp::Tanh), &[x]);
        b.finish(&[y])
    });
    let mut egraph = EGraph::new(Analysis::default());
    import(&mut egraph, &source);
    let names = |name: &str| name.to_string();
    let claim = |target| Claim { title: "test", source: &source, target, egraph: &egraph, names: &names };
    assert!(matches!(prove(&claim(&target), &[]), Err(RewriteError::Unproven(_))));
    assert!(matches!(prove(&claim(&source), &[]), Ok((_, 0))), "a graph equals itself");
}

#[test]
fn proofs_of_what_a_limit_cut_short_hold() {
    let graph = network([3, 3, 4, 3, 3, 4], 1, "1");
    let options = Options { limits: tight(60, 2), explain: true, ..patient() };
    let rewritten = rewrite(&graph, &options).expect("it is proven");
    assert!(rewritten.report.proof_steps > 0);
}
