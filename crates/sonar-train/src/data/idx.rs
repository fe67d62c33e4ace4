//! The IDX format of MNIST and similar data sets. A file holds two zero bytes, a byte for the element type (`0x08` for bytes),
//! a byte for the number of axes, the extents as 32-bit big-endian numbers, and the elements.
//!
//! Labels have one axis. Grey images have three; images with channels have four: `[image, row, column, channel]` or `[image,
//! channel, row, column]`.

use super::{Images, read_file, unpack};
use crate::error::{DataProblem, TrainError};
use std::path::Path;

/// The only supported element type.
const BYTES: u8 = 0x08;

/// The content of a file of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

/// All roles, in the order of their numbers.
pub(super) const ROLES: [Role; 4] = [Role::TrainImages, Role::TrainLabels, Role::TestImages, Role::TestLabels];

impl Role {
    /// Its description in a message.
    pub(super) fn what(self) -> &'static str {
        match self {
            Role::TrainImages => "training images",
            Role::TrainLabels => "training labels",
            Role::TestImages => "test images",
            Role::TestLabels => "test labels",
        }
    }

    /// The usual name of its file.
    pub(super) fn file(self) -> String {
        let name = match self {
            Role::TrainImages => "train-images-idx3-ubyte",
            Role::TrainLabels => "train-labels-idx1-ubyte",
            Role::TestImages => "t10k-images-idx3-ubyte",
            Role::TestLabels => "t10k-labels-idx1-ubyte",
        };
        name.to_string()
    }
}

/// The role of a file, by its name: `train-images-idx3-ubyte`, with `-`, `_` or `.` between the words, and `t10k` or `test` for
/// test images. `.gz` may follow, and the name of the data set may come first, as in
/// `emnist-letters-train-labels-idx1-ubyte.gz`.
pub(super) fn role(name: &str) -> Option<Role> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let mut words = name.rsplit(['-', '_', '.']);
    let (kind, format, what, part) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if kind != "ubyte" || !matches!(format, "idx1" | "idx3" | "idx4") {
        return None;
    }
    match (part, what) {
        ("train", "images") => Some(Role::TrainImages),
        ("train", "labels") => Some(Role::TrainLabels),
        ("t10k" | "test", "images") => Some(Role::TestImages),
        ("t10k" | "test", "labels") => Some(Role::TestLabels),
        _ => None,
    }
}

/// Reads a file of images and a file of labels. Returns the shape of an image, and the images.
pub fn read(images: &Path, labels: &Path) -> Result<([usize; 3], Images), TrainError> {
    let at = |path: &Path, problem| TrainError::Data { path: path.into(), problem };
    let (image, pixels) = parse_images(&read_file(images)?).map_err(|p| at(images, p))?;
    let labels_read = parse_labels(&read_file(labels)?).map_err(|p| at(labels, p))?;
    combine(image, pixels, labels_read).map_err(|p| at(labels, p))
}

/// Images with labels from the bytes of two files, plain or compressed.
pub(super) fn pair(images: &[u8], labels: &[u8]) -> Result<([usize; 3], Images), DataProblem> {
    let (image, pixels) = parse_images(&unpack(images.to_vec())?)?;
    combine(image, pixels, parse_labels(&unpack(labels.to_vec())?)?)
}

/// Whether the first four bytes are those of an IDX file.
pub(super) fn is_idx(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, BYTES, 1 | 3 | 4, ..])
}

/// Height, width and channels of each image, and all pixels with channels as the last axis, from the bytes of an IDX file of
/// images.
///
/// ```
/// let file = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20];
/// assert_eq!(sonar_train::data::idx::parse_images(&file), Ok(([1, 2, 1], vec![10, 20])));
/// ```
pub fn parse_images(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), DataProblem> {
    let (extents, pixels) = parse(bytes)?;
    if pixels.is_empty() {
        return Err(DataProblem::Empty);
    }
    match extents[..] {
        [_, height, width] => Ok(([height, width, 1], pixels)),
        [_, height, width, channels @ (1 | 3 | 4)] => Ok(([height, width, channels], pixels)),
        [_, channels @ (1 | 3 | 4), height, width] => {
            let plane = height * width;
            let interleave =
                |image: &[u8]| (0..image.len()).map(|i| image[i % channels * plane + i / channels]).collect::<Vec<u8>>();
            Ok(([height, width, channels], pixels.chunks(channels * plane).flat_map(interleave).collect()))
        }
        [_, ..] if extents.len() == 4 => Err(DataProblem::Channels { extents }),
        _ => Err(DataProblem::Axes { what: "images", expected: "three, or four with channels", found: extents.len() }),
    }
}

