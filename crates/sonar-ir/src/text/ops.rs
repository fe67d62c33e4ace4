//! The spelling of operators: [`spell`] gives the name and attributes of an operator, and [`read`] is its inverse. [`super`] lists
//! the attributes.

use super::error::{Fault, Span, nearest};
use crate::graph::{Conv2dAttrs, Dim, Init, Op, PoolAttrs, TensorType, Term};
use crate::scalar::{BinaryOp, ReduceOp, UnaryOp};
use std::fmt;

/// The value of an attribute, of a parameter or of a decision: a number, a word, or a list or term of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f32),
    /// A word.
    Word(String),
    /// Constants in brackets.
    List(Vec<Constant>),
    /// A term of a fused sum: an operator with attributes.
    Term(String, Vec<(String, Constant)>),
}

/// An attribute with its place in the text.
pub(crate) struct Given {
    /// Left of the `=`.
    pub name: String,
    /// Right of the `=`.
    pub value: Constant,
    /// Both.
    pub span: Span,
}

/// Upper bound of extents and numbers of elements.
pub(crate) const MAX_ELEMENTS: usize = 1 << 31;

const DEFAULT_EPS: f32 = 1e-5;

/// Operators with one spelling each, except the scalar functions and the reductions.
const NAMES: [&str; 25] = [
    "splat",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "matmul",
    "batch_norm",
    "batch_norm_train",
    "layer_norm",
    "max_pool",
    "max_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "global_avg_pool",
    "reshape",
    "transpose",
    "concat",
    "slice",
    "pad",
    "attention",
    "softmax",
    "log_softmax",
    "broadcast",
    "fused_sum",
    "flatten",
    "zeros_like",
];

const INITS: [(&str, Init); 4] = [("zeros", Init::Zeros), ("ones", Init::Ones), ("he", Init::He), ("uniform", Init::Uniform)];

/// The word for an initialiser.
pub(crate) fn init_name(init: Init) -> &'static str {
    INITS.iter().find(|(_, i)| *i == init).map_or("he", |(name, _)| name)
}

/// The initialiser that a word stands for.
pub(crate) fn init_from_name(name: &str) -> Option<Init> {
    INITS.iter().find(|(n, _)| *n == name).map(|(_, init)| *init)
}

/// The words for initialisers, for an error message.
pub(crate) fn init_names() -> String {
    let names: Vec<String> = INITS.iter().map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}

