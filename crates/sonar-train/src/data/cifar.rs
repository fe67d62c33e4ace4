//! The binary formats of CIFAR-10 and CIFAR-100: records of one or two labels and three colour planes of 32×32 bytes.

use super::{Images, Part, read_file};
use crate::error::{DataProblem, TrainError};
use std::path::Path;

/// Height, width and channels of an image.
pub const IMAGE: [usize; 3] = [32, 32, 3];

const PLANE: usize = 32 * 32;

/// One of the two data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Ten classes. A record begins with its label.
    Cifar10,
    /// A hundred classes. A record begins with the coarse label, which is ignored, then the fine label.
    Cifar100,
}

impl Variant {
    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Variant::Cifar10 => 10,
            Variant::Cifar100 => 100,
        }
    }

    /// Number of labels before the pixels of a record. The last one is used.
    fn labels(self) -> usize {
        match self {
            Variant::Cifar10 => 1,
            Variant::Cifar100 => 2,
        }
    }

    /// Bytes of a record.
    pub fn record(self) -> usize {
        self.labels() + 3 * PLANE
    }

    /// File names of the training batches and of the test batch.
    pub(super) fn files(self) -> (&'static [&'static str], &'static str) {
        match self {
            Variant::Cifar10 => (
                &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
                "test_batch.bin",
            ),
            Variant::Cifar100 => (&["train.bin"], "test.bin"),
        }
    }

    /// The variant of a file of this many bytes: its record size divides the length.
    pub(super) fn of_length(bytes: usize) -> Option<Variant> {
        [Variant::Cifar10, Variant::Cifar100].into_iter().find(|variant| bytes.is_multiple_of(variant.record()))
    }
}

/// Reads batches one after the other.
pub(super) fn read(paths: &[impl AsRef<Path>], variant: Variant, part: Part) -> Result<Images, TrainError> {
    let mut all = Images::default();
    for path in paths.iter().map(AsRef::as_ref) {
        let batch = parse(&read_file(path)?, variant, part).map_err(|problem| TrainError::Data { path: path.into(), problem })?;
        all.pixels.extend(batch.pixels);
        all.labels.extend(batch.labels);
    }
    Ok(all)
}

/// The images of a batch, with channels as the last axis. `part` is only for error messages about labels.
pub fn parse(bytes: &[u8], variant: Variant, part: Part) -> Result<Images, DataProblem> {
    if bytes.is_empty() {
        return Err(DataProblem::Empty);
    }
    let (record, labels, classes) = (variant.record(), variant.labels(), variant.classes());
    if !bytes.len().is_multiple_of(record) {
        return Err(DataProblem::Records { record: record as u64, found: bytes.len() as u64 });
    }
    let mut images = Images::default();
    for (index, record) in bytes.chunks_exact(record).enumerate() {
        let (label, planes) = (record[labels - 1], &record[labels..]);
        if usize::from(label) >= classes {
            return Err(DataProblem::Label { part, index, label, first: 0, classes });
        }
        images.labels.push(label);
        images.pixels.extend((0..PLANE).flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]]));
    }
    Ok(images)
}
