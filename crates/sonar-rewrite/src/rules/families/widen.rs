//! Rules that merge several kernels that read the same value into one wide kernel, and rules that move slices and concatenations out
//! of the way. Slices and concatenations cost nothing: consumers read slices in place, and producers write into concatenations.

use super::merge;
use crate::language::activated;
use crate::language::sum;
use crate::language::{EGraph, add, is_sum, is_weight, nodes, users};
use crate::rules::matched::Match;
use egg::Id;
use sonar_ir::graph::{Dim, Op, TensorType, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use std::collections::BTreeMap;

/// `act(Σ conv(xᵢ,wᵢ) + Σ matmul(xⱼ,wⱼ) + bias)` with constant weights and bias. Its output channels are columns of each
/// weight and of the bias. So such kernels become one if their weights and biases are concatenated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Branch {
    /// The convolutions and products, and the value that each reads.
    sources: Vec<(Term, Id)>,
    /// The weight of each source.
    weights: Vec<Id>,
    bias: Option<Id>,
    relu: bool,
}

/// Zeros before and after each axis of a weight.
type Pads = Vec<(usize, usize)>;

/// The properties that branches must share to become one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    sources: Vec<(Term, Id)>,
    relu: bool,
    /// The shapes of weights and bias without their last axis.
    leading: Vec<Vec<Dim>>,
    has_bias: bool,
}

impl Branch {
    /// An e-node of a class as a branch, if it is one.
    fn new(egraph: &EGraph, class: Id, op: &Op, operands: &[Id]) -> Option<Branch> {
        let (terms, relu) = match op {
            Op::Conv2d(attrs) => (vec![Term::Conv2d { attrs: *attrs, relu: false }], false),
            Op::MatMul => (vec![Term::MatMul { relu: false }], false),
            Op::FusedSum { terms, relu } if !is_sum(op) => (terms.clone(), *relu),
            _ => return None,
        };
        let channels = last(&egraph[class].data.ty)?;
        let mut sources = Vec::new();
        let mut bias = None;
        for (term, mine) in Term::with_operands(&terms, operands) {
            let fits = |w: &Id| is_weight(egraph, *w) && last(&egraph[*w].data.ty) == Some(channels);
            match (term, mine) {
                (Term::Add, [b]) if fits(b) && bias.is_none() => bias = Some(egraph.find(*b)),
                (Term::Conv2d { .. } | Term::MatMul { .. }, [x, w]) => {
                    let dense = match term {
                        Term::Conv2d { attrs, .. } => attrs.groups == 1,
                        _ => egraph[*w].data.ty.rank() == 2,
                    };
                    if !dense || is_weight(egraph, *x) || !fits(w) || is_made(egraph, *w) {
                        return None;
                    }
                    sources.push((term.clone(), egraph.find(*x), egraph.find(*w)));
                }
                _ => return None,
            }
        }
        // Several terms would be summed in another order.
        if sources.is_empty() || egraph.analysis.exact && terms.len() > 1 {
            return None;
        }
        sources.sort();
        let weights = sources.iter().map(|(.., w)| *w).collect();
        let sources = sources.into_iter().map(|(term, x, _)| (term, x)).collect();
        Some(Branch { sources, weights, bias, relu })
    }

    fn key(&self, egraph: &EGraph) -> Key {
        let constants = self.weights.iter().chain(&self.bias);
        let leading = constants.map(|&id| leading(&egraph[id].data.ty).to_vec()).collect();
        Key { sources: self.sources.clone(), relu: self.relu, leading, has_bias: self.bias.is_some() }
    }

    /// [`key`](Self::key) without the window and its padding, if the branch is a single convolution.
    fn key_of_any_window(&self, egraph: &EGraph) -> Option<Key> {
        let mut key = self.key(egraph);
        let [(Term::Conv2d { attrs, .. }, _)] = &mut key.sources[..] else { return None };
        attrs.pad = [0; 4];
        key.leading[0].drain(..2);
        Some(key)
    }
}

