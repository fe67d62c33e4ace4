//! Weights in files of their own.

use super::support::*;
use prost::Message;
use sonar_onnx::proto::*;
use sonar_onnx::{ImportOptions, import, import_model};
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
    refused(&models, &[("location", "sub")], "not a regular file");
    refused(&models, &[("location", "w.bin"), ("offset", "8")], "has 16 bytes and not 12 from 8 on");
    refused(&models, &[("location", "w.bin"), ("offset", "18446744073709551615")], "has 16 bytes and not 12 from");
    refused(&models, &[("location", "w.bin"), ("offset", "-4")], "the offset `-4`");
    refused(&models, &[("location", "w.bin"), ("length", "99999999999999")], "99999999999999 bytes");
}

#[cfg(unix)]
#[test]
fn links_lead_to_files_of_the_model_only() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for folder in ["blobs", "snapshots/1/onnx", "elsewhere", "mine"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    let bytes: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path("blobs/0a"), &bytes).unwrap();
    std::fs::write(path("blobs/0b"), sum(&[("location", "w.bin")]).encode_to_vec()).unwrap();
    std::fs::write(path("elsewhere/secret"), &bytes).unwrap();
    let imports = |model: &str| {
        let imported = import(&path(model), &ImportOptions::default())?;
        same(model, &outputs(&imported, &[tensor(&[3], &[1.0; 3])]), &[tensor(&[3], &[2.0, 3.0, 4.0])]);
        Ok::<_, sonar_onnx::ImportError>(())
    };

    // A hub's cache: links to files that lie beside each other, from a folder and from one in it.
    for folder in ["snapshots/1", "snapshots/1/onnx"] {
        let up = if folder.ends_with("onnx") { "../../../blobs" } else { "../../blobs" };
        symlink(format!("{up}/0b"), path(&format!("{folder}/m.onnx"))).unwrap();
        symlink(format!("{up}/0a"), path(&format!("{folder}/w.bin"))).unwrap();
        imports(&format!("{folder}/m.onnx")).unwrap();
    }
    // A link to the model alone, in a folder of one's own: the weights lie beside one of the files that it leads to.
    symlink(path("snapshots/1/m.onnx"), path("mine/m.onnx")).unwrap();
    imports("mine/m.onnx").unwrap();
    // A link within the model's folder.
    std::fs::write(path("mine/copy.onnx"), sum(&[("location", "sub/w.bin")]).encode_to_vec()).unwrap();
    std::fs::create_dir_all(path("mine/sub")).unwrap();
    std::fs::write(path("mine/data"), &bytes).unwrap();
    symlink("../data", path("mine/sub/w.bin")).unwrap();
    imports("mine/copy.onnx").unwrap();

    // Links that lead out of the folder, to a file or through a folder.
    let says = |model: &str, parts: &[&str]| {
        let message = imports(model).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in `{message}`"));
    };
    std::fs::remove_file(path("mine/sub/w.bin")).unwrap();
    symlink(path("elsewhere/secret"), path("mine/sub/w.bin")).unwrap();
    says(
        "mine/copy.onnx",
        &["mine/sub/w.bin is a link to", "elsewhere/secret, which lies outside of the model's folder", "copy"],
    );
    std::fs::write(path("mine/through.onnx"), sum(&[("location", "out/secret")]).encode_to_vec()).unwrap();
    symlink(path("elsewhere"), path("mine/out")).unwrap();
    says("mine/through.onnx", &["outside of the model's folder"]);
    // A link to nothing, and one to itself.
    std::fs::remove_file(path("mine/sub/w.bin")).unwrap();
    symlink("nothing", path("mine/sub/w.bin")).unwrap();
    says("mine/copy.onnx", &["cannot read", "sub/w.bin", "No such file"]);
    std::fs::remove_file(path("mine/sub/w.bin")).unwrap();
    symlink("w.bin", path("mine/sub/w.bin")).unwrap();
    says("mine/copy.onnx", &["cannot read", "sub/w.bin"]);
}

#[test]
fn files_that_stand_for_others_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let says = |content: &str, part: &str| {
        std::fs::write(folder.path().join("w.bin"), content).unwrap();
        refused(folder.path(), &[("location", "w.bin"), ("offset", "4096")], part);
    };
    says("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull");
    says("blob.bin", "link that Git wrote as text");
    says("", "the file is empty");
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
    assert!(error.to_string().contains("has 16 bytes and not 2147483648 from 0 on"), "{error}");
}
