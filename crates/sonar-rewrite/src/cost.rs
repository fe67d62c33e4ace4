//! What a kernel costs, by default: an analytic roofline.

use crate::language::with_operands;
use sonar_ir::graph::{Conv2dAttrs, Dim, Op, TensorType, Term};

/// A cost model: seconds of one kernel, at least 0. Only comparisons between sums of costs matter; an infinite cost says that
/// a kernel cannot be had.
pub type Cost<'a> = dyn Fn(&KernelShape<'_>) -> f64 + 'a;

/// One kernel, as a cost model sees it: an operator and types, without names. An unbound batch counts as 1.
#[derive(Clone, Copy, Debug)]
pub struct KernelShape<'a> {
    /// What is computed.
    pub op: &'a Op,
    /// Types of the operands.
    pub operands: &'a [&'a TensorType],
    /// For each operand, whether it is a weight: it depends on parameters only, and is computed once, before the first run.
    pub weights: &'a [bool],
    /// Type of the result.
    pub result: &'a TensorType,
}

/// Seconds to start a kernel.
const LAUNCH: f64 = 1e-6;
/// Bytes per second between a core and its second-level cache.
const BANDWIDTH: f64 = 30e9;
/// Floating-point operations per second of convolutions and matrix products.
const DENSE_RATE: f64 = 200e9;
/// Floating-point operations per second of everything else.
const OTHER_RATE: f64 = 20e9;
/// The share of the shorter of computing and moving data that is not hidden by the longer.
const EXPOSED: f64 = 0.25;

/// Multiplications of a vector that a vector of the result of a grouped convolution costs besides its own: it is stored, and its
/// group's loops begin and end.
const NARROW: f64 = 8.0;

/// How much faster 3 × 3 convolutions are with Winograd's filtering in tiles of 2 and of 4, by the bytes of the weight: the
/// transformed weight is up to four times as large, and is read again at every run.
const FILTERING: [(f64, [f64; 2]); 3] = [(1e6, [1.6, 2.3]), (4e6, [1.5, 1.8]), (f64::INFINITY, [1.1, 1.1])];
/// Channels, and rows and columns of the result, from which filtering pays.
const FILTERED_CHANNELS: usize = 8;
const FILTERED_SIDE: usize = 4;

/// What the analytic model knows of a machine and of the algorithms that its kernels may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Elements of a vector.
    pub lanes: usize,
    /// The largest tile of Winograd's filtering, 2 or 4, if it may be used at all.
    pub filter: Option<usize>,
}

/// The analytic model: `launch + max(compute, memory) + exposed · min(compute, memory)`, for the vectors of a machine. A reshape,
/// a slice and a concatenation are free: values are read, and written, where they are. Convolutions that kernels can filter take
/// less time.
pub fn of_machine(machine: Machine) -> impl Fn(&KernelShape<'_>) -> f64 {
    move |kernel| {
        let filtering = machine.filter.map_or(1.0, |tile| kernel.filtering(usize::from(tile > 2)));
        time(kernel, filtering, machine.lanes)
    }
}

/// The default model: [`of_machine`] with vectors of 16 and filtering in tiles of up to 4.
pub fn roofline(kernel: &KernelShape<'_>) -> f64 {
    of_machine(Machine { lanes: 16, filter: Some(4) })(kernel)
}

fn time(kernel: &KernelShape<'_>, filtering: f64, lanes: usize) -> f64 {
    if matches!(kernel.op, Op::Reshape(_) | Op::Slice { .. } | Op::Concat { .. }) {
        return 0.0;
    }
    let dense = kernel.dense_flops() / filtering + kernel.narrow_flops(lanes);
    let compute = dense / DENSE_RATE + (kernel.flops() - kernel.dense_flops()) / OTHER_RATE;
    let memory = kernel.bytes() / BANDWIDTH;
    LAUNCH + compute.max(memory) + EXPOSED * compute.min(memory)
}

