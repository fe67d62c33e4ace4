//! Rules for transposes and reshapes. They move towards the outputs, past all operators that do not depend on the order or the
//! shape of their elements, until they meet others and cancel.

use crate::language::same_sum;
use crate::language::{EGraph, add, is_sum, is_weight, nodes};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Dim, Op, TensorType};

/// `transpose(transpose(x)) → transpose(x)`
pub fn transposes(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Transpose(outer) = m.op else { return vec![] };
    let inner = transposed(egraph, m.operands[0]);
    let once = inner.into_iter().map(|(inner, x)| {
        let both = outer.iter().map(|&axis| inner[axis]).collect();
        add(egraph, Op::Transpose(both), &[x])
    });
    once.collect()
}

/// `reshape(reshape(x)) → reshape(x)`
pub fn reshapes(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Reshape(shape) = m.op else { return vec![] };
    let inner = reshaped(egraph, m.operands[0]);
    inner.into_iter().map(|x| add(egraph, Op::Reshape(shape.clone()), &[x])).collect()
}

/// `transpose(x) → reshape(x)` if all axes except those of extent 1 stay in order.
pub fn unit_transpose(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Transpose(perm) = m.op else { return vec![] };
    let from = &egraph[m.operands[0]].data.ty.shape;
    if !perm.iter().filter(|&&axis| from[axis] != Dim::Fixed(1)).is_sorted() {
        return vec![];
    }
    let shape = egraph[m.class].data.ty.shape.clone();
    vec![add(egraph, Op::Reshape(shape), m.operands)]
}

/// `f(transpose(x), …) → transpose(f(x, …))` for every `f` that can work on another order of the axes. Every operand that
/// depends on an input must have the same transpose, and constants are transposed back.
pub fn sink_transpose(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Some(&first) = m.operands.iter().find(|&&id| !is_weight(egraph, id)) else { return vec![] };
    if matches!(m.op, Op::MatMul) && !is_weight(egraph, m.operands[1]) {
        return vec![];
    }
    let mut equal = Vec::new();
    for (perm, _) in transposed(egraph, first) {
        let Some((op, outer)) = permuted(m.op, &perm) else { continue };
        let operands: Option<Vec<Id>> = m.operands.iter().map(|&id| transposed_back(egraph, m.op, id, &perm)).collect();
        let Some(operands) = operands else { continue };
        let ty = &egraph[m.class].data.ty;
        let y = if is_sum(&op) {
            if ty.rank() != perm.len() {
                continue;
            }
            let inner = TensorType { shape: inverse(&perm).iter().map(|&axis| ty.shape[axis]).collect() };
            same_sum(egraph, &op, &operands, &inner)
        } else {
            add(egraph, op, &operands)
        };
        equal.push(add(egraph, Op::Transpose(outer), &[y]));
    }
    equal
}

/// `f(reshape(x), …) → reshape(f(x, …))` for elementwise `f`, and for operators on rows if the rows stay whole. Every operand that
/// depends on an input must have the same reshape, and constants must be the same for all elements or for all rows.
pub fn sink_reshape(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let rowwise = match m.op {
        Op::Unary(_) | Op::Binary(_) => false,
        op if is_sum(op) => false,
        Op::Softmax | Op::LogSoftmax => true,
        Op::MatMul => is_weight(egraph, m.operands[1]) && egraph[m.operands[1]].data.ty.rank() == 2,
        _ => return vec![],
    };
    if matches!(m.op, Op::MatMul) && !rowwise {
        return vec![];
    }
    let Some(&first) = m.operands.iter().find(|&&id| !is_weight(egraph, id)) else { return vec![] };
    let result = egraph[m.class].data.ty.clone();
    let outer = egraph[first].data.ty.clone();
    let mut equal = Vec::new();
    for x in reshaped(egraph, first) {
        let inner = egraph[x].data.ty.clone();
        let rows = inner.shape.last() == outer.shape.last() && inner.rank() > 0;
        if rowwise && !(rows && (inner.rank() > 1 || !matches!(m.op, Op::MatMul))) || !rowwise && result != outer {
            continue;
        }
        let operand = |egraph: &mut EGraph, id: Id| {
            if !is_weight(egraph, id) {
                let mut alike = reshaped(egraph, id).into_iter();
                return if egraph[id].data.ty == outer { alike.find(|&x| egraph[x].data.ty == inner) } else { None };
            }
            if rowwise {
                return Some(id);
            }
            let small = without_leading_units(egraph, id);
            let rank = egraph[small].data.ty.rank();
            (rank == 0 || rank == 1 && rows).then_some(small)
        };
        let operands: Option<Vec<Id>> = m.operands.iter().map(|&id| operand(egraph, id)).collect();
        let Some(operands) = operands else { continue };
        let y = if is_sum(m.op) { same_sum(egraph, m.op, &operands, &inner) } else { add(egraph, m.op.clone(), &operands) };
        equal.push(add(egraph, Op::Reshape(result.shape.clone()), &[y]));
    }
    equal
}

/// `transpose(matmul(a,b)) → matmul(transpose(b), transpose(a))`, over the last two axes.
pub fn transposed_product(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Transpose(perm) = m.op else { return vec![] };
    if *perm != swap(perm.len()) {
        return vec![];
    }
    let products: Vec<(Id, Id)> = nodes(egraph, m.operands[0])
        .filter(|(op, operands)| matches!(op, Op::MatMul) && egraph[operands[1]].data.ty.rank() == perm.len())
        .map(|(_, operands)| (operands[0], operands[1]))
        .collect();
    let turned = products.into_iter().map(|(a, b)| {
        let [b, a] = [b, a].map(|id| add(egraph, Op::Transpose(perm.clone()), &[id]));
        add(egraph, Op::MatMul, &[b, a])
    });
    turned.collect()
}

