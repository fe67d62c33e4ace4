//! Names with two meanings, nodes in any order, and nodes that depend on themselves.

use super::support::*;
use sonar_onnx::proto::*;

/// A model with one input of three numbers.
fn of(nodes: Vec<NodeProto>) -> ModelProto {
    model(17, &[("x", &[3])], vec![], nodes, &["y"])
}

fn named(name: &str, node: NodeProto) -> NodeProto {
    NodeProto { name: name.into(), ..node }
}

#[test]
fn a_name_is_computed_once() {
    let neg = |result: &str| node("Neg", &[], &["x"], &[result]);
    let relu = |argument: &str, result: &str| node("Relu", &[], &[argument], &[result]);
    refused_model(&of(vec![neg("a"), relu("x", "a"), relu("a", "y")]), &["Relu `a`", "`a` is computed twice: Neg `a`"]);
    refused_model(
        &of(vec![named("first", neg("a")), named("second", relu("x", "a")), relu("a", "y")]),
        &["Relu `second`: invalid: its result `a` is computed twice: Neg `first` computes it too"],
    );
    let split = node("Split", &[int("axis", 0)], &["x"], &["y", "y"]);
    refused_model(&of(vec![split]), &["`y` is computed twice", "the same node"]);
    refused_model(&of(vec![neg("x"), relu("x", "y")]), &["its result `x` is an input of the graph too"]);
    let mut constant = of(vec![neg("w"), relu("w", "y")]);
    constant.graph.as_mut().unwrap().initializer.push(super::support::constant("w", &tensor(&[3], &[1.0; 3])));
    refused_model(&constant, &["its result `w` is an initializer too"]);
    // Results that are left out have no name, so they may be many.
    let normalised = node("LayerNormalization", &[], &["x", "x"], &["y", "", ""]);
    assert!(imported(&of(vec![normalised])).is_ok());
}

#[test]
fn inputs_initializers_and_nodes_have_names_of_their_own() {
    let relu = || node("Relu", &[], &["x"], &["y"]);
    let mut inputs = of(vec![relu()]);
    let graph = inputs.graph.as_mut().unwrap();
    graph.input.push(graph.input[0].clone());
    refused_model(&inputs, &["`x`: invalid: two inputs have this name"]);

    let weight = || constant("w", &tensor(&[3], &[1.0, 2.0, 3.0]));
    let add = || node("Add", &[], &["x", "w"], &["y"]);
    refused_model(
        &model(17, &[("x", &[3])], vec![weight(), weight()], vec![add()], &["y"]),
        &["two initializers have this name"],
    );

    let nodes = vec![named("n", node("Neg", &[], &["x"], &["a"])), named("n", node("Relu", &[], &["a"], &["y"]))];
    refused_model(&of(nodes), &["Relu `n`: invalid: another node, a Neg, has this name too"]);
    // Nodes need no names.
    assert!(imported(&of(vec![node("Neg", &[], &["x"], &["a"]), node("Relu", &[], &["a"], &["y"])])).is_ok());

    let twice = node("Flatten", &[int("axis", 0), int("axis", 1)], &["x"], &["y"]);
    refused_model(&of(vec![twice]), &["two attributes have the name `axis`"]);
}

#[test]
fn nodes_may_stand_in_any_order() {
    // y = -(relu(x) + x), with the nodes in every order.
    let nodes = [node("Relu", &[], &["x"], &["a"]), node("Add", &[], &["a", "x"], &["b"]), node("Neg", &[], &["b"], &["y"])];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let shuffled = order.iter().map(|&i| nodes[i].clone()).collect();
        let found = outputs(&imported(&of(shuffled)).unwrap(), &[tensor(&[3], &[1.0, -2.0, 3.0])]);
        same("shuffled", &found, &[tensor(&[3], &[-2.0, 2.0, -6.0])]);
    }
}