impl KernelShape<'_> {
    /// Floating-point operations, a multiply and an add counting as two.
    pub fn flops(&self) -> f64 {
        let result = elements(self.result);
        self.dense_flops()
            + match self.op {
                Op::Unary(_) | Op::Binary(_) => result,
                Op::BatchNorm { .. } | Op::Softmax | Op::LogSoftmax => 4.0 * result,
                Op::BatchNormTrain { .. } | Op::LayerNorm { .. } => 8.0 * result,
                Op::MaxPool(attrs) | Op::AvgPool(attrs) => (attrs.kernel[0] * attrs.kernel[1]) as f64 * result,
                Op::MaxPoolGrad(attrs) | Op::AvgPoolGrad(attrs, _) => (attrs.kernel[0] * attrs.kernel[1]) as f64 * result,
                Op::Attention { heads, .. } => 6.0 * *heads as f64 * self.scores(),
                Op::GlobalAvgPool | Op::Reduce { .. } => self.operands.first().map_or(0.0, |x| elements(x)),
                Op::FusedSum { terms, relu } => {
                    (terms.len() - 1 + usize::from(*relu)) as f64 * result + self.prologue_flops(terms)
                }
                _ => 0.0,
            }
    }

    /// The part of [`flops`](Self::flops) that convolutions and matrix products do.
    pub fn dense_flops(&self) -> f64 {
        let result = elements(self.result);
        match (self.op, self.operands) {
            (Op::Conv2d(_), [_, w]) => conv_flops(w, result),
            (Op::Conv2dGradInput(..), [dy, w]) => conv_flops(w, elements(dy)),
            (Op::Conv2dGradWeight(..), [_, dy]) => conv_flops(self.result, elements(dy)),
            (Op::MatMul, [a, _]) => matmul_flops(a, result),
            (Op::Attention { .. }, [q, _, v, ..]) => {
                let last = |ty: &TensorType| ty.shape.last().and_then(|dim| dim.fixed()).unwrap_or(1) as f64;
                2.0 * self.scores() * (last(q) + last(v))
            }
            (Op::FusedSum { terms, .. }, operands) => {
                let flops = with_operands(terms, operands).map(|(term, mine)| match term {
                    Term::Conv2d { .. } => conv_flops(mine[1], result),
                    Term::MatMul { .. } => matmul_flops(mine[0], result),
                    Term::Add => 0.0,
                });
                flops.sum()
            }
            _ => 0.0,
        }
    }

    /// What the convolutions of narrow groups cost on top of their [`dense_flops`](Self::dense_flops): lanes that stay empty are
    /// computed, too, and each group has results to load and store of its own.
    fn narrow_flops(&self, lanes: usize) -> f64 {
        let result = elements(self.result);
        let wasted = |attrs: &Conv2dAttrs, w: &TensorType| {
            let extent = |axis: usize| w.shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(1);
            let width = extent(3) / attrs.groups.max(1);
            // Channels by themselves fill vectors across groups.
            if attrs.groups == 1 || width == 0 || (extent(2) == 1 && width == 1) {
                return 0.0;
            }
            let filled = width as f64 / width.next_multiple_of(lanes) as f64;
            let vectors = result / (width as f64) * width.div_ceil(lanes) as f64;
            conv_flops(w, result) * (1.0 / filled - 1.0) + vectors * NARROW * 2.0 * lanes as f64
        };
        match (self.op, self.operands) {
            (Op::Conv2d(attrs), [_, w]) => wasted(attrs, w),
            (Op::FusedSum { terms, .. }, operands) => {
                let convolutions = with_operands(terms, operands).filter_map(|(term, mine)| match term {
                    Term::Conv2d { attrs, .. } => Some(wasted(attrs, mine[1])),
                    _ => None,
                });
                convolutions.sum()
            }
            _ => 0.0,
        }
    }

    /// Pairs of a query and a key of an attention.
    fn scores(&self) -> f64 {
        let [q, k, ..] = self.operands else { return 0.0 };
        let extent =
            |ty: &TensorType, back: usize| ty.shape.iter().rev().nth(back).and_then(|dim| dim.fixed()).unwrap_or(1) as f64;
        elements(q) / extent(q, 0) * extent(k, 1)
    }

    /// How much faster the convolutions of the kernel are with Winograd's filtering, in tiles of 2 (0) or 4 (1): 1 if one of them
    /// cannot be filtered.
    fn filtering(&self, tile: usize) -> f64 {
        let convolutions: Vec<(&Conv2dAttrs, &TensorType)> = match (self.op, self.operands) {
            (Op::Conv2d(attrs), [_, w]) => vec![(attrs, w)],
            (Op::FusedSum { terms, .. }, operands) => {
                let mut found = Vec::new();
                for (term, mine) in with_operands(terms, operands) {
                    match term {
                        Term::Conv2d { attrs, .. } => found.push((attrs, mine[1])),
                        Term::MatMul { .. } => return 1.0,
                        Term::Add => {}
                    }
                }
                found
            }
            _ => return 1.0,
        };
        let fixed = |ty: &TensorType, axis: usize| ty.shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(0);
        let large = (1..3).all(|axis| fixed(self.result, axis) >= FILTERED_SIDE);
        let fits = |&(attrs, w): &(&Conv2dAttrs, &TensorType)| {
            let plain = (attrs.stride, attrs.dilation, attrs.groups) == ([1, 1], [1, 1], 1);
            plain && [0, 1].iter().all(|&i| fixed(w, i) == 3) && [2, 3].iter().all(|&i| fixed(w, i) >= FILTERED_CHANNELS)
        };
        if convolutions.is_empty() || !large || !convolutions.iter().all(fits) {
            return 1.0;
        }
        let bytes: f64 = convolutions.iter().map(|(_, w)| 4.0 * elements(w)).sum();
        FILTERING.iter().find(|(most, _)| bytes <= *most).map_or(1.0, |(_, faster)| faster[tile])
    }

    /// An activation of an operand costs twice as much as one of the result: it is applied anew for each use of an element.
    fn prologue_flops(&self, terms: &[Term]) -> f64 {
        let active = |term: &Term| matches!(term, Term::Conv2d { relu: true, .. } | Term::MatMul { relu: true });
        with_operands(terms, self.operands).filter(|(term, _)| active(term)).map(|(_, mine)| 2.0 * elements(mine[0])).sum()
    }

    /// Bytes of the operands and of the result, each moved once.
    pub fn bytes(&self) -> f64 {
        4.0 * (self.operands.iter().map(|ty| elements(ty)).sum::<f64>() + elements(self.result))
    }
}

