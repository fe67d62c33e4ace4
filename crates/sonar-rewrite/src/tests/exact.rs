//! If no rounding is allowed, every value stays the same bit by bit, including NaN, infinities, signed zeros, denormal and huge numbers.

use super::build::Builder;
use super::random::random_graph;
use super::{patient, random_cost, wrong_rule};
use crate::extraction::{Depth, Effort, export, extract};
use crate::language::{Analysis, EGraph, add, import, is_weight, nodes, sum};
use crate::rules::user::special;
use crate::rules::{Match, saturate};
use crate::{Cost, KernelShape, Options, RULES, Rule, Soundness, rewrite};
use egg::Id;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::interp;
use sonar_ir::graph::{Dim, Graph, NodeId, Op};
use sonar_ir::scalar::{BinaryOp, ReduceOp, UnaryOp};
use sonar_ir::tensor::Tensor;
use sonar_ir::text;
use std::collections::HashMap;

/// Draws of special values for each graph.
const DRAWS: u64 = 2 * special::MIXTURES;

/// Rewrites without rounding, and compares every candidate and every e-node bit by bit.
fn check_exact(graph: &Graph, rules: &[Rule]) -> Result<(), String> {
    for seed in 0..4 {
        let random = |kernel: &KernelShape<'_>| random_cost(kernel, seed);
        let cost: &Cost<'_> = if seed == 0 { &crate::roofline } else { &random };
        let options = Options { rules, max_rounding: 0.0, cost, seed, candidates: 6, ..patient() };
        let rewritten = rewrite(graph, &options).map_err(|error| error.to_string())?;
        for candidate in &rewritten.candidates {
            same_bits(graph, candidate)?;
        }
    }
    for segment in crate::segments::split(graph, rules).map_err(|error| error.to_string())? {
        check_enodes(&segment.graph, rules)?;
    }
    Ok(())
}

fn same_bits(graph: &Graph, candidate: &Graph) -> Result<(), String> {
    for seed in 0..DRAWS {
        let values = special::values(graph, seed);
        let run = |graph: &Graph| interp::run(graph, &values).map_err(|error| error.to_string());
        let (expected, found) = (run(graph)?, run(candidate)?);
        for (expected, found) in expected.iter().zip(&found) {
            differing(expected, found).map_err(|problem| format!("{problem} (seed {seed})\n{graph}\n{candidate}"))?;
        }
    }
    Ok(())
}

fn differing(expected: &Tensor, found: &Tensor) -> Result<(), String> {
    match expected.data.iter().zip(&found.data).find(|&(&a, &b)| !special::same(a, b)) {
        Some((a, b)) => Err(format!("{b:?} instead of {a:?}")),
        None => Ok(()),
    }
}

/// Applies each e-node of a saturated e-graph to the values of its operands. The result must have the bits of its class.
fn check_enodes(graph: &Graph, rules: &[Rule]) -> Result<(), String> {
    let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.class == Soundness::Exact).collect();
    let mut egraph = EGraph::new(Analysis::whole(true));
    import(&mut egraph, graph);
    saturate(&mut egraph, &rules, &patient().limits);
    let mut classes: Vec<Id> = egraph.classes().map(|class| class.id).collect();
    classes.sort_unstable();
    let effort = Effort { depth: Depth::Greedy, restarts: 0, seed: 0, until: None };
    let selection = extract(&egraph, &classes, &|_| 1.0, &[], effort).swap_remove(0);
    let mut all = export(&egraph, &selection, &classes, graph).map_err(|error| error.to_string())?;
    let value: HashMap<Id, NodeId> = classes.iter().copied().zip(all.outputs.clone()).collect();
    let mut claims: Vec<(usize, String)> = Vec::new();
    for (k, &class) in classes.iter().enumerate() {
        for (op, operands) in nodes(&egraph, class) {
            let operands: Vec<NodeId> = operands.iter().map(|&id| value[&egraph.find(id)]).collect();
            let applied = all.push(op.clone(), &operands).map_err(|error| error.to_string())?;
            all.outputs.push(applied);
            claims.push((k, format!("{op:?} of {operands:?}")));
        }
    }
    for seed in 0..DRAWS {
        let found = interp::run(&all, &special::values(&all, seed)).map_err(|error| error.to_string())?;
        for ((k, claim), applied) in claims.iter().zip(&found[classes.len()..]) {
            differing(&found[*k], applied).map_err(|problem| format!("{problem}: {claim} (seed {seed})\n{all}"))?;
        }
    }
    Ok(())
}

