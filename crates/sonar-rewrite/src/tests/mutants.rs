//! Rules with a mistake: the check that the rules pass finds each mistake.

use super::build::Builder;
use super::{check_rules, wrong_rule};
use crate::language::sum;
use crate::language::{EGraph, add, is_sum, nodes};
use crate::rules::Match;
use egg::Id;
use sonar_ir::graph::{Conv2dAttrs, Dim, NodeId, Op, PoolAttrs, Term};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

/// The mistake, the wrong rule, and a graph that it fires on.
type Mutant = (&'static str, fn(&mut EGraph, &Match<'_>) -> Vec<Id>, fn(&mut Builder) -> NodeId);

const PLAIN: Conv2dAttrs = Conv2dAttrs { stride: [1, 1], pad: [0; 4], dilation: [1, 1], groups: 1 };
const POOL: PoolAttrs = PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad: false };

const MUTANTS: &[Mutant] = &[
    (
        "the smaller kernel is padded at the wrong side",
        |g, m| {
            merged(g, m, |g, w| if window(g, w) == 1 { add(g, Op::Pad(vec![(0, 2), (0, 2), (0, 0), (0, 0)]), &[w]) } else { w })
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let (y, z) = (b.same_conv(x, 3, 4), b.same_conv(x, 1, 4));
            b.add(y, z)
        },
    ),
    (
        "convolutions of different strides are merged",
        |g, m| merged(g, m, |_, w| w),
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.conv(x, 3, 4, Conv2dAttrs { stride: [2, 2], pad: [1; 4], ..PLAIN });
            let z = b.conv(x, 3, 4, PLAIN);
            b.add(y, z)
        },
    ),
    (
        "convolutions of different dilations are merged",
        |g, m| merged(g, m, |_, w| w),
        |b| {
            let x = b.input(&[1, 6, 6, 4]);
            let y = b.same_conv(x, 3, 4);
            let z = b.conv(x, 3, 4, Conv2dAttrs { dilation: [2, 2], pad: [2; 4], ..PLAIN });
            b.add(y, z)
        },
    ),
    (
        "convolutions of different inputs are merged",
        |g, m| merged(g, m, |_, w| w),
        |b| {
            let (x, y) = (b.input(&[1, 5, 5, 4]), b.input(&[1, 5, 5, 4]));
            let (y, z) = (b.same_conv(x, 3, 4), b.same_conv(y, 3, 4));
            b.add(y, z)
        },
    ),
    (
        "a product is lost when two are merged",
        |g, m| {
            let found = inner(g, m, |op| matches!(op, Op::MatMul));
            if !is_sum(m.op) || found.len() < 2 {
                return vec![];
            }
            vec![add(g, Op::MatMul, &found[0].1)]
        },
        |b| {
            let (x, v, w) = (b.input(&[3, 4]), b.param(&[4, 5]), b.param(&[4, 5]));
            let (y, z) = (b.op(Op::MatMul, &[x, v]), b.op(Op::MatMul, &[x, w]));
            b.add(y, z)
        },
    ),
    (
        "an activation is dropped as an epilogue",
        |g, m| {
            let convs = if *m.op == RELU { inner(g, m, is_conv) } else { vec![] };
            convs.into_iter().map(|(op, ids)| add(g, kernel(&op, 0, false), &ids)).collect()
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.same_conv(x, 3, 4);
            b.relu(y)
        },
    ),
    (
        "an activation is dropped as a prologue",
        |g, m| {
            let found = if is_conv(m.op) { inner(g, m, |op| *op == RELU) } else { vec![] };
            found.into_iter().map(|(_, x)| add(g, m.op.clone(), &[x[0], m.operands[1]])).collect()
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.relu(x);
            b.same_conv(y, 3, 4)
        },
    ),
    (
        "a residual is lost in a kernel",
        |g, m| {
            let convs = if is_sum(m.op) { inner(g, m, is_conv) } else { vec![] };
            convs.into_iter().map(|(op, ids)| add(g, kernel(&op, 0, false), &ids)).collect()
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.same_conv(x, 3, 4);
            b.add(x, y)
        },
    ),
    (
        "a residual is added twice",
        |g, m| {
            let convs = if is_sum(m.op) { inner(g, m, is_conv) } else { vec![] };
            let x = convs.first().map(|(_, ids)| ids[0]);
            convs.iter().zip(x).map(|((op, ids), x)| add(g, kernel(op, 2, false), &[ids[0], ids[1], x, x])).collect()
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.same_conv(x, 3, 4);
            b.add(x, y)
        },
    ),
    (
        "a scale is taken into the input channels of a weight",
        |g, m| {
            let convs = if *m.op == MUL { inner(g, m, is_conv) } else { vec![] };
            convs
                .into_iter()
                .map(|(op, ids)| {
                    let scale = add(g, Op::Reshape(vec![Dim::Fixed(4), Dim::Fixed(1)]), &[m.operands[1]]);
                    let w = add(g, MUL, &[ids[1], scale]);
                    add(g, op, &[ids[0], w])
                })
                .collect()
        },
        scaled_conv,
    ),
    (
        "a scale is taken into the input",
        |g, m| {
            let convs = if *m.op == MUL { inner(g, m, is_conv) } else { vec![] };
            convs
                .into_iter()
                .map(|(op, ids)| {
                    let x = add(g, MUL, &[ids[0], m.operands[1]]);
                    add(g, op, &[x, ids[1]])
                })
                .collect()
        },
        scaled_conv,
    ),
    (
        "a scale misses a term of a sum",
        |g, m| {
            let sums = if *m.op == MUL { inner(g, m, is_sum) } else { vec![] };
            sums.into_iter()
                .map(|(_, mut terms)| {
                    terms[0] = add(g, MUL, &[terms[0], m.operands[1]]);
                    let ty = g[m.class].data.ty.clone();
                    sum(g, &terms, &ty)
                })
                .collect()
        },
        |b| {
            let (x, y, s) = (b.input(&[2, 4]), b.input(&[2, 4]), b.param(&[4]));
            let y = b.add(x, y);
            b.mul(y, s)
        },
    ),
    (
        "scales are added, not multiplied",
        |g, m| {
            let found = if *m.op == MUL { inner(g, m, |op| *op == MUL) } else { vec![] };
            found
                .into_iter()
                .map(|(_, ids)| {
                    let ty = g[ids[1]].data.ty.clone();
                    let scale = sum(g, &[ids[1], m.operands[1]], &ty);
                    add(g, MUL, &[ids[0], scale])
                })
                .collect()
        },
        |b| {
            let (x, s, t) = (b.input(&[2, 4]), b.param(&[4]), b.param(&[4]));
            let y = b.mul(x, s);
            b.mul(y, t)
        },
    ),
    (
        "a bias is moved out of a mean that counts padding",
        |g, m| split_mean(g, m),
        |b| {
            let (x, bias) = (b.input(&[1, 5, 5, 4]), b.param(&[4]));
            let y = b.add(x, bias);
            b.avg_pool(y, PoolAttrs { count_include_pad: true, ..POOL })
        },
    ),
    (
        "a mean is moved before a 3x3 convolution",
        |g, m| swapped(g, m, is_mean, is_conv),
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.same_conv(x, 3, 4);
            b.avg_pool(y, POOL)
        },
    ),
    (
        "a mean is moved before a 1x1 convolution with padding",
        |g, m| swapped(g, m, is_mean, is_conv),
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.conv(x, 1, 4, Conv2dAttrs { pad: [1; 4], ..PLAIN });
            b.avg_pool(y, PoolAttrs { pad: [0; 4], ..POOL })
        },
    ),
    (
        "a 3x3 convolution is moved before a mean",
        |g, m| swapped(g, m, is_conv, is_mean),
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            let y = b.avg_pool(x, POOL);
            b.same_conv(y, 3, 4)
        },
    ),
    (
        "means are merged that treat padding differently",
        |g, m| {
            let found = if is_sum(m.op) { inner(g, m, is_mean) } else { vec![] };
            let [(op, x), (_, y)] = &found[..] else { return vec![] };
            let ty = g[x[0]].data.ty.clone();
            let input = sum(g, &[x[0], y[0]], &ty);
            vec![add(g, op.clone(), &[input])]
        },
        |b| {
            let (x, y) = (b.input(&[1, 5, 5, 4]), b.input(&[1, 5, 5, 4]));
            let y = b.avg_pool(y, PoolAttrs { count_include_pad: true, ..POOL });
            let x = b.avg_pool(x, POOL);
            b.add(x, y)
        },
    ),
    (
        "the largest element of a window is taken for its mean",
        |g, m| {
            let Op::AvgPool(attrs) = m.op else { return vec![] };
            vec![add(g, Op::MaxPool(*attrs), m.operands)]
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            b.avg_pool(x, POOL)
        },
    ),
    (
        "a maximum is split like a mean",
        |g, m| split_terms(g, m, |op| matches!(op, Op::MaxPool(_))),
        |b| {
            let (x, y) = (b.input(&[1, 5, 5, 4]), b.input(&[1, 5, 5, 4]));
            let y = b.add(x, y);
            b.op(Op::MaxPool(POOL), &[y])
        },
    ),
    (
        "an activation is split like a linear function",
        |g, m| split_terms(g, m, |op| *op == RELU),
        |b| {
            let (x, y) = (b.input(&[2, 4]), b.input(&[2, 4]));
            let y = b.add(x, y);
            b.relu(y)
        },
    ),
    (
        "a transposition that changes no shape is taken for nothing",
        |_, m| {
            if matches!(m.op, Op::Transpose(_)) { vec![m.operands[0]] } else { vec![] }
        },
        |b| {
            let x = b.input(&[4, 4]);
            b.op(Op::Transpose(vec![1, 0]), &[x])
        },
    ),
    (
        "groups of a convolution are taken for none",
        |g, m| {
            let Op::Conv2d(attrs) = m.op else { return vec![] };
            if attrs.groups != 2 {
                return vec![];
            }
            let [x, w] = m.operands else { return vec![] };
            let w = add(g, Op::Concat { axis: 2 }, &[*w, *w]);
            vec![add(g, Op::Conv2d(Conv2dAttrs { groups: 1, ..*attrs }), &[*x, w])]
        },
        |b| {
            let x = b.input(&[1, 5, 5, 4]);
            b.conv(x, 3, 4, Conv2dAttrs { groups: 2, ..PLAIN })
        },
    ),
    (
        "a difference is turned round",
        |g, m| {
            let Op::Binary(BinaryOp::Sub) = m.op else { return vec![] };
            vec![add(g, m.op.clone(), &[m.operands[1], m.operands[0]])]
        },
        |b| {
            let (x, y) = (b.input(&[2, 4]), b.input(&[2, 4]));
            b.op(Op::Binary(BinaryOp::Sub), &[x, y])
        },
    ),
];

