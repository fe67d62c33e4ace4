//! The binary format of CIFAR-10: records of a label and three colour planes of 32×32 bytes.

use super::{Images, read_file};
use crate::error::{DataProblem, TrainError};
use std::path::{Path, PathBuf};

/// Height, width and channels of an image.
pub const IMAGE: [usize; 3] = [32, 32, 3];

const PLANE: usize = 32 * 32;
const RECORD: usize = 1 + 3 * PLANE;
const CLASSES: usize = 10;
const TRAIN: [&str; 5] = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: &str = "test_batch.bin";

/// The folder that holds the batches, if it is this one or the one that the published archive makes in it.
pub fn folder(path: &Path) -> Option<PathBuf> {
    [path.to_path_buf(), path.join("cifar-10-batches-bin")].into_iter().find(|folder| folder.join(TRAIN[0]).is_file())
}

/// Reads the six batches of a folder: training images and test images.
pub fn read_folder(folder: &Path) -> Result<(Images, Images), TrainError> {
    let mut train = Images::default();
    for name in TRAIN {
        let batch = read_batch(&folder.join(name))?;
        train.pixels.extend(batch.pixels);
        train.labels.extend(batch.labels);
    }
    Ok((train, read_batch(&folder.join(TEST))?))
}

/// Reads one batch.
pub fn read_batch(path: &Path) -> Result<Images, TrainError> {
    parse(&read_file(path)?).map_err(|problem| TrainError::Data { path: path.into(), problem })
}

/// The images of a batch, with channels fastest.
pub fn parse(bytes: &[u8]) -> Result<Images, DataProblem> {
    if bytes.is_empty() {
        return Err(DataProblem::Empty);
    }
    if !bytes.len().is_multiple_of(RECORD) {
        let expected = bytes.len().next_multiple_of(RECORD) as u64;
        return Err(DataProblem::Length { expected, found: bytes.len() as u64 });
    }
    let mut images = Images::default();
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if usize::from(label) >= CLASSES {
            return Err(DataProblem::Label { index, label, classes: CLASSES });
        }
        images.labels.push(label);
        images.pixels.extend((0..PLANE).flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]]));
    }
    Ok(images)
}
