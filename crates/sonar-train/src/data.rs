//! Data sets of labelled images: where they come from, how they are divided, and how they become batches.
//!
//! | module | what it gives |
//! |---|---|
//! | [`idx`] | the format of MNIST and Fashion-MNIST |
//! | [`cifar`] | the binary format of CIFAR-10 |
//! | [`augment`] | random flips, crops and cut-outs |
//!
//! Pixels stay bytes; they are normalised by the training images' mean and deviation when a batch is filled.

pub mod augment;
pub mod cifar;
pub mod idx;

use crate::error::{DataProblem, TrainError};
use crate::rng::Rng;
use augment::{Augment, Distortion};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// The name of the data set that is part of the program.
pub const FASHION_MNIST: &str = "fashion-mnist";

/// Seeds every division of data: all candidates of all runs must be judged by the same images.
const DIVISION_SEED: u64 = 0x0050_4c49_5453;

/// Labelled images in three parts.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it is called in reports.
    pub name: String,
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Number of classes; labels are `0..classes`.
    pub classes: usize,
    /// A digest of all of it, part of what identifies a training run.
    pub fingerprint: String,
    parts: [Images; 3],
    /// For each channel, the normalised value of each byte.
    normalised: Vec<[f32; 256]>,
}

/// What images are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To learn from.
    Train,
    /// To choose between networks by.
    Validation,
    /// To judge the chosen ones by; nothing may be decided by it.
    Test,
}

/// Images with their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// All pixels: image by image, rows from the top, channels fastest.
    pub pixels: Vec<u8>,
    /// One label for each image.
    pub labels: Vec<u8>,
}

