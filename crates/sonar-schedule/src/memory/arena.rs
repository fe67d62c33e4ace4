//! Places tensors with different lifetimes in one arena.

/// Offsets and sizes in the arena are multiples of this many elements: a cache line.
pub(crate) const ALIGNMENT: usize = 16;

/// The lifetime and the size of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// The first step that uses it.
    pub first: usize,
    /// The last step that uses it.
    pub last: usize,
    /// Number of elements.
    pub len: usize,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn size(&self) -> usize {
        self.len.next_multiple_of(ALIGNMENT)
    }
}

/// A place for each tensor and the size of the arena in elements. Tensors that are in use at the same step do not overlap.
///
/// Tensors are placed one after the other, each in the smallest gap that fits. Two orders are tried, the largest first and by
/// first use, and the better result is taken.
pub(crate) fn place(tensors: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut by_size: Vec<usize> = (0..tensors.len()).collect();
    let mut by_use = by_size.clone();
    by_size.sort_by_key(|&i| (std::cmp::Reverse(tensors[i].len), tensors[i].first));
    by_use.sort_by_key(|&i| tensors[i].first);
    let (first, second) = (place_in_order(tensors, &by_size), place_in_order(tensors, &by_use));
    if second.1 < first.1 { second } else { first }
}

fn place_in_order(tensors: &[Lifetime], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; tensors.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut end = 0;
    for &i in order {
        let size = tensors[i].size();
        if size == 0 {
            continue;
        }
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| tensors[j].meets(&tensors[i]))
            .map(|&j| (offsets[j], offsets[j] + tensors[j].size()))
            .collect();
        taken.sort_unstable();
        offsets[i] = smallest_gap(&taken, size);
        end = end.max(offsets[i] + size);
        placed.push(i);
    }
    (offsets, end)
}

/// The start of the smallest gap of at least `size` between ranges that are sorted by their start. If there is no such gap, the
/// end of all ranges.
fn smallest_gap(taken: &[(usize, usize)], size: usize) -> usize {
    let mut best: Option<(usize, usize)> = None;
    let mut free_from = 0;
    for &(start, end) in taken {
        let gap = start.saturating_sub(free_from);
        if gap >= size && best.is_none_or(|(smallest, _)| gap < smallest) {
            best = Some((gap, free_from));
        }
        free_from = free_from.max(end);
    }
    best.map_or(free_from, |(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(first: usize, last: usize, len: usize) -> Lifetime {
        Lifetime { first, last, len }
    }

    #[test]
    fn a_chain_takes_two_places() {
        let chain: Vec<Lifetime> = (0..10).map(|i| lifetime(i, i + 1, 100)).collect();
        let (offsets, end) = place(&chain);
        assert_eq!(end, 224);
        assert!(offsets.iter().all(|offset| [0, 112].contains(offset)), "{offsets:?}");
    }

    #[test]
    fn a_large_tensor_does_not_wait_behind_small_ones() {
        // In order of first use, the first tensor would be in the place that the large one needs.
        let tensors = [lifetime(0, 1, 16), lifetime(1, 2, 32), lifetime(2, 3, 64), lifetime(3, 4, 16)];
        assert_eq!(place(&tensors).1, 96);
    }

    #[test]
    fn empty_tensors_take_no_room() {
        assert_eq!(place(&[lifetime(0, 3, 0), lifetime(1, 1, 1)]), (vec![0, 0], 16));
        assert_eq!(place(&[]), (vec![], 0));
    }
}
