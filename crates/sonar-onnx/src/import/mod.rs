//! From a file to a graph, node by node.

pub mod call;

use crate::build::layout::Layout;
use crate::build::{Builder, Value, elements};
use crate::error::{ImportError, Problem, Refusal};
use crate::file::proto::{DataType, Dimension, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::file::{read_model, tensor};
use crate::{OPSETS, ops};
use call::Call;
use sonar_ir::{Graph, TensorType, Values, verify};
use std::collections::BTreeMap;
use std::path::Path;

/// The most problems that are listed.
const MAX_PROBLEMS: usize = 1000;

/// What the file leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportOptions {
    /// Shapes of inputs by their names in the file. They bind what the file leaves open, and may not contradict it.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// The extent of a leading axis that neither the file nor `shapes` gives: how many samples there are in one run.
    pub batch: usize,
}

/// A graph with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The graph. Every extent is fixed; inputs and outputs have the file's order of axes.
    pub graph: Graph,
    /// The values of the graph's parameters.
    pub weights: Values,
    /// What the file calls the inputs, in the graph's order.
    pub inputs: Vec<String>,
    /// What the file calls the outputs, in the graph's order.
    pub outputs: Vec<String>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions { shapes: BTreeMap::new(), batch: 1 }
    }
}

/// Imports a model and the files with weights beside it.
///
/// Fails with every problem of the graph at once, not with the first one.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let model = read_model(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    import_model(&model, folder, options)
}

