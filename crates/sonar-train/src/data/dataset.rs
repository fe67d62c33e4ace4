//! Labelled images in three parts, and batches of them.

use super::augment::{Augment, Distortion};
use super::hex;
use crate::data::part::Part;
use crate::error::DataProblem;
use crate::rng::Rng;
use sha2::{Digest, Sha256};

/// Seed of every division of data. All candidates of all runs must be judged by the same images.
const DIVISION_SEED: u64 = 0x0050_4c49_5453;

/// Labelled images in three parts.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its name in reports.
    pub name: String,
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Number of classes; labels are `0..classes`.
    pub classes: usize,
    /// The number of class 0 in the files: 0 or 1.
    pub first_label: u8,
    /// A digest of all images and labels. It is part of the identity of a training run.
    pub fingerprint: String,
    parts: [Images; 3],
    /// For each channel, the normalised value of each byte.
    normalised: Vec<[f32; 256]>,
}

/// Images with their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// All pixels: image by image, rows from the top, channels as the last axis.
    pub pixels: Vec<u8>,
    /// One label for each image.
    pub labels: Vec<u8>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Some of the images, in the order given. `size` is the number of bytes of one image.
    fn select(&self, indices: &[usize], size: usize) -> Images {
        Images {
            pixels: indices.iter().flat_map(|&i| &self.pixels[i * size..(i + 1) * size]).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

impl Dataset {
    /// A data set from training and test images of shape `image`. See [`load`](super::load) for `validation`.
    ///
    /// There are as many classes as distinct training labels. Labels begin at 0 or at 1 and have no gaps. If they begin at 1,
    /// label 1 is class 0.
    ///
    /// # Errors
    /// The numbers of images and labels differ, there are no images, or a label is out of range.
    pub fn new(name: &str, image: [usize; 3], train: Images, test: Images, validation: f64) -> Result<Dataset, DataProblem> {
        let labels = Labels::of(&train, &test)?;
        Dataset::with_labels(name, image, labels, train, test, validation)
    }

    /// The same for known labels.
    pub(super) fn with_labels(
        name: &str,
        image: [usize; 3],
        Labels { first, classes }: Labels,
        mut train: Images,
        mut test: Images,
        validation: f64,
    ) -> Result<Dataset, DataProblem> {
        let size: usize = image.iter().product();
        for images in [&mut train, &mut test] {
            if images.len().checked_mul(size) != Some(images.pixels.len()) {
                return Err(DataProblem::Count { images: images.pixels.len() / size.max(1), labels: images.len() });
            }
            images.labels.iter_mut().for_each(|label| *label -= first);
        }
        if train.is_empty() || size == 0 {
            return Err(DataProblem::Empty);
        }
        let fingerprint = fingerprint(image, validation, [&train, &test]);
        let (validation, train) = divide(&train, validation, size);
        let normalised = normalise(&train, image[2]);
        Ok(Dataset {
            name: name.into(),
            image,
            classes,
            first_label: first,
            fingerprint,
            parts: [train, validation, test],
            normalised,
        })
    }

    /// The images of a part.
    pub fn part(&self, part: Part) -> &Images {
        &self.parts[part as usize]
    }

    /// Number of elements of an image.
    pub fn image_size(&self) -> usize {
        self.image.iter().product()
    }

    /// Writes normalised images of a part to `out`, one after the other. The rest of `out` becomes 0.
    ///
    /// With `augment` and a seed, the augmentation of image `i` depends only on `(seed, i)`, not on the rest of the batch.
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

    /// Writes the one-hot labels of images of a part to `out`. The rest of `out` becomes 0.
    pub fn fill_labels(&self, part: Part, indices: &[u32], out: &mut [f32]) {
        out.fill(0.0);
        for (&index, row) in indices.iter().zip(out.chunks_exact_mut(self.classes)) {
            row[usize::from(self.part(part).labels[index as usize])] = 1.0;
        }
    }
}

/// The labels of a data set: `first..first + classes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub first: u8,
    pub classes: usize,
}

impl Labels {
    /// The range of the training labels, and a check that no label is outside of it.
    fn of(train: &Images, test: &Images) -> Result<Labels, DataProblem> {
        let mut present = [false; 256];
        train.labels.iter().for_each(|&label| present[usize::from(label)] = true);
        let classes = present.iter().filter(|&&p| p).count();
        let first = u8::from(!present[0] && classes > 0);
        for (part, images) in [(Part::Train, train), (Part::Test, test)] {
            let known = usize::from(first)..usize::from(first) + classes;
            if let Some(index) = images.labels.iter().position(|&label| !known.contains(&usize::from(label))) {
                return Err(DataProblem::Label { part, index, label: images.labels[index], first, classes });
            }
        }
        Ok(Labels { first, classes })
    }
}

/// Divides images into a share, rounded for each class, and the rest. Both keep the order of the images.
pub(super) fn divide(images: &Images, share: f64, size: usize) -> (Images, Images) {
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

/// For each channel, the table `byte → (byte − mean) / deviation` over all images. A constant channel becomes 0.
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
