//! Memory layouts of values.
//!
//! A reshape is another name for the memory of its operand. A slice can be a part of its operand's memory, and an operand of a
//! concatenation can be a part of the result. Such values are **views**, and no kernel computes them.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::Affine;
use sonar_ir::{Graph, NodeId, Op};

/// The memory of a value: element `i` is at `offset + Σ iₐ · strideₐ` in the tensor of `stored`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) stored: NodeId,
    pub(crate) offset: i64,
    /// One stride per axis. For axes of extent 1, any value.
    pub(crate) strides: Vec<i64>,
}

impl Layout {
    /// A separate tensor, with the last axis fastest.
    pub(crate) fn dense(stored: NodeId, shape: &[usize]) -> Layout {
        Layout { stored, offset: 0, strides: dense_strides(shape) }
    }

    /// The part of an axis that begins at index `start`.
    pub(crate) fn part(&self, axis: usize, start: usize) -> Layout {
        Layout { offset: self.offset + self.strides[axis] * start as i64, ..self.clone() }
    }

    /// The same elements in the same order with another shape. `None` if that needs a copy.
    pub(crate) fn reshaped(&self, from: &[usize], to: &[usize]) -> Option<Layout> {
        let from: Vec<(usize, i64)> = from.iter().copied().zip(self.strides.iter().copied()).filter(|axis| axis.0 != 1).collect();
        let mut strides = vec![0; to.len()];
        let mut rest = &from[..];
        let mut axis = 0;
        while axis < to.len() {
            // The smallest groups of axes of both shapes with the same number of elements.
            let (mut taken, mut old, mut end, mut new) = (0, 1, axis, 1);
            loop {
                if new == old && end > axis {
                    break;
                } else if new <= old {
                    new *= to.get(end)?;
                    end += 1;
                } else {
                    old *= rest.get(taken)?.0;
                    taken += 1;
                }
            }
            let (group, others) = rest.split_at(taken);
            if group.windows(2).any(|pair| pair[0].1 != pair[1].0 as i64 * pair[1].1) {
                return None;
            }
            let mut stride = group.last().map_or(0, |axis| axis.1);
            for (stride_of, extent) in strides[axis..end].iter_mut().zip(&to[axis..end]).rev() {
                *stride_of = stride;
                stride *= *extent as i64;
            }
            (rest, axis) = (others, end);
        }
        Some(Layout { strides, ..self.clone() })
    }

    /// The layout of values concatenated along an axis, if they are adjacent in memory. `parts` gives each layout with its
    /// extent along the axis.
    pub(crate) fn joined<'a>(axis: usize, mut parts: impl Iterator<Item = (&'a Layout, usize)>) -> Option<Layout> {
        let (first, mut start) = parts.next()?;
        for (part, extent) in parts {
            if *part != first.part(axis, start) {
                return None;
            }
            start += extent;
        }
        Some(first.clone())
    }
}

/// The strides of a tensor with the last axis fastest.
pub(crate) fn dense_strides(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as i64;
    }
    strides
}

/// The address of an element.
pub(crate) fn address(offset: i64, strides: &[i64], index: &[Affine]) -> Affine {
    index.iter().zip(strides).fold(Affine::constant(offset), |sum, (index, &stride)| sum.add(&index.scale(stride)))
}

/// Which slices are views: the operand must be in memory, and all readers of the slice must be able to read it there.
pub(crate) fn sliced_views(graph: &Graph, readers: &EntityVec<NodeId, Vec<NodeId>>) -> EntityVec<NodeId, bool> {
    let mut views = EntityVec::filled(false, graph.nodes.len());
    let mut layouts: EntityVec<NodeId, Layout> = EntityVec::new();
    for (id, node) in graph.iter() {
        let dense = Layout::dense(id, &extents(graph, id));
        let layout = match node.op {
            Op::Slice { axis, start, .. } => {
                let part = layouts[node.operands[0]].part(axis, start);
                // A slice of a weight is computed only once, and then packed.
                let given = !matches!(graph.node(part.stored).op, Op::Param(_) | Op::Splat(..) | Op::Broadcast(_));
                if given && readable(graph, readers, &views, id, &part) {
                    views[id] = true;
                    part
                } else {
                    dense
                }
            }
            Op::Reshape(_) => {
                let operand = node.operands[0];
                let same = layouts[operand].reshaped(&extents(graph, operand), &extents(graph, id));
                same.unwrap_or_else(|| unreachable!("slices with such readers are no views"))
            }
            _ => dense,
        };
        layouts.push(layout);
    }
    views
}

