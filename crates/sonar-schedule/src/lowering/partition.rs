//! Which nodes of a graph share a kernel.
//!
//! A kernel computes one **root**. It has at most one **anchor**: a node that is more than a function of each element
//! (a convolution, a product, a reduction, a pooling …). Around it, elementwise nodes with a single consumer are
//! **inlined**: behind the anchor as its epilogue, before it as a prologue, anywhere if there is no anchor.
//! Broadcasts and constants are only other ways to index, so they are inlined into every consumer.
//! Reshapes are other names for the same memory; slices are [views](crate::lowering::layout) of their operand, and operands of a
//! concatenation are written where the whole will be.

use crate::lowering::layout::{Layout, extents, readable, sliced_views};
use sonar_ir::entity::EntityVec;
use sonar_ir::tile::Tile;
use sonar_ir::{Graph, NodeId, Op, Term};

/// A partition of the live nodes of a graph into kernels.
pub(crate) struct Partition {
    /// For each node: whether it is computed inside the kernels of its consumers.
    pub(crate) inlined: EntityVec<NodeId, bool>,
    /// The anchor of the kernel with this root, by node.
    pub(crate) anchor: EntityVec<NodeId, Option<NodeId>>,
    /// Roots in topological order.
    pub(crate) roots: Vec<NodeId>,
    /// Where each node's value is in memory; of inlined nodes, where it would be.
    pub(crate) layout: EntityVec<NodeId, Layout>,
    /// The concatenation that each root is written into, with its position among the operands. A concatenation with such operands
    /// has only the others to copy, and without others it is no root.
    pub(crate) destination: EntityVec<NodeId, Option<(NodeId, usize)>>,
}

/// The partition in which every operator that is not free has a kernel of its own.
pub(crate) fn apart(graph: &Graph) -> Partition {
    let computed = |op: &Op| !matches!(op, Op::Input | Op::Param(_) | Op::Reshape(_));
    let free = |id: NodeId, op: &Op| is_free(op) && !graph.outputs.contains(&id) && needs_no_memory(graph, id);
    let inlined = graph.nodes.map(|(id, node)| free(id, &node.op));
    let own = |(id, node): (NodeId, &sonar_ir::Node)| (computed(&node.op) && !is_elementwise(&node.op)).then_some(id);
    let anchor = graph.nodes.map(own);
    let roots = graph.iter().filter(|(id, node)| computed(&node.op) && !inlined[*id]).map(|(id, _)| id).collect();
    let count = graph.nodes.len();
    let (readers, views) = (EntityVec::filled(vec![], count), EntityVec::filled(false, count));
    let nothing_placed =
        Placement { graph, readers: &readers, views: &views, anchor: &anchor, layout: EntityVec::filled(None, count) };
    let layout = nothing_placed.all_layouts();
    Partition { inlined, anchor, roots, layout, destination: EntityVec::filled(None, count) }
}

/// The most tensors that a kernel reads because of fusion: a micro-kernel has a pointer for each, and one for the result.
const MOST_READ: usize = Tile::MAX_POINTERS;

/// Partitions a graph without dead nodes.
pub(crate) fn partition(graph: &Graph) -> Partition {
    let count = graph.nodes.len();
    let uses = graph.uses();
    let consumer = consumers(graph);
    let readers = readers(graph);
    let views = sliced_views(graph, &readers);
    let mut inlined = EntityVec::filled(false, count);
    let mut anchor = EntityVec::filled(None, count);
    // The root of the kernel that each node belongs to, and whether the way from there to the node keeps every element's place.
    let mut root: EntityVec<NodeId, NodeId> = graph.nodes.keys().collect();
    let mut in_epilogue = EntityVec::filled(true, count);
    // Number of tensors that the kernel with this root reads.
    let mut reads = EntityVec::filled(0, count);

    for (id, node) in graph.iter().rev() {
        if views[id] || matches!(node.op, Op::Input | Op::Param(_) | Op::Reshape(_)) {
            continue;
        }
        if is_planar(graph, id) {
            inlined[id] = true;
            continue;
        }
        if is_free(&node.op) {
            inlined[id] = uses[id] > 0 && !graph.outputs.contains(&id) && needs_no_memory(graph, id);
            continue;
        }
        let operands = node.operands.iter().filter(|operand| !is_free(&graph.node(**operand).op)).count();
        let fused = match consumer[id] {
            Some(user) if uses[id] == 1 && reads[root[user]] + operands <= MOST_READ => {
                let kernel = root[user];
                let keeps_place = is_elementwise(&graph.node(user).op) && graph.ty(user) == &node.ty;
                if is_elementwise(&node.op) {
                    let wanted_before = is_elementwise(&graph.node(user).op) || !ends_anchor(graph, &uses, &views, id);
                    wanted_before && accepts_prologue(graph, user, id)
                } else {
                    let free = anchor[kernel].is_none() && in_epilogue[user] && keeps_place;
                    if free {
                        anchor[kernel] = Some(id);
                    }
                    free
                }
            }
            _ => false,
        };
        if fused {
            let user = consumer[id].unwrap_or(id);
            inlined[id] = true;
            root[id] = root[user];
            // The value itself is not read any more.
            reads[root[id]] += operands.saturating_sub(1);
            let keeps_place = is_elementwise(&graph.node(user).op) && graph.ty(user) == &node.ty;
            in_epilogue[id] = in_epilogue[user] && keeps_place;
        } else {
            reads[id] = operands;
            anchor[id] = (!is_elementwise(&node.op)).then_some(id);
        }
    }

    let mut roots: Vec<NodeId> = graph
        .iter()
        .filter(|(id, node)| {
            let computed = !matches!(node.op, Op::Input | Op::Param(_) | Op::Reshape(_));
            computed && !inlined[*id] && !views[*id]
        })
        .map(|(id, _)| id)
        .collect();
    let mut placement =
        Placement { graph, readers: &readers, views: &views, anchor: &anchor, layout: EntityVec::filled(None, count) };
    let destination = placement.place_operands(&mut roots);
    let layout = placement.all_layouts();
    Partition { inlined, anchor, roots, layout, destination }
}

