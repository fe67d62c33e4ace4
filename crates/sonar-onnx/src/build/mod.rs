//! The graph under construction, and the primitives that ONNX's operators are made of.
//!
//! A primitive uses the file's conventions: shapes and axes are the file's, in whatever layout the IR holds the values. For
//! known tensors it computes the result; for others it makes operators of the IR. So an ONNX operator is
//! written once for weights, for the arithmetic of shapes, and for values that are computed at every run.

pub mod known;
pub mod layout;
mod moves;

use crate::build::known::{Data, Known, MAX_COMPUTED};
use crate::build::layout::Layout;
use crate::error::Refusal;
use sonar_ir::verify::MAX_ELEMENTS;
use sonar_ir::{BinaryOp, Dim, Graph, Init, NodeId, Op, ReduceOp, Tensor, UnaryOp, Values};
use std::collections::{BTreeMap, BTreeSet};

/// The most elements that import computes itself, over all tensors.
const COMPUTED_BUDGET: usize = 1 << 24;

/// The most nodes that one ONNX operator may be expanded to by repetition.
pub const MAX_REPEATS: usize = 1 << 12;

/// A value of a file under import.
#[derive(Clone, Debug)]
pub enum Value {
    /// Its elements are known.
    Known(Known),
    /// It is computed at every run.
    Run(Laid),
}

/// A value of the graph, with the order in which it holds the axes.
#[derive(Clone, Debug)]
pub struct Laid {
    /// The value.
    pub node: NodeId,
    /// The order of its axes.
    pub layout: Layout,
    /// Extents, in the file's order.
    pub shape: Vec<usize>,
}

/// A graph under construction.
pub struct Builder {
    /// The graph.
    pub graph: Graph,
    /// Values of its parameters.
    pub weights: Values,
    /// Parameters that exist for known tensors, by the address of the elements, their shape and their layout.
    lifted: BTreeMap<(usize, Vec<usize>, Layout), NodeId>,
    /// Known tensors that were lifted. They are kept so that no other tensor gets their address.
    kept: Vec<Known>,
    /// Transpositions already made.
    transposed: BTreeMap<(NodeId, Vec<usize>), NodeId>,
    /// Names of inputs and parameters.
    names: BTreeSet<String>,
    /// Elements that were computed so far.
    computed: usize,
}

/// The number of elements of a shape, if it is not too large for the IR.
pub fn elements(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent).filter(|_| extent <= MAX_ELEMENTS));
    count.filter(|&count| count <= MAX_ELEMENTS)
}

/// An axis of a tensor; negative ones count from the end.
pub fn axis(axis: i64, rank: usize) -> Result<usize, Refusal> {
    let wrapped = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let found = wrapped.and_then(|a| usize::try_from(a).ok()).filter(|&a| a < rank);
    found.ok_or_else(|| Refusal::invalid(format!("axis {axis} of a tensor of rank {rank}")))
}

/// Axes of a tensor, sorted and distinct.
pub fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Refusal> {
    let axes: BTreeSet<usize> = list.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?;
    if axes.len() != list.len() {
        return Err(Refusal::invalid(format!("the axes {list:?} are not distinct")));
    }
    Ok(axes.into_iter().collect())
}

/// The shape that two shapes broadcast to.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Refusal> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| if i + shape.len() < rank { 1 } else { shape[i + shape.len() - rank] };
    let shape: Option<Vec<usize>> = (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect();
    let shape = shape.ok_or_else(|| Refusal::invalid(format!("the shapes {a:?} and {b:?} do not broadcast")))?;
    match elements(&shape) {
        Some(_) => Ok(shape),
        None => Err(Refusal::invalid(format!("the shapes {a:?} and {b:?} broadcast to more than {MAX_ELEMENTS} elements"))),
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&extent| Dim::Fixed(extent)).collect()
}

impl Value {
    /// A single number.
    pub fn float(value: f32) -> Value {
        Value::Known(Known::float(value))
    }

    /// Extents, in the file's order.
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::Known(known) => &known.shape,
            Value::Run(laid) => &laid.shape,
        }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }
}

