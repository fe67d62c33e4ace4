//! Rewrite rules as text, in the words of graphs.
//! Rewrite rules as text, in the syntax of graphs.
//! ```text
//! rules     = { "rule" @name ( "exact" | "real" ) ":" expr "=>" expr [ "where" condition { "," condition } ] }
//! condition = "const" "(" %name ")"
//!           | "rank" "(" %name ")" "==" ( value | "rank" "(" %name ")" )
//!           | "shape" "(" %name ")" "==" "shape" "(" %name ")"
//! ```
//!
//! Expressions are those of graphs, without calls and choices. A name matches any value; attributes match exactly.
//! `exact` rules keep every bit; `real` rules hold in real arithmetic, so results may differ by rounding. Sums have no order:
//! `add(%x, %y)` matches any two terms of a sum. Within another operator, its last name matches all the remaining terms.
//!
//! ```
//! let text = "rule @twice exact: transpose(transpose(%x) {perm=[1,0]}) {perm=[1,0]} => %x where rank(%x) == 2";
//! let rules = sonar_ir::text::parse_rules(text)?;
//! assert_eq!((rules[0].name.as_str(), rules[0].exact), ("twice", true));
//! # Ok::<(), sonar_ir::text::Error>(())
//! ```

use super::error::{Error, Fault, Span, nearest};
use super::ops::{Constant, read};
use super::parser;
use super::syntax::{Comparand, ConditionDef, Expr, ExprKind, Name, RuleDef, TensorDef};
use crate::graph::Op;
use crate::scalar::BinaryOp;
use crate::space::Scope;

/// A rewrite rule as it is written. It is not known to be true.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleText {
    /// After `@`.
    pub name: String,
    /// Whether both sides are claimed to be equal bit by bit, and not only in real arithmetic.
    pub exact: bool,
    /// Both sides and the conditions, on one line.
    pub text: String,
    /// Where the rule begins, from 1.
    pub line: usize,
    /// The names that stand for values, in the order of their first use.
    pub values: Vec<String>,
    /// What is replaced: always an operator.
    pub left: Pattern,
    /// What replaces it; it has no names that the left side lacks.
    pub right: Pattern,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// One side of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Any value: an index of [`RuleText::values`]. Equal indices are equal values.
    Value(usize),
    /// An operator applied. Sums are flat: a [`BinaryOp::Add`] has two or more operands, and none of them is a sum.
    Apply(Op, Vec<Pattern>),
}

/// A further condition; numbers are indices of [`RuleText::values`].
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The value depends on parameters only.
    Const(usize),
    /// The value has this number of axes.
    Rank(usize, usize),
    /// Two values have the same number of axes.
    SameRank(usize, usize),
    /// Two values have the same shape.
    SameShape(usize, usize),
}

/// The rules that a text consists of, in order.
pub fn parse_rules(text: &str) -> Result<Vec<RuleText>, Error> {
    let rules = parser::parse_rules(text).map_err(|fault| fault.in_text(text))?;
    rules.iter().map(|def| rule(def, text).map_err(|fault| fault.in_text(text))).collect()
}

fn rule(def: &RuleDef, source: &str) -> Result<RuleText, Fault> {
    let exact = match def.class.text.as_str() {
        "exact" => true,
        "real" => false,
        other => return Err(Fault::expected(def.class.span.clone(), "`exact` or `real`", format_args!("`{other}`"))),
    };
    if let ExprKind::Tensor(name) = &def.left.kind {
        return Err(Fault::expected(def.left.span.clone(), "an operator", format_args!("`{name}`"))
            .help("the left side is what the rule looks for: a lone value would be everything"));
    }
    let mut values = Vec::new();
    let left = pattern(&def.left, &mut values, true)?;
    let right = pattern(&def.right, &mut values, false)?;
    let conditions = def.conditions.iter().map(|c| condition(c, &values)).collect::<Result<_, _>>()?;
    let text = source[def.span.clone()].split_whitespace().collect::<Vec<&str>>().join(" ");
    let line = source[..def.name.span.start].matches('\n').count() + 1;
    Ok(RuleText { name: def.name.text.clone(), exact, text, line, values, left, right, conditions })
}