/// The layouts that are known so far.
struct Placement<'a> {
    graph: &'a Graph,
    readers: &'a EntityVec<NodeId, Vec<NodeId>>,
    views: &'a EntityVec<NodeId, bool>,
    anchor: &'a EntityVec<NodeId, Option<NodeId>>,
    layout: EntityVec<NodeId, Option<Layout>>,
}

impl Placement<'_> {
    /// Places the results of kernels where a concatenation needs them, the last concatenation first. A concatenation becomes a
    /// view if a larger concatenation has placed all its operands side by side.
    fn place_operands(&mut self, roots: &mut Vec<NodeId>) -> EntityVec<NodeId, Option<(NodeId, usize)>> {
        let mut destination = EntityVec::filled(None, self.graph.nodes.len());
        let mut is_root = EntityVec::filled(false, self.graph.nodes.len());
        roots.iter().for_each(|root| is_root[*root] = true);
        for &whole in roots.iter().rev() {
            let Op::Concat { axis } = self.graph.node(whole).op else { continue };
            let operands = &self.graph.node(whole).operands;
            if let Some(layout) = self.joined(axis, operands)
                && readable(self.graph, self.readers, self.views, whole, &layout)
            {
                self.layout[whole] = Some(layout);
                is_root[whole] = false;
                continue;
            }
            let own = self.layout[whole].clone();
            let layout = own.unwrap_or_else(|| Layout::dense(whole, &extents(self.graph, whole)));
            let mut placed: Vec<(NodeId, usize, Layout)> = Vec::new();
            let mut start = 0;
            for (position, &operand) in operands.iter().enumerate() {
                let part = layout.part(axis, start);
                let free = is_root[operand] && destination[operand].is_none();
                let twice = placed.iter().any(|(other, ..)| *other == operand);
                if free && !twice && self.can_write(operand) && readable(self.graph, self.readers, self.views, operand, &part) {
                    placed.push((operand, position, part));
                }
                start += extents(self.graph, operand)[axis];
            }
            // Each of the other operands is copied by a kernel of its own.
            if 2 * placed.len() < operands.len() {
                continue;
            }
            is_root[whole] = placed.len() < operands.len();
            for (operand, position, part) in placed {
                destination[operand] = Some((whole, position));
                self.layout[operand] = Some(part);
            }
        }
        roots.retain(|root| is_root[*root]);
        destination
    }

    /// The layout of a concatenation whose operands have been placed side by side.
    fn joined(&self, axis: usize, operands: &[NodeId]) -> Option<Layout> {
        let parts: Option<Vec<&Layout>> = operands.iter().map(|operand| self.layout[*operand].as_ref()).collect();
        let extents = operands.iter().map(|&operand| extents(self.graph, operand)[axis]);
        Layout::joined(axis, parts?.into_iter().zip(extents))
    }

    /// Whether the kernel with this root can write its result anywhere.
    fn can_write(&self, root: NodeId) -> bool {
        self.anchor[root].is_none_or(|anchor| {
            let op = &self.graph.node(anchor).op;
            let product = matches!(op, Op::Conv2d(_) | Op::MatMul | Op::FusedSum { .. });
            let reduction = matches!(op, Op::MaxPool(_) | Op::AvgPool(_) | Op::Reduce { .. } | Op::GlobalAvgPool);
            let rows = matches!(op, Op::Softmax | Op::LogSoftmax | Op::LayerNorm { .. } | Op::Attention { .. });
            let movement = matches!(op, Op::Transpose(_) | Op::Slice { .. } | Op::Pad(_) | Op::Concat { .. });
            product || reduction || rows || movement
        })
    }

    /// The layouts of all nodes. A node without a layout is a view of its operand, or gets its own tensor.
    fn all_layouts(self) -> EntityVec<NodeId, Layout> {
        let mut layouts: EntityVec<NodeId, Layout> = EntityVec::new();
        for ((id, node), placed) in self.graph.iter().zip(self.layout) {
            let operand = |layouts: &EntityVec<NodeId, Layout>| layouts[node.operands[0]].clone();
            layouts.push(match (&node.op, placed) {
                (_, Some(layout)) => layout,
                (Op::Slice { axis, start, .. }, None) if self.views[id] => operand(&layouts).part(*axis, *start),
                (Op::Reshape(_), None) => operand(&layouts)
                    .reshaped(&extents(self.graph, node.operands[0]), &extents(self.graph, id))
                    .unwrap_or_else(|| unreachable!("views with such readers are not made")),
                _ => Layout::dense(id, &extents(self.graph, id)),
            });
        }
        layouts
    }
}

