//! The kernels of a graph, and the distinct tasks among them.

use sonar_ir::entity::{EntityVec, entity};
use sonar_ir::loops::{BufferKind, Program};
use sonar_ir::{Graph, Op};

use crate::error::LowerError;
use crate::footprints::flops;
use crate::lowering::operators::{lower, lower_copy};
use crate::lowering::partition::{Partition, apart, partition};
use crate::lowering::stage::{Stage, TaskKind, Value};

/// A loop program that needs a schedule. Kernels with the same computation share one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Identity: the program's canonical text, and which inputs are weights.
    pub key: String,
    /// The unscheduled program.
    pub program: Program,
    /// For each input buffer, whether it is a weight. Weights are given only once, so they may be packed.
    pub weights: Vec<bool>,
    /// Floating-point operations of one run.
    pub flops: u64,
    /// Bytes of all arguments: the minimum memory traffic of one run.
    pub bytes: u64,
    /// The kind of computation, for people.
    pub kind: TaskKind,
}

entity! {
    /// Index of a task in its list.
    TaskId, "#"
}

/// A kernel of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Its task.
    pub task: TaskId,
    /// The value of each input buffer.
    pub inputs: Vec<Value>,
    /// The value of the output buffer. For a copy to an output of the graph, it is [`Value::Internal`] with the length of the
    /// output.
    pub output: Value,
}

/// A graph as kernels.
#[derive(Clone, Debug, PartialEq)]
pub struct Tasks {
    /// The graph, without its dead nodes.
    pub graph: Graph,
    /// Distinct computations.
    pub tasks: EntityVec<TaskId, Task>,
    /// Every kernel, after the kernels of its operands.
    pub kernels: Vec<Kernel>,
    /// Lengths of the tensors that are not values of nodes.
    pub internals: Vec<usize>,
    /// The tensor of each output of the graph.
    pub outputs: Vec<Value>,
}

/// Partitions a specialised graph into kernels and lowers each to an unscheduled program.
pub fn tasks(graph: &Graph) -> Result<Tasks, LowerError> {
    lower_with(graph, partition)
}

/// Like [`tasks`], with one kernel per operator: the baseline for fusion.
pub fn unfused_tasks(graph: &Graph) -> Result<Tasks, LowerError> {
    lower_with(graph, apart)
}

fn lower_with(graph: &Graph, partition: fn(&Graph) -> Partition) -> Result<Tasks, LowerError> {
    for (id, node) in graph.iter() {
        match node.ty.extents() {
            None => return Err(LowerError::NotSpecialised(id)),
            Some(shape) if shape.contains(&0) => return Err(LowerError::Empty(id)),
            Some(_) => {}
        }
    }
    let graph = graph.without_dead_nodes();
    let parts = partition(&graph);
    let mut result = Tasks { tasks: EntityVec::new(), kernels: vec![], internals: vec![], outputs: vec![], graph };
    for &root in &parts.roots {
        for stage in lower(&result.graph, &parts, root, &mut result.internals) {
            result.add(stage);
        }
    }
    // Every output must be written by a kernel of its own. Graph inputs, and values that are already another output, are
    // copied.
    for &output in &result.graph.outputs.clone() {
        let stored = parts.layout[output].stored;
        let value = Value::Node(stored);
        let given = matches!(result.graph.node(stored).op, Op::Input | Op::Param(_));
        if given || result.outputs.contains(&value) {
            let len = result.graph.ty(stored).extents().unwrap_or_default().iter().product();
            result.internals.push(len);
            let copy = Value::Internal(result.internals.len() - 1);
            result.add(lower_copy(value, copy, len));
            result.outputs.push(copy);
        } else {
            result.outputs.push(value);
        }
    }
    Ok(result)
}

impl Tasks {
    /// Bytes of the weights of all kernels: the memory that a run of the network reads between two calls of one kernel.
    pub fn footprint(&self) -> usize {
        let bytes = |kernel: &Kernel| {
            let task = &self.tasks[kernel.task];
            let inputs = task.program.buffers.iter().zip(&task.weights);
            inputs.filter(|(_, weight)| **weight).map(|(buffer, _)| 4 * buffer.len).sum::<usize>()
        };
        self.kernels.iter().map(bytes).sum()
    }

    fn add(&mut self, stage: Stage) {
        let weights: Vec<bool> = stage.inputs.iter().map(|&value| self.is_weight(value)).collect();
        let marks: String = weights.iter().map(|&w| if w { 'w' } else { '-' }).collect();
        let key = format!("{}{marks}\n", stage.program.canonical_text());
        let task = self.tasks.find(|task| task.key == key);
        let task = task.unwrap_or_else(|| self.tasks.push(Task::new(key, stage.program, weights, stage.kind)));
        self.kernels.push(Kernel { task, inputs: stage.inputs, output: stage.output });
    }

    fn is_weight(&self, value: Value) -> bool {
        matches!(value, Value::Node(id) if matches!(self.graph.node(id).op, Op::Param(_)))
    }

    /// Number of elements of a tensor.
    pub fn len_of(&self, value: Value) -> usize {
        match value {
            Value::Node(id) => self.graph.ty(id).extents().unwrap_or_default().iter().product(),
            Value::Internal(i) => self.internals[i],
        }
    }
}

impl Task {
    fn new(key: String, program: Program, weights: Vec<bool>, kind: TaskKind) -> Self {
        let flops = flops::of(&program.body);
        let arguments = program.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Input | BufferKind::Output));
        let bytes = arguments.map(|b| b.len as u64 * 4).sum();
        Task { key, program, weights, flops, bytes, kind }
    }
}