/// The cost of a whole graph whose every node that depends on an input is one kernel.
pub fn graph_cost(graph: &sonar_ir::Graph, cost: &Cost<'_>) -> f64 {
    let mut total = 0.0;
    for_each_kernel(graph, |kernel| total += cost(kernel));
    total
}

/// Looks at every node that depends on an input as a kernel.
pub fn for_each_kernel(graph: &sonar_ir::Graph, mut look: impl FnMut(&KernelShape<'_>)) {
    let konst = crate::language::weights_of(graph);
    for (id, node) in graph.iter() {
        if !konst[id.0 as usize] && node.op != Op::Input {
            let operands: Vec<&TensorType> = node.operands.iter().map(|&operand| graph.ty(operand)).collect();
            let weights: Vec<bool> = node.operands.iter().map(|operand| konst[operand.0 as usize]).collect();
            look(&KernelShape { op: &node.op, operands: &operands, weights: &weights, result: &node.ty });
        }
    }
}

fn elements(ty: &TensorType) -> f64 {
    ty.shape.iter().map(|dim| if let Dim::Fixed(n) = dim { *n as f64 } else { 1.0 }).product()
}

/// Every output element takes a multiply and an add per weight of its output channel.
fn conv_flops(w: &TensorType, result: f64) -> f64 {
    let out = w.shape.last().and_then(|dim| dim.fixed()).unwrap_or(1).max(1);
    2.0 * elements(w) / out as f64 * result
}

fn matmul_flops(a: &TensorType, result: f64) -> f64 {
    let inner = a.shape.last().and_then(|dim| dim.fixed()).unwrap_or(1);
    2.0 * inner as f64 * result
}
