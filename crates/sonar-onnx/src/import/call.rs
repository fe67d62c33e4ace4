//! One node of a file under import: its arguments, and its attributes with their defaults.

use crate::build::Value;
use crate::build::known::Known;
use crate::error::Refusal;
use crate::file::external::Folders;
use crate::file::proto::{AttributeProto, AttributeType, NodeProto, SparseTensorProto, TensorProto};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// A node with the values of its arguments.
///
/// It records which attributes an operator reads. Attributes that were not read are not supported.
pub struct Call<'a> {
    /// The node.
    pub node: &'a NodeProto,
    /// Version of ONNX's operators.
    pub opset: i64,
    /// Folders of the model.
    pub folders: &'a Folders,
    /// The arguments; omitted ones are `None`.
    inputs: Vec<Option<Value>>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Call<'a> {
    /// A node with its arguments.
    pub fn new(node: &'a NodeProto, opset: i64, folders: &'a Folders, inputs: Vec<Option<Value>>) -> Self {
        Call { node, opset, folders, inputs, asked: RefCell::default() }
    }

    /// A required argument.
    pub fn input(&self, index: usize) -> Result<&Value, Refusal> {
        self.optional(index).ok_or_else(|| Refusal::invalid(format!("argument {} is missing", index + 1)))
    }

    /// An optional argument.
    pub fn optional(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index)?.as_ref()
    }

    /// All arguments; there must be at least one, and none may be omitted.
    pub fn all(&self) -> Result<Vec<&Value>, Refusal> {
        let all: Option<Vec<&Value>> = self.inputs.iter().map(Option::as_ref).collect();
        all.filter(|all| !all.is_empty()).ok_or_else(|| Refusal::invalid("arguments are missing"))
    }

    /// The tensor of an argument, which must be known at import; `None` if it is omitted.
    pub fn known(&self, index: usize) -> Result<Option<&Known>, Refusal> {
        match self.optional(index) {
            None => Ok(None),
            Some(Value::Known(known)) => Ok(Some(known)),
            Some(Value::Run(_)) => Err(Refusal::unsupported(format!(
                "argument {} (`{}`) depends on the model's inputs; its value must be known at import",
                index + 1,
                self.node.input[index]
            ))),
        }
    }

    /// Integers that must be known at import. They are an argument, or an attribute in older versions of the operator.
    pub fn ints_of(&self, index: usize, attribute: &'static str) -> Result<Option<Vec<i64>>, Refusal> {
        match self.known(index)? {
            Some(known) => Ok(Some(known.as_ints()?.to_vec())),
            None => Ok(self.has(attribute).then(|| self.ints(attribute, &[])).transpose()?),
        }
    }

    /// How many results the file asks for.
    pub fn outputs(&self) -> usize {
        self.node.output.len()
    }

    /// Whether the file asks for the result at this position.
    pub fn wants(&self, output: usize) -> bool {
        self.node.output.get(output).is_some_and(|name| !name.is_empty())
    }

    /// Refuses all results except the first.
    pub fn one_output(&self) -> Result<(), Refusal> {
        match (1..self.outputs()).find(|&i| self.wants(i)) {
            None => Ok(()),
            Some(i) => Err(Refusal::unsupported(format!("result {} (`{}`)", i + 1, self.node.output[i]))),
        }
    }

    /// Whether the node has an attribute.
    pub fn has(&self, name: &'static str) -> bool {
        self.node.attribute.iter().any(|a| a.name == name)
    }

    /// An integer.
    pub fn int(&self, name: &'static str, default: i64) -> Result<i64, Refusal> {
        Ok(self.find(name, AttributeType::Int)?.map_or(default, |a| a.i))
    }

    /// A truth value.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, Refusal> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// A number.
    pub fn float(&self, name: &'static str, default: f32) -> Result<f32, Refusal> {
        Ok(self.find(name, AttributeType::Float)?.map_or(default, |a| a.f))
    }

    /// Numbers.
    pub fn floats(&self, name: &'static str) -> Result<Option<&'a [f32]>, Refusal> {
        Ok(self.find(name, AttributeType::Floats)?.map(|a| &a.floats[..]))
    }

    /// Integers.
    pub fn ints(&self, name: &'static str, default: &[i64]) -> Result<Vec<i64>, Refusal> {
        Ok(self.find(name, AttributeType::Ints)?.map_or_else(|| default.to_vec(), |a| a.ints.clone()))
    }

    /// Non-negative integers, such as extents and strides; there must be `count`.
    pub fn sizes(&self, name: &'static str, count: usize, default: usize) -> Result<Vec<usize>, Refusal> {
        let Some(attribute) = self.find(name, AttributeType::Ints)? else { return Ok(vec![default; count]) };
        let sizes: Vec<usize> = attribute.ints.iter().filter_map(|&i| usize::try_from(i).ok()).filter(|&i| i < 1 << 31).collect();
        if sizes.len() != count || attribute.ints.len() != count {
            return Err(Refusal::unsupported(format!("{name} = {:?} for {count} extents", attribute.ints)));
        }
        Ok(sizes)
    }

    /// A text.
    pub fn text(&self, name: &'static str, default: &str) -> Result<String, Refusal> {
        Ok(self
            .find(name, AttributeType::String)?
            .map_or_else(|| default.to_string(), |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    /// Texts.
    pub fn texts(&self, name: &'static str) -> Result<Option<Vec<String>>, Refusal> {
        let lossy = |text: &Bytes| String::from_utf8_lossy(text).into_owned();
        Ok(self.find(name, AttributeType::Strings)?.map(|a| a.strings.iter().map(lossy).collect()))
    }

    /// A tensor.
    pub fn tensor(&self, name: &'static str) -> Result<Option<&'a TensorProto>, Refusal> {
        Ok(self.find(name, AttributeType::Tensor)?.and_then(|a| a.t.as_ref()))
    }

    /// A sparse tensor.
    pub fn sparse_tensor(&self, name: &'static str) -> Result<Option<&'a SparseTensorProto>, Refusal> {
        Ok(self.find(name, AttributeType::SparseTensor)?.and_then(|a| a.sparse_tensor.as_ref()))
    }

    /// Accepts attributes that have no effect here.
    pub fn ignore(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// Refuses attributes that were not read, and two attributes of the same name.
    pub fn finish(&self) -> Result<(), Refusal> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.node.attribute.iter().find(|a| !names.insert(a.name.as_str())) {
            return Err(Refusal::invalid(format!("two attributes have the name `{}`", twice.name)));
        }
        let asked = self.asked.borrow();
        let unknown = |a: &&AttributeProto| !asked.contains(a.name.as_str());
        match self.node.attribute.iter().find(unknown) {
            None => Ok(()),
            Some(attribute) => Err(Refusal::unsupported(format!("the attribute `{}`", attribute.name))),
        }
    }

    fn find(&self, name: &'static str, ty: AttributeType) -> Result<Option<&'a AttributeProto>, Refusal> {
        self.asked.borrow_mut().insert(name);
        let Some(attribute) = self.node.attribute.iter().find(|a| a.name == name) else { return Ok(None) };
        match AttributeType::try_from(attribute.r#type) {
            Ok(found) if found == ty || found == AttributeType::Undefined => Ok(Some(attribute)),
            Ok(found) => Err(Refusal::invalid(format!("the attribute `{name}` has type {found:?}, not {ty:?}"))),
            Err(_) => Err(Refusal::invalid(format!("the attribute `{name}` has type {}, not {ty:?}", attribute.r#type))),
        }
    }
}
