//! The definition of each name of a graph, and an order in which its nodes can be computed.
//!
//! ONNX requires nodes in topological order. But files in another order are common, and their meaning is clear, so the nodes are
//! sorted. Ambiguous files are refused: a name with two definitions, and nodes that depend on their own results.

use crate::error::{Problem, Refusal};
use crate::file::proto::{GraphProto, NodeProto};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// The nodes of a graph in an order in which they can be computed.
pub struct Order {
    /// Indices of the nodes. If several are possible, the first one in the file comes first.
    pub nodes: Vec<usize>,
    /// Indices of nodes that depend on their own results.
    pub circular: BTreeSet<usize>,
    /// Names with two definitions, and cycles.
    pub problems: Vec<Problem>,
}

/// The name of a node in messages: its name, else its first result, else its index.
pub fn label(index: usize, node: &NodeProto) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) if !output.is_empty() => output.clone(),
        ("", _) => format!("node {index}"),
        (name, _) => name.to_string(),
    }
}

/// A problem of a node.
pub fn problem(index: usize, node: &NodeProto, reason: Refusal) -> Problem {
    Problem { place: label(index, node), op: Some(node.op_type.clone()), reason }
}

/// Orders a graph.
pub fn order(graph: &GraphProto) -> Order {
    let (producers, mut problems) = definitions(graph);
    let sources = |index: usize| {
        let names = graph.node[index].input.iter();
        names.filter_map(|name| producers.get(name.as_str()).copied()).collect::<BTreeSet<usize>>()
    };
    // The nodes that read results of each node, and the number of nodes that each one waits for.
    let mut readers = vec![Vec::new(); graph.node.len()];
    let mut waits = vec![0; graph.node.len()];
    for (index, waits) in waits.iter_mut().enumerate() {
        for source in sources(index) {
            readers[source].push(index);
            *waits += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..graph.node.len()).filter(|&i| waits[i] == 0).map(Reverse).collect();
    let (mut nodes, mut circular, mut done) = (Vec::new(), BTreeSet::new(), vec![false; graph.node.len()]);
    loop {
        while let Some(Reverse(index)) = ready.pop() {
            if !std::mem::replace(&mut done[index], true) {
                nodes.push(index);
                for &reader in &readers[index] {
                    waits[reader] -= 1;
                    if waits[reader] == 0 {
                        ready.push(Reverse(reader));
                    }
                }
            }
        }
        // Every node that is left waits for another one that is left. Following them ends in a cycle.
        let Some(first) = done.iter().position(|done| !done) else { break };
        let mut path = vec![first];
        let circle = loop {
            let last = path[path.len() - 1];
            let Some(next) = sources(last).into_iter().find(|&source| !done[source]) else { break path };
            match path.iter().position(|&index| index == next) {
                Some(start) => break path.split_off(start),
                None => path.push(next),
            }
        };
        problems.push(circle_problem(graph, &circle));
        // Nodes after the cycle are ordered as if the cycle could be computed.
        circular.extend(&circle);
        ready.extend(circle.into_iter().map(Reverse));
    }
    Order { nodes, circular, problems }
}

/// The error for a cycle of nodes: each reads a result of the next.
fn circle_problem(graph: &GraphProto, circle: &[usize]) -> Problem {
    const SHOWN: usize = 8;
    let first = circle[0];
    // In the order of the data flow.
    let mut names: Vec<String> = circle.iter().rev().map(|&i| format!("`{}`", label(i, &graph.node[i]))).collect();
    names.rotate_right(1);
    let end = names[0].clone();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_string());
    }
    names.push(end);
    problem(first, &graph.node[first], Refusal::invalid(format!("it depends on its own result: {}", names.join(" → "))))
}

/// The node that computes each name, and the names that have two definitions.
fn definitions(graph: &GraphProto) -> (BTreeMap<&str, usize>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut twice = |place: &str, what: &str| {
        problems.push(Problem { place: place.to_string(), op: None, reason: Refusal::invalid(what) });
    };
    let mut inputs = BTreeSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name.as_str()) {
            twice(&input.name, "two inputs have this name");
        }
    }
    let mut constants = BTreeSet::new();
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        if !constants.insert(tensor.name.as_str()) {
            twice(&tensor.name, "two initializers have this name");
        }
    }
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    let mut producers: BTreeMap<&str, usize> = BTreeMap::new();
    let describe = |index: usize| format!("{} `{}`", graph.node[index].op_type, label(index, &graph.node[index]));
    for (index, node) in graph.node.iter().enumerate() {
        let mut refuse = |what: String| problems.push(problem(index, node, Refusal::invalid(what)));
        if !node.name.is_empty() {
            match named.get(node.name.as_str()) {
                Some(&other) => refuse(format!("another node, a {}, has this name too", graph.node[other].op_type)),
                None => drop(named.insert(&node.name, index)),
            }
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if inputs.contains(output.as_str()) {
                refuse(format!("its result `{output}` is an input of the graph too"));
            } else if constants.contains(output.as_str()) {
                refuse(format!("its result `{output}` is an initializer too"));
            } else if let Some(&other) = producers.get(output.as_str()) {
                let other = if other == index { "the same node".to_string() } else { describe(other) };
                refuse(format!("its result `{output}` is computed twice: {other} computes it too"));
            } else {
                producers.insert(output, index);
            }
        }
    }
    (producers, problems)
}
