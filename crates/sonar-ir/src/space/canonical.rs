//! Recognising graphs that are the same function.
//!
//! [`key`] is equal for two graphs exactly if their canonical forms are isomorphic. To make the canonical form:
//! - nodes that no output needs are dropped;
//! - equal operators on equal operands are computed only once (two parameters are never equal);
//! - zeros are carried through every operator that maps zeros to zeros, and dropped from sums;
//! - sums are flattened, and the order of the operands of `add`, `mul`, `max` and `min` is ignored;
//! - operators without effect (a reshape to the same shape, …) are dropped, and so are all names.
//!
//! So graphs of equal keys compute the same function of inputs and parameters, in real arithmetic on finite values, if parameters
//! are renamed. The renaming keeps initialisers. The key compares *structure*: graphs that are equal by another law (a pooling of a
//! sum and a sum of poolings) have different keys.
//!
//! # NAS-Bench-201
//!
//! The number of distinct cells in the literature comes from another notion, [`Space::topology`](crate::space::Space::topology).
//! `key` knows which weights are shared: `f(x) + g(f(x))` with one convolution `f` is not `f(x) + g(f'(x))` with two. The
//! published count merges such cells. It also treats a batch normalisation of zeros as zeros, although its result is its shift. On
//! the other hand, `key` knows that zeros add nothing to a sum and that `(a + b) + c` is `a + (b + c)`; the published count does
//! not always.
//!
//! # How isomorphism is decided
//!
//! Colour refinement: the colour of a node is a hash of its operator, of its operands' colours and of its users' colours.
//! This is repeated until no more nodes are separated. While two nodes have the same colour, one of them gets a new colour. Then the
//! form is written in the order of the colours and hashed. Graphs that are not isomorphic always have different forms. Isomorphic
//! graphs have the same form if nodes that refinement cannot separate are interchangeable, as parallel branches are.

use crate::entity::EntityVec;
use crate::graph::{Graph, Node, NodeId, Op, TensorType};
use crate::scalar::{BinaryOp, UnaryOp};
use crate::text::ops::{init_name, show_attributes, spell};
use std::collections::{BTreeMap, HashMap};

/// Sums of more distinct operands than this are not flattened into their users.
const MAX_SUMMANDS: usize = 1024;

/// A name for the class of graphs that have the same canonical form: 32 hexadecimal digits, the same on every machine.
///
/// ```
/// use sonar_ir::space::canonical;
/// use sonar_ir::text::parse_graph;
/// let a = parse_graph("graph @a(%x: f32[N,4], param %v: f32[4,4], param %w: f32[4,4]) {
///     return add(matmul(relu(%x), %v), zeros_like(%x), matmul(%x, %w))
/// }")?;
/// let b = parse_graph("graph @b(%y: f32[N,4], param %p: f32[4,4], param %q: f32[4,4]) {
///     %dead = matmul %y, %p
///     return add(matmul(%y, %p), matmul(relu(%y), %q))
/// }")?;
/// assert_eq!(canonical::key(&a), canonical::key(&b));
/// # Ok::<(), sonar_ir::text::Error>(())
/// ```
pub fn key(graph: &Graph) -> String {
    let form = Form::of(graph);
    let colours = form.colours();
    format!("{:032x}", fnv128(form.write(&colours).as_bytes()))
}

/// The structure of a graph.
struct Form {
    nodes: Vec<FormNode>,
    outputs: Vec<usize>,
    /// Types of the inputs, which belong to the function even where they are not used.
    inputs: String,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct FormNode {
    /// Operator and attributes.
    label: String,
    /// Operands, each with how often it occurs (once, if the order matters).
    operands: Vec<(usize, u64)>,
    /// Whether the order of the operands matters.
    ordered: bool,
}

impl Form {
    fn of(graph: &Graph) -> Form {
        Simplifier::new(graph).run()
    }

    /// A colour for each node. Nodes of different colours differ in every isomorphic graph. No two nodes that the outputs need have
    /// the same colour.
    fn colours(&self) -> Vec<u64> {
        let mut colours: Vec<u64> = self.nodes.iter().map(|node| fnv64(node.label.as_bytes())).collect();
        let mut classes = 0;
        loop {
            loop {
                self.refine(&mut colours);
                let refined = count_distinct(&colours);
                if refined <= classes {
                    break;
                }
                classes = refined;
            }
            let Some(tied) = first_tie(&colours) else { return colours };
            colours[tied] = mix(colours[tied], TIE);
            classes += 1;
        }
    }

    /// One pass from operands to users and one back.
    fn refine(&self, colours: &mut [u64]) {
        let mut sorted = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let mut colour = colours[i];
            if node.ordered {
                for &(operand, _) in &node.operands {
                    colour = mix(colour, colours[operand]);
                }
            } else {
                sorted.clear();
                sorted.extend(node.operands.iter().map(|&(operand, times)| mix(colours[operand], times)));
                sorted.sort_unstable();
                colour = sorted.iter().fold(colour, |colour, &operand| mix(colour, operand));
            }
            colours[i] = colour;
        }
        let mut from_users = vec![0u64; self.nodes.len()];
        for (place, &output) in self.outputs.iter().enumerate() {
            from_users[output] = from_users[output].wrapping_add(mix(OUTPUT, place as u64));
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            colours[i] = mix(colours[i], from_users[i]);
            for (place, &(operand, times)) in node.operands.iter().enumerate() {
                let role = if node.ordered { place as u64 } else { mix(UNORDERED, times) };
                from_users[operand] = from_users[operand].wrapping_add(mix(colours[i], role));
            }
        }
    }

