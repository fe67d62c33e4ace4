//! Random augmentation of training images: horizontal flip, crop from a padded image, and cut-out.

use crate::rng::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The augmentation of training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// Images are padded by this many black pixels on each side and cropped to their size at a random place.
    pub crop: usize,
    /// Side of a square at a random place that is set to the mean, or 0 for none. (DeVries and Taylor, 2017)
    pub cutout: usize,
}

impl Augment {
    /// No augmentation.
    pub const NONE: Augment = Augment { flip: false, crop: 0, cutout: 0 };
}

impl Default for Augment {
    /// Flip, and crop after padding by 4.
    fn default() -> Self {
        Augment { flip: true, crop: 4, cutout: 0 }
    }
}

impl fmt::Display for Augment {
    /// As it is parsed: `flip,crop=4,cutout=8`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sized = |name: &str, size: usize| if size > 0 { Some(format!("{name}={size}")) } else { None };
        let flip = self.flip.then(|| "flip".to_string());
        let parts: Vec<String> = [flip, sized("crop", self.crop), sized("cutout", self.cutout)].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "none".to_string() } else { parts.join(",") }.as_str())
    }
}

impl FromStr for Augment {
    type Err = String;

    fn from_str(text: &str) -> Result<Augment, String> {
        let mut augment = Augment::NONE;
        if text == "none" {
            return Ok(augment);
        }
        for part in text.split(',') {
            let (name, size) = part.split_once('=').map_or((part, None), |(name, size)| (name, size.parse().ok()));
            match (name, size) {
                ("flip", None) if name == part => augment.flip = true,
                ("crop", Some(size)) => augment.crop = size,
                ("cutout", Some(size)) => augment.cutout = size,
                _ => return Err(format!("`{part}` is no augmentation: write none, or a list such as flip,crop=4,cutout=8")),
            }
        }
        Ok(augment)
    }
}

/// The augmentation of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distortion {
    flip: bool,
    /// Pixels by which the image moves down and to the right.
    shift: [isize; 2],
    /// Rows `[0]..[1]` and columns `[2]..[3]` that are cut out.
    hole: [usize; 4],
}

impl Distortion {
    /// The unchanged image.
    pub(super) const NONE: Distortion = Distortion { flip: false, shift: [0; 2], hole: [0; 4] };

    /// A random augmentation of an image of this shape.
    pub(super) fn draw(augment: &Augment, [height, width, _]: [usize; 3], rng: &mut Rng) -> Distortion {
        let flip = augment.flip && rng.below(2) == 1;
        let mut shift = || rng.below(2 * augment.crop + 1) as isize - augment.crop as isize;
        let shift = [shift(), shift()];
        let mut span = |extent: usize| {
            let centre = rng.below(extent);
            let start = centre.saturating_sub(augment.cutout / 2);
            [start, (centre + augment.cutout.div_ceil(2)).min(extent)]
        };
        let hole = if augment.cutout > 0 {
            let ([top, bottom], [left, right]) = (span(height), span(width));
            [top, bottom, left, right]
        } else {
            [0; 4]
        };
        Distortion { flip, shift, hole }
    }

    /// Writes the augmented image. Each byte is converted by the table of its channel. Pixels from outside are black (byte 0).
    /// A hole is 0 after normalisation, which is the mean.
    pub(super) fn apply(&self, [height, width, channels]: [usize; 3], source: &[u8], tables: &[[f32; 256]], out: &mut [f32]) {
        let [top, bottom, left, right] = self.hole;
        for (i, pixel) in out.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (i / width, i % width);
            if (top..bottom).contains(&row) && (left..right).contains(&column) {
                pixel.fill(0.0);
                continue;
            }
            let from_row = row.checked_add_signed(-self.shift[0]).filter(|&r| r < height);
            let from_column = column.checked_add_signed(-self.shift[1]).filter(|&c| c < width);
            let from_column = from_column.map(|c| if self.flip { width - 1 - c } else { c });
            for (c, value) in pixel.iter_mut().enumerate() {
                let byte = match (from_row, from_column) {
                    (Some(row), Some(column)) => source[(row * width + column) * channels + c],
                    _ => 0,
                };
                *value = tables[c][usize::from(byte)];
            }
        }
    }
}
