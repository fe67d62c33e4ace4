//! Whole files: shapes that they leave open, lists of everything that is wrong, and elements in every type.

use super::support::*;
use prost::Message;
use sonar_onnx::proto::*;
use sonar_onnx::{ImportError, ImportOptions, import, import_model, values};
use std::collections::BTreeMap;
use std::path::Path;

fn relu(shape: Option<TensorShapeProto>) -> ModelProto {
    let mut model = model(13, &[("x", &[1])], vec![], vec![node("Relu", &[], &["x"], &["y"])], &["y"]);
    let tensor_type = Some(TensorTypeProto { elem_type: DataType::Float as i32, shape });
    model.graph.as_mut().unwrap().input[0].r#type = Some(TypeProto { tensor_type });
    model
}

fn shape(dims: &[Option<Dimension>]) -> Option<TensorShapeProto> {
    Some(TensorShapeProto { dim: dims.iter().map(|value| DimensionProto { value: value.clone() }).collect() })
}

#[test]
fn open_extents_are_bound_by_options() {
    let named = || Some(Dimension::DimParam("n".into()));
    let three = || Some(Dimension::DimValue(3));
    let options = |shape: &[usize], batch| ImportOptions { shapes: BTreeMap::from([("x".to_string(), shape.to_vec())]), batch };
    let extents = |model: &ModelProto, options: &ImportOptions| {
        let imported = import_model(model, Path::new(""), options)?;
        Ok::<_, ImportError>(imported.graph.node(imported.graph.inputs()[0]).ty.extents().unwrap())
    };
    let batched = relu(shape(&[named(), three()]));
    assert_eq!(extents(&batched, &ImportOptions::default()).unwrap(), [1, 3]);
    assert_eq!(extents(&batched, &ImportOptions { batch: 5, ..Default::default() }).unwrap(), [5, 3]);
    assert_eq!(extents(&batched, &options(&[7, 3], 1)).unwrap(), [7, 3]);
    assert_eq!(extents(&relu(None), &options(&[2, 2], 1)).unwrap(), [2, 2]);
    let says = |model: &ModelProto, options: &ImportOptions, what: &str| {
        let error = extents(model, options).unwrap_err().to_string();
        assert!(error.contains(what), "`{what}` is not in `{error}`");
    };
    says(&batched, &options(&[7, 4], 1), "axis 1 has extent 3 in the file and 4 in the options");
    says(&batched, &options(&[7], 1), "the file gives it 2 axes, the options 1");
    says(&relu(None), &ImportOptions::default(), "its shape must be given");
    says(&relu(shape(&[three(), named()])), &ImportOptions::default(), "axis 1 (`n`) has no fixed extent");
    says(&relu(shape(&[Some(Dimension::DimValue(0))])), &ImportOptions::default(), "without elements");
    let other = ImportOptions { shapes: BTreeMap::from([("z".to_string(), vec![1])]), batch: 1 };
    says(&batched, &other, "the model has no input `z`; its inputs are x");
}

