//! Data sets: what is read, how it is divided and distorted, and how bad files are refused.

use flate2::Compression;
use flate2::write::GzEncoder;
use sonar_train::data::augment::Augment;
use sonar_train::data::{FASHION_MNIST, Images, Variant, cifar, idx, load};
use sonar_train::{DataProblem, Dataset, Part, TrainError};
use std::fs;
use std::io::Write;
use std::path::Path;

const CIFAR_RECORD: usize = 3073;

/// Names of the four files of an IDX data set, and what is in each.
const IDX: [&str; 4] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// An IDX data set of 2×3 images: ten of training and five of test, classes 0 to 4.
fn write_idx(folder: &Path) {
    for (prefix, count) in [("train", 10), ("t10k", 5)] {
        let pixels: Vec<u8> = (0..count * 6).map(|i| i as u8).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 5) as u8).collect();
        fs::write(folder.join(format!("{prefix}-images-idx3-ubyte")), idx::format_images(count, 2, 3, &pixels)).expect("written");
        fs::write(folder.join(format!("{prefix}-labels-idx1-ubyte")), idx::format_labels(&labels)).expect("written");
    }
}

/// A CIFAR-10 batch whose image `i` has label `i mod 10` and planes of one value each: `i`, `i + 1`, `i + 2`.
fn cifar_batch(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..count {
        bytes.push((i % 10) as u8);
        for plane in 0..3 {
            bytes.extend([(i + plane) as u8; 1024]);
        }
    }
    bytes
}

fn load_folder(folder: &Path) -> Result<Dataset, TrainError> {
    load(folder.to_str().expect("a path in UTF-8"), 0.2)
}

/// Spoils one file of a good IDX data set and returns what is said about it.
fn idx_problem(file: &str, spoil: impl Fn(&mut Vec<u8>)) -> DataProblem {
    let folder = tempfile::tempdir().expect("a folder");
    write_idx(folder.path());
    let path = folder.path().join(file);
    let mut bytes = fs::read(&path).expect("the file is there");
    spoil(&mut bytes);
    fs::write(&path, bytes).expect("written");
    match load_folder(folder.path()) {
        Err(TrainError::Data { problem, .. }) => problem,
        other => panic!("expected a data problem, found {other:?}"),
    }
}

fn cifar_problem(bytes: &[u8]) -> DataProblem {
    cifar::parse(bytes, Variant::Cifar10, Part::Train).expect_err("the batch is bad")
}

#[test]
fn the_embedded_set_is_balanced_and_divided() {
    let data = load(FASHION_MNIST, 0.2).expect("it is part of the program");
    assert_eq!((data.image, data.classes), ([28, 28, 1], 10));
    for (part, per_class) in [(Part::Train, 800), (Part::Validation, 200), (Part::Test, 200)] {
        let images = data.part(part);
        assert_eq!(images.len(), 10 * per_class);
        for class in 0..10 {
            assert_eq!(images.labels.iter().filter(|&&l| l == class).count(), per_class, "{part:?}, class {class}");
        }
    }
    let again = load(FASHION_MNIST, 0.2).expect("it is part of the program");
    assert_eq!(data.part(Part::Validation), again.part(Part::Validation));
    assert_eq!(data.fingerprint, again.fingerprint);
}

#[test]
fn training_images_are_normalised() {
    let data = load(FASHION_MNIST, 0.2).expect("it is part of the program");
    let indices: Vec<u32> = (0..data.part(Part::Train).len() as u32).collect();
    let mut pixels = vec![0.0; indices.len() * data.image_size()];
    data.fill_images(Part::Train, &indices, None, &mut pixels);
    let moment = |power| pixels.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / pixels.len() as f64;
    assert!(moment(1).abs() < 1e-4, "the mean is {}", moment(1));
    assert!((moment(2) - 1.0).abs() < 1e-4, "the variance is {}", moment(2));
}

