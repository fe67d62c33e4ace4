//! Rules that are given as text: which ones are refused, and how the others work.

use super::build::Builder;
use super::{check_rules, fired, kernels};
use crate::{RULES, Rule, RuleError, Soundness};
use sonar_ir::graph::{Graph, Op};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

fn load(text: &str) -> Result<Vec<Rule>, RuleError> {
    crate::rules::load(text)
}

/// The built-in rules except those with the same laws, and the rules of a text.
fn with(text: &str) -> Vec<Rule> {
    let stated = load(text).unwrap_or_else(|error| panic!("{error}"));
    let others = RULES.iter().filter(|rule| !["layout", "strength"].contains(&rule.family));
    others.cloned().chain(stated).collect()
}

/// Rewrites with one more rule, checks whether it fires as expected, and checks all results. Returns the nodes of the best graph.
#[track_caller]
fn rewritten(rule: &str, graph: &Graph, fires: bool) -> usize {
    let rules = with(rule);
    let results = check_rules(graph, &rules).unwrap_or_else(|problem| panic!("{problem}"));
    let name = rules.last().expect("there is a rule").name.clone();
    assert_eq!(fired(&results[0], &name) > 0, fires, "{rule}: {graph:?}");
    kernels(&results[0].graph)
}

fn unary(b: &mut Builder, op: UnaryOp, x: sonar_ir::NodeId) -> sonar_ir::NodeId {
    b.op(Op::Unary(op), &[x])
}

#[test]
fn a_rule_is_found_across_operators() {
    let rule = "rule @twice exact: transpose(transpose(%x) {perm=[1,0]}) {perm=[1,0]} => %x";
    let mut b = Builder::new();
    let x = b.input(&[3, 4]);
    let y = b.op(Op::Transpose(vec![1, 0]), &[x]);
    let y = b.op(Op::Transpose(vec![1, 0]), &[y]);
    let w = b.param(&[4, 2]);
    let y = b.op(Op::MatMul, &[y, w]);
    assert_eq!(rewritten(rule, &b.finish(&[y]), true), 1);
}

#[test]
fn graphs_are_not_cut_within_a_rule() {
    let rule = "rule @after real: matmul(neg(%x), %w) => neg(matmul(%x, %w))";
    let mut b = Builder::new();
    let x = b.input(&[3, 4]);
    let y = unary(&mut b, UnaryOp::Neg, x);
    let w = b.param(&[4, 2]);
    let z = b.op(Op::MatMul, &[y, w]);
    rewritten(rule, &b.finish(&[z, y]), true);
}

#[test]
fn sums_are_matched_term_by_term() {
    let rule = "rule @opposite real: add(neg(%x), %x) => zeros_like(%x)";
    assert!(matches!(load(rule), Err(RuleError::Syntax(_))), "a rule has no shapes");

    // Two terms of five, in any order; the others stay.
    let rule = "rule @together real: add(neg(%x), neg(%y)) => neg(add(%x, %y)) where shape(%x) == shape(%y)";
    let mut b = Builder::new();
    let inputs = [(); 3].map(|()| b.input(&[2, 3]));
    let [p, q, r] = inputs.map(|x| unary(&mut b, UnaryOp::Tanh, x));
    let [x, y] = [inputs[0], inputs[1]].map(|x| unary(&mut b, UnaryOp::Neg, x));
    let sum = [r, x, p, y, q].into_iter().reduce(|a, y| b.add(a, y)).expect("there are terms");
    rewritten(rule, &b.finish(&[sum]), true);

    // Within another operator the last value takes the remaining terms.
    let rule = "rule @over real: exp(add(neg(%x), %y)) => div(exp(%y), exp(%x)) where shape(%x) == shape(%y)";
    let mut b = Builder::new();
    let inputs = [(); 3].map(|()| b.input(&[2, 3]));
    let x = unary(&mut b, UnaryOp::Neg, inputs[0]);
    let sum = [inputs[1], x, inputs[2]].into_iter().reduce(|a, y| b.add(a, y)).expect("there are terms");
    let y = unary(&mut b, UnaryOp::Exp, sum);
    rewritten(rule, &b.finish(&[y]), true);
}

