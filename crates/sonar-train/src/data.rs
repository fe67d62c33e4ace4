//! Data sets of labelled images: loading, division into parts, and batches.
//!
//! | module | what it gives |
//! |---|---|
//! | [`idx`] | the format of MNIST and similar data sets |
//! | [`cifar`] | the binary formats of CIFAR-10 and CIFAR-100 |
//! | `folder` | finds the files of a data set in a folder |
//! | `dataset` | images in three parts |
//! | `part` | the names of the parts |
//! | [`augment`] | random flips, crops and cut-outs |
//!
//! Pixels are stored as bytes. Filling a batch normalises them with the mean and the standard deviation of the training images.

pub mod augment;
pub mod cifar;
mod dataset;
mod folder;
pub mod idx;
pub(crate) mod part;

pub use cifar::Variant;
pub use dataset::{Dataset, Images};
pub use part::Part;

use crate::error::{DataProblem, TrainError};
use dataset::Labels;
use flate2::read::GzDecoder;
use folder::Files;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of the built-in data set.
pub const FASHION_MNIST: &str = "fashion-mnist";

/// The share of the images of a single CIFAR batch that become test images.
const TEST_SHARE: f64 = 1.0 / 6.0;

/// Loads a data set: [`FASHION_MNIST`], a folder of IDX files, a folder of CIFAR-10 or CIFAR-100 batches, or one such batch.
///
/// Files may be compressed with gzip. `validation` is the share of the training images that is used for validation. It takes
/// the same share of every class and always the same images. A single batch has no test images, so a sixth of its images become
/// test images.
///
/// # Errors
/// A file cannot be read, or its content does not match its name. The error names the file.
pub fn load(name: &str, validation: f64) -> Result<Dataset, TrainError> {
    if name == FASHION_MNIST {
        return fashion_mnist(validation);
    }
    let path = Path::new(name);
    let title = path.file_name().map_or_else(|| name.to_string(), |n| n.to_string_lossy().into_owned());
    let at = |path: &Path, problem| TrainError::Data { path: path.into(), problem };
    let metadata = std::fs::metadata(path).map_err(|source| TrainError::Io { action: "read", path: path.into(), source })?;
    if metadata.is_file() {
        return batch(path, &title, validation);
    }
    match folder::find(path)? {
        Files::Cifar { variant, train, test } => {
            let (train, test) = (cifar::read(&train, variant, Part::Train)?, cifar::read(&[test], variant, Part::Test)?);
            let labels = Labels { first: 0, classes: variant.classes() };
            Dataset::with_labels(&title, cifar::IMAGE, labels, train, test, validation).map_err(|problem| at(path, problem))
        }
        Files::Idx { train, test } => {
            let (image, train_images) = idx::read(&train[0], &train[1])?;
            let (test_image, test_images) = idx::read(&test[0], &test[1])?;
            if image != test_image {
                return Err(at(&test[0], DataProblem::Shape { expected: image, found: test_image }));
            }
            let data = Dataset::new(&title, image, train_images, test_images, validation);
            let data = data.map_err(|problem| at(file_of(&problem, path, &train, &test), problem))?;
            if data.first_label > 0 {
                tracing::warn!("{}: labels are 1 to {}; label 1 is class 0", path.display(), data.classes);
            }
            Ok(data)
        }
    }
}

/// The file that causes a problem of a whole data set.
fn file_of<'a>(problem: &DataProblem, folder: &'a Path, train: &'a [PathBuf; 2], test: &'a [PathBuf; 2]) -> &'a Path {
    match problem {
        DataProblem::Label { part: Part::Test, .. } => &test[1],
        DataProblem::Label { .. } => &train[1],
        _ => folder,
    }
}

/// A data set from one CIFAR batch.
fn batch(path: &Path, title: &str, validation: f64) -> Result<Dataset, TrainError> {
    let at = |problem| TrainError::Data { path: path.into(), problem };
    let bytes = read_file(path)?;
    if idx::is_idx(&bytes) {
        return Err(at(DataProblem::OneFile));
    }
    if bytes.is_empty() {
        return Err(at(DataProblem::Empty));
    }
    let Some(variant) = Variant::of_length(bytes.len()) else {
        return Err(at(DataProblem::NoBatch { found: bytes.len() as u64 }));
    };
    let all = cifar::parse(&bytes, variant, Part::Train).map_err(at)?;
    let (test, train) = dataset::divide(&all, TEST_SHARE, cifar::IMAGE.iter().product());
    let labels = Labels { first: 0, classes: variant.classes() };
    Dataset::with_labels(title, cifar::IMAGE, labels, train, test, validation).map_err(at)
}

/// The built-in subset of Fashion-MNIST: 10,000 training and 2,000 test images.
fn fashion_mnist(validation: f64) -> Result<Dataset, TrainError> {
    macro_rules! embedded {
        ($file:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/fashion-mnist-subset/", $file))
        };
    }
    let read = || {
        let train = idx::pair(embedded!("train-images-idx3-ubyte.gz"), embedded!("train-labels-idx1-ubyte.gz"))?;
        let test = idx::pair(embedded!("t10k-images-idx3-ubyte.gz"), embedded!("t10k-labels-idx1-ubyte.gz"))?;
        Dataset::new(FASHION_MNIST, train.0, train.1, test.1, validation)
    };
    read().map_err(|problem| TrainError::Data { path: FASHION_MNIST.into(), problem })
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of a file, decompressed if they are gzip data.
fn read_file(path: &Path) -> Result<Vec<u8>, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::Io { action: "read", path: path.into(), source })?;
    unpack(bytes).map_err(|problem| TrainError::Data { path: path.into(), problem })
}

/// The bytes, decompressed if they are gzip data.
fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, DataProblem> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).map_err(|_| DataProblem::Gzip)?;
    Ok(unpacked)
}