/// The source of a chain of reshapes.
fn reshaped_from(graph: &Graph, mut id: NodeId) -> NodeId {
    while let Op::Reshape(_) = graph.node(id).op {
        id = graph.node(id).operands[0];
    }
    id
}

/// The nodes that read each node.
fn readers(graph: &Graph) -> EntityVec<NodeId, Vec<NodeId>> {
    let mut readers: EntityVec<NodeId, Vec<NodeId>> = EntityVec::filled(Vec::new(), graph.nodes.len());
    for (id, node) in graph.iter() {
        for operand in &node.operands {
            readers[*operand].push(id);
        }
    }
    readers
}

/// One consumer of each node.
fn consumers(graph: &Graph) -> EntityVec<NodeId, Option<NodeId>> {
    let mut consumer = EntityVec::filled(None, graph.nodes.len());
    for (id, node) in graph.iter() {
        for operand in &node.operands {
            consumer[*operand] = Some(id);
        }
    }
    consumer
}

/// Whether each element of the result is a function of the elements in the same (broadcast) place.
fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::BatchNorm { .. }) || op.is_sum()
}

/// Whether the operator is only another way to index, which costs nothing inside a consumer.
fn is_free(op: &Op) -> bool {
    matches!(op, Op::Splat(..) | Op::Broadcast(_))
}

/// Most channels that are read as planes. With more channels, it is better to have neighbouring channels adjacent in memory.
const FEW_CHANNELS: usize = 8;

/// Whether the node transposes an image with few planar channels to the usual layout, and only convolutions over all channels
/// read it. These read single elements, so the layout does not matter.
fn is_planar(graph: &Graph, id: NodeId) -> bool {
    let few = |channels: &sonar_ir::graph::Dim| channels.fixed().is_some_and(|channels| channels <= FEW_CHANNELS);
    let turned = matches!(&graph.node(id).op, Op::Transpose(perm) if *perm == [0, 2, 3, 1]);
    let turned = turned && graph.ty(id).shape.last().is_some_and(few);
    // The planes must be in memory.
    let turned = turned && !is_free(&graph.node(reshaped_from(graph, graph.node(id).operands[0])).op);
    let reads = |node: &sonar_ir::graph::Node| match &node.op {
        Op::Conv2d(attrs) => attrs.groups == 1 && node.operands[1] != id,
        Op::FusedSum { terms, .. } => Term::with_operands(terms, &node.operands).all(|(term, operands)| match term {
            Term::Conv2d { attrs, .. } => !operands.contains(&id) || (attrs.groups == 1 && operands[1] != id),
            Term::MatMul { .. } | Term::Add => !operands.contains(&id),
        }),
        _ => false,
    };
    let mut readers = graph.nodes.iter().filter(|node| node.operands.contains(&id)).peekable();
    turned && !graph.outputs.contains(&id) && readers.peek().is_some() && readers.all(reads)
}

