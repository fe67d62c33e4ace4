//! Weights in files of their own.

use super::support::*;
use sonar_onnx::proto::*;
use sonar_onnx::{ImportOptions, import_model};
use std::path::Path;

/// `x + w` with `w` in another file, described by these entries.
fn sum(entries: &[(&str, &str)]) -> ModelProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: key.to_string(), value: value.to_string() };
    let weight = TensorProto {
        name: "w".into(),
        dims: vec![3],
        data_type: DataType::Float as i32,
        data_location: 1,
        external_data: entries.iter().map(entry).collect(),
        ..Default::default()
    };
    model(13, &[("x", &[3])], vec![weight], vec![node("Add", &[], &["x", "w"], &["y"])], &["y"])
}

#[track_caller]
fn refused(folder: &Path, entries: &[(&str, &str)], says: &str) {
    match import_model(&sum(entries), folder, &ImportOptions::default()) {
        Ok(_) => panic!("{entries:?} are not refused"),
        Err(error) => assert!(error.to_string().contains(says), "`{says}` is not in `{error}`"),
    }
}

#[test]
fn elements_come_from_their_file_and_from_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir_all(models.join("sub")).unwrap();
    let bytes: Vec<u8> = [7.0f32, 1.0, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    for path in ["models/w.bin", "models/sub/w.bin", "secret.bin"] {
        std::fs::write(folder.path().join(path), &bytes).unwrap();
    }
    for location in ["w.bin", "./w.bin", "sub/w.bin"] {
        for entries in
            [&[("location", location), ("offset", "4")][..], &[("location", location), ("offset", "4"), ("length", "12")]]
        {
            let imported = import_model(&sum(entries), &models, &ImportOptions::default()).unwrap();
            same(location, &outputs(&imported, &[tensor(&[3], &[1.0; 3])]), &[tensor(&[3], &[2.0, 3.0, 4.0])]);
        }
    }
    let absolute = folder.path().join("secret.bin");
    for location in ["../secret.bin", "sub/../../secret.bin", absolute.to_str().unwrap(), ""] {
        refused(&models, &[("location", location)], "the path leaves the model's folder");
    }
    refused(&models, &[], "without a location");
    refused(&models, &[("location", "none.bin")], "none.bin");
    refused(&models, &[("location", "sub")], "it has no 12 bytes");
    refused(&models, &[("location", "w.bin"), ("offset", "8")], "it has no 12 bytes from 8 on");
    refused(&models, &[("location", "w.bin"), ("offset", "18446744073709551615")], "it has no 12 bytes");
    refused(&models, &[("location", "w.bin"), ("offset", "-4")], "the offset `-4`");
    refused(&models, &[("location", "w.bin"), ("length", "99999999999999")], "99999999999999 bytes");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (models, outside) = (folder.path().join("models"), folder.path().join("outside"));
    std::fs::create_dir_all(&models).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("w.bin"), [0; 12]).unwrap();
    std::os::unix::fs::symlink(outside.join("w.bin"), models.join("w.bin")).unwrap();
    std::os::unix::fs::symlink(&outside, models.join("sub")).unwrap();
    refused(&models, &[("location", "w.bin")], "links are not followed");
    refused(&models, &[("location", "sub/w.bin")], "links are not followed");
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for dims in [vec![1 << 40], vec![1 << 20, 1 << 20, 1 << 20], vec![-1], vec![i64::MAX, i64::MAX]] {
        let mut sum = sum(&[("location", "w.bin")]);
        sum.graph.as_mut().unwrap().initializer[0].dims = dims;
        assert!(import_model(&sum, folder.path(), &ImportOptions::default()).is_err());
    }
    // A tensor of two gibibytes whose file has none of them.
    std::fs::write(folder.path().join("w.bin"), [0; 16]).unwrap();
    let mut sum = sum(&[("location", "w.bin")]);
    sum.graph.as_mut().unwrap().initializer[0].dims = vec![1 << 29];
    let error = import_model(&sum, folder.path(), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("it has no 2147483648 bytes"), "{error}");
}