const RELU: Op = Op::Unary(UnaryOp::Relu);
const MUL: Op = Op::Binary(BinaryOp::Mul);

fn scaled_conv(b: &mut Builder) -> NodeId {
    let (x, s) = (b.input(&[1, 5, 5, 4]), b.param(&[4]));
    let y = b.same_conv(x, 3, 4);
    b.mul(y, s)
}

fn is_conv(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_))
}

fn is_mean(op: &Op) -> bool {
    matches!(op, Op::AvgPool(_))
}

/// The first node of the wanted kind of each operand, with its operands.
fn inner(egraph: &EGraph, m: &Match<'_>, wanted: impl Fn(&Op) -> bool) -> Vec<(Op, Vec<Id>)> {
    let first = |&id: &Id| nodes(egraph, id).find(|(op, _)| wanted(op)).map(|(op, ids)| (op.clone(), ids.to_vec()));
    m.operands.iter().filter_map(first).collect()
}

/// One convolution as a kernel that adds `others` other values.
fn kernel(op: &Op, others: usize, relu: bool) -> Op {
    let Op::Conv2d(attrs) = op else { panic!("{op:?} is no convolution") };
    let terms = [Term::Conv2d { attrs: *attrs, relu: false }].into_iter().chain(vec![Term::Add; others]).collect();
    Op::FusedSum { terms, relu }
}