impl Builder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Builder {
            graph: Graph::new(identifier(name, "model")),
            weights: Values::new(),
            lifted: BTreeMap::new(),
            kept: Vec::new(),
            transposed: BTreeMap::new(),
            names: BTreeSet::new(),
            computed: 0,
        }
    }

    /// A name for an input or a parameter that is valid in the text of a graph and not used yet.
    pub fn unique(&mut self, name: &str, otherwise: &str) -> String {
        let base = identifier(name, otherwise);
        let mut name = base.clone();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }

    /// Appends an operator of the IR to values of the IR.
    pub fn push(&mut self, op: Op, operands: &[NodeId]) -> Result<NodeId, Refusal> {
        let node = self.graph.push(op, operands)?;
        match elements(&self.extents(node)) {
            Some(count) if count > 0 => Ok(node),
            Some(_) => Err(Refusal::unsupported("a tensor without elements")),
            None => {
                Err(Refusal::invalid(format!("a tensor of type {}, with more than {MAX_ELEMENTS} elements", self.graph.ty(node))))
            }
        }
    }

    /// Extents of a value of the IR, in the IR's order.
    fn extents(&self, node: NodeId) -> Vec<usize> {
        self.graph.ty(node).extents().unwrap_or_default()
    }

    /// A value of the IR, held in a layout, as a value of the file.
    pub fn laid(&self, node: NodeId, layout: Layout) -> Value {
        let shape = layout.to_file(&self.extents(node));
        Value::Run(Laid { node, layout, shape })
    }

    /// The value in a certain layout.
    pub fn in_layout(&mut self, value: &Value, layout: &Layout) -> Result<NodeId, Refusal> {
        match value {
            Value::Known(known) => self.lift(known, layout, Init::He),
            Value::Run(laid) if laid.layout.same_order(layout, &laid.shape) => {
                let shape = layout.to_ir(&laid.shape);
                self.reshape_node(laid.node, &shape)
            }
            Value::Run(laid) => {
                let permutation = laid.layout.permutation_to(layout);
                let key = (laid.node, permutation.clone());
                if let Some(&node) = self.transposed.get(&key) {
                    return Ok(node);
                }
                let node = self.push(Op::Transpose(permutation), &[laid.node])?;
                self.transposed.insert(key, node);
                Ok(node)
            }
        }
    }

    /// The value in the file's own order.
    pub fn in_file_order(&mut self, value: &Value) -> Result<NodeId, Refusal> {
        self.in_layout(value, &Layout::file(value.rank()))
    }

    /// A value that the graph returns, in the file's order. Known integers become floating-point numbers if these are exact.
    pub fn output(&mut self, value: &Value) -> Result<NodeId, Refusal> {
        let Value::Known(known) = value else { return self.in_file_order(value) };
        if let Data::Int(data) = &known.data
            && data.iter().any(|v| v.unsigned_abs() > 1 << f32::MANTISSA_DIGITS)
        {
            return Err(Refusal::unsupported("an output of integers too large for 32-bit floating point"));
        }
        self.in_file_order(&Value::Known(known.to_floats()))
    }

    /// The value with axis 1, the channels, last.
    pub fn in_channels_last(&mut self, value: &Value) -> Result<NodeId, Refusal> {
        if value.rank() < 2 {
            return Err(Refusal::invalid(format!("expected channels on axis 1, found the shape {:?}", value.shape())));
        }
        self.in_layout(value, &Layout::channels_last(value.rank()))
    }

    /// A known tensor as a value of the IR in a certain layout: a splat if all elements are equal, else a parameter whose
    /// elements are transposed at once.
    pub fn lift(&mut self, known: &Known, layout: &Layout, init: Init) -> Result<NodeId, Refusal> {
        let floats = known.as_floats()?;
        if floats.is_empty() {
            return Err(Refusal::unsupported("a tensor without elements"));
        }
        let shape = layout.to_ir(&known.shape);
        if let Some(value) = known.uniform() {
            return self.push(Op::Splat(value, dims(&shape)), &[]);
        }
        let key = (floats.as_ptr() as usize, known.shape.clone(), layout.clone());
        if let Some(&node) = self.lifted.get(&key) {
            return Ok(node);
        }
        let moved = known.transposed(&Layout::file(known.shape.len()).permutation_to(layout));
        let name = self.unique(known.name.as_deref().unwrap_or(""), "constant");
        let node = self.graph.param(name.clone(), &shape, init);
        self.weights.insert(name, Tensor::new(shape, moved.into_floats()?));
        self.kept.push(known.clone());
        self.lifted.insert(key, node);
        Ok(node)
    }

    /// The value as one that is computed at every run. A known value becomes a parameter in the file's order.
    pub fn run(&mut self, value: &Value) -> Result<Laid, Refusal> {
        match value {
            Value::Run(laid) => Ok(laid.clone()),
            Value::Known(known) => {
                let layout = Layout::file(known.shape.len());
                let node = self.lift(known, &layout, Init::He)?;
                Ok(Laid { node, layout, shape: known.shape.clone() })
            }
        }
    }

    /// Whether import may compute a result of this shape; if not, it is left to constant folding.
    pub fn may_compute(&mut self, shape: &[usize]) -> bool {
        match elements(shape) {
            Some(count) if count <= MAX_COMPUTED && self.computed + count <= COMPUTED_BUDGET => {
                self.computed += count;
                true
            }
            _ => false,
        }
    }

    /// The layout of the largest value that has a layout and this rank.
    fn common_layout(&self, values: &[&Value], rank: usize) -> Layout {
        let laid = values.iter().filter_map(|v| if let Value::Run(laid) = v { Some(laid) } else { None });
        let fitting = laid.filter(|laid| laid.layout.rank() == rank);
        let largest = fitting.reduce(|a, b| if elements(&b.shape) > elements(&a.shape) { b } else { a });
        largest.map_or(Layout::file(rank), |laid| laid.layout.clone())
    }

    /// A function of each element. Integers are refused: the function is on real numbers.
    pub fn unary(&mut self, op: UnaryOp, value: &Value) -> Result<Value, Refusal> {
        if let Value::Known(known) = value
            && self.may_compute(&known.shape)
        {
            known.as_floats()?;
            return Ok(Value::Known(known.map(|v| op.eval(v), |v| v)));
        }
        let laid = self.run(value)?;
        let node = self.push(Op::Unary(op), &[laid.node])?;
        Ok(self.laid(node, laid.layout))
    }

    /// A function of two elements, with NumPy broadcasting; integers must be known.
    pub fn binary(&mut self, op: BinaryOp, a: &Value, b: &Value) -> Result<Value, Refusal> {
        let shape = broadcast(a.shape(), b.shape())?;
        if let (Value::Known(a), Value::Known(b)) = (a, b)
            && self.may_compute(&shape)
        {
            let int = |x: i64, y: i64| match op {
                BinaryOp::Add => Some(x.wrapping_add(y)),
                BinaryOp::Sub => Some(x.wrapping_sub(y)),
                BinaryOp::Mul => Some(x.wrapping_mul(y)),
                BinaryOp::Div => x.checked_div(y),
                BinaryOp::Max => Some(x.max(y)),
                BinaryOp::Min => Some(x.min(y)),
                BinaryOp::Gate => Some(if y > 0 { x } else { 0 }),
            };
            return Ok(Value::Known(a.zip(b, &shape, |x, y| op.eval(x, y), int)?));
        }
        let layout = self.common_layout(&[a, b], shape.len());
        let (a, b) = (self.operand(a, &layout)?, self.operand(b, &layout)?);
        let node = self.push(Op::Binary(op), &[a, b])?;
        let node = self.reshape_node(node, &layout.to_ir(&shape))?;
        Ok(self.laid(node, layout))
    }

    /// An operand of an elementwise operator whose result has the layout `layout`. Leading axes of extent 1 are dropped from known
    /// tensors, since broadcasting adds them. So a bias per channel is a vector.
    fn operand(&mut self, value: &Value, layout: &Layout) -> Result<NodeId, Refusal> {
        let value = self.with_rank(value, layout.rank())?;
        let Value::Known(known) = &value else { return self.in_layout(&value, layout) };
        let moved = known.transposed(&Layout::file(layout.rank()).permutation_to(layout));
        let short: Vec<usize> = layout.to_ir(&known.shape).into_iter().skip_while(|&extent| extent == 1).collect();
        let rank = short.len();
        // A tensor that was not moved keeps its address, so an equal weight is found again.
        self.lift(&moved.reshaped(short), &Layout::file(rank), Init::Zeros)
    }

    /// A reduction over axes, which are sorted and distinct; there is at least one.
    pub fn reduce(&mut self, op: ReduceOp, value: &Value, axes: &[usize], keep: bool) -> Result<Value, Refusal> {
        let laid = self.run(value)?;
        let mut positions: Vec<usize> = axes.iter().map(|&axis| laid.layout.position(axis)).collect();
        positions.sort_unstable();
        let node = self.push(Op::Reduce { op, axes: positions, keep }, &[laid.node])?;
        let layout = if keep { laid.layout } else { laid.layout.without(axes) };
        Ok(self.laid(node, layout))
    }

    /// `a` where the condition holds, `b` elsewhere; exact for all operands.
    pub fn select(&mut self, condition: &Known, a: &Value, b: &Value) -> Result<Value, Refusal> {
        let shape = broadcast(&broadcast(&condition.shape, a.shape())?, b.shape())?;
        let all = condition.as_ints()?;
        if let Some(first) = all.first()
            && all.iter().all(|c| (*c != 0) == (*first != 0))
        {
            let chosen = if *first != 0 { a } else { b };
            return self.expand(chosen, &shape);
        }
        match (a, b) {
            (Value::Known(a), Value::Known(b)) => {
                if !self.may_compute(&shape) {
                    return Err(Refusal::unsupported(format!("choosing {shape:?} known elements")));
                }
                let (condition, a, b) = (condition.broadcast(&shape), a.broadcast(&shape), b.broadcast(&shape));
                let condition = condition.as_ints()?;
                Ok(Value::Known(match (&a.data, &b.data) {
                    (Data::Int(x), Data::Int(y)) => Known::typed(a.int, shape, choose(condition, x, y)),
                    (Data::Float(a), Data::Float(b)) => Known::floats(shape, choose(condition, a, b)),
                    _ => return Err(Refusal::invalid("one operand has integers, the other floating-point numbers")),
                }))
            }
            _ => {
                let condition = Value::Known(condition.clone());
                self.choose(&condition, a, b)
            }
        }
    }
}

fn choose<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
    condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
}

/// A name of letters, digits and underscores, as in the text of a graph.
fn identifier(name: &str, otherwise: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match clean.chars().next() {
        None => otherwise.to_string(),
        Some(first) if first.is_ascii_digit() => format!("{otherwise}_{clean}"),
        Some(_) => clean,
    }
}
