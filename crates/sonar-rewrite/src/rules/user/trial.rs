//! Tests rules of a user on random values of random shapes: both sides must be equal.

use super::special;
use crate::rules::rule::{Action, Rule, Soundness, Stage};
use crate::rules::table::RULES;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::infer::TypeError;
use sonar_ir::graph::{Graph, NodeId, Op, TensorType};
use sonar_ir::graph::{init, interp};
use sonar_ir::scalar::BinaryOp;
use sonar_ir::tensor::{Tensor, Values};
use sonar_ir::text::{self, Condition, Pattern, RuleText};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use thiserror::Error;

/// The most choices of shapes to try. Most of them have no type.
const TRIES: usize = 30_000;
/// The number of choices of shapes with a type on both sides that is sufficient.
const ENOUGH: usize = 32;
/// The least number of special elements for each value of a rule in each mixture.
const SPECIAL: usize = 64;
/// Extents to choose from.
const EXTENTS: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Upper bound of the elements of a tensor in tests.
const MAX_ELEMENTS: usize = 4096;
/// The largest difference in double precision of both sides of a rule in real arithmetic, relative to the largest number.
const ROUNDING: f64 = 1e-9;
/// The relative size of the bits that single precision lacks.
const LOW: f32 = 1.0 / (1 << 27) as f32;
/// The most elements of a tensor that a counterexample shows.
const SHOWN: usize = 12;

/// The family of all rules that users add.
pub const STATED: &str = "stated";

/// Why a rule is refused.
#[derive(Debug, Error)]
pub enum RuleError {
    /// The text is not a list of rules.
    #[error(transparent)]
    Syntax(#[from] text::Error),
    /// Two rules have the same name.
    #[error("line {line}: there is a rule `{name}` already")]
    Taken {
        /// The name.
        name: String,
        /// Where the second one begins.
        line: usize,
    },
    /// The left side has an operator that never occurs in a graph when rules are applied.
    #[error("line {line}: rule `{name}` can never be used: {reason}")]
    Never {
        /// The rule.
        name: String,
        /// Where it begins.
        line: usize,
        /// Why.
        reason: String,
    },
    /// The two sides differ.
    #[error("line {line}: rule `{name}` is wrong: {counterexample}")]
    Wrong {
        /// The rule.
        name: String,
        /// Where it begins.
        line: usize,
        /// Shapes and values for which they differ.
        counterexample: String,
    },
}

/// The checked rules of a text: see [`sonar_ir::text::parse_rules`] for their syntax.
///
/// Each rule is instantiated with values of many random shapes and ranks. If both sides have a type, the interpreter computes
/// them in double precision. `exact` rules must give the same bits, the others the same numbers up to rounding. In addition,
/// `exact` rules must give the same bits in single precision for NaN, infinities, zeros of both signs, denormal and huge numbers.
///
/// ```
/// let rules = sonar_rewrite::rules::load("rule @inwards exact: relu(max(%x, %y)) => max(relu(%x), relu(%y))")?;
/// assert_eq!(rules[0].name, "inwards");
/// let wrong = sonar_rewrite::rules::load("rule @wrong real: relu(neg(%x)) => neg(relu(%x))");
/// assert!(matches!(wrong, Err(sonar_rewrite::RuleError::Wrong { .. })));
/// # Ok::<(), sonar_rewrite::RuleError>(())
/// ```
pub fn load(source: &str) -> Result<Vec<Rule>, RuleError> {
    let mut rules: Vec<Rule> = Vec::new();
    for text in text::parse_rules(source)? {
        let (name, line) = (text.name.clone(), text.line);
        if RULES.iter().chain(&rules).any(|rule| rule.name == name) {
            return Err(RuleError::Taken { name, line });
        }
        check(&text)?;
        rules.push(Rule {
            name: Cow::Owned(name),
            family: STATED,
            stage: Stage::Trade,
            class: if text.exact { Soundness::Exact } else { Soundness::Real },
            text: Cow::Owned(text.text.clone()),
            action: Action::Stated(Arc::new(text)),
        });
    }
    Ok(rules)
}

/// Refuses a rule that is wrong or useless.
fn check(rule: &RuleText) -> Result<(), RuleError> {
    let never = |reason: String| RuleError::Never { name: rule.name.clone(), line: rule.line, reason };
    if let Some(reason) = unseen(&rule.left) {
        return Err(never(reason.to_string()));
    }
    let mut rng = StdRng::seed_from_u64(0);
    let mut seen: HashSet<Vec<TensorType>> = HashSet::new();
    let mut problem: Option<String> = None;
    for _ in 0..TRIES {
        let types = random_types(rule, &mut rng);
        if seen.contains(&types) {
            continue;
        }
        let sides = |precision| (graph(rule, &rule.left, &types, precision), graph(rule, &rule.right, &types, precision));
        let (left, right) = match sides(Precision::Double) {
            (Ok(left), Ok(right)) => (left, right),
            // This error is more useful than that of a left side without a type, so it replaces it.
            (Ok(_), Err(error)) => {
                problem = Some(format!("where the left side has a type, the right one has none: {error}"));
                continue;
            }
            (Err(error), _) => {
                problem.get_or_insert_with(|| format!("no shapes are found for which the left side has a type: {error}"));
                continue;
            }
        };
        let (from, to) = (left.ty(left.outputs[0]), right.ty(right.outputs[0]));
        if from != to {
            problem = Some(format!("the left side is {from} where the right one is {to}"));
            continue;
        }
        if left.nodes.iter().chain(&right.nodes).any(|node| elements(&node.ty) > MAX_ELEMENTS) {
            continue;
        }
        let mut counterexample = (0..3).find_map(|seed| differ(rule, &left, &right, seed));
        if let (true, None, (Ok(left), Ok(right))) = (rule.exact, &counterexample, sides(Precision::Single)) {
            // A rule may fit only one shape, of one element. It must still meet every special value.
            let fewest = types.iter().map(elements).min().unwrap_or(1).max(1);
            let draws = special::MIXTURES * SPECIAL.div_ceil(fewest) as u64;
            let offset = seen.len() as u64 * special::MIXTURES * SPECIAL as u64;
            counterexample = (0..draws).find_map(|seed| differ_in_bits(rule, &left, &right, offset + seed));
        }
        if let Some(counterexample) = counterexample {
            return Err(RuleError::Wrong { name: rule.name.clone(), line: rule.line, counterexample });
        }
        seen.insert(types);
        if seen.len() == ENOUGH {
            break;
        }
    }
    match (seen.is_empty(), problem) {
        (true, problem) => Err(never(problem.unwrap_or_else(|| "all tensors that it is about are too large to be tried".into()))),
        (false, _) => Ok(()),
    }
}

/// An operator of a left side that never occurs when rules are applied, and the reason.
fn unseen(pattern: &Pattern) -> Option<&'static str> {
    let Pattern::Apply(op, operands) = pattern else { return None };
    match op {
        Op::BatchNorm { .. } => Some("`batch_norm(x, …)` is always taken for `add(mul(x, scale), shift)`"),
        Op::FusedSum { .. } => Some("a `fused_sum` is always taken apart into what is summed"),
        _ => operands.iter().find_map(unseen),
    }
}

