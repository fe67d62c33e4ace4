//! The file under construction: its nodes and constants, and the names of the values in it.

use super::{ExportError, declares, unsupported};
use crate::build::known::Known;
use crate::file::proto::*;
use sonar_ir::{Dim, Graph, NodeId, Op, Values};
use std::collections::{BTreeMap, BTreeSet};

/// The order of a value's axes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// That of the IR.
    Ours,
    /// An image with the channels on axis 1.
    ChannelsFirst,
}

/// The positions of the axes of an image `[N, H, W, C]` in `[N, C, H, W]`.
pub const CHANNELS_FIRST: [usize; 4] = [0, 2, 3, 1];

/// A file under construction.
pub struct Writer<'a> {
    /// The graph.
    pub graph: &'a Graph,
    weights: &'a Values,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Names of values, by the value and the order.
    names: BTreeMap<(NodeId, Order), String>,
    /// Names of constants in other forms, by the value and the form.
    forms: BTreeMap<(NodeId, Vec<usize>, Vec<usize>), String>,
    taken: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    /// An empty file.
    pub fn new(graph: &'a Graph, weights: &'a Values) -> Self {
        let taken = graph.nodes.iter().filter_map(|n| n.name.clone()).collect();
        Writer { graph, weights, nodes: vec![], constants: vec![], names: BTreeMap::new(), forms: BTreeMap::new(), taken }
    }

    /// The nodes and the constants of the file.
    pub fn finish(self) -> (Vec<NodeProto>, Vec<TensorProto>) {
        (self.nodes, self.constants)
    }

    /// An unused name: this one if it is free.
    pub fn unique(&mut self, name: &str) -> String {
        let mut free = name.to_string();
        let mut count = 1;
        while !self.taken.insert(free.clone()) {
            count += 1;
            free = format!("{name}_{count}");
        }
        free
    }

    /// Records that the file has a value in this order under this name.
    pub fn define(&mut self, id: NodeId, order: Order, name: String) {
        self.names.insert((id, order), name);
    }

    /// The name of a value in this order, if the file has it.
    pub fn find(&self, id: NodeId, order: Order) -> Option<&String> {
        self.names.get(&(id, order))
    }

    /// The order in which the file has a value: the IR's, unless it is an image in the other order only.
    pub fn order(&self, id: NodeId) -> Order {
        let only_first = self.find(id, Order::ChannelsFirst).is_some() && self.find(id, Order::Ours).is_none();
        if only_first { Order::ChannelsFirst } else { Order::Ours }
    }

    /// Appends a node with one result of this name.
    pub fn node(&mut self, op: &str, attribute: Vec<AttributeProto>, input: &[String], output: &str) {
        let output = vec![output.to_string()];
        let node = NodeProto { op_type: op.to_string(), attribute, input: input.to_vec(), output, ..NodeProto::default() };
        self.nodes.push(node);
    }

    /// Appends a node and returns the name of its result.
    pub fn apply(&mut self, op: &str, attributes: Vec<AttributeProto>, inputs: &[String]) -> String {
        let name = self.unique(&format!("%{}", self.nodes.len()));
        self.node(op, attributes, inputs, &name);
        name
    }

    /// The name of a value in this order; it is transposed if the file has it in the other order only.
    pub fn value(&mut self, id: NodeId, order: Order) -> Result<String, ExportError> {
        if let Some(name) = self.find(id, order) {
            return Ok(name.clone());
        }
        let node = self.graph.node(id);
        let (other, permutation) = match order {
            Order::Ours => (Order::ChannelsFirst, CHANNELS_FIRST),
            Order::ChannelsFirst => (Order::Ours, [0, 3, 1, 2]),
        };
        let name = match &node.op {
            op if declares(op) && order == Order::Ours => self.form(id, None, None)?,
            op if declares(op) && !matches!(op, Op::Input) => self.form(id, Some(&permutation), None)?,
            _ => {
                let from = self.find(id, other).cloned().ok_or_else(|| unsupported(id, "a value before it is computed"))?;
                self.apply("Transpose", vec![ints("perm", &permutation)], &[from])
            }
        };
        self.define(id, order, name.clone());
        Ok(name)
    }

    /// A parameter or splat, transposed and reshaped, as a constant of the file.
    pub fn form(&mut self, id: NodeId, permutation: Option<&[usize]>, shape: Option<&[usize]>) -> Result<String, ExportError> {
        let key = (id, permutation.unwrap_or_default().to_vec(), shape.unwrap_or_default().to_vec());
        if let Some(name) = self.forms.get(&key) {
            return Ok(name.clone());
        }
        let node = self.graph.node(id);
        let own = node.ty.extents().ok_or_else(|| unsupported(id, "a constant whose batch is not bound"))?;
        let order = permutation.map_or_else(|| (0..own.len()).collect(), <[usize]>::to_vec);
        let name = match &node.op {
            Op::Splat(value, _) => {
                let moved = shape.map_or_else(|| order.iter().map(|&axis| own[axis]).collect(), <[usize]>::to_vec);
                let number = self.constant("", vec![], &[*value]);
                let extents = self.integers(&moved.iter().map(|&d| d as i64).collect::<Vec<_>>());
                self.apply("Expand", vec![], &[number, extents])
            }
            _ => {
                let name = node.name.clone().unwrap_or_default();
                let tensor =
                    self.weights.get(&name).filter(|t| t.shape == own).ok_or_else(|| ExportError::Weight(name.clone()))?;
                if permutation.is_none() && shape.is_none() {
                    self.initializer(name, own, &tensor.data)
                } else {
                    let moved = Known::floats(own, tensor.data.clone()).transposed(&order);
                    let shape = shape.map_or_else(|| moved.shape.clone(), <[usize]>::to_vec);
                    let data = moved.as_floats().map_err(|_| ExportError::Weight(name.clone()))?.clone();
                    self.constant(&name, shape, &data)
                }
            }
        };
        self.forms.insert(key, name.clone());
        Ok(name)
    }

    /// A constant of floating-point numbers; `name` begins its name.
    pub fn constant(&mut self, name: &str, shape: Vec<usize>, data: &[f32]) -> String {
        let name = self.unique(&format!("{name}%c{}", self.constants.len()));
        self.initializer(name, shape, data)
    }

    fn initializer(&mut self, name: String, shape: Vec<usize>, data: &[f32]) -> String {
        self.constants.push(TensorProto {
            name: name.clone(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: DataType::Float as i32,
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..TensorProto::default()
        });
        name
    }

    /// A constant vector of integers.
    pub fn integers(&mut self, data: &[i64]) -> String {
        let name = self.unique(&format!("%c{}", self.constants.len()));
        self.constants.push(TensorProto {
            name: name.clone(),
            dims: vec![data.len() as i64],
            data_type: DataType::Int64 as i32,
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..TensorProto::default()
        });
        name
    }

    /// A shape to reshape or expand to. Only its leading extent may be the batch; it is kept as in the operand.
    pub fn shape(&mut self, shape: &[Dim], batch: i64) -> String {
        let extent = |dim: &Dim| dim.fixed().map_or(batch, |n| n as i64);
        self.integers(&shape.iter().map(extent).collect::<Vec<_>>())
    }
}

/// An attribute that is an integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_string(), i: value, r#type: AttributeType::Int as i32, ..AttributeProto::default() }
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&v| v as i64).collect();
    AttributeProto { name: name.to_string(), ints, r#type: AttributeType::Ints as i32, ..AttributeProto::default() }
}

/// An attribute that is a number.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.to_string(), f: value, r#type: AttributeType::Float as i32, ..AttributeProto::default() }
}