/// `matmul(transpose(a), transpose(b)) → transpose(matmul(b,a))`, over the last two axes; one of the two may be a constant
/// without a transpose.
pub fn product_of_transposed(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::MatMul, &[a, b]) = (m.op, m.operands) else { return vec![] };
    let rank = egraph[a].data.ty.rank();
    if egraph[b].data.ty.rank() != rank {
        return vec![];
    }
    let swap = swap(rank);
    let [a, b] = [a, b].map(|id| {
        if is_weight(egraph, id) {
            return Some(add(egraph, Op::Transpose(swap.clone()), &[id]));
        }
        transposed(egraph, id).into_iter().find(|(perm, _)| *perm == swap).map(|(_, x)| x)
    });
    let (Some(a), Some(b)) = (a, b) else { return vec![] };
    let product = add(egraph, Op::MatMul, &[b, a]);
    vec![add(egraph, Op::Transpose(swap), &[product])]
}

/// The class of a constant without its leading axes of extent 1.
pub fn without_leading_units(egraph: &mut EGraph, id: Id) -> Id {
    let shape = &egraph[id].data.ty.shape;
    let units = shape.iter().take_while(|dim| **dim == Dim::Fixed(1)).count();
    if units == 0 {
        return id;
    }
    let shape = shape[units..].to_vec();
    add(egraph, Op::Reshape(shape), &[id])
}

/// The operator that can be applied to `x` instead of `op` to `x` transposed, and the permutation of its result.
fn permuted(op: &Op, perm: &[usize]) -> Option<(Op, Vec<usize>)> {
    let last = perm.len().checked_sub(1)?;
    let op = match op {
        Op::Unary(_) | Op::Binary(_) => op.clone(),
        op if is_sum(op) => op.clone(),
        Op::Concat { axis } => Op::Concat { axis: perm[*axis] },
        Op::Slice { axis, start, end } => Op::Slice { axis: perm[*axis], start: *start, end: *end },
        Op::Pad(pads) => Op::Pad(inverse(perm).iter().map(|&axis| pads[axis]).collect()),
        Op::Softmax | Op::LogSoftmax | Op::MatMul if perm[last] == last => op.clone(),
        Op::Reduce { op, axes, keep } => {
            // Elements are summed in the same order as before.
            let inner: Vec<usize> = axes.iter().map(|&axis| perm[axis]).collect();
            if !inner.is_sorted() {
                return None;
            }
            let rest = (0..perm.len()).filter(|axis| *keep || !axes.contains(axis)).map(|axis| perm[axis]);
            // The other axes are renumbered without the removed ones.
            let outer = rest.map(|axis| axis - if *keep { 0 } else { inner.iter().filter(|&&gone| gone < axis).count() });
            return Some((Op::Reduce { op: *op, axes: inner.clone(), keep: *keep }, outer.collect()));
        }
        _ => return None,
    };
    Some((op, perm.to_vec()))
}

/// An operand of `op` before the transpose: the source of this transpose, or a constant.
fn transposed_back(egraph: &mut EGraph, op: &Op, id: Id, perm: &[usize]) -> Option<Id> {
    if !is_weight(egraph, id) {
        return transposed(egraph, id).into_iter().find(|(other, _)| other == perm).map(|(_, x)| x);
    }
    let shape = egraph[id].data.ty.shape.clone();
    if shape.contains(&Dim::Batch) {
        return None;
    }
    match op {
        // The right side of a product is the same for every row.
        Op::MatMul => (shape.len() == 2).then_some(id),
        Op::Concat { .. } => Some(add(egraph, Op::Transpose(inverse(perm)), &[id])),
        _ => {
            let missing = perm.len().checked_sub(shape.len())?;
            let full: Vec<Dim> = std::iter::repeat_n(Dim::Fixed(1), missing).chain(shape).collect();
            let full = add(egraph, Op::Reshape(full), &[id]);
            let back = add(egraph, Op::Transpose(inverse(perm)), &[full]);
            Some(without_leading_units(egraph, back))
        }
    }
}

/// The transposes of other classes in a class: their permutations and operands.
fn transposed(egraph: &EGraph, class: Id) -> Vec<(Vec<usize>, Id)> {
    let found = nodes(egraph, class).filter_map(|(op, operands)| match op {
        Op::Transpose(perm) => Some((perm.clone(), egraph.find(operands[0]))),
        _ => None,
    });
    found.filter(|(_, operand)| *operand != egraph.find(class)).collect()
}

/// The operands of the reshapes in a class, except the class itself.
fn reshaped(egraph: &EGraph, class: Id) -> Vec<Id> {
    let found = nodes(egraph, class).filter(|(op, _)| matches!(op, Op::Reshape(_)));
    found.map(|(_, operands)| egraph.find(operands[0])).filter(|operand| *operand != egraph.find(class)).collect()
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (i, &axis) in perm.iter().enumerate() {
        inverse[axis] = i;
    }
    inverse
}

/// The permutation of `rank` axes that swaps the last two.
fn swap(rank: usize) -> Vec<usize> {
    let mut perm: Vec<usize> = (0..rank).collect();
    if rank > 1 {
        perm.swap(rank - 2, rank - 1);
    }
    perm
}
