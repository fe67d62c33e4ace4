//! Sets of small numbers, one bit each.

use std::ops::Range;

/// A set of numbers below a limit.
pub(crate) struct Bits {
    words: Vec<u64>,
    limit: usize,
}

impl Bits {
    /// The empty set of numbers below `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Bits { words: vec![0; limit.div_ceil(64)], limit }
    }

    /// Adds `count` numbers starting at `first`, if they are below the limit.
    pub(crate) fn set(&mut self, first: usize, count: usize) {
        for number in first..(first + count).min(self.limit) {
            self.words[number / 64] |= 1 << (number % 64);
        }
    }

    /// Adds all numbers of another set with the same limit.
    pub(crate) fn unite(&mut self, other: &Bits) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// `S` → `S ∪ (S + stride) ∪ … ∪ (S + (count − 1)·stride)`. Sums above the limit are left out.
    pub(crate) fn repeat(&mut self, stride: usize, count: usize) {
        let mut copies = 1;
        while copies < count {
            let more = copies.min(count - copies);
            self.unite_shifted(more.saturating_mul(stride));
            copies += more;
        }
    }

    /// `S` → `S ∪ (S + by)`.
    fn unite_shifted(&mut self, by: usize) {
        let (words, bits) = (by / 64, by % 64);
        // From the last word down, so that words are read before they change.
        for i in (words..self.words.len()).rev() {
            let mut shifted = self.words[i - words] << bits;
            if bits > 0 && i > words {
                shifted |= self.words[i - words - 1] >> (64 - bits);
            }
            self.words[i] |= shifted;
        }
        if !self.limit.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.limit % 64)) - 1;
        }
    }

    /// How many numbers are within a range.
    pub(crate) fn count(&self, range: Range<usize>) -> usize {
        let inside = |word: usize, bits: u64| {
            let low = range.start.saturating_sub(64 * word).min(64);
            let high = range.end.saturating_sub(64 * word).min(64);
            let mask = if low >= high { 0 } else { (u64::MAX >> (64 - (high - low))) << low };
            (bits & mask).count_ones() as usize
        };
        self.words.iter().enumerate().map(|(word, &bits)| inside(word, bits)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn sets_of_bits_are_sets() {
        for (limit, stride, count) in
            [(10, 3, 3), (200, 7, 20), (300, 64, 3), (1000, 65, 9), (130, 1, 500), (70, 100, 2), (64, 1, 64)]
        {
            let mut bits = Bits::new(limit);
            bits.set(1, 2);
            bits.repeat(stride, count);
            let expected: BTreeSet<usize> =
                (0..count).flat_map(|i| [1 + i * stride, 2 + i * stride]).filter(|&number| number < limit).collect();
            for range in [0..limit, 2..limit / 2, 5..5, limit / 3..limit] {
                assert_eq!(bits.count(range.clone()), expected.range(range).count(), "{limit} {stride} {count}");
            }
        }
        let mut bits = Bits::new(9);
        let mut other = Bits::new(9);
        bits.set(7, 5);
        other.set(0, 1);
        bits.unite(&other);
        assert_eq!(bits.count(0..9), 3);
    }
}