#[test]
fn factors_have_no_order() {
    let rule = "rule @square exact: mul(abs(%x), neg(%x)) => neg(mul(%x, abs(%x)))";
    let mut b = Builder::new();
    let x = b.input(&[2, 3]);
    let (y, z) = (unary(&mut b, UnaryOp::Abs, x), unary(&mut b, UnaryOp::Neg, x));
    let y = b.op(Op::Binary(BinaryOp::Mul), &[z, y]);
    rewritten(rule, &b.finish(&[y]), true);
}

#[test]
fn conditions_hold() {
    let graph = |weight: bool| {
        let mut b = Builder::new();
        let x = b.input(&[2, 3]);
        let y = if weight { b.param(&[2, 3]) } else { b.input(&[2, 3]) };
        let y = b.op(Op::Binary(BinaryOp::Div), &[x, y]);
        b.finish(&[y])
    };
    let rule = "rule @quotient real: div(%x, %c) => mul(%x, recip(%c)) where const(%c)";
    rewritten(rule, &graph(true), true);
    rewritten(rule, &graph(false), false);
    rewritten(&format!("{rule}, rank(%x) == 3"), &graph(true), false);
    rewritten(&format!("{rule}, rank(%x) == rank(%c)"), &graph(true), true);
    // Here the right side is larger, so the rule does not apply.
    let rule = "rule @sum real: neg(%x) => mul(%x, splat {value=-1, shape=[4,1,1]})";
    let mut b = Builder::new();
    let x = b.input(&[2, 3]);
    let y = unary(&mut b, UnaryOp::Neg, x);
    rewritten(rule, &b.finish(&[y]), false);
}

#[test]
fn growth_is_bounded() {
    let rules = with(
        "rule @more real: tanh(%x) => add(tanh(%x), mul(%x, splat {value=0, shape=[1]}), abs(neg(tanh(%x))), neg(abs(tanh(%x))))\n",
    );
    assert_eq!(rules.last().expect("there is a rule").name, "more");
    let rules = with("rule @forever real: tanh(%x) => neg(neg(tanh(neg(neg(%x)))))");
    let mut b = Builder::new();
    let x = b.input(&[2, 3]);
    let y = unary(&mut b, UnaryOp::Tanh, x);
    let graph = b.finish(&[y]);
    let options = crate::Options { rules: &rules, limits: super::tight(500, 100), ..super::patient() };
    let rewritten = crate::rewrite(&graph, &options).expect("it rewrites");
    assert_eq!(kernels(&rewritten.graph), 1, "{}", rewritten.report);
}

#[test]
fn classes_are_as_stated() {
    let rules =
        load("rule @a exact: relu(relu(%x)) => relu(%x)\nrule @b real: tanh(neg(%x)) => neg(tanh(%x))").expect("both hold");
    assert_eq!(rules.iter().map(|rule| rule.class).collect::<Vec<_>>(), [Soundness::Exact, Soundness::Real]);
    assert_eq!(rules[1].text, "tanh(neg(%x)) => neg(tanh(%x))");
}