#[test]
fn circles_are_refused() {
    let add = |a: &str, b: &str, result: &str| node("Add", &[], &[a, b], &[result]);
    let circle = of(vec![add("x", "b", "a"), node("Neg", &[], &["a"], &["b"]), node("Relu", &[], &["b"], &["y"])]);
    refused_model(&circle, &["1 problem", "it depends on its own result: `a` → `b` → `a`", "1 more node depends on these"]);
    refused_model(&of(vec![add("x", "y", "y")]), &["it depends on its own result: `y` → `y`"]);
    // Two circles, the second behind the first.
    let two =
        of(vec![add("x", "a", "a"), add("a", "c", "b"), node("Neg", &[], &["b"], &["c"]), node("Relu", &[], &["c"], &["y"])]);
    refused_model(&two, &["2 problems", "`a` → `a`", "`b` → `c` → `b`"]);
}

#[test]
fn names_that_nothing_computes() {
    refused_model(&of(vec![node("Relu", &[], &["x"], &["a"])]), &["`y`: invalid: nothing computes this output"]);
    refused_model(&of(vec![node("Relu", &[], &["z"], &["y"])]), &["nothing computes its argument `z`"]);
    // Even where the result is of no use.
    let unused = of(vec![node("Relu", &[], &["x"], &["y"]), node("Neg", &[], &["z"], &["b"])]);
    refused_model(&unused, &["nothing computes its argument `z`"]);
    // An output may be an input, or the same as another.
    assert!(imported(&model(17, &[("x", &[3])], vec![], vec![], &["x"])).is_ok());
    assert!(imported(&model(17, &[("x", &[3])], vec![], vec![node("Neg", &[], &["x"], &["y"])], &["y", "y"])).is_ok());
}

#[test]
fn causes_are_told_and_consequences_counted() {
    // An open extent is computed with, so all that follows depends on it.
    let scalar = |name: &str, value: f32| constant(name, &tensor(&[], &[value]));
    let mut index = TensorProto { name: "i".into(), dims: vec![], data_type: DataType::Int64 as i32, ..Default::default() };
    index.int64_data = vec![2];
    let mut cascade = model(
        13,
        &[("x", &[1, 3, 4, 4])],
        vec![index, scalar("zero", 0.0), scalar("one", 1.0)],
        vec![
            node("Shape", &[], &["x"], &["s"]),
            node("Gather", &[], &["s", "i"], &["h"]),
            node("Cast", &[int("to", 1)], &["h"], &["hf"]),
            node("Range", &[], &["zero", "hf", "one"], &["r"]),
            node("ReduceMean", &[int("keepdims", 0)], &["x"], &["m"]),
            node("Mul", &[], &["r", "m"], &["y"]),
        ],
        &["y"],
    );
    assert!(imported(&cascade).is_ok());
    let graph = cascade.graph.as_mut().unwrap();
    let open = |name: &str| DimensionProto { value: Some(Dimension::DimParam(name.into())) };
    let shape = graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
    shape.dim[2..].clone_from_slice(&[open("H"), open("W")]);
    // The file declares what is in between, which is no reason to go on with it.
    graph.value_info.push(info("hf", Some(&[])));
    let message = imported(&cascade).unwrap_err().to_string();
    assert_eq!(
        message,
        "1 problem stands in the way:\n  `x`: not supported: an input whose axis 2 (`H`) has no fixed extent: its shape must be \
         given, as in --shape x=1,3,H,W with numbers\n  6 more nodes depend on these and were not looked at"
    );
    // Operators that are not supported are causes of their own, wherever they stand.
    let nodes = vec![
        node("Mystery", &[], &["x"], &["a"]),
        node("Relu", &[], &["a"], &["b"]),
        node("Enigma", &[], &["b"], &["c"]),
        node("Conv", &[], &["c", "c"], &["y"]),
    ];
    let message = imported(&of(nodes)).unwrap_err().to_string();
    for part in ["2 problems", "Mystery `a`: not supported: the operator", "Enigma `c`", "2 more nodes"] {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}