impl Part {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "training",
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

impl Images {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Some of the images, in the order given; `size` is the number of bytes of one.
    fn select(&self, indices: &[usize], size: usize) -> Images {
        Images {
            pixels: indices.iter().flat_map(|&i| &self.pixels[i * size..(i + 1) * size]).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

/// Loads a data set: [`FASHION_MNIST`], a folder in IDX format, or a folder or file in CIFAR-10 binary format.
///
/// `validation` is the share of the training images that is set apart for validation, equally from all classes and always the same.
/// A single CIFAR-10 file has no test images of its own; a sixth of its images become them.
pub fn load(name: &str, validation: f64) -> Result<Dataset, TrainError> {
    if name == FASHION_MNIST {
        return fashion_mnist(validation);
    }
    let path = Path::new(name);
    let (image, train, test) = if path.is_file() && !idx::is_folder(path) {
        let all = cifar::read_batch(path)?;
        let (test, train) = divide(&all, 1.0 / 6.0, cifar::IMAGE.iter().product());
        (cifar::IMAGE, train, test)
    } else if idx::is_folder(path) {
        idx::read_folder(path)?
    } else if let Some(folder) = cifar::folder(path) {
        let (train, test) = cifar::read_folder(&folder)?;
        (cifar::IMAGE, train, test)
    } else {
        // A path that cannot be read at all is reported as such, not as an unknown format.
        std::fs::metadata(path).map_err(|source| TrainError::Io { path: path.into(), source })?;
        return Err(TrainError::Data { path: path.into(), problem: DataProblem::Unknown });
    };
    let title = path.file_name().map_or_else(|| name.to_string(), |n| n.to_string_lossy().into_owned());
    Dataset::new(&title, image, train, test, validation).map_err(|problem| TrainError::Data { path: path.into(), problem })
}

/// The subset of Fashion-MNIST that is part of the program: 10,000 training and 2,000 test images.
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

impl Dataset {
    /// A data set from its training and test images of shape `image`; see [`load`] for `validation`.
    ///
    /// The classes are those of the training images: a label that is not smaller than the number of distinct ones is out of range.
    pub fn new(name: &str, image: [usize; 3], train: Images, test: Images, validation: f64) -> Result<Dataset, DataProblem> {
        let size: usize = image.iter().product();
        for images in [&train, &test] {
            if images.len().checked_mul(size) != Some(images.pixels.len()) {
                return Err(DataProblem::Count { images: images.pixels.len() / size.max(1), labels: images.len() });
            }
        }
        if train.is_empty() || size == 0 {
            return Err(DataProblem::Empty);
        }
        let mut present = [false; 256];
        for &label in &train.labels {
            present[usize::from(label)] = true;
        }
        let classes = present.iter().filter(|&&p| p).count();
        for images in [&train, &test] {
            if let Some(index) = images.labels.iter().position(|&l| usize::from(l) >= classes) {
                return Err(DataProblem::Label { index, label: images.labels[index], classes });
            }
        }

        let fingerprint = fingerprint(image, validation, [&train, &test]);
        let (validation, train) = divide(&train, validation, size);
        let normalised = normalise(&train, image[2]);
        Ok(Dataset { name: name.into(), image, classes, fingerprint, parts: [train, validation, test], normalised })
    }

    /// The images of a part.
    pub fn part(&self, part: Part) -> &Images {
        &self.parts[part as usize]
    }

    /// Number of numbers of an image.
    pub fn image_size(&self) -> usize {
        self.image.iter().product()
    }

    /// Writes images of a part, normalised, one after the other to `out`; what is left of `out` becomes 0.
    ///
    /// With `augment` and a seed, image `i` is distorted as `(seed, i)` says, whatever else is in the batch.
    pub fn fill_images(&self, part: Part, indices: &[u32], augment: Option<(&Augment, [u64; 2])>, out: &mut [f32]) {
        let size = self.image_size();
        let pixels = &self.part(part).pixels;
        let (images, rest) = out.split_at_mut((indices.len() * size).min(out.len()));
        for (&index, place) in indices.iter().zip(images.chunks_exact_mut(size)) {
            let distortion = augment.map_or(Distortion::NONE, |(augment, [seed, epoch])| {
                Distortion::draw(augment, self.image, &mut Rng::new(&[seed, epoch, u64::from(index)]))
            });
            let source = &pixels[index as usize * size..][..size];
            distortion.apply(self.image, source, &self.normalised, place);
        }
        rest.fill(0.0);
    }

    /// Writes the labels of images of a part to `out`, one-hot; what is left of `out` becomes 0.
    pub fn fill_labels(&self, part: Part, indices: &[u32], out: &mut [f32]) {
        out.fill(0.0);
        for (&index, row) in indices.iter().zip(out.chunks_exact_mut(self.classes)) {
            row[usize::from(self.part(part).labels[index as usize])] = 1.0;
        }
    }
}

/// Divides images into a share, rounded for each class, and the rest; both keep the order of the images.
fn divide(images: &Images, share: f64, size: usize) -> (Images, Images) {
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); 256];
    for (i, &label) in images.labels.iter().enumerate() {
        by_class[usize::from(label)].push(i);
    }
    let mut chosen = vec![false; images.len()];
    for (class, members) in by_class.iter().enumerate() {
        let count = (members.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let order = Rng::new(&[DIVISION_SEED, class as u64]).permutation(members.len());
        for &i in &order[..count] {
            chosen[members[i as usize]] = true;
        }
    }
    let (taken, left): (Vec<usize>, Vec<usize>) = (0..images.len()).partition(|&i| chosen[i]);
    (images.select(&taken, size), images.select(&left, size))
}

/// For each channel, the table `byte → (byte − mean) / deviation` over all images; a constant channel becomes 0.
fn normalise(images: &Images, channels: usize) -> Vec<[f32; 256]> {
    let mut counts = vec![[0u64; 256]; channels];
    for pixel in images.pixels.chunks_exact(channels) {
        for (count, &value) in counts.iter_mut().zip(pixel) {
            count[usize::from(value)] += 1;
        }
    }
    let table = |count: &[u64; 256]| {
        let total = count.iter().sum::<u64>().max(1) as f64;
        let moment = |power| count.iter().enumerate().map(|(v, &n)| (v as f64).powi(power) * n as f64).sum::<f64>() / total;
        let mean = moment(1);
        let deviation = (moment(2) - mean * mean).max(0.0).sqrt();
        let inverse = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
        std::array::from_fn(|v| ((v as f64 - mean) * inverse) as f32)
    };
    counts.iter().map(table).collect()
}

fn fingerprint(image: [usize; 3], validation: f64, parts: [&Images; 2]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{image:?} {validation} {} {}", parts[0].len(), parts[1].len()));
    for images in parts {
        hash.update(&images.pixels);
        hash.update(&images.labels);
    }
    hex(&hash.finalize())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of a file, unpacked if they are gzip data.
fn read_file(path: &Path) -> Result<Vec<u8>, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::Io { path: path.into(), source })?;
    unpack(bytes).map_err(|problem| TrainError::Data { path: path.into(), problem })
}

/// The bytes themselves, or what they unpack to if they are gzip data.
fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, DataProblem> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).map_err(|_| DataProblem::Gzip)?;
    Ok(unpacked)
}