#[test]
fn idx_folders_are_read_plain_and_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    write_idx(folder.path());
    let plain = load_folder(folder.path()).expect("a good data set");
    assert_eq!((plain.image, plain.classes), ([2, 3, 1], 5));
    assert_eq!([Part::Train, Part::Validation, Part::Test].map(|p| plain.part(p).len()), [10, 0, 5]);
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&fs::read(&path).expect("read")).expect("packed");
        fs::remove_file(&path).expect("removed");
        fs::write(path.with_extension("gz"), packed.finish().expect("packed")).expect("written");
    }
    let packed = load_folder(folder.path()).expect("a good data set");
    assert_eq!(plain.fingerprint, packed.fingerprint);
}

#[test]
fn cifar_batches_are_read_from_folder_and_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).expect("created");
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        fs::write(inner.join(format!("{name}.bin")), cifar_batch(20)).expect("written");
    }
    let data = load_folder(folder.path()).expect("a good data set");
    assert_eq!((data.image, data.classes), ([32, 32, 3], 10));
    assert_eq!([Part::Train, Part::Validation, Part::Test].map(|p| data.part(p).len()), [80, 20, 20]);
    assert_eq!(data.part(Part::Test).pixels[3072..3078], [1, 2, 3, 1, 2, 3]);

    let file = load_folder(&inner.join("data_batch_1.bin")).expect("a good batch");
    assert_eq!(file.part(Part::Test).len() + file.part(Part::Train).len() + file.part(Part::Validation).len(), 20);
}

/// Renames every file of a folder.
fn rename_all(folder: &Path, to: impl Fn(&str) -> String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_str().expect("text");
        fs::rename(&path, folder.join(to(name))).expect("renamed");
    }
}

#[test]
fn idx_files_have_many_names() {
    let folder = tempfile::tempdir().expect("a folder");
    write_idx(folder.path());
    let usual = load_folder(folder.path()).expect("a good data set").fingerprint;
    let dotted = |name: &str| name.replace("-idx", ".idx");
    let long = |name: &str| format!("emnist-digits-{}", name.replace(".idx", "-idx").replace("t10k", "test"));
    for rename in [&dotted as &dyn Fn(&str) -> String, &long] {
        rename_all(folder.path(), rename);
        assert_eq!(load_folder(folder.path()).expect("a good data set").fingerprint, usual);
    }
    // As download programs lay them out.
    let raw = folder.path().join("outer/MNIST/raw");
    fs::create_dir_all(&raw).expect("created");
    write_idx(&raw);
    assert_eq!(load_folder(&folder.path().join("outer")).expect("a good data set").fingerprint, usual);
}

#[test]
fn idx_images_may_have_channels() {
    let folder = tempfile::tempdir().expect("a folder");
    write_idx(folder.path());
    // Three channels of 2×5 pixels: pixel p of channel c is 10·c + p.
    let last: Vec<u8> = (0..10).flat_map(|p| [p, 10 + p, 20 + p]).collect();
    let planes: Vec<u8> = (0..30).collect();
    for (extents, image) in [([2, 5, 3], &last), ([3, 2, 5], &planes)] {
        for (prefix, count) in [("train", 10), ("t10k", 5)] {
            let extents = [&[count], &extents[..]].concat();
            let file = idx::format(&extents, &image.repeat(count));
            fs::write(folder.path().join(format!("{prefix}-images-idx3-ubyte")), file).expect("written");
        }
        let data = load_folder(folder.path()).expect("a good data set");
        assert_eq!(data.image, [2, 5, 3]);
        assert_eq!(data.part(Part::Test).pixels[..30], last[..], "{extents:?}");
    }
    let file = idx::format(&[10, 2, 5, 7], &[0; 700]);
    let problem = idx_problem(IDX[0], |b| b.clone_from(&file));
    assert_eq!(problem, DataProblem::Channels { extents: vec![10, 2, 5, 7] });
}

