//! What a kernel costs, for rewriting: its measured time where that is known, an estimate elsewhere.
//!
//! A kernel's time is that of the tasks which it lowers to on its own, with the best schedules known. Operators that neighbours
//! take into their kernels, or that are only another way to index, have no time of their own: they are always estimated.

use crate::compile::{CompileOptions, estimated_cost};
use sonar_ir::graph::{Graph, Init, Op};
use sonar_rewrite::KernelShape;
use sonar_schedule::Task;
use std::cell::RefCell;
use std::collections::HashMap;

/// Knows the best measured time of some tasks, in seconds.
pub type Times<'a> = dyn Fn(&Task) -> Option<f64> + 'a;

/// How much faster than its estimate a kernel may be thought to be before it was timed: whatever could win is to be found.
const OPTIMISM: f64 = 0.7;

/// Times of kernels, remembered.
pub struct KernelCosts<'a> {
    estimate: Box<sonar_rewrite::Cost<'static>>,
    threads: f64,
    times: &'a Times<'a>,
    kernels: RefCell<HashMap<String, Vec<Task>>>,
}

impl<'a> KernelCosts<'a> {
    /// Costs of kernels of a graph compiled with these options, of which `times` knows some.
    pub fn new(graph: &Graph, options: &CompileOptions<'_>, times: &'a Times<'a>) -> Self {
        let (estimate, threads) = (estimated_cost(graph, options), options.threads as f64);
        KernelCosts { estimate, threads, times, kernels: RefCell::default() }
    }

    /// Seconds of a kernel: measured, or what it may take at best.
    pub fn seconds(&self, kernel: &KernelShape<'_>) -> f64 {
        self.measured(kernel).unwrap_or_else(|| OPTIMISM * (self.estimate)(kernel) / self.threads)
    }

    /// The tasks of a graph's kernels whose times are not known.
    pub fn untimed(&self, graph: &Graph) -> Vec<Task> {
        let mut untimed: Vec<Task> = Vec::new();
        sonar_rewrite::cost::for_each_kernel(graph, |kernel| {
            let tasks = self.tasks(kernel);
            untimed.extend(tasks.into_iter().filter(|task| (self.times)(task).is_none()));
        });
        untimed.sort_by(|a, b| a.key.cmp(&b.key));
        untimed.dedup_by(|a, b| a.key == b.key);
        untimed
    }

    /// The sum of the times of a kernel's tasks; nothing if it has none, or one of them is not known.
    fn measured(&self, kernel: &KernelShape<'_>) -> Option<f64> {
        let tasks = self.tasks(kernel);
        let known: Option<f64> = tasks.iter().map(self.times).sum();
        known.filter(|_| !tasks.is_empty())
    }

    fn tasks(&self, kernel: &KernelShape<'_>) -> Vec<Task> {
        if !has_time_of_its_own(kernel.op) {
            return Vec::new();
        }
        let name = format!("{:?} {:?} {:?}", kernel.op, kernel.operands, kernel.weights);
        let mut kernels = self.kernels.borrow_mut();
        kernels.entry(name).or_insert_with(|| alone(kernel)).clone()
    }
}

/// The tasks of a graph of one kernel; none if it cannot be lowered alone.
fn alone(kernel: &KernelShape<'_>) -> Vec<Task> {
    let mut graph = Graph::new("kernel");
    let mut operands = Vec::with_capacity(kernel.operands.len());
    for (i, (ty, weight)) in kernel.operands.iter().zip(kernel.weights).enumerate() {
        operands.push(match ty.extents() {
            Some(shape) if *weight => graph.param(i.to_string(), &shape, Init::Zeros),
            _ => graph.input(i.to_string(), (*ty).clone()),
        });
    }
    let Ok(result) = graph.push(kernel.op.clone(), &operands) else { return Vec::new() };
    graph.outputs = vec![result];
    sonar_schedule::tasks(&graph).map(|tasks| tasks.tasks.into_iter().collect()).unwrap_or_default()
}

fn has_time_of_its_own(op: &Op) -> bool {
    let indexing = matches!(op, Op::Reshape(_) | Op::Slice { .. } | Op::Broadcast(_) | Op::Concat { .. } | Op::Splat(..));
    !indexing && !matches!(op, Op::Input | Op::Param(_) | Op::Unary(_) | Op::Binary(_) | Op::BatchNorm { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_codegen::Target;
    use sonar_ir::graph::TensorType;

    #[test]
    fn known_times_come_before_estimates() {
        let target = Target::parse("x86-64-v3").expect("a known target");
        let options = CompileOptions::new(&target);
        let (x, w, y) = (TensorType::fixed(&[8, 64]), TensorType::fixed(&[64, 32]), TensorType::fixed(&[8, 32]));
        let product = KernelShape { op: &Op::MatMul, operands: &[&x, &w], weights: &[false, true], result: &y };
        let reshaped = TensorType::fixed(&[4, 2, 64]);
        let reshape = Op::Reshape(reshaped.shape.clone());
        let view = KernelShape { op: &reshape, operands: &[&x], weights: &[false], result: &reshaped };

        let (graph, nothing) = (Graph::new("none"), |_: &Task| None);
        let estimated = KernelCosts::new(&graph, &options, &nothing);
        assert_eq!(estimated.seconds(&product), OPTIMISM * estimated_cost(&graph, &options)(&product));
        assert_eq!(estimated.seconds(&view), 0.0);

        let weights = |task: &Task| Some(if task.weights == [false, true] { 3e-6 } else { 5e-6 });
        let measured = KernelCosts::new(&graph, &options, &weights);
        assert_eq!(measured.seconds(&product), 3e-6);
        // A weight is another kernel than a value.
        assert_eq!(measured.seconds(&KernelShape { weights: &[false, false], ..product }), 5e-6);
        assert_eq!(measured.seconds(&view), 0.0);
    }
}