/// Random shapes for the values of a rule that satisfy its conditions. There are few different extents, so that they often fit.
fn random_types(rule: &RuleText, rng: &mut StdRng) -> Vec<TensorType> {
    let pool: Vec<usize> = (0..rng.random_range(1..4)).map(|_| EXTENTS[rng.random_range(0..EXTENTS.len())]).collect();
    let common: Option<usize> = rng.random_bool(0.6).then(|| rng.random_range(0..5));
    let mut shapes: Vec<Vec<usize>> = Vec::new();
    let alike = rng.random_bool(0.3);
    for i in 0..rule.values.len() {
        let mut rank = common.unwrap_or_else(|| rng.random_range(0..5));
        let mut same = (alike && i > 0).then_some(0);
        for condition in &rule.conditions {
            match *condition {
                Condition::Rank(j, fixed) if j == i => rank = fixed,
                Condition::SameRank(a, b) if a.max(b) == i => rank = shapes.get(a.min(b)).map_or(rank, Vec::len),
                Condition::SameShape(a, b) if a.max(b) == i => same = Some(a.min(b)),
                _ => {}
            }
        }
        let shape = same.and_then(|j| shapes.get(j).cloned());
        shapes.push(shape.unwrap_or_else(|| (0..rank).map(|_| pool[rng.random_range(0..pool.len())]).collect()));
    }
    shapes.iter().map(|shape| TensorType::fixed(shape)).collect()
}

/// The precision of the values of a rule.
#[derive(Clone, Copy, PartialEq)]
enum Precision {
    Single,
    /// Products and sums of numbers with few bits are exact in double precision in any order. So these values have many bits.
    Double,
}