#[test]
fn labels_may_begin_at_one() {
    let folder = tempfile::tempdir().expect("a folder");
    write_idx(folder.path());
    let from_zero = load_folder(folder.path()).expect("a good data set");
    for name in [IDX[1], IDX[3]] {
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).expect("read");
        bytes[8..].iter_mut().for_each(|label| *label += 1);
        fs::write(path, bytes).expect("written");
    }
    let from_one = load_folder(folder.path()).expect("a good data set");
    assert_eq!((from_zero.first_label, from_one.first_label), (0, 1));
    assert_eq!((from_zero.classes, &from_zero.fingerprint), (from_one.classes, &from_one.fingerprint));

    // Only the test labels do.
    let mut bytes = fs::read(folder.path().join(IDX[1])).expect("read");
    bytes[8..].iter_mut().for_each(|label| *label -= 1);
    fs::write(folder.path().join(IDX[1]), bytes).expect("written");
    let refused = load_folder(folder.path()).expect_err("label 5 is in no class");
    let expected = DataProblem::Label { part: Part::Test, index: 4, label: 5, first: 0, classes: 5 };
    assert!(
        matches!(&refused, TrainError::Data { path, problem } if path.ends_with(IDX[3]) && *problem == expected),
        "{refused}"
    );
    assert!(refused.to_string().contains("label 5 of test image 4"), "{refused}");
}

#[test]
fn cifar_100_has_fine_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("cifar-100-binary");
    fs::create_dir(&inner).expect("created");
    let batch = |count: usize| -> Vec<u8> {
        let record = |i: usize| [vec![(i % 20) as u8, (i % 100) as u8], [i as u8; 1024].repeat(3)].concat();
        (0..count).flat_map(record).collect()
    };
    fs::write(inner.join("train.bin"), batch(200)).expect("written");
    fs::write(inner.join("test.bin"), batch(30)).expect("written");
    let data = load_folder(folder.path()).expect("a good data set");
    assert_eq!((data.image, data.classes), ([32, 32, 3], 100));
    assert_eq!(data.part(Part::Test).labels, (0..30).collect::<Vec<u8>>());
    assert_eq!(load_folder(&inner.join("train.bin")).expect("a good batch").classes, 100);

    let mut wrong = batch(30);
    wrong[2 * 3074 + 1] = 100;
    fs::write(inner.join("test.bin"), wrong).expect("written");
    let refused = load_folder(&inner).expect_err("there is no class 100").to_string();
    assert!(refused.contains("test.bin") && refused.contains("label 100 of test image 2"), "{refused}");
}

#[test]
fn bad_idx_files_are_refused() {
    let [images, labels, ..] = IDX;
    assert_eq!(idx_problem(images, |b| b.truncate(40)), DataProblem::Length { expected: 76, found: 40 });
    assert_eq!(idx_problem(images, |b| b.truncate(5)), DataProblem::Length { expected: 16, found: 5 });
    assert_eq!(idx_problem(images, |b| b.truncate(3)), DataProblem::Length { expected: 4, found: 3 });
    assert_eq!(idx_problem(images, |b| b.push(0)), DataProblem::Length { expected: 76, found: 77 });
    let axes = DataProblem::Axes { what: "images", expected: "three, or four with channels", found: 1 };
    assert_eq!(idx_problem(images, |b| *b = idx::format_labels(&[0; 10])), axes);
    let axes = DataProblem::Axes { what: "labels", expected: "one", found: 3 };
    assert_eq!(idx_problem(labels, |b| *b = idx::format_images(10, 2, 3, &[0; 60])), axes);
    assert_eq!(idx_problem(images, |b| b[2] = 0x0d), DataProblem::Elements { found: 0x0d });
    assert_eq!(idx_problem(images, |b| b[..4].copy_from_slice(b"P5 8")), DataProblem::NotIdx { found: *b"P5 8" });
    assert_eq!(idx_problem(images, |b| b[4..16].fill(0xff)), DataProblem::TooLarge);
    assert_eq!(idx_problem(images, |b| *b = idx::format(&[0, 0xffff_ffff, 0xffff_ffff, 4], &[])), DataProblem::Empty);
    assert_eq!(idx_problem(images, |b| b[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0])), DataProblem::Gzip);
    let nine = |b: &mut Vec<u8>| {
        b[7] = 9;
        b.pop();
    };
    assert_eq!(idx_problem(labels, nine), DataProblem::Count { images: 10, labels: 9 });
    let wrong = |part, index, label, classes| DataProblem::Label { part, index, label, first: 0, classes };
    assert_eq!(idx_problem(labels, |b| b[8 + 4] = 200), wrong(Part::Train, 4, 200, 6));
    let wider = |b: &mut Vec<u8>| *b = idx::format_images(5, 3, 3, &[0; 45]);
    let shape = DataProblem::Shape { expected: [2, 3, 1], found: [3, 3, 1] };
    assert_eq!(idx_problem(IDX[2], wider), shape);
    assert_eq!(idx_problem(IDX[3], |b| b[8] = 5), wrong(Part::Test, 0, 5, 5));
    let none = Dataset::new("none", [2, 3, 1], Images::default(), Images::default(), 0.2);
    assert_eq!(none.err(), Some(DataProblem::Empty));
}

