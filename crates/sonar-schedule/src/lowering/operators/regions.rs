//! Sliding windows over a padded image, for each channel, without a padded copy.
//!
//! If a window crosses the border, the elements outside are left out. So the result is divided into regions. All windows of a
//! region use the same elements. The largest region is the interior.

use sonar_ir::loops::{Affine, Bound, Reduce, Stmt};
use sonar_ir::machine::LEAST_FIRST_LEVEL;

use super::Lower;
use crate::loops::build::nest;

/// Most segments in one direction. With more, the code of the regions would be large and the interior small.
const MOST_SEGMENTS: usize = 5;
/// Most rows of the result that are computed for a group of channels before the next group.
const MOST_ROWS: usize = 14;
/// A group of channels has a multiple of this size.
const CHANNELS: usize = 16;

/// How windows slide in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sliding {
    /// Number of windows.
    pub(super) windows: usize,
    /// Number of elements of the image.
    pub(super) image: usize,
    /// Number of elements of a window, and the distance between them.
    pub(super) kernel: usize,
    pub(super) dilation: usize,
    /// Distance between neighbouring windows.
    pub(super) stride: usize,
    /// Padding before the first element of the image.
    pub(super) pad: usize,
}

/// Neighbouring windows with the same elements inside of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: usize,
    pub(super) count: usize,
    /// The elements of the window inside of the image: `low..high`.
    pub(super) low: usize,
    pub(super) high: usize,
}

/// A region of the result.
pub(super) struct Region {
    /// The index of an element: image, row, column, channel.
    pub(super) index: [Affine; 4],
    /// The elements of a window inside of the image, for each direction: `low..high`.
    pub(super) inside: [(usize, usize); 2],
}

impl Sliding {
    /// The segments, in order. `None` if some window is completely outside, or if there are too many segments.
    pub(super) fn segments(&self) -> Option<Vec<Segment>> {
        let mut segments: Vec<Segment> = Vec::new();
        for first in 0..self.windows {
            let at = |k: usize| (first * self.stride + k * self.dilation).checked_sub(self.pad).filter(|&at| at < self.image);
            let inside: Vec<usize> = (0..self.kernel).filter(|&k| at(k).is_some()).collect();
            let (low, high) = (*inside.first()?, inside.last()? + 1);
            match segments.last_mut() {
                Some(last) if (last.low, last.high) == (low, high) => last.count += 1,
                _ => segments.push(Segment { first, count: 1, low, high }),
            }
        }
        (segments.len() <= MOST_SEGMENTS).then_some(segments)
    }
}

/// The segments of both directions, if there is more than one region, but not too many.
pub(super) fn regions(sliding: &[Sliding; 2]) -> Option<[Vec<Segment>; 2]> {
    let [down, across] = [sliding[0].segments()?, sliding[1].segments()?];
    (down.len() > 1 || across.len() > 1).then_some([down, across])
}

impl Lower<'_> {
    /// A nest over a result of this shape with a separate reduction for each region. It computes some rows for a group of
    /// channels before the next group, so that the image rows under a window stay in the cache.
    pub(super) fn by_region(
        &mut self,
        [images, height, _, channels]: [usize; 4],
        [rows, columns]: &[Sliding; 2],
        [down, across]: &[Vec<Segment>; 2],
        reduction: &mut dyn FnMut(&mut Self, &Region) -> Reduce,
    ) {
        let together = channels_together(channels, rows.kernel * columns.image * 4);
        let block = (1..=MOST_ROWS.min(height.div_ceil(2))).rev().find(|rows| height.is_multiple_of(*rows)).unwrap_or(1);
        let outer = self.builder.axes(&["n", "y.o", "c.o", "y"], &[images, height / block, channels / together, block]);
        let row = outer.index[1].scale(block as i64).add(&outer.index[3]);
        let channel = outer.index[2].scale(together as i64);
        let mut body = Vec::new();
        for segment in down {
            let mut stmts = Vec::new();
            for column in across {
                let inner = self.builder.axes(&["x", "c"], &[column.count, together]);
                let x = inner.index[0].clone().shift(column.first as i64);
                let index = [outer.index[0].clone(), row.clone(), x, channel.add(&inner.index[1])];
                let region = Region { index, inside: [(segment.low, segment.high), (column.low, column.high)] };
                let reduce = reduction(self, &region);
                stmts.extend(nest(&inner.loops, vec![Stmt::Reduce(reduce)]));
            }
            let (low, high) = (segment.first as i64, (segment.first + segment.count) as i64);
            let all = (low, high) == (0, height as i64);
            match all {
                true => body.extend(stmts),
                false => body.push(Stmt::If { bounds: vec![Bound { expr: row.clone(), low, high }], body: stmts }),
            }
        }
        self.emit(nest(&outer.loops, body));
    }
}

/// Number of channels that are computed together: whole vectors, such that the rows of a window stay in the cache. They have
/// `bytes` bytes per channel.
fn channels_together(channels: usize, bytes: usize) -> usize {
    let most = (LEAST_FIRST_LEVEL / bytes / CHANNELS).max(1);
    let multiples = (1..=most).rev().map(|n| n * CHANNELS);
    multiples.into_iter().find(|&together| channels.is_multiple_of(together)).unwrap_or(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_padded_windows() {
        let same = Sliding { windows: 8, image: 8, kernel: 3, dilation: 1, stride: 1, pad: 1 };
        let segment = |first, count, low, high| Segment { first, count, low, high };
        assert_eq!(same.segments(), Some(vec![segment(0, 1, 1, 3), segment(1, 6, 0, 3), segment(7, 1, 0, 2)]));
        let halved = Sliding { windows: 4, stride: 2, ..same };
        assert_eq!(halved.segments(), Some(vec![segment(0, 1, 1, 3), segment(1, 3, 0, 3)]));
        let spread = Sliding { dilation: 2, pad: 2, ..same };
        assert_eq!(spread.segments(), Some(vec![segment(0, 2, 1, 3), segment(2, 4, 0, 3), segment(6, 2, 0, 2)]));
        let outside = Sliding { pad: 4, ..same };
        assert_eq!(outside.segments(), None);
    }

    #[test]
    fn channels_are_cut_into_whole_vectors() {
        assert_eq!(channels_together(96, 3 * 112 * 4), 16);
        assert_eq!(channels_together(96, 3 * 28 * 4), 96);
        assert_eq!(channels_together(20, 3 * 500 * 4), 20);
        assert_eq!(channels_together(960, 3 * 7 * 4), 320);
    }
}