/// Name and attributes of an operator; attributes that have their default are left out.
/// Inputs and parameters have no spelling here: they are declared, not applied.
pub(crate) fn spell(op: &Op) -> (String, Vec<(String, Constant)>) {
    let mut attributes = Vec::new();
    let mut attribute = |name: &str, value: Constant| attributes.push((name.to_string(), value));
    let name = match op {
        Op::Input => "input",
        Op::Param(_) => "param",
        Op::Splat(value, shape) => {
            attribute("value", Constant::Float(*value));
            attribute("shape", dims(shape));
            "splat"
        }
        Op::Conv2d(attrs) => {
            attributes = conv2d_attributes(attrs);
            "conv2d"
        }
        Op::Conv2dGradInput(attrs, size) => {
            attributes = conv2d_attributes(attrs);
            attributes.push(("size".into(), numbers(size)));
            "conv2d_grad_input"
        }
        Op::Conv2dGradWeight(attrs, kernel) => {
            attributes = conv2d_attributes(attrs);
            attributes.push(("kernel".into(), numbers(kernel)));
            "conv2d_grad_weight"
        }
        Op::MatMul => "matmul",
        Op::BatchNorm { eps } | Op::BatchNormTrain { eps } | Op::LayerNorm { eps } => {
            if *eps != DEFAULT_EPS {
                attribute("eps", Constant::Float(*eps));
            }
            match op {
                Op::BatchNorm { .. } => "batch_norm",
                Op::LayerNorm { .. } => "layer_norm",
                _ => "batch_norm_train",
            }
        }
        Op::Unary(op) => op.name(),
        Op::Binary(op) => op.name(),
        Op::MaxPool(attrs) => {
            attributes = pool_attributes(attrs);
            "max_pool"
        }
        Op::MaxPoolGrad(attrs) => {
            attributes = pool_attributes(attrs);
            "max_pool_grad"
        }
        Op::AvgPool(attrs) => {
            attributes = pool_attributes(attrs);
            "avg_pool"
        }
        Op::AvgPoolGrad(attrs, size) => {
            attributes = pool_attributes(attrs);
            attributes.push(("size".into(), numbers(size)));
            "avg_pool_grad"
        }
        Op::GlobalAvgPool => "global_avg_pool",
        Op::Reshape(shape) => {
            attribute("shape", dims(shape));
            "reshape"
        }
        Op::Transpose(perm) => {
            attribute("perm", numbers(perm));
            "transpose"
        }
        Op::Concat { axis } => {
            attribute("axis", number(*axis));
            "concat"
        }
        Op::Slice { axis, start, end } => {
            attribute("axis", number(*axis));
            attribute("start", number(*start));
            attribute("end", number(*end));
            "slice"
        }
        Op::Pad(pads) => {
            attribute("pads", Constant::List(pads.iter().map(|&(before, after)| numbers(&[before, after])).collect()));
            "pad"
        }
        Op::Attention { heads, scale } => {
            attribute("heads", number(*heads));
            attribute("scale", Constant::Float(*scale));
            "attention"
        }
        Op::Softmax => "softmax",
        Op::LogSoftmax => "log_softmax",
        Op::Reduce { op, axes, keep } => {
            attribute("axes", numbers(axes));
            if *keep {
                attribute("keep", flag());
            }
            match op {
                ReduceOp::Sum => "reduce_sum",
                ReduceOp::Mean => "reduce_mean",
                ReduceOp::Max => "reduce_max",
                ReduceOp::Min => "reduce_min",
            }
        }
        Op::Broadcast(shape) => {
            attribute("shape", dims(shape));
            "broadcast"
        }
        Op::FusedSum { terms, relu } => {
            attribute("terms", Constant::List(terms.iter().map(term).collect()));
            if *relu {
                attribute("relu", flag());
            }
            "fused_sum"
        }
    };
    (name.to_string(), attributes)
}

/// The operator of this name and these attributes, applied to operands of these types (which `pad=same` looks at).
/// `at` is the place of the name.
pub(crate) fn read(name: &str, at: &Span, attributes: Vec<Given>, operands: &[&TensorType]) -> Result<Op, Fault> {
    let mut given = Attributes { op: name, at, given: attributes, expected: Vec::new() };
    let kernel_of_weight = || operands.get(1).and_then(|w| Some([w.shape.first()?.fixed()?, w.shape.get(1)?.fixed()?]));
    let op = match name {
        "splat" => Op::Splat(given.float("value", None)?, given.shape("shape")?),
        "conv2d" => Op::Conv2d(given.conv2d(kernel_of_weight())?),
        "conv2d_grad_input" => Op::Conv2dGradInput(given.conv2d(kernel_of_weight())?, given.pair("size", None)?),
        "conv2d_grad_weight" => {
            let kernel = given.pair("kernel", None)?;
            Op::Conv2dGradWeight(given.conv2d(Some(kernel))?, kernel)
        }
        "matmul" => Op::MatMul,
        "batch_norm" => Op::BatchNorm { eps: given.float("eps", Some(DEFAULT_EPS))? },
        "batch_norm_train" => Op::BatchNormTrain { eps: given.float("eps", Some(DEFAULT_EPS))? },
        "layer_norm" => Op::LayerNorm { eps: given.float("eps", Some(DEFAULT_EPS))? },
        "max_pool" => Op::MaxPool(given.pool()?),
        "max_pool_grad" => Op::MaxPoolGrad(given.pool()?),
        "avg_pool" => Op::AvgPool(given.pool()?),
        "avg_pool_grad" => Op::AvgPoolGrad(given.pool()?, given.pair("size", None)?),
        "global_avg_pool" => Op::GlobalAvgPool,
        "reshape" => Op::Reshape(given.shape("shape")?),
        "flatten" => Op::Reshape(flattened(operands, at)?),
        "broadcast" => Op::Broadcast(given.shape("shape")?),
        "transpose" => Op::Transpose(given.integers("perm")?),
        "concat" => Op::Concat { axis: given.integer("axis", None)? },
        "slice" => Op::Slice {
            axis: given.integer("axis", None)?,
            start: given.integer("start", None)?,
            end: given.integer("end", None)?,
        },
        "pad" => Op::Pad(given.pads()?),
        "attention" => Op::Attention { heads: given.integer("heads", None)?, scale: given.float("scale", None)? },
        "softmax" => Op::Softmax,
        "log_softmax" => Op::LogSoftmax,
        "fused_sum" => Op::FusedSum { terms: given.terms(operands)?, relu: given.flag("relu")? },
        _ => match (UnaryOp::from_name(name), BinaryOp::from_name(name), reduction(name)) {
            (Some(op), _, _) => Op::Unary(op),
            (_, Some(op), _) => Op::Binary(op),
            (_, _, Some(op)) => Op::Reduce { op, axes: given.integers("axes")?, keep: given.flag("keep")? },
            _ => return Err(unknown(name, at)),
        },
    };
    given.finish()?;
    Ok(op)
}