/// Branches over one value → slices of one wide kernel. All branches with the same [`Key`] become one.
pub fn siblings(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    if !egraph[m.class].data.wanted {
        return vec![];
    }
    let Some(own) = Branch::new(egraph, m.class, m.op, m.operands) else { return vec![] };
    let key = own.key(egraph);
    let mut group: BTreeMap<Id, Branch> = BTreeMap::new();
    for (class, op, operands) in users(egraph, own.sources[0].1) {
        if !egraph[class].data.wanted || is_weight(egraph, class) {
            continue;
        }
        let Some(branch) = Branch::new(egraph, class, &op, &operands) else { continue };
        if branch.key(egraph) == key && !is_taken_in(egraph, class) {
            let known = group.entry(class).or_insert_with(|| branch.clone());
            *known = branch.min(known.clone());
        }
    }
    if group.len() < 2 || !group.contains_key(&m.class) {
        return vec![];
    }
    let mut members: Vec<(Branch, Id)> = group.into_iter().map(|(class, branch)| (branch, class)).collect();
    members.sort();
    let axis = egraph[m.class].data.ty.rank() - 1;
    let extents: Vec<usize> = members.iter().map(|(_, class)| last(&egraph[*class].data.ty).unwrap_or(0)).collect();
    let position = members.iter().position(|(_, class)| *class == m.class).unwrap_or(0);
    let start: usize = extents[..position].iter().sum();
    let branches: Vec<Branch> = members.into_iter().map(|(branch, _)| branch).collect();
    let ty = with_last(&egraph[m.class].data.ty, extents.iter().sum());
    let wide = widened(egraph, &branches, &ty);
    vec![add(egraph, Op::Slice { axis, start, end: start + extents[position] }, &[wide])]
}

/// `concat(branches over one value) → one wide kernel`, for neighbours with the same key. A second form merges convolutions with
/// different windows, using the largest window.
pub fn concatenated(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Concat { axis } = *m.op else { return vec![] };
    if axis + 1 != egraph[m.class].data.ty.rank() {
        return vec![];
    }
    let branches_of = |&class: &Id| -> Vec<Branch> {
        let mut found: Vec<Branch> =
            nodes(egraph, class).filter_map(|(op, operands)| Branch::new(egraph, class, op, operands)).collect();
        found.sort();
        found
    };
    let branches: Vec<Vec<Branch>> = m.operands.iter().map(branches_of).collect();
    let mut equal = Vec::new();
    let alike: [fn(&EGraph, &Branch) -> Option<Key>; 2] =
        [|egraph, branch| Some(branch.key(egraph)), |egraph, branch| branch.key_of_any_window(egraph)];
    for key in alike {
        let mut parts: Vec<Id> = Vec::new();
        let mut done = 0;
        while done < m.operands.len() {
            let rest = &branches[done..];
            let runs = rest[0].iter().filter_map(|first| {
                let wanted = key(egraph, first)?;
                let run =
                    rest.iter().map_while(|others| others.iter().find(|other| key(egraph, other).as_ref() == Some(&wanted)));
                Some(with_one_window(egraph, &run.cloned().collect::<Vec<Branch>>()))
            });
            let run = runs.max_by_key(|run| run.len()).filter(|run| run.len() > 1);
            match run {
                Some(run) => {
                    let run: Vec<Branch> = run.into_iter().map(|(branch, pads)| padded(egraph, branch, pads)).collect();
                    let total = m.operands[done..].iter().take(run.len()).filter_map(|id| last(&egraph[*id].data.ty)).sum();
                    let ty = with_last(&egraph[m.class].data.ty, total);
                    parts.push(widened(egraph, &run, &ty));
                    done += run.len();
                }
                None => {
                    parts.push(m.operands[done]);
                    done += 1;
                }
            }
        }
        match parts[..] {
            [wide] => equal.push(wide),
            _ if parts.len() < m.operands.len() => equal.push(add(egraph, Op::Concat { axis }, &parts)),
            _ => {}
        }
    }
    equal
}

/// `slice(slice(x)) → slice(x)` along one axis.
pub fn slice_of_slice(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Slice { axis, start, end } = *m.op else { return vec![] };
    let outer: Vec<(usize, Id)> = slices(egraph, m.operands[0], axis).map(|(first, _, x)| (first, x)).collect();
    outer.into_iter().map(|(first, x)| add(egraph, Op::Slice { axis, start: first + start, end: first + end }, &[x])).collect()
}

