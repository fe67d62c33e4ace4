//! Counts the cells of NAS-Bench-201 that are distinct functions, and the networks made of them.
//!
//! `cargo run --release -p sonar-rewrite --example canonical [cells]`

use sonar_ir::entity::EntityVec;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::space::Space;
use sonar_ir::space::canonical;
use sonar_rewrite::canonical_key;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

const SPACE: &str = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (graphs, _) = SPACE.split_once("graph @stage").ok_or("the space has stages of cells")?;
    let cell = format!("{graphs}\ngraph @one_cell(%x: f32[N,32,32,16]) {{ return @cell(%x) }}\n");
    count("cells", &Space::parse(&cell)?)?;
    if std::env::args().nth(1).is_some_and(|what| what == "cells") {
        return Ok(());
    }
    count("networks", &Space::parse(SPACE)?)
}

fn count(what: &str, space: &Space) -> Result<(), Box<dyn std::error::Error>> {
    let mut structures: HashMap<String, Graph> = HashMap::new();
    for candidate in space.assignments() {
        let graph = space.instantiate(&candidate)?;
        structures.entry(canonical::key(&graph)).or_insert(graph);
    }
    let started = Instant::now();
    let keys: HashSet<String> = structures.values().map(canonical_key).collect::<Result<_, _>>()?;
    let each = started.elapsed().as_secs_f64() / structures.len() as f64;
    let without_shifts: Vec<Graph> = structures.values().map(dead_edges_as_zeros).collect::<Result<_, _>>()?;
    let published: HashSet<String> = without_shifts.iter().map(canonical_key).collect::<Result<_, _>>()?;
    println!(
        "{what}: {} candidates, {} as graphs, {} as functions ({:.2} ms each), {} if shifts behind dead edges are zeros",
        space.count(),
        structures.len(),
        keys.len(),
        each * 1e3,
        published.len()
    );
    Ok(())
}

/// The graph in which the batch normalisation of zeros gives zeros.
fn dead_edges_as_zeros(graph: &Graph) -> Result<Graph, sonar_ir::graph::infer::TypeError> {
    let mut result = Graph::new(graph.name.clone());
    let mut ids: EntityVec<NodeId, NodeId> = EntityVec::new();
    for node in &graph.nodes {
        let name = node.name.clone().unwrap_or_default();
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| ids[*operand]).collect();
        let zero = |id: &NodeId| matches!(result.node(*id).op, Op::Splat(value, _) if value == 0.0);
        let vanishes = match node.op {
            Op::BatchNorm { .. } | Op::Conv2d(_) => zero(&operands[0]),
            Op::Unary(_) | Op::Binary(_) | Op::AvgPool(_) => operands.iter().all(zero),
            _ => false,
        };
        ids.push(match &node.op {
            Op::Input => result.input(name, node.ty.clone()),
            Op::Param(init) => result.param(name, &node.ty.extents().unwrap_or_default(), *init),
            _ if vanishes => result.push(Op::Splat(0.0, node.ty.shape.clone()), &[])?,
            op => result.push(op.clone(), &operands)?,
        });
    }
    result.outputs = graph.outputs.iter().map(|output| ids[*output]).collect();
    Ok(result)
}