#[test]
fn bad_cifar_batches_are_refused() {
    assert_eq!(cifar_problem(&[]), DataProblem::Empty);
    let cut = DataProblem::Records { record: CIFAR_RECORD as u64, found: 5000 };
    assert_eq!(cifar_problem(&cifar_batch(2)[..5000]), cut);
    let mut batch = cifar_batch(3);
    batch[CIFAR_RECORD] = 10;
    let wrong = DataProblem::Label { part: Part::Train, index: 1, label: 10, first: 0, classes: 10 };
    assert_eq!(cifar_problem(&batch), wrong);
}

/// What is said about a folder with these empty files, or files in folders.
fn folder_problem(names: &[&str]) -> DataProblem {
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, []).expect("written");
    }
    match load_folder(folder.path()) {
        Err(TrainError::Data { problem, .. }) => problem,
        other => panic!("expected a data problem, found {other:?}"),
    }
}

#[test]
fn folders_that_are_no_data_set_say_why() {
    assert_eq!(folder_problem(&[]), DataProblem::Unknown { holds: String::new() });
    let unknown = DataProblem::Unknown { holds: "a.csv, b.txt, c.txt".to_string() };
    assert_eq!(folder_problem(&["b.txt", "a.csv", "c.txt", "d.txt"]), unknown);
    assert_eq!(folder_problem(&["data_batch_1", "test_batch", "batches.meta"]), DataProblem::Python);
    assert_eq!(folder_problem(&["cats/1.PNG", "dogs/2.png"]), DataProblem::Pictures { example: "cats/1.PNG".into() });
    assert_eq!(folder_problem(&[IDX[0], "data_batch_1.bin"]), DataProblem::Mixed);
    assert_eq!(folder_problem(&["train.bin", "data_batch_1.bin"]), DataProblem::Mixed);
    let two = DataProblem::Two { what: "training images", first: IDX[0].into(), second: "train-images.idx3-ubyte".into() };
    assert_eq!(folder_problem(&[IDX[0], "train-images.idx3-ubyte", IDX[1]]), two);
    let missing = |what, expected: &str| DataProblem::Missing { what, expected: expected.into() };
    assert_eq!(folder_problem(&IDX[..3]), missing("test labels", IDX[3]));
    assert_eq!(folder_problem(&[IDX[3]]), missing("training images", IDX[0]));
    assert_eq!(folder_problem(&["train.bin"]), missing("test images", "test.bin"));
    assert_eq!(folder_problem(&["data_batch_1.bin", "test_batch.bin"]), missing("training images", "data_batch_2.bin"));
}

