//! From a file to a graph, node by node.
//!
//! | module | what it does |
//! |---|---|
//! | `order` | what defines each name, and an order in which nodes can be computed |
//! | `inputs` | the shapes of inputs, and the symbols in them |
//! | `declared` | the types that the file declares, compared with the actual types |
//! | `types` | the element types of results |
//! | `call` | one node of the file: arguments and attributes |
//!
//! An import continues after a problem, so that all problems of a file are reported together. Nodes that depend on a refused value
//! are only counted: their own refusal would say nothing new. Unsupported operators are always reported.

pub mod call;
mod declared;
mod inputs;
mod order;
mod types;

use crate::build::layout::Layout;
use crate::build::{Builder, Value};
use crate::error::{ImportError, Problem, Problems, Refusal};
use crate::file::external::Folders;
use crate::file::proto::{DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::file::{read_model, sparse, tensor};
use crate::{OPSETS, ops};
use call::Call;
use sonar_ir::{Graph, TensorType, Values, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The most problems that are listed.
const MAX_PROBLEMS: usize = 1000;

/// Values that the file leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportOptions {
    /// Shapes of inputs by their names in the file. They bind extents that the file leaves open, and may not contradict it. A symbol
    /// of the file is bound for all inputs.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// The extent of a leading axis, if neither the file nor `shapes` gives it: the number of samples in one run.
    pub batch: usize,
}

/// A graph with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The graph. Every extent is fixed; inputs and outputs have the file's order of axes.
    pub graph: Graph,
    /// The values of the graph's parameters.
    pub weights: Values,
    /// Names of the inputs in the file, in the graph's order.
    pub inputs: Vec<String>,
    /// Names of the outputs in the file, in the graph's order.
    pub outputs: Vec<String>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions { shapes: BTreeMap::new(), batch: 1 }
    }
}

/// Imports a model and the files with weights next to it.
///
/// On failure the error lists all problems of the graph, not only the first one.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    import_with(&read_model(path)?, &Folders::of(path), options)
}

/// Imports a decoded model; files with weights are read from `folder`.
pub fn import_model(model: &ModelProto, folder: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    import_with(model, &Folders::only(folder), options)
}

fn import_with(model: &ModelProto, folders: &Folders, options: &ImportOptions) -> Result<Imported, ImportError> {
    let graph = model.graph.as_ref().ok_or_else(|| ImportError::Malformed("it has no graph".to_string()))?;
    if model.opset_import.is_empty() {
        return Err(ImportError::NoOpset);
    }
    let opset = model.opset_import.iter().find(|o| is_onnx(&o.domain)).map_or(1, |o| o.version);
    if !OPSETS.contains(&opset) {
        return Err(ImportError::Opset { found: opset });
    }
    if let Some(name) = options.shapes.keys().find(|name| !graph.input.iter().any(|i| i.name == **name)) {
        let inputs: Vec<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
        return Err(ImportError::Options(format!("the model has no input `{name}`; its inputs are {}", inputs.join(", "))));
    }
    let order = order::order(graph);
    let mut importer = Importer {
        builder: Builder::new(&graph.name),
        values: BTreeMap::new(),
        elements: BTreeMap::new(),
        problems: order.problems,
        behind: 0,
        infos: infos(graph),
        opset,
        folders,
    };
    importer.initializers(graph);
    let inputs = importer.inputs(graph, options);
    for index in order.nodes {
        match order.circular.contains(&index) {
            false => importer.node(index, &graph.node[index]),
            true => importer.define(&graph.node[index], None),
        }
    }
    importer.outputs(graph);
    let Importer { builder, problems: mut causes, behind, .. } = importer;
    if !causes.is_empty() {
        causes.truncate(MAX_PROBLEMS);
        return Err(ImportError::Problems(Problems { causes, behind }));
    }
    let graph_ir = builder.graph.without_dead_nodes();
    let names = graph_ir.params().into_iter().filter_map(|id| graph_ir.node(id).name.clone());
    let mut values = builder.weights;
    let weights = names.filter_map(|name| values.remove_entry(&name)).collect();
    verify::graph(&graph_ir).map_err(|e| ImportError::Malformed(e.to_string()))?;
    let outputs = graph.output.iter().map(|o| o.name.clone()).collect();
    Ok(Imported { graph: graph_ir, weights, inputs, outputs })
}

fn is_onnx(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The declarations of each name; a file may have more than one for a name.
fn infos(graph: &GraphProto) -> BTreeMap<&str, Vec<&ValueInfoProto>> {
    let mut infos: BTreeMap<&str, Vec<&ValueInfoProto>> = BTreeMap::new();
    for info in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
        infos.entry(&info.name).or_default().push(info);
    }
    infos
}

/// The state of an import.
struct Importer<'a> {
    builder: Builder,
    /// Values by their names in the file; `None` if a problem prevents the value.
    values: BTreeMap<&'a str, Option<Value>>,
    /// The types of the elements of values, where they are known.
    elements: BTreeMap<&'a str, DataType>,
    problems: Vec<Problem>,
    /// The number of nodes that depend on refused values.
    behind: usize,
    /// The file's declarations of values.
    infos: BTreeMap<&'a str, Vec<&'a ValueInfoProto>>,
    opset: i64,
    folders: &'a Folders,
}

impl<'a> Importer<'a> {
    fn problem(&mut self, place: &str, reason: Refusal) {
        self.problems.push(Problem { place: place.to_string(), op: None, reason });
    }

