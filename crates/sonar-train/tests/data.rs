//! Data sets: what is read, how it is divided and distorted, and how bad files are refused.

use flate2::Compression;
use flate2::write::GzEncoder;
use sonar_train::data::augment::Augment;
use sonar_train::data::{FASHION_MNIST, Images, cifar, idx, load};
use sonar_train::{DataProblem, Dataset, Part, TrainError};
use std::fs;
use std::io::Write;
use std::path::Path;

const CIFAR_RECORD: usize = 3073;

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
    cifar::parse(bytes).expect_err("the batch is bad")
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

#[test]
fn bad_idx_files_are_refused() {
    let images = "train-images-idx3-ubyte";
    let labels = "train-labels-idx1-ubyte";
    assert_eq!(idx_problem(images, |b| b.truncate(40)), DataProblem::Length { expected: 76, found: 40 });
    assert_eq!(idx_problem(images, |b| b.truncate(3)), DataProblem::Length { expected: 16, found: 3 });
    assert_eq!(idx_problem(images, |b| b.push(0)), DataProblem::Length { expected: 76, found: 77 });
    assert_eq!(idx_problem(images, |b| b[3] = 1), DataProblem::Magic { expected: 0x803, found: 0x801 });
    assert_eq!(idx_problem(images, |b| b[4..16].fill(0xff)), DataProblem::TooLarge);
    assert_eq!(idx_problem(images, |b| b[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0])), DataProblem::Gzip);
    let nine = |b: &mut Vec<u8>| {
        b[7] = 9;
        b.pop();
    };
    assert_eq!(idx_problem(labels, nine), DataProblem::Count { images: 10, labels: 9 });
    assert_eq!(idx_problem(labels, |b| b[8 + 4] = 200), DataProblem::Label { index: 4, label: 200, classes: 6 });
    let wider = |b: &mut Vec<u8>| *b = idx::format_images(5, 3, 3, &[0; 45]);
    let shape = DataProblem::Shape { expected: [2, 3, 1], found: [3, 3, 1] };
    assert_eq!(idx_problem("t10k-images-idx3-ubyte", wider), shape);
    assert_eq!(idx_problem("t10k-labels-idx1-ubyte", |b| b[8] = 5), DataProblem::Label { index: 0, label: 5, classes: 5 });
    let none = Dataset::new("none", [2, 3, 1], Images::default(), Images::default(), 0.2);
    assert_eq!(none.err(), Some(DataProblem::Empty));
}

#[test]
fn bad_cifar_batches_are_refused() {
    assert_eq!(cifar_problem(&[]), DataProblem::Empty);
    let expected = 2 * CIFAR_RECORD as u64;
    assert_eq!(cifar_problem(&cifar_batch(2)[..5000]), DataProblem::Length { expected, found: 5000 });
    let mut batch = cifar_batch(3);
    batch[CIFAR_RECORD] = 10;
    assert_eq!(cifar_problem(&batch), DataProblem::Label { index: 1, label: 10, classes: 10 });
}

#[test]
fn what_is_not_there_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = load_folder(&folder.path().join("missing"));
    assert!(matches!(missing, Err(TrainError::Io { .. })), "{missing:?}");
    let empty = load_folder(folder.path());
    assert!(matches!(empty, Err(TrainError::Data { problem: DataProblem::Unknown, .. })), "{empty:?}");
    write_idx(folder.path());
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).expect("removed");
    let partial = load_folder(folder.path());
    assert!(matches!(&partial, Err(TrainError::Io { path, .. }) if path.ends_with("t10k-labels-idx1-ubyte")), "{partial:?}");
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
