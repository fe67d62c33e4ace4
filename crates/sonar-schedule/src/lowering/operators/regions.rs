//! Windows that slide over a padded image, channel by channel, without a padded copy of it.
//!
//! Where a window reaches over the edge, the elements outside are left out: the result falls into regions, each with the same
//! elements in all its windows. Most of it is one region, the inside.

use sonar_ir::loops::{Affine, Bound, Reduce, Stmt};
use sonar_ir::machine::LEAST_FIRST_LEVEL;

use super::Lower;
use crate::loops::build::nest;

/// Segments of one direction at most: beyond, the code of the regions would be large and the inside small.
const MOST_SEGMENTS: usize = 5;
/// Rows of the result that are computed for some channels before the next channels.
const MOST_ROWS: usize = 14;
/// Elements that a row of channels is cut into multiples of.
const CHANNELS: usize = 16;

/// How windows slide in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sliding {
    /// Windows.
    pub(super) windows: usize,
    /// Elements of the image.
    pub(super) image: usize,
    /// Elements of a window, and their distance.
    pub(super) kernel: usize,
    pub(super) dilation: usize,
    /// Distance of neighbouring windows.
    pub(super) stride: usize,
    /// Elements outside before the first of the image.
    pub(super) pad: usize,
}

/// Windows in a row that have the same elements inside of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: usize,
    pub(super) count: usize,
    /// Elements of the window that are inside: `low..high`.
    pub(super) low: usize,
    pub(super) high: usize,
}

/// A region of the result.
pub(super) struct Region {
    /// The index of an element: image, row, column, channel.
    pub(super) index: [Affine; 4],
    /// The elements of a window that are inside, by direction: `low..high`.
    pub(super) inside: [(usize, usize); 2],
}

impl Sliding {
    /// The segments, in order; nothing if some window has no element inside, or if there are too many.
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

/// The segments of both directions, if there are several regions, but not too many.
pub(super) fn regions(sliding: &[Sliding; 2]) -> Option<[Vec<Segment>; 2]> {
    let [down, across] = [sliding[0].segments()?, sliding[1].segments()?];
    (down.len() > 1 || across.len() > 1).then_some([down, across])
}

impl Lower<'_> {
    /// A nest over a result of this shape that gives each region its own reduction. Some rows are computed for some channels
    /// before the next channels, so that the rows under a window stay in the cache.
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

/// How many channels are computed together: as many as keep the rows of a window, of so many bytes for each channel, in the
/// cache, in whole vectors.
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