/// A graph of arithmetic on matrices, with numbers that suggest wrong simplifications.
fn arithmetic(seed: u64) -> Graph {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut b = Builder::new();
    let shape = [rng.random_range(1..4), 4];
    let mut values = vec![b.input(&shape), b.input(&shape)];
    for _ in 0..rng.random_range(3..12) {
        let recent = values.len().saturating_sub(4);
        let x = values[rng.random_range(recent..values.len())];
        let y = values[rng.random_range(0..values.len())];
        let number = |b: &mut Builder, rng: &mut StdRng| {
            const NUMBERS: [f32; 12] = [0.0, -0.0, 1.0, -1.0, 2.0, 0.1, 3.0, 1e30, 1e-30, 12_582_912.0, -12_582_912.0, 1e-45];
            let value = NUMBERS[rng.random_range(0..NUMBERS.len())];
            b.op(Op::Splat(value, [vec![], vec![Dim::Fixed(4)]][rng.random_range(0..2)].clone()), &[])
        };
        let function = |rng: &mut StdRng| Op::Unary(UnaryOp::ALL[rng.random_range(0..UnaryOp::ALL.len())]);
        let binary = |rng: &mut StdRng| Op::Binary(BinaryOp::ALL[rng.random_range(0..BinaryOp::ALL.len())]);
        let new = match rng.random_range(0..12) {
            0 | 1 => b.op(function(&mut rng), &[x]),
            2 | 3 => b.op(binary(&mut rng), &[x, y]),
            4 => b.op(binary(&mut rng), &[x, x]),
            5 | 6 => {
                let c = number(&mut b, &mut rng);
                b.op(binary(&mut rng), &[x, c])
            }
            7 => {
                let c = number(&mut b, &mut rng);
                b.op(binary(&mut rng), &[c, x])
            }
            8 => {
                let c = number(&mut b, &mut rng);
                let y = b.op(Op::Binary(BinaryOp::Add), &[x, c]);
                b.op(Op::Binary(BinaryOp::Sub), &[y, c])
            }
            9 => {
                let p = b.param(&[4]);
                let y = b.op(binary(&mut rng), &[x, p]);
                b.op(binary(&mut rng), &[y, p])
            }
            10 => {
                let w = b.param(&[4, 4]);
                b.op(Op::MatMul, &[x, w])
            }
            _ => {
                let op = ReduceOp::ALL[rng.random_range(0..ReduceOp::ALL.len())];
                let reduced = b.op(Op::Reduce { op, axes: vec![1], keep: true }, &[x]);
                b.op(binary(&mut rng), &[x, reduced])
            }
        };
        values.push(new);
    }
    let last = *values.last().expect("there are values");
    b.finish(&[last])
}