/// The fault of an operator that does not exist.
fn unknown(name: &str, at: &Span) -> Fault {
    let scalar = UnaryOp::ALL.iter().map(|o| o.name()).chain(BinaryOp::ALL.iter().map(|o| o.name()));
    let reductions = ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min"];
    let fault = Fault::new(at.clone(), format!("unknown operator `{name}`"));
    let names: Vec<&str> = NAMES.into_iter().chain(scalar).chain(reductions).collect();
    fault.help(match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of {}", names.join(", ")),
    })
}

/// The shape of `flatten`, which is short for a reshape: all axes but the first as one.
fn flattened(operands: &[&TensorType], at: &Span) -> Result<Vec<Dim>, Fault> {
    let rest = |shape: &[Dim]| shape.iter().map(|d| d.fixed()).product::<Option<usize>>();
    match operands {
        [x] if x.rank() > 0 => rest(&x.shape[1..]).map(|rest| vec![x.shape[0], Dim::Fixed(rest)]),
        _ => None,
    }
    .ok_or_else(|| Fault::new(at.clone(), "`flatten` takes one value whose axes but the first are fixed".to_string()))
}

fn reduction(name: &str) -> Option<ReduceOp> {
    ReduceOp::from_name(name.strip_prefix("reduce_")?)
}