#[test]
fn wrong_rules_are_refused() {
    for rule in [
        "rule @r exact: relu(neg(%x)) => neg(relu(%x))",
        // They differ only for a tie or a sign.
        "rule @r exact: mul(%x, splat {value=0, shape=[1]}) => splat {value=0, shape=[1]}",
        // They differ only for a negative zero, for NaN or infinity, or if a value overflows.
        "rule @r exact: add(%x, splat {value=0, shape=[1]}) => %x",
        "rule @r exact: sub(%x, %x) => splat {value=0, shape=[1]}",
        "rule @r exact: div(%x, %x) => splat {value=1, shape=[1]}",
        "rule @r exact: mul(%x, splat {value=0, shape=[1]}) => mul(splat {value=0, shape=[1]}, abs(%x))",
        "rule @r exact: abs(%x) => sqrt(mul(%x, %x))",
        "rule @r exact: mul(mul(%x, splat {value=2, shape=[]}), splat {value=0.5, shape=[]}) => %x",
        "rule @r exact: max(%x, splat {value=-inf, shape=[]}) => relu(%x)",
        "rule @r real: step(%x) => sub(splat {value=1, shape=[1]}, step(neg(%x)))",
        "rule @r exact: mul(mul(%x, %y), %z) => mul(%x, mul(%y, %z))",
        "rule @r real: sqrt(mul(%x, %x)) => %x",
        "rule @r real: max_pool(%x) {kernel=2} => avg_pool(%x) {kernel=2}",
        "rule @r real: avg_pool(relu(%x)) {kernel=3, pad=1} => relu(avg_pool(%x) {kernel=3, pad=1})",
        "rule @r real: matmul(%x, %w) => matmul(%w, %x)",
        "rule @r real: transpose(%x) {perm=[1,0]} => %x",
        "rule @r real: softmax(add(%x, %y)) => softmax(%x)",
    ] {
        match load(rule) {
            Err(RuleError::Wrong { counterexample, .. }) => assert!(counterexample.contains("%x = f32["), "{counterexample}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
}

#[test]
fn useless_rules_are_refused() {
    for (rule, reason) in [
        ("rule @r real: reshape(%x) {shape=[5]} => relu(%x) where rank(%x) == 4", "where the right one is"),
        ("rule @r real: matmul(%x) => %x", "no shapes are found"),
        ("rule @r real: relu(%x) => softmax(%x, %x)", "the right one has none"),
        ("rule @r real: batch_norm(%x, %a, %b, %c, %d) => %x", "is always taken for"),
        ("rule @r real: relu(fused_sum(%x, %y) {terms=[add, add]}) => relu(add(%x, %y))", "taken apart"),
    ] {
        match load(rule) {
            Err(RuleError::Never { reason: found, .. }) => assert!(found.contains(reason), "{found}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
    assert!(matches!(load("rule @identity exact: relu(relu(%x)) => relu(%x)"), Err(RuleError::Taken { line: 1, .. })));
    let twice = "rule @a exact: relu(relu(%x)) => relu(%x)\n\nrule @a exact: relu(relu(%x)) => relu(%x)";
    assert!(matches!(load(twice), Err(RuleError::Taken { line: 3, .. })));
}

#[test]
fn faults_are_located() {
    for (text, line_column, message) in [
        ("graph @g() { return }", (1, 1), "expected `rule`"),
        ("rule @r exact relu(%x) => %x", (1, 15), "expected `:`"),
        ("rule @r sometimes: relu(%x) => %x", (1, 9), "expected `exact` or `real`"),
        ("// a comment\nrule @r exact: %x => relu(%x)", (2, 16), "expected an operator"),
        ("rule @r exact: relu(%x) =>\n  neg(%y)", (2, 7), "not on the left side"),
        ("rule @r exact: reluu(%x) => %x", (1, 16), "unknown operator `reluu`"),
        ("rule @r exact: relu(%x) = %x", (1, 25), "expected `=>`"),
        ("rule @r exact: conv2d(%x, %w) {pad=same} => %x", (1, 32), "the kernel is not known"),
        ("rule @r exact: relu(%x) => %x where big(%x)", (1, 37), "expected a condition"),
        ("rule @r exact: relu(%x) => %x where rank(%x) == 9", (1, 49), "from 0 to 8"),
        ("rule @r exact: add(%x) => %x", (1, 16), "expected two operands"),
    ] {
        match load(text) {
            Err(RuleError::Syntax(error)) => {
                assert_eq!(error.line_column(), line_column, "{text}: {error}");
                assert!(error.to_string().contains(message), "{error}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}
