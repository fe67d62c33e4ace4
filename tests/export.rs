//! Graphs that become ONNX files and graphs again: they must compute the same.

mod support;

use sonar_ir::graph::{init, interp};
use sonar_ir::space::Space;
use sonar_ir::{Graph, Op};
use sonar_onnx::{ImportOptions, export_model, import_model};
use std::path::Path;
use support::examples::{FOLDERS, examples};
use support::random::{Operators, random_graph};

/// Share of the largest output that may be lost: operators are made of others, which round differently.
const CHECK_TOLERANCE: f64 = 1e-5;

/// What the symbolic batch is bound to, after the file was written.
const BATCH: usize = 2;

/// Compares a graph with what is left of it in an ONNX file; the number of transpositions there.
fn check(what: &str, graph: &Graph) -> usize {
    let bound = graph.specialise(BATCH);
    let weights = init::randomise(&bound, 1);
    let inputs = init::inputs(&bound, 1);
    let model = export_model(graph, &weights).unwrap_or_else(|e| panic!("{what}: {e}"));
    let options = ImportOptions { batch: BATCH, ..ImportOptions::default() };
    let back = import_model(&model, Path::new(""), &options).unwrap_or_else(|e| panic!("{what}: {e}\n{graph}"));

    let expected = interp::run(&bound, &weights.into_iter().chain(inputs.clone()).collect()).expect("the graph is valid");
    let mut values = back.weights.clone();
    for (id, name) in back.graph.inputs().into_iter().zip(&back.inputs) {
        values.insert(back.graph.node(id).name.clone().expect("inputs have names"), inputs[name].clone());
    }
    let found = interp::run(&back.graph, &values).expect("an imported graph is valid");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (output, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = found.relative_error(expected);
        assert!(error <= CHECK_TOLERANCE, "{what}: output {output} is off by {error:e}\n{graph}\n{}", back.graph);
    }
    model.graph.map_or(0, |g| g.node.iter().filter(|n| n.op_type == "Transpose").count())
}

/// Whether a graph has operators of training, which ONNX has not.
fn trains(graph: &Graph) -> bool {
    let training =
        |op: &Op| matches!(op, Op::Conv2dGradWeight(..) | Op::BatchNormTrain { .. } | Op::MaxPoolGrad(_) | Op::AvgPoolGrad(..));
    graph.nodes.iter().any(|node| training(&node.op))
}

#[test]
fn examples_come_back() {
    let mut checked = 0;
    for example in FOLDERS.into_iter().flat_map(examples) {
        let graph = example.graph();
        if trains(&graph) {
            let error = export_model(&graph, &init::randomise(&graph.specialise(BATCH), 1)).expect_err("training is refused");
            assert!(error.to_string().contains("an operator of training"), "{error}");
        } else {
            check(&example.path.display().to_string(), &graph);
            checked += 1;
        }
    }
    assert!(checked >= 23, "only {checked} examples were checked");
}

#[test]
fn random_graphs_come_back() {
    for seed in 0..300 {
        check(&format!("seed {seed}"), &random_graph(seed, Operators::Inference));
    }
}

/// The channels of an image are moved where it comes in, and not in between.
#[test]
fn images_are_transposed_at_the_border_only() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples/models/nb201_resnet.sonar"));
    let space = Space::parse(&text.expect("the example is there")).expect("it is right");
    let graph = space.instantiate(&space.nth(0).expect("one candidate")).expect("it is a graph");
    assert_eq!(check("nb201_resnet", &graph), 1);
}