/// Whether every consumer computes its operand element by element rather than loading it from memory.
fn needs_no_memory(graph: &Graph, id: NodeId) -> bool {
    let splat = matches!(graph.node(id).op, Op::Splat(..));
    graph.nodes.iter().filter(|node| node.operands.contains(&id)).all(|node| match &node.op {
        Op::Conv2d(_) | Op::MatMul | Op::Conv2dGradInput(..) => node.operands[1] != id,
        Op::FusedSum { terms, .. } => {
            Term::with_operands(terms, &node.operands).all(|(_, operands)| operands.get(1) != Some(&id))
        }
        Op::Reshape(_) => splat,
        _ => true,
    })
}

/// Whether an elementwise node can be the epilogue of an anchor before it, which costs less than being a prologue.
fn ends_anchor(graph: &Graph, uses: &EntityVec<NodeId, usize>, views: &EntityVec<NodeId, bool>, id: NodeId) -> bool {
    let node = graph.node(id);
    node.operands.iter().any(|&operand| {
        let before = graph.node(operand);
        let given = views[operand] || matches!(before.op, Op::Input | Op::Param(_) | Op::Reshape(_)) || is_free(&before.op);
        let fusable = !given && uses[operand] == 1 && before.ty == node.ty;
        fusable && (!is_elementwise(&before.op) || ends_anchor(graph, uses, views, operand))
    })
}

/// Whether the kernel of `user` can compute its elementwise operand `id` itself, about once per element.
fn accepts_prologue(graph: &Graph, user: NodeId, id: NodeId) -> bool {
    let node = graph.node(user);
    let position = node.operands.iter().position(|&o| o == id).unwrap_or(0);
    match &node.op {
        Op::Unary(_) | Op::Reduce { .. } | Op::GlobalAvgPool => true,
        // An operand that is broadcast would be computed again and again.
        Op::Binary(_) => graph.ty(user) == graph.ty(id),
        Op::BatchNorm { .. } | Op::Conv2d(_) | Op::MatMul => position == 0,
        Op::MaxPool(_) | Op::AvgPool(_) => true,
        // A term that is broadcast would be computed again and again.
        Op::FusedSum { terms, .. } => {
            let mut of_terms = Term::with_operands(terms, &node.operands);
            let mine = of_terms.find(|(_, operands)| operands.contains(&id));
            mine.is_some_and(|(term, operands)| operands[0] == id && (*term != Term::Add || graph.ty(user) == graph.ty(id)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_ir::graph::Conv2dAttrs;
    use sonar_ir::{BinaryOp, Init, TensorType, UnaryOp};

    #[test]
    fn prologue_and_epilogue_join_their_convolution() {
        let mut g = Graph::new("t");
        let x = g.input("x", TensorType::fixed(&[1, 4, 4, 8]));
        let w = g.param("w", &[1, 1, 8, 8], Init::He);
        let b = g.param("b", &[8], Init::Zeros);
        let pre = g.push(Op::Unary(UnaryOp::Relu), &[x]).unwrap();
        let conv = g.push(Op::Conv2d(Conv2dAttrs::default()), &[pre, w]).unwrap();
        let biased = g.push(Op::Binary(BinaryOp::Add), &[conv, b]).unwrap();
        let sum = g.push(Op::Binary(BinaryOp::Add), &[biased, x]).unwrap();
        g.outputs = vec![sum];
        let parts = partition(&g);
        assert_eq!(parts.roots, vec![sum]);
        assert_eq!(parts.anchor[sum], Some(conv));
    }

    #[test]
    fn an_epilogue_is_better_than_a_prologue() {
        let mut g = Graph::new("t");
        let x = g.input("x", TensorType::fixed(&[1, 4, 4, 8]));
        let w = g.param("w", &[1, 1, 8, 8], Init::He);
        let a = g.push(Op::Conv2d(Conv2dAttrs::default()), &[x, w]).unwrap();
        let between = g.push(Op::Unary(UnaryOp::Relu), &[a]).unwrap();
        let b = g.push(Op::Conv2d(Conv2dAttrs::default()), &[between, w]).unwrap();
        g.outputs = vec![b];
        let parts = partition(&g);
        assert_eq!(parts.roots, vec![between, b]);
        assert_eq!(parts.anchor[between], Some(a));
    }

    #[test]
    fn a_kernel_has_one_anchor() {
        let mut g = Graph::new("t");
        let x = g.input("x", TensorType::fixed(&[1, 4, 4, 8]));
        let w = g.param("w", &[1, 1, 8, 8], Init::He);
        let a = g.push(Op::Conv2d(Conv2dAttrs::default()), &[x, w]).unwrap();
        let b = g.push(Op::Conv2d(Conv2dAttrs::default()), &[x, w]).unwrap();
        let sum = g.push(Op::Binary(BinaryOp::Add), &[a, b]).unwrap();
        g.outputs = vec![sum];
        assert_eq!(partition(&g).roots.len(), 2);
    }
}