/// Imports a decoded model; files with weights are sought in `folder`.
pub fn import_model(model: &ModelProto, folder: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let graph = model.graph.as_ref().ok_or_else(|| ImportError::Malformed("it has no graph".to_string()))?;
    let opset = model.opset_import.iter().find(|o| is_onnx(&o.domain)).map_or(1, |o| o.version);
    if !OPSETS.contains(&opset) {
        return Err(ImportError::Opset { found: opset });
    }
    if let Some(name) = options.shapes.keys().find(|name| !graph.input.iter().any(|i| i.name == **name)) {
        let inputs: Vec<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
        return Err(ImportError::Options(format!("the model has no input `{name}`; its inputs are {}", inputs.join(", "))));
    }
    let mut importer = Importer {
        builder: Builder::new(&graph.name),
        values: BTreeMap::new(),
        problems: Vec::new(),
        infos: graph.value_info.iter().chain(&graph.output).map(|info| (info.name.as_str(), info)).collect(),
        options,
        opset,
        folder,
    };
    importer.initializers(graph);
    let inputs = importer.inputs(graph);
    for (index, node) in graph.node.iter().enumerate() {
        importer.node(index, node);
    }
    importer.outputs(graph);
    let Importer { builder, mut problems, .. } = importer;
    if !problems.is_empty() {
        problems.truncate(MAX_PROBLEMS);
        return Err(ImportError::Problems(problems));
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

/// The state of an import.
struct Importer<'a> {
    builder: Builder,
    /// Values by their names in the file; `None` where a problem stands in the way.
    values: BTreeMap<&'a str, Option<Value>>,
    problems: Vec<Problem>,
    /// What the file tells of the types of values.
    infos: BTreeMap<&'a str, &'a ValueInfoProto>,
    options: &'a ImportOptions,
    opset: i64,
    folder: &'a Path,
}

impl<'a> Importer<'a> {
    fn problem(&mut self, place: &str, op: Option<&str>, reason: Refusal) {
        self.problems.push(Problem { place: place.to_string(), op: op.map(String::from), reason });
    }

    fn initializers(&mut self, graph: &'a GraphProto) {
        for tensor in &graph.initializer {
            let value = tensor::elements(tensor, self.folder).map(Value::Known);
            let value = value.map_err(|reason| self.problem(&tensor.name, None, reason)).ok();
            self.values.insert(&tensor.name, value);
        }
    }

    /// Makes the inputs that are no initializers; their names in the file.
    fn inputs(&mut self, graph: &'a GraphProto) -> Vec<String> {
        let mut names = Vec::new();
        for info in &graph.input {
            if self.values.contains_key(info.name.as_str()) {
                continue;
            }
            let value = match self.input_shape(info) {
                Ok(shape) => Some(self.input(&info.name, &shape)),
                Err(reason) => {
                    self.problem(&info.name, None, reason);
                    None
                }
            };
            self.values.insert(&info.name, value);
            names.push(info.name.clone());
        }
        names
    }

    fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        let name = self.builder.unique(name, "input");
        let node = self.builder.graph.input(name, TensorType::fixed(shape));
        self.builder.laid(node, Layout::file(shape.len()))
    }

    /// The shape of an input: what the file says, and what the options say where it says nothing.
    fn input_shape(&self, info: &ValueInfoProto) -> Result<Vec<usize>, Refusal> {
        let given = self.options.shapes.get(&info.name);
        let declared = declared(info)?;
        let shape = match (declared, given) {
            (None, None) => {
                return Err(Refusal::unsupported("an input whose rank the file leaves open: its shape must be given"));
            }
            (None, Some(given)) => given.clone(),
            (Some(declared), given) => {
                if let Some(given) = given
                    && given.len() != declared.len()
                {
                    return Err(Refusal::invalid(format!(
                        "the file gives it {} axes, the options {}",
                        declared.len(),
                        given.len()
                    )));
                }
                let mut shape = Vec::new();
                for (axis, extent) in declared.into_iter().enumerate() {
                    shape.push(match (extent, given.map(|g| g[axis])) {
                        (Some(extent), Some(given)) if extent != given && extent != 0 => {
                            return Err(Refusal::invalid(format!(
                                "axis {axis} has extent {extent} in the file and {given} in the options"
                            )));
                        }
                        (Some(0) | None, Some(extent)) | (Some(extent), _) => extent,
                        (None, None) if axis == 0 => self.options.batch,
                        (None, None) => {
                            let what = format!("an input whose axis {axis} has no fixed extent: its shape must be given");
                            return Err(Refusal::unsupported(what));
                        }
                    });
                }
                shape
            }
        };
        match elements(&shape) {
            Some(count) if count > 0 => Ok(shape),
            Some(_) => Err(Refusal::unsupported(format!("an input without elements, of shape {shape:?}"))),
            None => Err(Refusal::unsupported(format!("an input of shape {shape:?}"))),
        }
    }

    fn node(&mut self, index: usize, node: &'a NodeProto) {
        let result = match ops::find(&node.op_type).filter(|_| is_onnx(&node.domain)) {
            None if is_onnx(&node.domain) => Err(Refusal::unsupported("the operator")),
            None => Err(Refusal::unsupported(format!("the operator, of the set `{}`", node.domain))),
            Some(op) => self.arguments(node).and_then(|arguments| match arguments {
                None => Ok(None),
                Some(arguments) => {
                    let call = Call::new(node, self.opset, self.folder, arguments);
                    let results = op(&mut self.builder, &call)?;
                    call.finish()?;
                    match (results.len()..node.output.len()).find(|&i| call.wants(i)) {
                        None => Ok(Some(results)),
                        Some(i) => Err(Refusal::unsupported(format!("result {} (`{}`)", i + 1, node.output[i]))),
                    }
                }
            }),
        };
        let results = result.unwrap_or_else(|reason| {
            let place = match (node.name.as_str(), node.output.first()) {
                ("", Some(output)) => output.clone(),
                ("", None) => format!("node {index}"),
                (name, _) => name.to_string(),
            };
            self.problem(&place, Some(&node.op_type), reason);
            None
        });
        let mut results = results.map(Vec::into_iter);
        for name in node.output.iter() {
            let value = results.as_mut().and_then(Iterator::next).or_else(|| self.stand_in(name));
            if !name.is_empty() {
                self.values.insert(name, value);
            }
        }
    }

    /// The arguments of a node; nothing if a problem stands in the way of one.
    fn arguments(&self, node: &NodeProto) -> Result<Option<Vec<Option<Value>>>, Refusal> {
        let mut arguments = Vec::new();
        for name in &node.input {
            arguments.push(match name.as_str() {
                "" => None,
                name => match self.values.get(name) {
                    Some(Some(value)) => Some(value.clone()),
                    Some(None) => return Ok(None),
                    None => return Err(Refusal::invalid(format!("nothing before it computes its argument `{name}`"))),
                },
            });
        }
        Ok(Some(arguments))
    }

    /// A value of the type that the file tells, in place of a result that cannot be computed: so nodes behind a problem are
    /// looked at, too. The import fails in any case.
    fn stand_in(&mut self, name: &str) -> Option<Value> {
        let declared = declared(self.infos.get(name)?).ok()??;
        let batch = self.options.batch;
        let extents = declared.iter().enumerate().map(|(axis, extent)| extent.or((axis == 0).then_some(batch)));
        let shape: Vec<usize> = extents.collect::<Option<_>>()?;
        elements(&shape).filter(|&count| count > 0)?;
        Some(self.input(name, &shape))
    }

    fn outputs(&mut self, graph: &'a GraphProto) {
        for output in &graph.output {
            match self.values.get(output.name.as_str()).cloned() {
                None => self.problem(&output.name, None, Refusal::invalid("nothing computes this output")),
                Some(None) => {}
                Some(Some(value)) => match self.builder.output(&value) {
                    Ok(node) => self.builder.graph.outputs.push(node),
                    Err(reason) => self.problem(&output.name, None, reason),
                },
            }
        }
        if graph.output.is_empty() {
            self.problem(&graph.name, None, Refusal::invalid("the graph has no outputs"));
        }
    }
}

/// The extents that a file tells of a value, where it does: nothing if not even the rank.
fn declared(info: &ValueInfoProto) -> Result<Option<Vec<Option<usize>>>, Refusal> {
    let Some(tensor) = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return Err(Refusal::unsupported("a value that is no tensor"));
    };
    match DataType::try_from(tensor.elem_type) {
        Ok(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16) => {}
        Ok(other) => return Err(Refusal::unsupported(format!("elements of type {other:?} that are not known at import"))),
        Err(_) => return Err(Refusal::unsupported(format!("elements of type {}", tensor.elem_type))),
    }
    let extent = |value: &Option<Dimension>| match value {
        Some(Dimension::DimValue(extent)) => usize::try_from(*extent).ok(),
        Some(Dimension::DimParam(_)) | None => None,
    };
    Ok(tensor.shape.as_ref().map(|shape| shape.dim.iter().map(|d| extent(&d.value)).collect()))
}