/// `slice(concat(…)) → concat of the operands inside the slice`, or a slice of one operand.
pub fn slice_of_concat(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Slice { axis, start, end } = *m.op else { return vec![] };
    let concats: Vec<Vec<Id>> = nodes(egraph, m.operands[0])
        .filter(|(op, _)| matches!(op, Op::Concat { axis: other } if *other == axis))
        .map(|(_, operands)| operands.to_vec())
        .collect();
    let mut equal = Vec::new();
    for operands in concats {
        let mut parts = Vec::new();
        let mut first = 0;
        for part in operands {
            let extent = egraph[part].data.ty.shape[axis].fixed().unwrap_or(0);
            let (from, to) = (start.max(first), end.min(first + extent));
            if (from, to) == (first, first + extent) {
                parts.push(part);
            } else if from < to {
                parts.push(add(egraph, Op::Slice { axis, start: from - first, end: to - first }, &[part]));
            }
            first += extent;
        }
        equal.push(if let [part] = parts[..] { part } else { add(egraph, Op::Concat { axis }, &parts) });
    }
    equal
}

/// `concat` of neighbouring slices of one value → a slice of it.
pub fn concat_of_slices(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Concat { axis } = *m.op else { return vec![] };
    let Some((&first, others)) = m.operands.split_first() else { return vec![] };
    let joined = |(start, mut end, x): (usize, usize, Id)| {
        for &other in others {
            end = slices(egraph, other, axis).find(|&(from, _, y)| (from, y) == (end, x))?.1;
        }
        Some((start, end, x))
    };
    let found: Vec<(usize, usize, Id)> = slices(egraph, first, axis).filter_map(joined).collect();
    found.into_iter().map(|(start, end, x)| add(egraph, Op::Slice { axis, start, end }, &[x])).collect()
}

/// `slice(f(x)) → f(slice(x))` for a function of each element.
pub fn slice_of_map(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Slice { .. } = m.op else { return vec![] };
    let maps: Vec<(UnaryOp, Id)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| if let Op::Unary(f) = op { Some((*f, operands[0])) } else { None })
        .collect();
    let sliced = |(f, x): (UnaryOp, Id)| {
        let part = add(egraph, m.op.clone(), &[x]);
        add(egraph, Op::Unary(f), &[part])
    };
    maps.into_iter().map(sliced).collect()
}

/// `f(concat(x, …)) → concat(f(x), …)` for a function of each element.
pub fn map_of_concat(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let Op::Unary(f) = m.op else { return vec![] };
    let concats: Vec<(usize, Vec<Id>)> = nodes(egraph, m.operands[0])
        .filter_map(|(op, operands)| if let Op::Concat { axis } = op { Some((*axis, operands.to_vec())) } else { None })
        .collect();
    let mapped = |(axis, parts): (usize, Vec<Id>)| {
        let parts: Vec<Id> = parts.into_iter().map(|part| add(egraph, Op::Unary(*f), &[part])).collect();
        add(egraph, Op::Concat { axis }, &parts)
    };
    concats.into_iter().map(mapped).collect()
}

/// `matmul(rows(x), w) → rows(matmul(x, w))`: the product over all rows reads the weight once.
pub fn batch_rows(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let (Op::MatMul, &[rows, w]) = (m.op, m.operands) else { return vec![] };
    if !is_weight(egraph, w) || egraph[w].data.ty.rank() != 2 {
        return vec![];
    }
    let columns = egraph[rows].data.ty.rank() - 1;
    let wholes: Vec<(Op, Id)> = nodes(egraph, rows)
        .filter(|(op, _)| matches!(op, Op::Slice { axis, .. } if *axis < columns))
        .map(|(op, operands)| (op.clone(), operands[0]))
        .collect();
    let batched = |(slice, x): (Op, Id)| {
        let product = add(egraph, Op::MatMul, &[x, w]);
        add(egraph, slice, &[product])
    };
    wholes.into_iter().map(batched).collect()
}

/// The kernel that computes all branches side by side, as a value of type `ty`, before fusion. The branches must have one [`Key`].
fn widened(egraph: &mut EGraph, branches: &[Branch], ty: &TensorType) -> Id {
    let mut terms = Vec::new();
    for (i, (term, x)) in branches[0].sources.iter().enumerate() {
        let weights: Vec<Id> = branches.iter().map(|branch| branch.weights[i]).collect();
        let weight = beside(egraph, &weights);
        let (op, relu) = match term {
            Term::Conv2d { attrs, relu } => (Op::Conv2d(*attrs), *relu),
            Term::MatMul { relu } => (Op::MatMul, *relu),
            Term::Add => unreachable!("a source is multiplied"),
        };
        let x = activated(egraph, *x, relu);
        terms.push(add(egraph, op, &[x, weight]));
    }
    let biases: Vec<Id> = branches.iter().filter_map(|branch| branch.bias).collect();
    if !biases.is_empty() {
        terms.push(beside(egraph, &biases));
    }
    let wide = sum(egraph, &terms, ty);
    activated(egraph, wide, branches[0].relu)
}