/// The labels of an IDX file of labels.
pub fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>, DataProblem> {
    let (extents, labels) = parse(bytes)?;
    match extents.len() {
        1 => Ok(labels),
        found => Err(DataProblem::Axes { what: "labels", expected: "one", found }),
    }
}

/// The bytes of an IDX file with these extents.
pub fn format(extents: &[usize], elements: &[u8]) -> Vec<u8> {
    let words = extents.iter().flat_map(|&extent| (extent as u32).to_be_bytes());
    [0, 0, BYTES, extents.len() as u8].into_iter().chain(words).chain(elements.iter().copied()).collect()
}

/// The bytes of an IDX file of grey images.
pub fn format_images(count: usize, height: usize, width: usize, pixels: &[u8]) -> Vec<u8> {
    format(&[count, height, width], pixels)
}

/// The bytes of an IDX file of labels.
pub fn format_labels(labels: &[u8]) -> Vec<u8> {
    format(&[labels.len()], labels)
}

/// The extents and the elements of an IDX file.
fn parse(bytes: &[u8]) -> Result<(Vec<usize>, Vec<u8>), DataProblem> {
    let length = |expected: usize| DataProblem::Length { expected: expected as u64, found: bytes.len() as u64 };
    let Some((&[zero, also_zero, kind, rank], rest)) = bytes.split_first_chunk::<4>() else { return Err(length(4)) };
    if (zero, also_zero) != (0, 0) {
        return Err(DataProblem::NotIdx { found: [zero, also_zero, kind, rank] });
    }
    if kind != BYTES {
        return Err(DataProblem::Elements { found: kind });
    }
    let header = 4 * usize::from(rank);
    let Some((words, elements)) = rest.split_at_checked(header) else { return Err(length(4 + header)) };
    let extents: Vec<usize> = words.as_chunks::<4>().0.iter().map(|&word| u32::from_be_bytes(word) as usize).collect();
    let size = extents.iter().try_fold(1usize, |size, &extent| size.checked_mul(extent)).ok_or(DataProblem::TooLarge)?;
    if elements.len() != size {
        let expected = size.checked_add(4 + header).ok_or(DataProblem::TooLarge)?;
        return Err(length(expected));
    }
    Ok((extents, elements.to_vec()))
}

fn combine(image: [usize; 3], pixels: Vec<u8>, labels: Vec<u8>) -> Result<([usize; 3], Images), DataProblem> {
    let size: usize = image.iter().product();
    let images = pixels.len() / size.max(1);
    if images != labels.len() {
        return Err(DataProblem::Count { images, labels: labels.len() });
    }
    Ok((image, Images { pixels, labels }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        for name in [
            "train-images-idx3-ubyte",
            "train-images.idx3-ubyte",
            "train-images-idx3-ubyte.gz",
            "train_images.idx3.ubyte.gz",
            "train-images-idx4-ubyte",
            "emnist-letters-train-images-idx3-ubyte.gz",
        ] {
            assert_eq!(role(name), Some(Role::TrainImages), "{name}");
        }
        assert_eq!(role("t10k-labels.idx1-ubyte"), Some(Role::TestLabels));
        assert_eq!(role("emnist-balanced-test-images-idx3-ubyte"), Some(Role::TestImages));
        assert!(ROLES.iter().all(|known| role(&known.file()) == Some(*known)));
        for name in ["train-images", "train-images-idx3-float", "trainimages-idx3-ubyte", "images-idx3-ubyte", "", "ubyte"] {
            assert_eq!(role(name), None, "{name}");
        }
    }
}