    /// The form as text, operands before users, in an order that only the colours determine.
    fn write(&self, colours: &[u64]) -> String {
        let mut numbers: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut text = format!("inputs {}\n", self.inputs);
        let mut next = 0;
        for &output in &self.outputs {
            // Nodes that still need a number. A node follows its operands once it is known to be needed.
            let mut stack = vec![(output, false)];
            while let Some((i, operands_done)) = stack.pop() {
                if numbers[i].is_some() {
                    continue;
                }
                let node = &self.nodes[i];
                if !operands_done {
                    stack.push((i, true));
                    let mut operands = node.operands.clone();
                    if !node.ordered {
                        operands.sort_unstable_by_key(|&(operand, times)| (colours[operand], times));
                    }
                    stack.extend(operands.into_iter().rev().map(|(operand, _)| (operand, false)));
                    continue;
                }
                let mut operands: Vec<(usize, u64)> =
                    node.operands.iter().filter_map(|&(operand, times)| Some((numbers[operand]?, times))).collect();
                if !node.ordered {
                    operands.sort_unstable();
                }
                text.push_str(&node.label);
                for (number, times) in operands {
                    text.push_str(&if times == 1 { format!(" {number}") } else { format!(" {number}*{times}") });
                }
                text.push('\n');
                numbers[i] = Some(next);
                next += 1;
            }
        }
        for &output in &self.outputs {
            text.push_str(&format!("return {:?}\n", numbers[output]));
        }
        text
    }
}

/// Builds a [`Form`] node by node.
struct Simplifier<'a> {
    graph: &'a Graph,
    nodes: Vec<FormNode>,
    /// Types of `nodes`.
    types: Vec<TensorType>,
    known: HashMap<FormNode, usize>,
    /// Which nodes of `nodes` are zeros.
    zero: Vec<bool>,
    /// For each node of the graph, the node that stands for it.
    stands_for: EntityVec<NodeId, usize>,
}

impl<'a> Simplifier<'a> {
    fn new(graph: &'a Graph) -> Self {
        Simplifier {
            graph,
            nodes: Vec::new(),
            types: Vec::new(),
            known: HashMap::new(),
            zero: Vec::new(),
            stands_for: EntityVec::new(),
        }
    }

    fn run(mut self) -> Form {
        let mut inputs = String::new();
        let mut input_count = 0;
        for (_, node) in self.graph.iter() {
            let stands_for = match &node.op {
                Op::Input => {
                    inputs.push_str(&format!(" {}", node.ty));
                    input_count += 1;
                    self.add(format!("input {}", input_count - 1), vec![], true, &node.ty)
                }
                Op::Param(init) => self.add_unique(format!("param {} {}", init_name(*init), node.ty), &node.ty),
                Op::Splat(value, _) => self.splat(*value, &node.ty),
                _ => {
                    let operands: Vec<usize> = node.operands.iter().map(|id| self.stands_for[*id]).collect();
                    self.apply(node, &operands)
                }
            };
            self.stands_for.push(stands_for);
        }
        let output = |id: &NodeId| self.stands_for[*id];
        let outputs = self.graph.outputs.iter().map(output).collect();
        Form { nodes: self.nodes, outputs, inputs }.without_dead_nodes()
    }

    fn apply(&mut self, node: &Node, operands: &[usize]) -> usize {
        let zero = |i: usize| operands.get(i).is_some_and(|&operand| self.zero[operand]);
        let all_zero = operands.iter().all(|&operand| self.zero[operand]);
        let gives_zero = match &node.op {
            Op::Conv2d(_) | Op::Conv2dGradInput(..) | Op::Conv2dGradWeight(..) | Op::MatMul => zero(0) || zero(1),
            Op::Binary(BinaryOp::Mul | BinaryOp::Gate) => zero(0) || zero(1),
            Op::MaxPoolGrad(_) => zero(1),
            Op::Unary(
                UnaryOp::Neg | UnaryOp::Relu | UnaryOp::Step | UnaryOp::Abs | UnaryOp::Sqrt | UnaryOp::Tanh | UnaryOp::Erf,
            )
            | Op::Unary(
                UnaryOp::Expm1 | UnaryOp::Log1p | UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu | UnaryOp::HardSwish,
            )
            | Op::Binary(BinaryOp::Sub | BinaryOp::Max | BinaryOp::Min)
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::AvgPoolGrad(..)
            | Op::GlobalAvgPool
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad(_)
            | Op::Reduce { .. } => all_zero,
            _ => false,
        };
        if gives_zero {
            return self.splat(0.0, &node.ty);
        }
        let same_type = operands.first().is_some_and(|&operand| self.types[operand] == node.ty);
        match &node.op {
            Op::Binary(BinaryOp::Add) | Op::Broadcast(_) => self.sum(operands, &node.ty),
            Op::Binary(BinaryOp::Sub) if same_type && zero(1) => operands[0],
            Op::Reshape(_) | Op::Slice { .. } | Op::Pad(_) if same_type => operands[0],
            Op::Concat { .. } if operands.len() == 1 => operands[0],
            Op::Transpose(perm) if perm.is_sorted() => operands[0],
            Op::Binary(op @ (BinaryOp::Mul | BinaryOp::Max | BinaryOp::Min)) => {
                self.add(op.name().to_string(), counted(operands.iter().map(|&operand| (operand, 1))), false, &node.ty)
            }
            op => {
                let (name, attributes) = spell(op);
                let label = format!("{name} {}", show_attributes(&attributes));
                self.add(label, operands.iter().map(|&operand| (operand, 1)).collect(), true, &node.ty)
            }
        }
    }