/// The branches, with zeros to add around their weights so that all are convolutions with the largest window. It stops
/// at the first branch that does not fit.
fn with_one_window(egraph: &EGraph, branches: &[Branch]) -> Vec<(Branch, Pads)> {
    let single = |branch: &Branch| match branch.sources[..] {
        [(Term::Conv2d { attrs, relu }, x)] => Some((attrs, relu, x, merge::window(egraph, branch.weights[0]))),
        _ => None,
    };
    let largest = branches.iter().filter_map(single).max_by_key(|(attrs, .., window)| (*window, attrs.pad));
    let Some((outer, relu, x, window)) = largest else {
        return branches.iter().map(|branch| (branch.clone(), vec![])).collect();
    };
    let fitted = branches.iter().map_while(|branch| {
        let (attrs, .., own) = single(branch)?;
        let pads = merge::margin(&outer, window, &attrs, own)?;
        let sources = vec![(Term::Conv2d { attrs: outer, relu }, x)];
        Some((Branch { sources, ..branch.clone() }, pads))
    });
    fitted.collect()
}

fn padded(egraph: &mut EGraph, mut branch: Branch, pads: Pads) -> Branch {
    if pads.iter().any(|pad| *pad != (0, 0)) {
        branch.weights[0] = add(egraph, Op::Pad(pads), &[branch.weights[0]]);
    }
    branch
}

/// Constants concatenated along their last axis.
fn beside(egraph: &mut EGraph, constants: &[Id]) -> Id {
    let axis = egraph[constants[0]].data.ty.rank() - 1;
    add(egraph, Op::Concat { axis }, constants)
}

/// Whether a rule has built this constant. Such weights belong to kernels that already replace several.
fn is_made(egraph: &EGraph, w: Id) -> bool {
    nodes(egraph, w).any(|(op, _)| is_sum(op) || matches!(op, Op::Concat { .. } | Op::Pad(_)))
}

/// Whether a class is only a step towards larger kernels: they include its residuals, its scale and its activation.
fn is_taken_in(egraph: &EGraph, class: Id) -> bool {
    let mut taken_in = false;
    for (_, op, operands) in users(egraph, class) {
        match &op {
            Op::Unary(UnaryOp::Relu) => taken_in = true,
            Op::Binary(BinaryOp::Mul) if is_weight(egraph, operands[1]) => {
                let per_channel = leading(&egraph[operands[1]].data.ty).iter().all(|dim| *dim == Dim::Fixed(1));
                if !per_channel {
                    return false;
                }
                taken_in = true;
            }
            op if is_sum(op) && operands.iter().all(|&id| id == class || is_weight(egraph, id)) => taken_in = true,
            // A kernel that includes the activation of the class.
            Op::FusedSum { terms, .. }
                if Term::with_operands(terms, &operands).all(|(term, mine)| {
                    let active = matches!(term, Term::Conv2d { relu: true, .. } | Term::MatMul { relu: true });
                    active || mine[0] != class
                }) => {}
            // The same class in another form.
            Op::FusedSum { .. } if operands.iter().all(|&id| id == class || is_weight(egraph, id)) => taken_in = true,
            _ => return false,
        }
    }
    taken_in
}

/// The slices along an axis in a class: start, end and operand of each.
fn slices(egraph: &EGraph, class: Id, wanted: usize) -> impl Iterator<Item = (usize, usize, Id)> {
    nodes(egraph, class).filter_map(move |(op, operands)| match *op {
        Op::Slice { axis, start, end } if axis == wanted => Some((start, end, egraph.find(operands[0]))),
        _ => None,
    })
}

fn last(ty: &TensorType) -> Option<usize> {
    ty.shape.last()?.fixed()
}

fn leading(ty: &TensorType) -> &[Dim] {
    ty.shape.split_last().map_or(&[], |(_, leading)| leading)
}

fn with_last(ty: &TensorType, extent: usize) -> TensorType {
    let mut ty = ty.clone();
    ty.shape.pop();
    ty.shape.push(Dim::Fixed(extent));
    ty
}