/// Whether a value can be a view: all its readers can read it in place, and neither the value nor a reshape of it is an output.
pub(crate) fn readable(
    graph: &Graph,
    readers: &EntityVec<NodeId, Vec<NodeId>>,
    views: &EntityVec<NodeId, bool>,
    id: NodeId,
    layout: &Layout,
) -> bool {
    let mut stack = vec![(id, layout.clone())];
    while let Some((id, layout)) = stack.pop() {
        if graph.outputs.contains(&id) {
            return false;
        }
        let shape = extents(graph, id);
        for &reader in &readers[id] {
            match &graph.node(reader).op {
                Op::Reshape(_) => match layout.reshaped(&shape, &extents(graph, reader)) {
                    Some(layout) => stack.push((reader, layout)),
                    None => return false,
                },
                Op::Slice { axis, start, .. } if views[reader] => stack.push((reader, layout.part(*axis, *start))),
                // Planar channels are read as images with one channel.
                Op::Transpose(perm)
                    if *perm == [0, 2, 3, 1] && layout.reshaped(&shape, &[shape[0] * shape[1], shape[2], shape[3]]).is_none() =>
                {
                    return false;
                }
                _ => {}
            }
        }
    }
    true
}

/// The extents of a node's shape. The graph was checked to be specialised.
pub(crate) fn extents(graph: &Graph, id: NodeId) -> Vec<usize> {
    graph.ty(id).extents().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(offset: i64, strides: &[i64]) -> Layout {
        Layout { stored: NodeId(0), offset, strides: strides.to_vec() }
    }

    #[test]
    fn parts_keep_the_strides_of_the_whole() {
        let whole = Layout::dense(NodeId(0), &[2, 5, 7]);
        assert_eq!(whole, layout(0, &[35, 7, 1]));
        assert_eq!(whole.part(1, 2).part(2, 3), layout(17, &[35, 7, 1]));
    }

    #[test]
    fn reshapes_of_parts_need_a_copy_where_rows_are_joined() {
        // Four of ten columns.
        let part = layout(3, &[50, 10, 1]);
        assert_eq!(part.reshaped(&[2, 5, 4], &[10, 4]), Some(layout(3, &[10, 1])));
        assert_eq!(part.reshaped(&[2, 5, 4], &[2, 5, 2, 2]), Some(layout(3, &[50, 10, 2, 1])));
        assert_eq!(part.reshaped(&[2, 5, 4], &[1, 10, 1, 4, 1]), Some(layout(3, &[0, 10, 0, 1, 0])));
        assert_eq!(part.reshaped(&[2, 5, 4], &[2, 20]), None);
        assert_eq!(part.reshaped(&[2, 5, 4], &[40]), None);
        assert_eq!(layout(0, &[6, 1]).reshaped(&[4, 6], &[3, 8]), Some(layout(0, &[8, 1])));
        assert_eq!(layout(0, &[9, 1]).reshaped(&[1, 1], &[]), Some(layout(0, &[])));
    }

    #[test]
    fn neighbours_join() {
        let (a, b) = (layout(0, &[10, 1]), layout(4, &[10, 1]));
        assert_eq!(Layout::joined(1, [(&a, 4), (&b, 3)].into_iter()), Some(a.clone()));
        assert_eq!(Layout::joined(1, [(&b, 3), (&a, 4)].into_iter()), None);
        assert_eq!(Layout::joined(0, [(&a, 4), (&b, 3)].into_iter()), None);
    }
}
