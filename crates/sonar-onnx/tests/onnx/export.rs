//! From graphs to files, and what cannot be written. Whole models are compared beside the other examples of the repository.

use super::support::*;
use prost::Message;
use sonar_ir::graph::Conv2dAttrs;
use sonar_ir::graph::{init, interp};
use sonar_ir::{Dim, Graph, Init, Op, Tensor, TensorType, Values};
use sonar_onnx::proto::ModelProto;
use sonar_onnx::{ExportError, ImportOptions, export, export_model, import_model};
use std::path::Path;

fn image(shape: &[usize]) -> TensorType {
    TensorType::fixed(shape)
}

/// Asserts that what is exported computes the same as the graph.
#[track_caller]
fn comes_back(graph: &Graph) -> ModelProto {
    let (weights, inputs) = (init::randomise(graph, 5), init::inputs(graph, 5));
    let bytes = export(graph, &weights).unwrap();
    let model = ModelProto::decode(&bytes[..]).unwrap();
    let expected = interp::run(graph, &weights.into_iter().chain(inputs.clone()).collect()).unwrap();
    let back = imported(&model).unwrap_or_else(|e| panic!("{e}"));
    let given: Vec<Tensor> = back.inputs.iter().map(|name| inputs[name].clone()).collect();
    same(&graph.name, &outputs(&back, &given), &expected);
    model
}

fn count(model: &ModelProto, op: &str) -> usize {
    model.graph.as_ref().unwrap().node.iter().filter(|n| n.op_type == op).count()
}

#[test]
fn transposed_convolutions_of_every_stride_come_back() {
    for stride in 1..4 {
        for extent in 7..10 {
            let mut graph = Graph::new("grow");
            let attrs = Conv2dAttrs { stride: [stride, 1], pad: [1, 0, 0, 1], dilation: [1, 2], groups: 2 };
            let reached = (extent + 1 - 3) / stride + 1;
            let dy = graph.input("dy", image(&[1, reached, 6, 4]));
            let w = graph.param("w", &[3, 2, 3, 4], Init::He);
            let y = graph.push(Op::Conv2dGradInput(attrs, [extent, 7]), &[dy, w]).unwrap();
            graph.outputs.push(y);
            comes_back(&graph);
        }
    }
}

/// A graph that came from a file with the channels first has no use for transpositions in a file.
#[test]
fn what_came_from_a_file_moves_nothing() {
    let (x, w) = (ramp(&[1, 2, 5, 5]), ramp(&[3, 2, 3, 3]));
    let nodes = vec![
        node("Conv", &[], &["x", "w"], &["a"]),
        node("Relu", &[], &["a"], &["b"]),
        node("MaxPool", &[ints("kernel_shape", &[2, 2])], &["b"], &["c"]),
        node("Add", &[], &["c", "bias"], &["y"]),
    ];
    let constants = vec![constant("w", &w), constant("bias", &ramp(&[3, 1, 1]))];
    let there = imported(&model(13, &[("x", &x.shape)], constants, nodes, &["y"])).unwrap();
    let file = export_model(&there.graph, &there.weights).unwrap();
    assert_eq!(count(&file, "Transpose"), 0);
    same("again", &outputs(&imported(&file).unwrap(), std::slice::from_ref(&x)), &outputs(&there, &[x]));
}

#[test]
fn outputs_may_be_inputs_and_one_another() {
    let mut graph = Graph::new("plain");
    let x = graph.input("x", image(&[2, 3]));
    let w = graph.param("output0", &[2, 3], Init::He);
    let y = graph.push(Op::Softmax, &[x]).unwrap();
    graph.outputs = vec![x, w, y, y];
    let model = comes_back(&graph);
    let names: Vec<&str> = model.graph.as_ref().unwrap().output.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["output0_2", "output1", "output2", "output3"]);
}

#[test]
fn a_batch_stays_open() {
    let mut graph = Graph::new("rows");
    let x = graph.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(2), Dim::Fixed(3)] });
    let y = graph.push(Op::Reshape(vec![Dim::Batch, Dim::Fixed(6)]), &[x]).unwrap();
    graph.outputs.push(y);
    let model = export_model(&graph, &Values::new()).unwrap();
    for batch in [1, 4] {
        let back = import_model(&model, Path::new(""), &ImportOptions { batch, ..Default::default() }).unwrap();
        assert_eq!(back.graph.ty(back.graph.outputs[0]), &TensorType::fixed(&[batch, 6]));
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let mut graph = Graph::new("f");
    let x = graph.input("x", image(&[1, 4, 4, 2]));
    let w = graph.param("w", &[1, 1, 2, 2], Init::He);
    let y = graph.push(Op::Conv2d(Conv2dAttrs::default()), &[x, w]).unwrap();
    graph.outputs.push(y);
    let missing = Err(ExportError::Weight("w".to_string()));
    assert_eq!(export(&graph, &Values::new()), missing);
    let other = Values::from([("w".to_string(), Tensor::full(vec![2, 2], 1.0))]);
    assert_eq!(export(&graph, &other), missing);
    let gradient = graph.push(Op::Conv2dGradWeight(Conv2dAttrs::default(), [1, 1]), &[x, y]).unwrap();
    graph.outputs.push(gradient);
    let error = export(&graph, &init::randomise(&graph, 1)).unwrap_err();
    assert_eq!(error.to_string(), "%3: an operator of training cannot be written as ONNX");
}