fn number(value: usize) -> Constant {
    Constant::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn numbers(values: &[usize]) -> Constant {
    Constant::List(values.iter().map(|&v| number(v)).collect())
}

fn flag() -> Constant {
    Constant::Word("true".into())
}

fn dims(shape: &[Dim]) -> Constant {
    let dim = |d: &Dim| d.fixed().map_or(Constant::Word("N".into()), number);
    Constant::List(shape.iter().map(dim).collect())
}

fn conv2d_attributes(attrs: &Conv2dAttrs) -> Vec<(String, Constant)> {
    let default = Conv2dAttrs::default();
    let mut attributes = Vec::new();
    if attrs.stride != default.stride {
        attributes.push(("stride".into(), numbers(&attrs.stride)));
    }
    if attrs.pad != default.pad {
        attributes.push(("pad".into(), numbers(&attrs.pad)));
    }
    if attrs.dilation != default.dilation {
        attributes.push(("dilation".into(), numbers(&attrs.dilation)));
    }
    if attrs.groups != default.groups {
        attributes.push(("groups".into(), number(attrs.groups)));
    }
    attributes
}

fn pool_attributes(attrs: &PoolAttrs) -> Vec<(String, Constant)> {
    let mut attributes = vec![("kernel".into(), numbers(&attrs.kernel))];
    if attrs.stride != [1, 1] {
        attributes.push(("stride".into(), numbers(&attrs.stride)));
    }
    if attrs.pad != [0; 4] {
        attributes.push(("pad".into(), numbers(&attrs.pad)));
    }
    if attrs.count_include_pad {
        attributes.push(("count_include_pad".into(), flag()));
    }
    attributes
}

fn term(term: &Term) -> Constant {
    let with_relu = |relu: bool| if relu { vec![("relu".to_string(), flag())] } else { Vec::new() };
    let (name, attributes) = match term {
        Term::Conv2d { attrs, relu } => ("conv2d", [with_relu(*relu), conv2d_attributes(attrs)].concat()),
        Term::MatMul { relu } => ("matmul", with_relu(*relu)),
        Term::Add => ("add", Vec::new()),
    };
    if attributes.is_empty() { Constant::Word(name.into()) } else { Constant::Term(name.into(), attributes) }
}

/// The attributes given to one operator. Each is taken out once; those left at the end are unknown.
struct Attributes<'a> {
    op: &'a str,
    at: &'a Span,
    given: Vec<Given>,
    /// The names that were asked for so far.
    expected: Vec<&'static str>,
}

