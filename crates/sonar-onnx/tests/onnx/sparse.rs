//! Sparse initializers and constants.

use super::support::*;
use sonar_onnx::proto::*;

/// A sparse tensor `w` with these values at these indices.
fn sparse(dims: &[i64], values: &[f32], shape: &[i64], indices: &[i64]) -> SparseTensorProto {
    let indices = TensorProto {
        dims: shape.to_vec(),
        data_type: DataType::Int64 as i32,
        int64_data: indices.to_vec(),
        ..Default::default()
    };
    let values = constant("w", &tensor(&[values.len()], values));
    SparseTensorProto { values: Some(values), indices: Some(indices), dims: dims.to_vec() }
}

/// `x · w` with a sparse `w` of shape `[3, 4]`.
fn product(weight: SparseTensorProto) -> ModelProto {
    let mut model = model(17, &[("x", &[1, 3])], vec![], vec![node("MatMul", &[], &["x", "w"], &["y"])], &["y"]);
    model.graph.as_mut().unwrap().sparse_initializer.push(weight);
    model
}

#[test]
fn sparse_tensors_are_expanded() {
    let x = tensor(&[1, 3], &[1.0, 10.0, 100.0]);
    let expected = tensor(&[1, 4], &[300.0, 2.0, 0.0, 40.0]);
    // The same tensor by positions, by indices, and not in order.
    for weight in [
        sparse(&[3, 4], &[2.0, 4.0, 3.0], &[3], &[1, 7, 8]),
        sparse(&[3, 4], &[2.0, 4.0, 3.0], &[3, 2], &[0, 1, 1, 3, 2, 0]),
        sparse(&[3, 4], &[3.0, 2.0, 4.0], &[3], &[8, 1, 7]),
    ] {
        same("sparse", &outputs(&imported(&product(weight)).unwrap(), std::slice::from_ref(&x)), std::slice::from_ref(&expected));
    }
    let zeros = imported(&product(sparse(&[3, 4], &[], &[0], &[]))).unwrap();
    same("zeros", &outputs(&zeros, std::slice::from_ref(&x)), &[tensor(&[1, 4], &[0.0; 4])]);

    let value = AttributeProto {
        name: "sparse_value".into(),
        sparse_tensor: Some(sparse(&[3, 4], &[2.0, 4.0, 3.0], &[3], &[1, 7, 8])),
        r#type: AttributeType::SparseTensor as i32,
        ..Default::default()
    };
    let nodes = vec![node("Constant", &[value], &[], &["w"]), node("MatMul", &[], &["x", "w"], &["y"])];
    let constant = model(17, &[("x", &[1, 3])], vec![], nodes, &["y"]);
    same("constant", &outputs(&imported(&constant).unwrap(), &[x]), &[expected]);
}

#[test]
fn sparse_tensors_that_mean_nothing() {
    let refused = |weight, part: &str| refused_model(&product(weight), &["`w`", part]);
    refused(sparse(&[3, 4], &[1.0], &[1], &[12]), "the index [12] of a sparse tensor of shape [3, 4]");
    refused(sparse(&[3, 4], &[1.0], &[1], &[-1]), "the index [-1]");
    refused(sparse(&[3, 4], &[1.0], &[1, 2], &[0, 4]), "the index [0, 4]");
    refused(sparse(&[3, 4], &[1.0, 2.0], &[2], &[5, 5]), "two values at position 5");
    refused(sparse(&[3, 4], &[1.0, 2.0], &[1], &[5]), "indices of shape [1] for 2 values");
    refused(sparse(&[3, 4], &[1.0], &[1, 3], &[0, 0, 0]), "indices of shape [1, 3]");
    refused(sparse(&[1 << 20, 1 << 20], &[1.0], &[1], &[5]), "more than");
    refused(sparse(&[1 << 14, 1 << 14], &[1.0], &[1], &[5]), "store it as a dense one");
    refused(SparseTensorProto { indices: None, ..sparse(&[3, 4], &[1.0], &[1], &[5]) }, "without indices");
    let mut both = product(sparse(&[3, 4], &[1.0], &[1], &[5]));
    both.graph.as_mut().unwrap().initializer.push(constant("w", &tensor(&[3, 4], &[0.0; 12])));
    refused_model(&both, &["two initializers have this name"]);
}