/// One side of a rule as a graph, for values of these types.
fn graph(rule: &RuleText, side: &Pattern, types: &[TensorType], precision: Precision) -> Result<Graph, TypeError> {
    let mut graph = Graph::new("side");
    let mut values = Vec::new();
    for (name, ty) in rule.values.iter().zip(types) {
        let mut value = graph.input(name.clone(), ty.clone());
        if precision == Precision::Double {
            let low = graph.input(low_part(name), ty.clone());
            let step = graph.push(Op::Splat(LOW, vec![]), &[])?;
            let low = graph.push(Op::Binary(BinaryOp::Mul), &[low, step])?;
            value = graph.push(Op::Binary(BinaryOp::Add), &[value, low])?;
        }
        values.push(value);
    }
    let output = push(side, &values, &mut graph)?;
    graph.outputs = vec![output];
    Ok(graph)
}

/// The input with the low bits of a value, which single precision lacks.
fn low_part(name: &str) -> String {
    format!("{name} (low part)")
}

fn push(pattern: &Pattern, values: &[NodeId], graph: &mut Graph) -> Result<NodeId, TypeError> {
    let (op, operands) = match pattern {
        Pattern::Value(i) => return Ok(values[*i]),
        Pattern::Apply(op, operands) => (op, operands),
    };
    let operands: Vec<NodeId> = operands.iter().map(|operand| push(operand, values, graph)).collect::<Result<_, _>>()?;
    match operands[..] {
        [first, ref rest @ ..] if *op == Op::Binary(BinaryOp::Add) => {
            rest.iter().try_fold(first, |total, &term| graph.push(op.clone(), &[total, term]))
        }
        _ => graph.push(op.clone(), &operands),
    }
}

/// Values for which the two sides differ, as text.
fn differ(rule: &RuleText, left: &Graph, right: &Graph, seed: u64) -> Option<String> {
    let mut values = init::inputs(left, seed);
    if seed == 0 {
        // Zeros of both signs, ties and whole numbers: some operators differ only for them.
        let high = |name: &String| rule.values.contains(name);
        for (name, tensor) in &mut values {
            let scale = if high(name) { 1.5 } else { 0.0 };
            tensor.data.iter_mut().for_each(|v| *v = (*v * scale).round().clamp(-2.0, 2.0));
        }
    }
    let (one, other) = match (interp::run_unrounded(left, &values), interp::run_unrounded(right, &values)) {
        (Ok(one), Ok(other)) => (one.concat(), other.concat()),
        (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
    };
    let largest = |numbers: &[f64]| numbers.iter().filter(|v| v.is_finite()).fold(0.0f64, |most, v| most.max(v.abs()));
    let inputs = values.values().flat_map(|tensor| &tensor.data).fold(0.0f64, |most, v| most.max(f64::from(v.abs())));
    let allowed = ROUNDING * largest(&one).max(largest(&other)).max(inputs);
    let same = |(a, b): (&f64, &f64)| {
        let close = !rule.exact && ((a - b).abs() <= allowed || a == b);
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || close
    };
    let at = one.iter().zip(&other).position(|pair| !same(pair))?;
    Some(counterexample(rule, at, (&one[at], &other[at]), &values, seed))
}

/// Special values for which the two sides of an `exact` rule differ in a bit, in single precision, as text.
fn differ_in_bits(rule: &RuleText, left: &Graph, right: &Graph, seed: u64) -> Option<String> {
    let values = special::values(left, seed);
    let (one, other) = match (interp::run(left, &values), interp::run(right, &values)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
    };
    let data = |tensors: &[Tensor]| -> Vec<f32> { tensors.iter().flat_map(|tensor| tensor.data.iter().copied()).collect() };
    let (one, other) = (data(&one), data(&other));
    let at = one.iter().zip(&other).position(|(&a, &b)| !special::same(a, b))?;
    Some(counterexample(rule, at, (&one[at], &other[at]), &values, seed))
}

fn counterexample(rule: &RuleText, at: usize, (one, other): (&dyn Debug, &dyn Debug), values: &Values, seed: u64) -> String {
    let shown = rule.values.iter().filter_map(|name| Some(format!("%{name} = {}", show(values.get(name)?))));
    let claim = if rule.exact { "which must be equal bit by bit" } else { "which must be equal but for rounding" };
    let shown = shown.collect::<Vec<String>>().join(", ");
    format!("element {at} is {one:?} on the left side and {other:?} on the right, {claim}, where {shown} (seed {seed})")
}

fn show(tensor: &Tensor) -> String {
    let numbers: Vec<String> = tensor.data.iter().take(SHOWN).map(|v| format!("{v:?}")).collect();
    let more = if tensor.data.len() > SHOWN { ", …" } else { "" };
    format!("{} [{}{more}]", TensorType::fixed(&tensor.shape), numbers.join(", "))
}

fn elements(ty: &TensorType) -> usize {
    ty.shape.iter().filter_map(|dim| dim.fixed()).product()
}
