//! The IDX format of MNIST and Fashion-MNIST: a big-endian magic number (`0x08` for bytes, then the rank), the extents, the elements.

use super::{Images, read_file, unpack};
use crate::error::{DataProblem, TrainError};
use std::path::{Path, PathBuf};

/// Magic number of labels: bytes, one axis.
const LABELS: u32 = 0x0801;
/// Magic number of grey images: bytes, three axes.
const IMAGES: u32 = 0x0803;

/// Names of the four files of a data set.
const FILES: [[&str; 2]; 2] =
    [["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]];

/// Whether a path is a folder with training images in this format.
pub fn is_folder(path: &Path) -> bool {
    find(path, FILES[0][0]).is_some()
}

/// Reads the four files of a folder, each plain or with `.gz`: image shape, training images, test images.
pub fn read_folder(folder: &Path) -> Result<([usize; 3], Images, Images), TrainError> {
    let [train, test] = FILES.map(|[images, labels]| {
        let (images, labels) = (located(folder, images), located(folder, labels));
        let at = |path: &Path, problem| TrainError::Data { path: path.into(), problem };
        let (image, pixels) = parse_images(&read_file(&images)?).map_err(|p| at(&images, p))?;
        let labels_read = parse_labels(&read_file(&labels)?).map_err(|p| at(&labels, p))?;
        combine(image, pixels, labels_read).map_err(|p| at(&images, p))
    });
    let ((image, train), (test_image, test)) = (train?, test?);
    if image != test_image {
        let problem = DataProblem::Shape { expected: image, found: test_image };
        return Err(TrainError::Data { path: folder.into(), problem });
    }
    Ok((image, train, test))
}

/// Images with labels from the bytes of two files, plain or packed.
pub(super) fn pair(images: &[u8], labels: &[u8]) -> Result<([usize; 3], Images), DataProblem> {
    let (image, pixels) = parse_images(&unpack(images.to_vec())?)?;
    combine(image, pixels, parse_labels(&unpack(labels.to_vec())?)?)
}

/// Height, width and channels of each image, and all pixels, from the bytes of an IDX file of images.
///
/// ```
/// let file = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20];
/// assert_eq!(sonar_train::data::idx::parse_images(&file), Ok(([1, 2, 1], vec![10, 20])));
/// ```
pub fn parse_images(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), DataProblem> {
    let ([_, height, width], pixels) = parse::<3>(bytes, IMAGES)?;
    Ok(([height, width, 1], pixels))
}

/// The labels of an IDX file of labels.
pub fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>, DataProblem> {
    Ok(parse::<1>(bytes, LABELS)?.1)
}

/// The bytes of an IDX file of grey images.
pub fn format_images(count: usize, height: usize, width: usize, pixels: &[u8]) -> Vec<u8> {
    format(IMAGES, &[count, height, width], pixels)
}

/// The bytes of an IDX file of labels.
pub fn format_labels(labels: &[u8]) -> Vec<u8> {
    format(LABELS, &[labels.len()], labels)
}

fn parse<const RANK: usize>(bytes: &[u8], magic: u32) -> Result<([usize; RANK], Vec<u8>), DataProblem> {
    let header = 4 + 4 * RANK;
    let word = |i: usize| bytes.get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let short = DataProblem::Length { expected: header as u64, found: bytes.len() as u64 };
    let found = word(0).ok_or(short.clone())?;
    if found != magic {
        return Err(DataProblem::Magic { expected: magic, found });
    }
    let mut extents = [0; RANK];
    let mut size: usize = 1;
    for (i, extent) in extents.iter_mut().enumerate() {
        *extent = word(i + 1).ok_or(short.clone())? as usize;
        size = size.checked_mul(*extent).ok_or(DataProblem::TooLarge)?;
    }
    let elements = &bytes[header..];
    if elements.len() != size {
        return Err(DataProblem::Length { expected: header as u64 + size as u64, found: bytes.len() as u64 });
    }
    Ok((extents, elements.to_vec()))
}

fn format(magic: u32, extents: &[usize], elements: &[u8]) -> Vec<u8> {
    let words = std::iter::once(magic).chain(extents.iter().map(|&e| e as u32));
    words.flat_map(u32::to_be_bytes).chain(elements.iter().copied()).collect()
}

fn combine(image: [usize; 3], pixels: Vec<u8>, labels: Vec<u8>) -> Result<([usize; 3], Images), DataProblem> {
    let size: usize = image.iter().product();
    let images = pixels.len() / size.max(1);
    if images != labels.len() {
        return Err(DataProblem::Count { images, labels: labels.len() });
    }
    Ok((image, Images { pixels, labels }))
}

/// The file of this name in a folder, plain or packed, if there is one.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

/// The file of this name, or the path at which it is missed.
fn located(folder: &Path, name: &str) -> PathBuf {
    find(folder, name).unwrap_or_else(|| folder.join(name))
}