    /// The sum of operands, broadcast to a type.
    fn sum(&mut self, operands: &[usize], ty: &TensorType) -> usize {
        let is_sum = |i: usize| self.nodes[i].label.starts_with(SUM);
        let flat = |i: usize| if is_sum(i) { self.nodes[i].operands.clone() } else { vec![(i, 1)] };
        let summands: Vec<(usize, u64)> = operands.iter().flat_map(|&operand| flat(operand)).collect();
        let fits = summands.len() <= MAX_SUMMANDS && summands.iter().all(|&(_, times)| times < u64::MAX / 2);
        let summands = if fits { summands } else { operands.iter().map(|&operand| (operand, 1)).collect() };
        let summands = counted(summands.into_iter().filter(|&(summand, _)| !self.zero[summand]));
        match summands[..] {
            [] => self.splat(0.0, ty),
            [(only, 1)] if self.types[only] == *ty => only,
            _ => self.add(format!("{SUM}{ty}"), summands, false, ty),
        }
    }

    fn splat(&mut self, value: f32, ty: &TensorType) -> usize {
        let node = self.add(format!("splat {value:?} {ty}"), vec![], true, ty);
        self.zero[node] = value == 0.0;
        node
    }

    /// This node; it is added if it does not exist yet.
    fn add(&mut self, label: String, operands: Vec<(usize, u64)>, ordered: bool, ty: &TensorType) -> usize {
        let node = FormNode { label, operands, ordered };
        if let Some(&known) = self.known.get(&node) {
            return known;
        }
        self.known.insert(node.clone(), self.nodes.len());
        self.push(node, ty)
    }

    /// A new node that is equal to no other.
    fn add_unique(&mut self, label: String, ty: &TensorType) -> usize {
        self.push(FormNode { label, operands: vec![], ordered: true }, ty)
    }

    fn push(&mut self, node: FormNode, ty: &TensorType) -> usize {
        self.nodes.push(node);
        self.types.push(ty.clone());
        self.zero.push(false);
        self.nodes.len() - 1
    }
}

impl Form {
    fn without_dead_nodes(self) -> Form {
        let mut live = vec![false; self.nodes.len()];
        for &output in &self.outputs {
            live[output] = true;
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if live[i] {
                for &(operand, _) in &node.operands {
                    live[operand] = true;
                }
            }
        }
        let mut renamed = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for (i, mut node) in self.nodes.into_iter().enumerate() {
            if live[i] {
                for (operand, _) in &mut node.operands {
                    *operand = renamed[*operand];
                }
                renamed[i] = nodes.len();
                nodes.push(node);
            }
        }
        Form { nodes, outputs: self.outputs.iter().map(|&output| renamed[output]).collect(), inputs: self.inputs }
    }
}

/// Prefix of the labels of sums.
const SUM: &str = "sum ";
/// Hashed with the position of an output.
const OUTPUT: u64 = 1;
/// Hashed instead of an operand's position if the order does not matter.
const UNORDERED: u64 = 2;
/// Hashed into the colour of a node that is singled out.
const TIE: u64 = 3;

/// The operands in order; equal ones are merged and counted.
fn counted(operands: impl Iterator<Item = (usize, u64)>) -> Vec<(usize, u64)> {
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for (operand, times) in operands {
        *counts.entry(operand).or_default() += times;
    }
    counts.into_iter().collect()
}

fn count_distinct(colours: &[u64]) -> usize {
    let mut sorted = colours.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}

/// A node whose colour is the smallest that several nodes have.
fn first_tie(colours: &[u64]) -> Option<usize> {
    let mut sorted: Vec<(u64, usize)> = colours.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].1)
}

/// Mixes two words so that every bit of either changes about half the bits of the result (the finaliser of SplitMix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(25).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The 64-bit hash of Fowler, Noll and Vo, variant 1a.
fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The 128-bit hash of Fowler, Noll and Vo, variant 1a.
fn fnv128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = (1 << 88) + 0x13b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}