#[test]
fn every_problem_is_listed() {
    let nodes = vec![
        NodeProto { name: "first".into(), ..node("Mystery", &[], &["x"], &["a"]) },
        NodeProto { domain: "elsewhere".into(), ..node("Relu", &[], &["x"], &["b"]) },
        node("Relu", &[int("unheard_of", 1)], &["x"], &["c"]),
        node("Conv", &[], &["x", "x"], &["d"]),
        node("Relu", &[], &["nowhere"], &["e"]),
        // Behind a problem: it is only counted.
        node("Relu", &[], &["a"], &["f"]),
    ];
    let model = model(13, &[("x", &[2, 2])], vec![], nodes, &["f", "g"]);
    let Err(ImportError::Problems(problems)) = imported(&model) else { panic!("the model is not refused") };
    assert_eq!(problems.behind, 1);
    let found: Vec<String> = problems.causes.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "Mystery `first`: not supported: the operator",
            "Relu `b`: not supported: the operator, of the set `elsewhere`",
            "Relu `c`: not supported: the attribute `unheard_of`",
            "Conv `d`: not supported: windows over a tensor of rank 2; images and signals have 4 and 3",
            "Relu `e`: invalid: nothing computes its argument `nowhere`",
            "`g`: invalid: nothing computes this output",
        ]
    );
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let says = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = import(&path, &ImportOptions::default()).unwrap_err().to_string();
        assert!(error.contains(what), "`{what}` is not in `{error}`");
    };
    says(b"", "the file is empty");
    says(b"not a protocol buffer", "not an ONNX model");
    says(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git-LFS pointer");
    says(b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page");
    says(b"PK\x03\x04\0\0\0\0archive/data.pkl", "PyTorch");
    says(b"\x1f\x8b\x08\0\0\0\0\0", "gzip");
    says(b"\x30\0\0\0ORTM\0\0\0\0", ".ort file");
    says(b"\x1c\0\0\0TFL3\0\0\0\0", "TensorFlow Lite");
    let whole = relu(shape(&[Some(Dimension::DimValue(2))])).encode_to_vec();
    says(&whole[..whole.len() - 3], "cut off or damaged");
    // Cut between two fields, it still is a message, but not a whole one.
    let opset = ModelProto { opset_import: vec![], ..relu(shape(&[Some(Dimension::DimValue(2))])) }.encode_to_vec();
    says(&opset, "does not say which version of ONNX's operators");
    says(&ModelProto { ir_version: 8, ..Default::default() }.encode_to_vec(), "it has no graph");
    assert!(import(&folder.path().join("none.onnx"), &ImportOptions::default()).unwrap_err().to_string().contains("cannot read"));
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(import(&path, &ImportOptions::default()).unwrap().inputs, ["x"]);
}

#[test]
fn elements_of_every_type() {
    let of = |data_type: DataType, dims: &[i64], raw: &[u8]| {
        let tensor =
            TensorProto { dims: dims.to_vec(), data_type: data_type as i32, raw_data: raw.to_vec().into(), ..Default::default() };
        values(&tensor).map(|t| t.data).map_err(|e| e.to_string())
    };
    assert_eq!(of(DataType::Float, &[1], &1.5f32.to_le_bytes()).unwrap(), [1.5]);
    assert_eq!(of(DataType::Double, &[1], &(-2.25f64).to_le_bytes()).unwrap(), [-2.25]);
    assert_eq!(of(DataType::Float16, &[2], &[0x00, 0x3c, 0x00, 0xc0]).unwrap(), [1.0, -2.0]);
    assert_eq!(of(DataType::Bfloat16, &[1], &[0x80, 0x3f]).unwrap(), [1.0]);
    assert_eq!(of(DataType::Int8, &[2], &[255, 3]).unwrap(), [-1.0, 3.0]);
    assert_eq!(of(DataType::Uint8, &[1], &[255]).unwrap(), [255.0]);
    assert_eq!(of(DataType::Int4, &[3], &[0x1f, 0x08]).unwrap(), [-1.0, 1.0, -8.0]);
    assert_eq!(of(DataType::Uint4, &[2], &[0xf1]).unwrap(), [1.0, 15.0]);
    assert_eq!(of(DataType::Bool, &[2], &[0, 2]).unwrap(), [0.0, 1.0]);
    assert_eq!(of(DataType::Int64, &[1], &(-5i64).to_le_bytes()).unwrap(), [-5.0]);
    // 1, 448 (the largest), the smallest of all, and no number.
    let eighths = of(DataType::Float8e4m3fn, &[4], &[0x38, 0x7e, 0x01, 0x7f]).unwrap();
    assert_eq!((&eighths[..3], eighths[3].is_nan()), (&[1.0, 448.0, 0.001_953_125][..], true));
    assert_eq!(of(DataType::Float8e4m3fnuz, &[2], &[0x40, 0xc0]).unwrap(), [1.0, -1.0]);
    assert_eq!(of(DataType::Float8e5m2, &[3], &[0x3c, 0xc0, 0x7c]).unwrap(), [1.0, -2.0, f32::INFINITY]);
    assert!(of(DataType::Float8e5m2fnuz, &[1], &[0x80]).unwrap()[0].is_nan());
    assert!(of(DataType::Float, &[2], &[0; 4]).unwrap_err().contains("4 bytes of elements"));
    assert!(of(DataType::Uint64, &[1], &[255; 8]).unwrap_err().contains("63 bits"));
    assert!(of(DataType::String, &[1], &[0]).unwrap_err().contains("String"));
    let fields = TensorProto {
        dims: vec![2],
        data_type: DataType::Float16 as i32,
        int32_data: vec![0x3c00, 0x4000],
        ..Default::default()
    };
    assert_eq!(values(&fields).unwrap().data, [1.0, 2.0]);
}
