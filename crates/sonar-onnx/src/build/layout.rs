//! The order in which the IR holds the axes of a file's tensor.
//!
//! ONNX has images as `[N, C, H, W]`, the IR as `[N, H, W, C]`. So every value of a graph under import carries a
//! [`Layout`]. Operators that work on any order keep it, and operators that need a certain order ask for it. A transposition in
//! the file only changes the layout. Data is moved only where an operator needs another order than its operand has.

/// A permutation: axis `i` of the IR's tensor is axis `self.0[i]` of the file's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layout(Vec<usize>);

impl Layout {
    /// The file's own order.
    pub fn file(rank: usize) -> Self {
        Layout((0..rank).collect())
    }

    /// Axis 1 of the file's tensor, the channels, is last: `[N, C, H, W]` is held as `[N, H, W, C]`.
    pub fn channels_last(rank: usize) -> Self {
        Layout::file(rank).with_last(1)
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The axis of the IR's tensor that holds this axis of the file's.
    pub fn position(&self, file_axis: usize) -> usize {
        self.0.iter().position(|&axis| axis == file_axis).unwrap_or(file_axis)
    }

    /// Reorders one item per axis, from the order of the file to the order of the IR.
    pub fn to_ir<T: Copy>(&self, file: &[T]) -> Vec<T> {
        self.0.iter().map(|&axis| file[axis]).collect()
    }

    /// Reorders one item per axis, from the order of the IR to the order of the file.
    pub fn to_file<T: Copy>(&self, ir: &[T]) -> Vec<T> {
        (0..self.rank()).map(|axis| ir[self.position(axis)]).collect()
    }

    /// The permutation for [`sonar_ir::Op::Transpose`] that brings a tensor from this layout into another.
    pub fn permutation_to(&self, other: &Layout) -> Vec<usize> {
        other.0.iter().map(|&axis| self.position(axis)).collect()
    }

    /// The layout of the same IR tensor after the file has transposed its tensor: axis `j` of the file's result is axis
    /// `permutation[j]` of its operand.
    pub fn transposed(&self, permutation: &[usize]) -> Layout {
        Layout(self.0.iter().map(|axis| permutation.iter().position(|p| p == axis).unwrap_or(*axis)).collect())
    }

    /// The same order, except that one axis of the file is last.
    pub fn with_last(&self, file_axis: usize) -> Layout {
        let mut axes = self.0.clone();
        if let Some(position) = axes.iter().position(|&axis| axis == file_axis) {
            let axis = axes.remove(position);
            axes.push(axis);
        }
        Layout(axes)
    }

    /// The layout after axes of the file are dropped.
    pub fn without(&self, file_axes: &[usize]) -> Layout {
        let renumbered = |axis: usize| axis - file_axes.iter().filter(|&&dropped| dropped < axis).count();
        Layout(self.0.iter().filter(|axis| !file_axes.contains(axis)).map(|&axis| renumbered(axis)).collect())
    }

    /// Whether a tensor of this shape, in the file's order, has its elements in the same order in both layouts. This is so if they
    /// differ in axes of extent 1 only.
    pub fn same_order(&self, other: &Layout, shape: &[usize]) -> bool {
        let long = |layout: &Layout| layout.0.iter().copied().filter(|&axis| shape[axis] != 1).collect::<Vec<_>>();
        long(self) == long(other)
    }

    /// A layout for the file's shape `to` that keeps the elements of the IR in place. This layout belongs to the file's shape
    /// `from`; `to` is `from` with axes of extent 1 dropped or added.
    pub fn respaced(&self, from: &[usize], to: &[usize]) -> Option<Layout> {
        let long = |shape: &[usize]| (0..shape.len()).filter(|&axis| shape[axis] != 1).collect::<Vec<_>>();
        let (before, after) = (long(from), long(to));
        if before.iter().map(|&axis| from[axis]).ne(after.iter().map(|&axis| to[axis])) {
            return None;
        }
        let renamed = |axis: &usize| before.iter().position(|b| b == axis).map(|i| after[i]);
        let order: Vec<usize> = self.0.iter().filter_map(renamed).collect();
        let keeps = |layout: &Layout| layout.0.iter().filter(|&&axis| to[axis] != 1).eq(&order);
        let usual = if to.len() == 4 { Layout::channels_last(4) } else { Layout::file(to.len()) };
        let ones_first = Layout((0..to.len()).filter(|&axis| to[axis] == 1).chain(order.iter().copied()).collect());
        [usual, Layout::file(to.len()), ones_first].into_iter().find(keeps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_held_with_channels_last() {
        let nhwc = Layout::channels_last(4);
        assert_eq!(nhwc.to_ir(&['n', 'c', 'h', 'w']), ['n', 'h', 'w', 'c']);
        assert_eq!(nhwc.to_file(&['n', 'h', 'w', 'c']), ['n', 'c', 'h', 'w']);
        assert_eq!(Layout::file(4).permutation_to(&nhwc), [0, 2, 3, 1]);
        assert_eq!(nhwc.permutation_to(&Layout::file(4)), [0, 3, 1, 2]);
    }

    #[test]
    fn transposing_the_file_moves_nothing() {
        // The file turns [n, c, h, w] into [n, h, w, c]. With channels last, the IR holds the data in this order already.
        assert_eq!(Layout::channels_last(4).transposed(&[0, 2, 3, 1]), Layout::file(4));
        // Transposing forth and back changes nothing.
        let there = Layout::channels_last(4).transposed(&[3, 1, 0, 2]);
        assert_eq!(there.transposed(&[2, 1, 3, 0]), Layout::channels_last(4));
    }

    #[test]
    fn dropped_axes_are_renumbered() {
        assert_eq!(Layout::channels_last(4).without(&[2, 3]), Layout::file(2));
        assert_eq!(Layout::channels_last(4).without(&[0]), Layout(vec![1, 2, 0]));
    }

    #[test]
    fn axes_of_extent_one_are_in_no_order() {
        let nhwc = Layout::channels_last(4);
        assert!(nhwc.same_order(&Layout::file(4), &[8, 5, 1, 1]));
        assert!(!nhwc.same_order(&Layout::file(4), &[8, 5, 1, 2]));
        assert_eq!(nhwc.respaced(&[8, 5, 1, 1], &[8, 5]), Some(Layout::file(2)));
        assert_eq!(Layout::file(2).respaced(&[8, 5], &[8, 5, 1, 1]), Some(nhwc.clone()));
        assert_eq!(nhwc.respaced(&[8, 5, 3, 1], &[8, 5, 3]), Some(Layout(vec![0, 2, 1])));
        assert_eq!(nhwc.respaced(&[8, 5, 3, 1], &[8, 15]), None);
    }
}