    fn initializers(&mut self, graph: &'a GraphProto) {
        let dense = graph.initializer.iter().map(|t| (t, tensor::elements(t, self.folders)));
        let sparse = graph.sparse_initializer.iter().filter_map(|s| Some((s.values.as_ref()?, sparse::dense(s, self.folders))));
        for (tensor, known) in dense.chain(sparse) {
            let element = DataType::try_from(tensor.data_type).ok();
            let value = known.map(Value::Known).and_then(|value| self.as_declared(&tensor.name, value, element));
            let value = value.map_err(|reason| self.problem(&tensor.name, reason)).ok();
            self.elements.extend(element.map(|element| (tensor.name.as_str(), element)));
            self.values.insert(&tensor.name, value);
        }
    }

    /// Makes the inputs that are not initializers, and returns their names in the file.
    fn inputs(&mut self, graph: &'a GraphProto, options: &ImportOptions) -> Vec<String> {
        let mut seen: BTreeSet<&str> = self.values.keys().copied().collect();
        let given: Vec<&ValueInfoProto> = graph.input.iter().filter(|info| seen.insert(&info.name)).collect();
        for (info, shape) in given.iter().zip(inputs::shapes(&given, options)) {
            let element = declared::declared(info).and_then(|declared| declared.element);
            let value = shape.and_then(|shape| {
                let value = self.input(&info.name, &shape);
                self.as_declared(&info.name, value, element)
            });
            let value = value.map_err(|reason| self.problem(&info.name, reason)).ok();
            self.elements.extend(element.map(|element| (info.name.as_str(), element)));
            self.values.insert(&info.name, value);
        }
        given.iter().map(|info| info.name.clone()).collect()
    }

    fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        let name = self.builder.unique(name, "input");
        let node = self.builder.graph.input(name, TensorType::fixed(shape));
        self.builder.laid(node, Layout::file(shape.len()))
    }

    fn node(&mut self, index: usize, node: &'a NodeProto) {
        let found = match ops::find(&node.op_type).filter(|_| is_onnx(&node.domain)) {
            None if is_onnx(&node.domain) => Err(Refusal::unsupported("the operator")),
            None => Err(Refusal::unsupported(format!("the operator, of the set `{}`", node.domain))),
            Some(operator) => Ok(operator),
        };
        let results = found.and_then(|(operator, elements)| {
            let Some(arguments) = self.arguments(node)? else {
                self.behind += 1;
                return Ok(None);
            };
            let call = Call::new(node, self.opset, self.folders, arguments);
            let results = operator(&mut self.builder, &call)?;
            call.finish()?;
            if let Some(i) = (results.len()..node.output.len()).find(|&i| call.wants(i)) {
                return Err(Refusal::unsupported(format!("result {} (`{}`)", i + 1, node.output[i])));
            }
            let argument = |i: usize| self.elements.get(node.input.get(i)?.as_str()).copied();
            let element = types::first_result(node, elements, argument);
            let mut checked = Vec::new();
            for (i, (name, value)) in node.output.iter().zip(results).enumerate() {
                checked.push(self.as_declared(name, value, element.filter(|_| i == 0))?);
            }
            if let (Some(element), Some(name)) = (element, node.output.first()) {
                self.elements.insert(name, element);
            }
            Ok(Some(checked))
        });
        let results = results.unwrap_or_else(|reason| {
            self.problems.push(order::problem(index, node, reason));
            None
        });
        self.define(node, results);
    }

    /// Names the results of a node. A name that already has a value keeps it; this problem is reported elsewhere.
    fn define(&mut self, node: &'a NodeProto, results: Option<Vec<Value>>) {
        let mut results = results.map(Vec::into_iter);
        for name in &node.output {
            let value = results.as_mut().and_then(Iterator::next);
            if !name.is_empty() {
                self.values.entry(name).or_insert(value);
            }
        }
    }

    /// Returns a value if it agrees with the file's declaration.
    fn as_declared(&self, name: &str, value: Value, element: Option<DataType>) -> Result<Value, Refusal> {
        let infos = self.infos.get(name).into_iter().flatten();
        infos.into_iter().try_for_each(|info| declared::compare(info, &value, element))?;
        Ok(value)
    }

    /// The arguments of a node; `None` if a problem prevents one of them.
    fn arguments(&self, node: &NodeProto) -> Result<Option<Vec<Option<Value>>>, Refusal> {
        let mut arguments = Vec::new();
        let mut complete = true;
        for name in &node.input {
            arguments.push(match name.as_str() {
                "" => None,
                name => match self.values.get(name) {
                    Some(Some(value)) => Some(value.clone()),
                    Some(None) => {
                        complete = false;
                        None
                    }
                    None => return Err(Refusal::invalid(format!("nothing computes its argument `{name}`"))),
                },
            });
        }
        Ok(complete.then_some(arguments))
    }

    fn outputs(&mut self, graph: &'a GraphProto) {
        for output in &graph.output {
            match self.values.get(output.name.as_str()).cloned() {
                None => self.problem(&output.name, Refusal::invalid("nothing computes this output")),
                Some(None) => {}
                Some(Some(value)) => match self.builder.output(&value) {
                    Ok(node) => self.builder.graph.outputs.push(node),
                    Err(reason) => self.problem(&output.name, reason),
                },
            }
        }
        if graph.output.is_empty() {
            self.problem(&graph.name, Refusal::invalid("the graph has no outputs"));
        }
    }
}