fn window(egraph: &EGraph, w: Id) -> usize {
    egraph[w].data.ty.shape[0].fixed().expect("weights have fixed shapes")
}

/// The sum of two convolutions as the one with the larger window, and the sum of the weights.
fn merged(egraph: &mut EGraph, m: &Match<'_>, pad: fn(&mut EGraph, Id) -> Id) -> Vec<Id> {
    let mut convs = if is_sum(m.op) { inner(egraph, m, is_conv) } else { vec![] };
    convs.sort_by_key(|(_, ids)| std::cmp::Reverse(window(egraph, ids[1])));
    let [(op, large), (_, small)] = &convs[..] else { return vec![] };
    let ty = egraph[large[1]].data.ty.clone();
    let weights = [pad(egraph, large[1]), pad(egraph, small[1])];
    let weight = sum(egraph, &weights, &ty);
    vec![add(egraph, op.clone(), &[large[0], weight])]
}

/// `outer(inner(x, …), …) → inner(outer(x, …), …)`
fn swapped(egraph: &mut EGraph, m: &Match<'_>, outer: fn(&Op) -> bool, wanted: fn(&Op) -> bool) -> Vec<Id> {
    let found = if outer(m.op) { inner(egraph, m, wanted) } else { vec![] };
    let Some((op, ids)) = found.into_iter().next() else { return vec![] };
    let first: Vec<Id> = [&ids[..1], &m.operands[1..]].concat();
    let first = add(egraph, m.op.clone(), &first);
    let second: Vec<Id> = [&[first], &ids[1..]].concat();
    vec![add(egraph, op, &second)]
}