impl Attributes<'_> {
    fn take(&mut self, name: &'static str) -> Option<Given> {
        self.expected.push(name);
        let index = self.given.iter().position(|a| a.name == name)?;
        Some(self.given.remove(index))
    }

    fn required(&mut self, name: &'static str) -> Result<Given, Fault> {
        self.take(name).ok_or_else(|| {
            Fault::new(self.at.clone(), format!("`{}` needs the attribute `{name}`", self.op))
                .help(format!("write `{} … {{{name}=…}}`", self.op))
        })
    }

    fn finish(self) -> Result<(), Fault> {
        let Some(unknown) = self.given.first() else { return Ok(()) };
        let (name, op) = (&unknown.name, self.op);
        if self.expected.contains(&name.as_str()) {
            return Err(Fault::new(unknown.span.clone(), format!("`{name}` is given twice")));
        }
        let fault = Fault::new(unknown.span.clone(), format!("`{op}` has no attribute `{name}`"));
        Err(if self.expected.is_empty() {
            fault.help(format!("`{op}` has no attributes; braces belong to the operator right before them"))
        } else {
            fault.help(format!(
                "expected one of `{}`; braces belong to the operator right before them",
                self.expected.join("`, `")
            ))
        })
    }

    fn integer(&mut self, name: &'static str, default: Option<usize>) -> Result<usize, Fault> {
        match (self.take_or(name, default.is_some())?, default) {
            (Some(given), _) => given.integer(&given.value),
            (None, default) => Ok(default.unwrap_or_default()),
        }
    }

    fn float(&mut self, name: &'static str, default: Option<f32>) -> Result<f32, Fault> {
        match (self.take_or(name, default.is_some())?, default) {
            (Some(given), _) => given.float(),
            (None, default) => Ok(default.unwrap_or_default()),
        }
    }

    /// `[height, width]`, or one number for both.
    fn pair(&mut self, name: &'static str, default: Option<[usize; 2]>) -> Result<[usize; 2], Fault> {
        match (self.take_or(name, default.is_some())?, default) {
            (Some(given), _) => match given.integers()?[..] {
                [both] => Ok([both, both]),
                [height, width] => Ok([height, width]),
                _ => Err(given.expected("one number or two")),
            },
            (None, default) => Ok(default.unwrap_or_default()),
        }
    }

    /// An attribute that may be missing if `optional`.
    fn take_or(&mut self, name: &'static str, optional: bool) -> Result<Option<Given>, Fault> {
        if optional { Ok(self.take(name)) } else { self.required(name).map(Some) }
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, Fault> {
        match self.take(name) {
            None => Ok(false),
            Some(given) => match &given.value {
                Constant::Word(word) if word == "true" => Ok(true),
                Constant::Word(word) if word == "false" => Ok(false),
                _ => Err(given.expected("`true` or `false`")),
            },
        }
    }

    fn integers(&mut self, name: &'static str) -> Result<Vec<usize>, Fault> {
        self.required(name)?.integers()
    }

    fn shape(&mut self, name: &'static str) -> Result<Vec<Dim>, Fault> {
        let given = self.required(name)?;
        let Constant::List(items) = &given.value else { return Err(given.expected("a list of extents")) };
        read_shape(items, &given.span)
    }

    /// Padding of a window of this extent and dilation: one number, `[height, width]`, `[top, left, bottom, right]`, or `same`.
    fn padding(&mut self, kernel: Option<[usize; 2]>, dilation: [usize; 2]) -> Result<[usize; 4], Fault> {
        let Some(given) = self.take("pad") else { return Ok([0; 4]) };
        if given.value == Constant::Word("same".into()) {
            let Some(kernel) = kernel else { return Err(given.expected("numbers, as the kernel is not known")) };
            if kernel.iter().any(|k| k % 2 == 0) {
                let message = format!("`pad=same` needs an odd kernel, found {} by {}", kernel[0], kernel[1]);
                return Err(Fault::new(given.span, message));
            }
            let [height, width] = [0, 1].map(|i| dilation[i].saturating_mul(kernel[i] / 2));
            return Ok([height, width, height, width]);
        }
        match given.integers()?[..] {
            [all] => Ok([all; 4]),
            [height, width] => Ok([height, width, height, width]),
            [top, left, bottom, right] => Ok([top, left, bottom, right]),
            _ => Err(given.expected("`same`, or one, two or four numbers")),
        }
    }

    fn conv2d(&mut self, kernel: Option<[usize; 2]>) -> Result<Conv2dAttrs, Fault> {
        let stride = self.pair("stride", Some([1, 1]))?;
        let dilation = self.pair("dilation", Some([1, 1]))?;
        let pad = self.padding(kernel, dilation)?;
        Ok(Conv2dAttrs { stride, pad, dilation, groups: self.integer("groups", Some(1))? })
    }

    fn pool(&mut self) -> Result<PoolAttrs, Fault> {
        let kernel = self.pair("kernel", None)?;
        let stride = self.pair("stride", Some([1, 1]))?;
        let pad = self.padding(Some(kernel), [1, 1])?;
        Ok(PoolAttrs { kernel, stride, pad, count_include_pad: self.flag("count_include_pad")? })
    }

    fn pads(&mut self) -> Result<Vec<(usize, usize)>, Fault> {
        let given = self.required("pads")?;
        let wrong = || given.expected("a pair of numbers for each axis, as in `[[0,0],[1,1]]`");
        let Constant::List(items) = &given.value else { return Err(wrong()) };
        let pair = |item: &Constant| match item {
            Constant::List(pair) if pair.len() == 2 => Ok((given.integer(&pair[0])?, given.integer(&pair[1])?)),
            _ => Err(wrong()),
        };
        items.iter().map(pair).collect()
    }

    fn terms(&mut self, operands: &[&TensorType]) -> Result<Vec<Term>, Fault> {
        let given = self.required("terms")?;
        let wrong = || given.expected("a list of `conv2d(…)`, `matmul` and `add`");
        let Constant::List(items) = &given.value else { return Err(wrong()) };
        let mut terms = Vec::new();
        let mut rest = operands;
        for item in items {
            let (name, attributes) = match item {
                Constant::Word(name) => (name.as_str(), &[][..]),
                Constant::Term(name, attributes) => (name.as_str(), &attributes[..]),
                _ => return Err(wrong()),
            };
            let attribute =
                |(name, value): &(String, Constant)| Given { name: name.clone(), value: value.clone(), span: given.span.clone() };
            let mut own =
                Attributes { op: name, at: &given.span, given: attributes.iter().map(attribute).collect(), expected: Vec::new() };
            let term = match name {
                "conv2d" => {
                    let kernel = rest.get(1).and_then(|w| Some([w.shape.first()?.fixed()?, w.shape.get(1)?.fixed()?]));
                    Term::Conv2d { attrs: own.conv2d(kernel)?, relu: own.flag("relu")? }
                }
                "matmul" => Term::MatMul { relu: own.flag("relu")? },
                "add" => Term::Add,
                _ => return Err(wrong()),
            };
            own.finish()?;
            rest = rest.get(term.arity()..).unwrap_or_default();
            terms.push(term);
        }
        Ok(terms)
    }
}

