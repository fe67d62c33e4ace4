//! The syntax tree of a file, before decisions are made and calls are expanded.

use super::error::Span;
use super::lexer::TensorName;
use crate::graph::Init;

/// A file: numbers, decisions, graphs.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// `let` items in order.
    pub lets: Vec<Let>,
    /// Graphs in order. Each may call those before it; the file describes the last one.
    pub graphs: Vec<GraphDef>,
    /// `baseline $e01 = skip, …`
    pub baseline: Option<Baseline>,
    /// `topology @cell`: index of that graph.
    pub topology: Option<usize>,
}

/// The hand-made candidate of a space.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    /// The whole item.
    pub span: Span,
    /// A value for each decision.
    pub values: Vec<(Name, Value)>,
}

/// `rule @name exact: left => right where conditions`
#[derive(Clone, Debug)]
pub(crate) struct RuleDef {
    /// After `@`.
    pub name: Name,
    /// `exact` or `real`.
    pub class: Name,
    /// What is replaced.
    pub left: Expr,
    /// Its replacement.
    pub right: Expr,
    /// The conditions.
    pub conditions: Vec<ConditionDef>,
    /// From the left side to the last condition.
    pub span: Span,
}

/// `const(%x)`, `rank(%x) == 2`, `shape(%x) == shape(%y)`
#[derive(Clone, Debug)]
pub(crate) struct ConditionDef {
    /// The word before the parenthesis.
    pub what: Name,
    /// The value that it is about.
    pub value: TensorDef,
    /// The right side, if there is one.
    pub equals: Option<Comparand>,
}

/// The right side of a condition.
#[derive(Clone, Debug)]
pub(crate) enum Comparand {
    /// `2`
    Value(Value),
    /// `rank(%y)`
    Property(Name, TensorDef),
}

/// A name and its place.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// Without sigil.
    pub text: String,
    /// With sigil.
    pub span: Span,
}

/// `let $c = 16` or `let $c in {8, 16}`.
#[derive(Clone, Debug)]
pub(crate) struct Let {
    /// The name.
    pub name: Name,
    /// Its value.
    pub value: LetValue,
}

/// Right side of a `let` of a file.
#[derive(Clone, Debug)]
pub(crate) enum LetValue {
    /// A parameter of the file, with its default.
    Is(Value),
    /// A decision, with its choices.
    In(Vec<Value>),
}

/// `graph @name(…) { … }`
#[derive(Clone, Debug)]
pub(crate) struct GraphDef {
    /// After `@`.
    pub name: Name,
    /// What stands between the parentheses.
    pub ports: Vec<Port>,
    /// What stands between the braces.
    pub body: Vec<Statement>,
}

/// One item of a graph's signature.
#[derive(Clone, Debug)]
pub(crate) enum Port {
    /// `%x: f32[N,$c]`; the type may be missing unless the graph is the file's last.
    Input(TensorDef, Option<Type>),
    /// `param %w: f32[3,3] = he`: each call makes a new one.
    Param(TensorDef, Type, Init),
    /// `$k` or `$k = 3`: a number or word given by the caller.
    Scalar(Name, Option<Value>),
}

/// A tensor's name where it is defined.
#[derive(Clone, Debug)]
pub(crate) struct TensorDef {
    /// Without sigil.
    pub name: TensorName,
    /// With sigil.
    pub span: Span,
}

/// `f32[N,$h,2*$c]`
#[derive(Clone, Debug)]
pub(crate) struct Type {
    /// Extents; the word `N` is the batch.
    pub dims: Vec<Value>,
    /// All of it.
    pub span: Span,
}

/// One line of a body.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    /// `%y = relu %x : f32[N,8]`
    Define(TensorDef, Expr, Option<Type>),
    /// `param %w: f32[3,3] = he`
    Param(TensorDef, Type, Init),
    /// `input %x: f32[N,8]`
    Input(TensorDef, Type),
    /// `let $c2 = 2*$c`
    Let(Name, Value),
    /// `repeat $n as $i { … }`
    Repeat {
        /// Number of repetitions.
        times: Value,
        /// Name of the counter, which runs from 0.
        counter: Option<Name>,
        /// What is repeated.
        body: Vec<Statement>,
    },
    /// `return %a, %b`, always the last statement of a graph.
    Return(Vec<Expr>),
}

/// An expression whose value is a tensor.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// The expression.
    pub kind: ExprKind,
    /// All of it.
    pub span: Span,
}

/// The kinds of [`Expr`].
#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    /// `%x`
    Tensor(TensorName),
    /// `conv2d(%x, %w) {stride=2}`
    Op {
        /// Name of the operator.
        name: Name,
        /// What it is applied to.
        operands: Vec<Expr>,
        /// What stands between the braces.
        attributes: Vec<Attribute>,
    },
    /// `@cell(%x, $c=16)`
    Call {
        /// Index of the callee among the file's graphs.
        callee: usize,
        /// In order, as written.
        arguments: Vec<Argument>,
    },
    /// `choose $op { none => zeros_like(%x), skip => %x }`
    Choose {
        /// The name whose value decides.
        subject: Name,
        /// The value to compare with, and the expression to take if it is equal.
        arms: Vec<(Value, Expr)>,
    },
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    /// For the next tensor of the signature.
    Tensor(Expr),
    /// For the next number of the signature, or for the named one.
    Scalar(Option<Name>, Value),
}

/// `stride=[1,1]`, or the bare `keep`, which is `keep=true`.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    /// Left of the `=`.
    pub name: Name,
    /// Right of the `=`.
    pub value: Value,
}

/// An operator on two whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`, whose result is rounded down
    Divide,
}

/// A number, a word, or a list or term of them.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// The value.
    pub kind: ValueKind,
    /// All of it.
    pub span: Span,
}

/// The kinds of [`Value`].
#[derive(Clone, Debug)]
pub(crate) enum ValueKind {
    /// `16`
    Int(i64),
    /// `1e-5`
    Float(f32),
    /// `same`
    Word(String),
    /// `$c`
    Scalar(String),
    /// `-a`
    Negate(Box<Value>),
    /// `a + b - c` or `a * b / c`, from the left, on whole numbers
    Arithmetic(Box<Value>, Vec<(Operator, Value)>),
    /// `[1, 2]`
    List(Vec<Value>),
    /// `conv2d(relu, pad=1)`: a term of a fused sum
    Term(String, Vec<Attribute>),
}