#[test]
fn networks_keep_every_bit() {
    for seed in 0..100 {
        check_exact(&random_graph(seed), RULES).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

#[test]
fn arithmetic_keeps_every_bit() {
    for seed in 0..400 {
        check_exact(&arithmetic(seed), RULES).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

/// Formulas of `%x` and `%y`, and of a parameter `%p`, that could be simplified in real arithmetic.
const FORMULAS: [&str; 30] = [
    "mul(%x, 0)",
    "mul(0, %x)",
    "div(0, %x)",
    "add(%x, 0)",
    "sub(0, %x)",
    "sub(%x, -0)",
    "sub(%x, %x)",
    "div(%x, %x)",
    "div(%x, 3)",
    "div(%x, 1e-45)",
    "div(div(%x, 7), 7)",
    "sub(add(%x, 12582912), 12582912)",
    "add(12582912, sub(%x, 12582912))",
    "add(sub(%x, 0.1), 0.1)",
    "sub(sub(add(%x, %y), %x), %y)",
    "sub(add(%x, %p), %p)",
    "add(add(%x, %y), %p)",
    "add(%x, add(%y, %p))",
    "mul(mul(%x, 1e30), 1e30)",
    "mul(mul(%x, 1e-30), 1e-30)",
    "mul(mul(%x, 1e30), 1e-30)",
    "mul(add(%x, %y), %p)",
    "add(mul(%x, %p), mul(%y, %p))",
    "log(exp(%x))",
    "abs(relu(%x))",
    "recip(recip(%x))",
    "mul(%x, recip(%y))",
    "sqrt(mul(%x, %x))",
    "relu(abs(%x))",
    "min(max(%x, %y), %y)",
];

/// The graph of a formula: numbers are constants.
fn formula(formula: &str) -> Graph {
    let mut b = Builder::new();
    let (x, y, p) = (b.input(&[64]), b.input(&[64]), b.param(&[64]));
    let output = parsed(&mut b, formula, [x, y, p]);
    b.finish(&[output])
}

fn parsed(b: &mut Builder, formula: &str, [x, y, p]: [NodeId; 3]) -> NodeId {
    let Some((name, rest)) = formula.split_once('(') else {
        return match formula {
            "%x" => x,
            "%y" => y,
            "%p" => p,
            number => b.op(Op::Splat(number.parse().expect("a number"), vec![Dim::Fixed(64)]), &[]),
        };
    };
    let inner = rest.strip_suffix(')').expect("a closed bracket");
    let mut depth = 0;
    let comma = inner.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    match comma {
        Some((at, _)) => {
            let operands = [&inner[..at], inner[at + 1..].trim()].map(|part| parsed(b, part, [x, y, p]));
            b.op(Op::Binary(BinaryOp::from_name(name).expect("an operator of two")), &operands)
        }
        None => {
            let operand = parsed(b, inner, [x, y, p]);
            b.op(Op::Unary(UnaryOp::from_name(name).expect("an operator of one")), &[operand])
        }
    }
}

#[test]
fn formulas_that_only_look_simple_stay() {
    for text in FORMULAS {
        check_exact(&formula(text), RULES).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    }
}

#[test]
fn compensated_sums_stay() {
    let source = "graph @kahan(%a: f32[64], %b: f32[64], %c: f32[64]) {
  %s = add %a, %b : f32[64]
  %back = sub %s, %a : f32[64]
  %error = sub %back, %b : f32[64]
  %y = sub %c, %error : f32[64]
  %t = add %s, %y : f32[64]
  %u = sub %t, %s : f32[64]
  %v = sub %u, %y : f32[64]
  return %t, %v, %error
}
";
    check_exact(&text::parse_graph(source).expect("it is well-formed"), RULES).unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn no_rule_that_rounds_is_used() {
    for seed in 0..20 {
        let options = Options { max_rounding: 0.0, ..patient() };
        let report = rewrite(&random_graph(seed), &options).expect("the graph is well-formed").report;
        for (name, count) in &report.fired {
            let class = RULES.iter().find(|rule| rule.name == *name).map(|rule| rule.class);
            assert!(*count == 0 || class == Some(Soundness::Exact), "{name} is {class:?}");
        }
    }
    // Each class is used as soon as it is allowed, and not before.
    for (class, max_rounding, allowed) in [
        (Soundness::Exact, 0.0, true),
        (Soundness::Real, 0.0, false),
        (Soundness::Real, 1e-6, false),
        (Soundness::Real, 2e-6, true),
        (Soundness::Near, 1e-5, false),
        (Soundness::Near, 1e-4, true),
    ] {
        assert_eq!(class.is_allowed(max_rounding), allowed, "{class} at {max_rounding}");
    }
}

#[test]
fn exact_rules_of_users_are_used_and_real_ones_are_not() {
    let stated = crate::rules::load(
        "rule @inwards exact: neg(max(%x, %y)) => min(neg(%x), neg(%y))\nrule @root real: sqrt(mul(%x, %x)) => abs(%x)",
    );
    let rules: Vec<Rule> = RULES.iter().cloned().chain(stated.expect("both hold")).collect();
    let graph = formula("add(neg(max(%x, %y)), sqrt(mul(%x, %x)))");
    let fired = |max_rounding: f64, name: &str| {
        let rewritten = rewrite(&graph, &Options { rules: &rules, max_rounding, ..patient() });
        super::fired(&rewritten.expect("the graph is well-formed"), name)
    };
    assert!(fired(0.0, "inwards") > 0);
    assert_eq!(fired(0.0, "root"), 0);
    assert!(fired(1e-4, "root") > 0);
    check_exact(&graph, &rules).unwrap_or_else(|problem| panic!("{problem}"));
}

/// The mistake, the wrong rule, and a formula that it fires on.
type Mutant = (&'static str, fn(&mut EGraph, &Match<'_>) -> Vec<Id>, &'static str);

/// Rules that hold in real arithmetic but are not exact.
const MUTANTS: [Mutant; 13] = [
    (
        "x·0 → 0",
        |g, m| if is(m, BinaryOp::Mul) && number(g, m, 1) == Some(0.0) { vec![m.operands[1]] } else { vec![] },
        "mul(%x, 0)",
    ),
    (
        "0/x → 0",
        |g, m| if is(m, BinaryOp::Div) && number(g, m, 0) == Some(0.0) { vec![m.operands[0]] } else { vec![] },
        "div(0, %x)",
    ),
    ("x + 0 → x", |g, m| if is(m, BinaryOp::Add) && zero_term(g, m) { other(g, m) } else { vec![] }, "add(%x, 0)"),
    (
        "x − (−0) → x",
        |g, m| if is(m, BinaryOp::Sub) && number(g, m, 1) == Some(0.0) { vec![m.operands[0]] } else { vec![] },
        "sub(%x, -0)",
    ),
    (
        "x − x → 0",
        |g, m| if is(m, BinaryOp::Sub) && m.operands[0] == m.operands[1] { splat(g, m, 0.0) } else { vec![] },
        "sub(%x, %x)",
    ),
    (
        "x/x → 1",
        |g, m| if is(m, BinaryOp::Div) && m.operands[0] == m.operands[1] { splat(g, m, 1.0) } else { vec![] },
        "div(%x, %x)",
    ),
    (
        "x/3 → x·(1/3)",
        |g, m| {
            if is(m, BinaryOp::Div) && is_weight(g, m.operands[1]) {
                let inverse = add(g, Op::Unary(UnaryOp::Recip), &m.operands[1..]);
                vec![add(g, Op::Binary(BinaryOp::Mul), &[m.operands[0], inverse])]
            } else {
                vec![]
            }
        },
        "div(%x, 3)",
    ),
    ("(x·s)·t → x·(s·t)", |g, m| regrouped(g, m, BinaryOp::Mul), "mul(mul(%x, 1e30), 1e30)"),
    ("(x + y) + p → x + (y + p)", |g, m| regrouped(g, m, BinaryOp::Add), "add(add(%x, %y), %p)"),
    ("log(exp(x)) → x", |g, m| undone(g, m, UnaryOp::Log, UnaryOp::Exp), "log(exp(%x))"),
    ("recip(recip(x)) → x", |g, m| undone(g, m, UnaryOp::Recip, UnaryOp::Recip), "recip(recip(%x))"),
    (
        "relu(x) → (x + |x|)·½",
        |g, m| {
            let Op::Unary(UnaryOp::Relu) = m.op else { return vec![] };
            let size = add(g, Op::Unary(UnaryOp::Abs), m.operands);
            let ty = g[m.class].data.ty.clone();
            let twice = sum(g, &[m.operands[0], size], &ty);
            let half = add(g, Op::Splat(0.5, vec![]), &[]);
            vec![add(g, Op::Binary(BinaryOp::Mul), &[twice, half])]
        },
        "relu(%x)",
    ),
    (
        "√x·√y → √(x·y)",
        |g, m| {
            let root = |g: &EGraph, id: Id| {
                nodes(g, id).find_map(|(op, operands)| matches!(op, Op::Unary(UnaryOp::Sqrt)).then(|| operands[0]))
            };
            if !is(m, BinaryOp::Mul) {
                return vec![];
            }
            let (Some(x), Some(y)) = (root(g, m.operands[0]), root(g, m.operands[1])) else { return vec![] };
            let product = add(g, Op::Binary(BinaryOp::Mul), &[x, y]);
            vec![add(g, Op::Unary(UnaryOp::Sqrt), &[product])]
        },
        "mul(sqrt(%x), sqrt(%y))",
    ),
];

fn is(m: &Match<'_>, op: BinaryOp) -> bool {
    *m.op == Op::Binary(op)
}

fn number(egraph: &EGraph, m: &Match<'_>, operand: usize) -> Option<f32> {
    egraph[m.operands[operand]].data.splat
}

fn splat(egraph: &mut EGraph, m: &Match<'_>, value: f32) -> Vec<Id> {
    let shape = egraph[m.class].data.ty.shape.clone();
    vec![add(egraph, Op::Splat(value, shape), &[])]
}

fn zero_term(egraph: &EGraph, m: &Match<'_>) -> bool {
    (0..2).any(|i| number(egraph, m, i) == Some(0.0))
}

/// The operand that is not a weight.
fn other(egraph: &EGraph, m: &Match<'_>) -> Vec<Id> {
    m.operands.iter().copied().filter(|&id| !is_weight(egraph, id)).collect()
}

/// `(x ∘ y) ∘ z → x ∘ (y ∘ z)`
fn regrouped(egraph: &mut EGraph, m: &Match<'_>, op: BinaryOp) -> Vec<Id> {
    if !is(m, op) {
        return vec![];
    }
    let mut equal = Vec::new();
    for (i, j) in [(0, 1), (1, 0)] {
        let inner: Vec<[Id; 2]> = nodes(egraph, m.operands[i])
            .filter(|(inner, _)| **inner == Op::Binary(op))
            .map(|(_, operands)| [operands[0], operands[1]])
            .collect();
        for [x, y] in inner {
            let right = add(egraph, Op::Binary(op), &[y, m.operands[j]]);
            equal.push(add(egraph, Op::Binary(op), &[x, right]));
        }
    }
    equal
}

/// `outer(inner(x)) → x`
fn undone(egraph: &EGraph, m: &Match<'_>, outer: UnaryOp, inner: UnaryOp) -> Vec<Id> {
    if *m.op != Op::Unary(outer) {
        return vec![];
    }
    let found = nodes(egraph, m.operands[0]).filter(|(op, _)| **op == Op::Unary(inner));
    found.map(|(_, operands)| egraph.find(operands[0])).filter(|&x| x != m.class).collect()
}

#[test]
fn every_mutant_is_caught() {
    for (what, mutant, text) in MUTANTS {
        let rule = Rule { class: Soundness::Exact, ..wrong_rule("mutant", mutant) };
        let graph = formula(text);
        check_exact(&graph, &[]).unwrap_or_else(|problem| panic!("{what}: without the rule, too: {problem}"));
        let caught = check_exact(&graph, &[rule]);
        assert!(caught.as_ref().is_err_and(|problem| problem.contains("instead of")), "not caught: {what}: {caught:?}");
    }
}