impl Given {
    fn expected(&self, expected: &str) -> Fault {
        Fault::expected(self.span.clone(), format_args!("{expected} for `{}`", self.name), format_args!("`{}`", self.value))
    }

    fn integer(&self, value: &Constant) -> Result<usize, Fault> {
        match value {
            Constant::Int(value) => {
                usize::try_from(*value).ok().filter(|v| *v < MAX_ELEMENTS).ok_or_else(|| self.expected("a number from 0 to 2^31"))
            }
            _ => Err(self.expected("a whole number")),
        }
    }

    fn integers(&self) -> Result<Vec<usize>, Fault> {
        match &self.value {
            Constant::List(items) => items.iter().map(|item| self.integer(item)).collect(),
            single => Ok(vec![self.integer(single)?]),
        }
    }

    fn float(&self) -> Result<f32, Fault> {
        match &self.value {
            Constant::Int(value) => Ok(*value as f32),
            Constant::Float(value) => Ok(*value),
            Constant::Word(word) if word == "inf" => Ok(f32::INFINITY),
            Constant::Word(word) if word == "nan" => Ok(f32::NAN),
            _ => Err(self.expected("a number")),
        }
    }
}

/// A shape from its extents, whose product must be below [`MAX_ELEMENTS`].
pub(crate) fn read_shape(items: &[Constant], span: &Span) -> Result<Vec<Dim>, Fault> {
    let dim = |item: &Constant| match item {
        Constant::Word(word) if word == "N" => Ok(Dim::Batch),
        Constant::Int(extent @ 1..) => Ok(Dim::Fixed(usize::try_from(*extent).unwrap_or(usize::MAX))),
        other => Err(Fault::expected(span.clone(), "an extent of at least 1, or `N`", format_args!("`{other}`"))),
    };
    let shape = items.iter().map(dim).collect::<Result<Vec<_>, _>>()?;
    check_elements(&shape, span)?;
    Ok(shape)
}

/// Refuses a tensor of [`MAX_ELEMENTS`] or more (for each image of the batch).
pub(crate) fn check_elements(shape: &[Dim], span: &Span) -> Result<(), Fault> {
    let elements = shape.iter().try_fold(1usize, |product, dim| product.checked_mul(dim.fixed().unwrap_or(1)));
    match elements {
        Some(elements) if elements < MAX_ELEMENTS => Ok(()),
        _ => {
            let ty = TensorType { shape: shape.to_vec() };
            Err(Fault::new(span.clone(), format!("{ty} is too large")).help("a tensor has less than 2^31 elements"))
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Int(value) => write!(f, "{value}"),
            Constant::Float(value) if value.is_nan() => f.write_str("nan"),
            Constant::Float(value) => write!(f, "{value:?}"),
            Constant::Word(word) => f.write_str(word),
            Constant::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Constant::Term(name, attributes) => write!(f, "{name}({})", show_attributes(attributes)),
        }
    }
}

/// `stride=[2,2], keep`
pub(crate) fn show_attributes(attributes: &[(String, Constant)]) -> String {
    let show = |(name, value): &(String, Constant)| if *value == flag() { name.clone() } else { format!("{name}={value}") };
    attributes.iter().map(show).collect::<Vec<_>>().join(", ")
}