/// One side of a rule; only the left side may introduce new values.
fn pattern(expr: &Expr, values: &mut Vec<String>, new: bool) -> Result<Pattern, Fault> {
    let (name, operands, attributes) = match &expr.kind {
        ExprKind::Tensor(name) => {
            if new && !values.contains(&name.text) {
                values.push(name.text.clone());
            }
            let known = index(&name.text, values);
            return known.map(Pattern::Value).ok_or_else(|| unknown(&name.text, expr.span.clone(), values));
        }
        ExprKind::Op { name, operands, attributes } => (name, operands, attributes),
        ExprKind::Call { .. } | ExprKind::Choose { .. } => {
            return Err(Fault::expected(expr.span.clone(), "a value or an operator", "a call or a choice")
                .help("the two sides of a rule are made of operators alone"));
        }
    };
    let operands: Vec<Pattern> = operands.iter().map(|operand| pattern(operand, values, new)).collect::<Result<_, _>>()?;
    let op = read(&name.text, &name.span, Scope::default().attributes(attributes)?, &[])?;
    match op {
        Op::Binary(BinaryOp::Add) if operands.len() >= 2 => {
            let flat = |operand: Pattern| match operand {
                Pattern::Apply(Op::Binary(BinaryOp::Add), inner) => inner,
                other => vec![other],
            };
            Ok(Pattern::Apply(op, operands.into_iter().flat_map(flat).collect()))
        }
        Op::Binary(BinaryOp::Mul | BinaryOp::Max | BinaryOp::Min) if operands.len() > 2 => {
            let pairs = operands.into_iter().reduce(|a, b| Pattern::Apply(op.clone(), vec![a, b]));
            pairs.ok_or_else(|| Fault::new(name.span.clone(), "expected operands"))
        }
        Op::Binary(_) if operands.len() != 2 => Err(Fault::expected(expr.span.clone(), "two operands", operands.len())),
        _ => Ok(Pattern::Apply(op, operands)),
    }
}

fn condition(def: &ConditionDef, values: &[String]) -> Result<Condition, Fault> {
    let find = |def: &TensorDef| index(&def.name.text, values).ok_or_else(|| unknown(&def.name.text, def.span.clone(), values));
    let x = find(&def.value)?;
    match (def.what.text.as_str(), &def.equals) {
        ("const", None) => Ok(Condition::Const(x)),
        ("rank", Some(Comparand::Value(value))) => match Scope::default().evaluate(value)? {
            Constant::Int(rank) if (0..=8).contains(&rank) => Ok(Condition::Rank(x, rank as usize)),
            other => Err(Fault::expected(value.span.clone(), "a number from 0 to 8", format_args!("`{other}`"))),
        },
        ("rank", Some(Comparand::Property(Name { text, .. }, y))) if text == "rank" => Ok(Condition::SameRank(x, find(y)?)),
        ("shape", Some(Comparand::Property(Name { text, .. }, y))) if text == "shape" => Ok(Condition::SameShape(x, find(y)?)),
        (what, _) => Err(Fault::expected(def.what.span.clone(), "a condition", format_args!("`{what}`"))
            .help("conditions are `const(%x)`, `rank(%x) == 2`, `rank(%x) == rank(%y)` and `shape(%x) == shape(%y)`")),
    }
}

fn index(name: &str, values: &[String]) -> Option<usize> {
    values.iter().position(|value| value == name)
}

fn unknown(name: &str, span: Span, values: &[String]) -> Fault {
    let fault = Fault::new(span, format!("`%{name}` is not on the left side"));
    match nearest(name, values.iter().map(String::as_str)) {
        Some(near) => fault.help(format!("did you mean `%{near}`?")),
        None => fault.help("all values of a rule come from its left side"),
    }
}