/// `op(Σ tᵢ) → Σ op(tᵢ)`
fn split_terms(egraph: &mut EGraph, m: &Match<'_>, wanted: fn(&Op) -> bool) -> Vec<Id> {
    let found = if wanted(m.op) { inner(egraph, m, is_sum) } else { vec![] };
    let Some((_, terms)) = found.into_iter().next() else { return vec![] };
    let terms: Vec<Id> = terms.iter().map(|&term| add(egraph, m.op.clone(), &[term])).collect();
    let ty = egraph[m.class].data.ty.clone();
    vec![sum(egraph, &terms, &ty)]
}

/// `avgpool(Σ tᵢ) → Σ avgpool(tᵢ)`; terms per channel are unchanged.
fn split_mean(egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
    let found = if is_mean(m.op) { inner(egraph, m, is_sum) } else { vec![] };
    let Some((_, terms)) = found.into_iter().next() else { return vec![] };
    let pooled = |id: &Id| if egraph[*id].data.ty.rank() == 4 { (true, *id) } else { (false, *id) };
    let terms: Vec<(bool, Id)> = terms.iter().map(pooled).collect();
    let terms: Vec<Id> = terms.iter().map(|&(pool, id)| if pool { add(egraph, m.op.clone(), &[id]) } else { id }).collect();
    let ty = egraph[m.class].data.ty.clone();
    vec![sum(egraph, &terms, &ty)]
}

#[test]
fn every_mutant_is_caught() {
    for &(what, mutant, build) in MUTANTS {
        let mut builder = Builder::new();
        let output = build(&mut builder);
        let graph = builder.finish(&[output]);
        check_rules(&graph, &[]).unwrap_or_else(|problem| panic!("{what}: without the rule, too: {problem}"));
        let rules = [wrong_rule("mutant", mutant)];
        match check_rules(&graph, &rules) {
            Err(problem) => assert!(problem.contains("relative error"), "{what}: {problem}"),
            Ok(results) => panic!("not caught: {what}\n{}", results[0].report),
        }
    }
}