#[test]
fn what_is_not_there_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = load_folder(&folder.path().join("missing")).expect_err("there is nothing").to_string();
    assert!(missing.starts_with("cannot read ") && missing.contains("missing"), "{missing}");
    write_idx(folder.path());
    let one = load_folder(&folder.path().join(IDX[0]));
    assert!(matches!(one, Err(TrainError::Data { problem: DataProblem::OneFile, .. })), "{one:?}");
    fs::write(folder.path().join("some.bin"), [7; 100]).expect("written");
    let some = load_folder(&folder.path().join("some.bin"));
    assert!(matches!(some, Err(TrainError::Data { problem: DataProblem::NoBatch { found: 100 }, .. })), "{some:?}");
}

/// One image of 4×4 pixels, the first row brightest.
fn one_image() -> Dataset {
    let pixels: Vec<u8> = (0..16).map(|i| 250 - 10 * i).collect();
    let images = Images { pixels, labels: vec![0] };
    Dataset::new("one", [4, 4, 1], images.clone(), images, 0.0).expect("a good data set")
}

fn distorted(data: &Dataset, augment: &Augment, epoch: u64) -> Vec<f32> {
    let mut out = vec![0.0; 16];
    data.fill_images(Part::Train, &[0], Some((augment, [3, epoch])), &mut out);
    out
}

#[test]
fn distortions_follow_from_seed_epoch_and_image() {
    let data = load(FASHION_MNIST, 0.0).expect("it is part of the program");
    let augment = Augment { flip: true, crop: 4, cutout: 6 };
    let fill = |indices: &[u32], key: [u64; 2]| {
        let mut out = vec![0.0; indices.len() * data.image_size()];
        data.fill_images(Part::Train, indices, Some((&augment, key)), &mut out);
        out
    };
    let together = fill(&[5, 9], [1, 2]);
    assert_eq!(together[784..], fill(&[9], [1, 2]));
    assert_ne!(fill(&[9], [1, 2]), fill(&[9], [1, 3]));
    assert_ne!(fill(&[9], [1, 2]), fill(&[9], [2, 2]));
}

#[test]
fn flips_mirror_columns() {
    let data = one_image();
    let plain = distorted(&data, &Augment::NONE, 0);
    let mirrored: Vec<f32> = plain.chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
    let flip = Augment { flip: true, ..Augment::NONE };
    let seen: Vec<Vec<f32>> = (0..32).map(|epoch| distorted(&data, &flip, epoch)).collect();
    assert!(seen.contains(&plain) && seen.contains(&mirrored));
    assert!(seen.iter().all(|image| *image == plain || *image == mirrored));
}

#[test]
fn crops_shift_and_pad_with_black() {
    let data = one_image();
    let plain = distorted(&data, &Augment::NONE, 0);
    let crop = Augment { crop: 1, ..Augment::NONE };
    let images: Vec<Vec<f32>> = (0..128).map(|epoch| distorted(&data, &crop, epoch)).collect();
    let mut distinct: Vec<&Vec<f32>> = Vec::new();
    for image in &images {
        if !distinct.contains(&image) {
            distinct.push(image);
        }
    }
    assert_eq!(distinct.len(), 9, "every shift of at most one pixel each way");
    // Black is darker than every pixel of the image.
    let darkest = plain.iter().fold(f32::INFINITY, |m, &v| m.min(v));
    let down = distinct.iter().find(|image| image[4..] == plain[..12]).expect("a shift straight down");
    assert!(down[..4].iter().all(|&v| v < darkest && v == down[0]));
}

#[test]
fn cutouts_set_a_square_to_the_mean() {
    let data = one_image();
    let plain = distorted(&data, &Augment::NONE, 0);
    let cutout = Augment { cutout: 2, ..Augment::NONE };
    for epoch in 0..32 {
        let image = distorted(&data, &cutout, epoch);
        let cut = image.iter().zip(&plain).filter(|(a, b)| a != b).count();
        assert!(matches!(cut, 1 | 2 | 4), "{cut} pixels are cut out");
        assert!(image.iter().zip(&plain).all(|(&a, &b)| a == b || a == 0.0));
    }
}
