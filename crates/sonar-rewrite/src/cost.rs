//! The default cost of a kernel: an analytic roofline.

use sonar_ir::graph::{Conv2dAttrs, Dim, Op, TensorType, Term};
use sonar_ir::machine::{Machine, at_once};

/// A cost model: seconds of one kernel, at least 0. Only comparisons between sums of costs matter. An infinite cost means that
/// a kernel is not available.
pub type Cost<'a> = dyn Fn(&KernelShape<'_>) -> f64 + 'a;

/// One kernel, as a cost model sees it: an operator and types, without names. An unbound batch counts as 1.
#[derive(Clone, Copy, Debug)]
pub struct KernelShape<'a> {
    /// What is computed.
    pub op: &'a Op,
    /// Types of the operands.
    pub operands: &'a [&'a TensorType],
    /// For each operand, whether it is a weight: it depends on parameters only, and is computed once before the first run.
    pub weights: &'a [bool],
    /// Type of the result.
    pub result: &'a TensorType,
}

/// Share of the peak that convolutions and matrix products reach.
const DENSE: f64 = 0.85;
/// Share of the peak that other operators reach: they mostly load, store and wait for earlier steps.
const OTHER: f64 = 0.1;
/// Bytes of the code and the constants of a kernel. They are fetched at every run of the network.
const CODE: f64 = 8192.0;

/// The overhead of a result vector of a grouped convolution, as a number of vector multiplications: it is stored, and the loops
/// of its group start and end.
const NARROW: f64 = 8.0;

/// Tiles of Winograd's filtering: their size, the factor by which weights grow, and the operations of the transforms for one
/// element of a transformed image and of a product.
const FILTERS: [Filter; 2] =
    [Filter { tile: 2, weights: 16.0 / 9.0, image: 2.4, result: 2.4 }, Filter { tile: 4, weights: 4.0, image: 4.8, result: 3.8 }];

struct Filter {
    tile: usize,
    weights: f64,
    image: f64,
    result: f64,
}

/// The least number of channels for which filtering pays.
const FILTERED_CHANNELS: usize = 8;

/// The assumptions of the analytic model.
#[derive(Clone, Copy, Debug)]
pub struct Assumptions {
    /// The machine.
    pub machine: &'static Machine,
    /// Elements of a vector.
    pub lanes: usize,
    /// The largest tile of Winograd's filtering, 2 or 4; `None` if filtering is not allowed.
    pub filter: Option<usize>,
    /// Bytes of all weights of the network; a run reads them between two calls of one kernel.
    pub footprint: usize,
}

impl Assumptions {
    /// The analytic model. The code and the weights of a kernel are fetched from the smallest memory that fits the whole network. Then
    /// computing and moving data overlap in part. A reshape, a slice and a concatenation are free: values are read and written
    /// in place. A convolution is computed directly or by filtering, whichever takes less time.
    pub fn cost(self) -> impl Fn(&KernelShape<'_>) -> f64 {
        move |kernel| {
            if matches!(kernel.op, Op::Reshape(_) | Op::Slice { .. } | Op::Concat { .. }) {
                return 0.0;
            }
            let allowed = FILTERS.iter().filter(|filter| self.filter.is_some_and(|largest| filter.tile <= largest));
            let filtered = allowed.filter_map(|filter| self.filtered(kernel, filter));
            let fetched = CODE * self.machine.read(self.footprint as f64);
            self.machine.call + fetched + filtered.fold(self.direct(kernel), f64::min)
        }
    }

    /// Seconds of a kernel without filtering and without its start.
    fn direct(&self, kernel: &KernelShape<'_>) -> f64 {
        let peak = self.machine.peak(self.lanes).gflops * 1e9;
        let dense = kernel.dense_flops();
        let compute = (dense + kernel.narrow_flops(self.lanes)) / (DENSE * peak) + (kernel.flops() - dense) / (OTHER * peak);
        let weights = kernel.weight_bytes();
        self.overlapped(compute, kernel.bytes() - weights) + self.fetched(kernel, weights)
    }

    /// The same with filtering, if all convolutions of the kernel allow it. Transformed images and products go through the
    /// second-level cache.
    fn filtered(&self, kernel: &KernelShape<'_>, filter: &Filter) -> Option<f64> {
        let convolutions = kernel.filterable()?;
        let peak = self.machine.peak(self.lanes).gflops * 1e9;
        let near = self.machine.cache(2) as f64 / 2.0;
        let [images, down, across, outputs] = dims(kernel.result)?;
        let side = (filter.tile + 2) as f64;
        let tiles = images * (down / filter.tile as f64).ceil() * (across / filter.tile as f64).ceil();
        let (mut products, mut inputs) = (0.0, 0.0);
        for w in &convolutions {
            let [.., input, output] = dims(w)?;
            products += 2.0 * side * side * tiles * input * output;
            inputs += side * side * tiles * input;
        }
        let outputs = side * side * tiles * outputs;
        let arithmetic = (inputs * filter.image + outputs * filter.result) / (0.5 * peak);
        let moving = 4.0 * (inputs + outputs) * (self.machine.write(near) + self.machine.read(near));
        let weights = kernel.weight_bytes();
        let rest = (kernel.flops() - kernel.dense_flops()) / (OTHER * peak);
        let compute = products / (DENSE * peak) + arithmetic.max(moving) + rest;
        Some(self.overlapped(compute, kernel.bytes() - weights) + self.fetched(kernel, filter.weights * weights))
    }

    /// Seconds to compute while `bytes` of values are moved.
    fn overlapped(&self, compute: f64, bytes: f64) -> f64 {
        let memory = bytes * self.machine.moved(bytes);
        at_once(compute, memory)
    }

    /// Seconds to fetch `weights` bytes of weights.
    fn fetched(&self, kernel: &KernelShape<'_>, weights: f64) -> f64 {
        weights * self.machine.read((self.footprint as f64).max(kernel.bytes()))
    }
}

/// The model of a usual machine with vectors of 16, filtering with tiles of up to 4, and a network that is only this kernel.
pub fn roofline(kernel: &KernelShape<'_>) -> f64 {
    Assumptions { machine: Machine::usual(16), lanes: 16, filter: Some(4), footprint: 0 }.cost()(kernel)
}

/// Bytes of the parameters of a graph.
pub fn footprint(graph: &sonar_ir::Graph) -> usize {
    graph.params().iter().map(|&id| 4.0 * elements(graph.ty(id))).sum::<f64>() as usize
}

/// The extents of a type of four axes.
fn dims(ty: &TensorType) -> Option<[f64; 4]> {
    let extents: Vec<f64> = ty.shape.iter().map(|dim| dim.fixed().unwrap_or(1) as f64).collect();
    extents.try_into().ok()
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

    /// The part of [`flops`](Self::flops) in convolutions and matrix products.
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
                let flops = Term::with_operands(terms, operands).map(|(term, mine)| match term {
                    Term::Conv2d { .. } => conv_flops(mine[1], result),
                    Term::MatMul { .. } => matmul_flops(mine[0], result),
                    Term::Add => 0.0,
                });
                flops.sum()
            }
            _ => 0.0,
        }
    }

    /// The additional cost of convolutions with narrow groups, beyond their [`dense_flops`](Self::dense_flops): empty lanes are
    /// computed too, and each group loads and stores its own results.
    fn narrow_flops(&self, lanes: usize) -> f64 {
        let result = elements(self.result);
        let wasted = |attrs: &Conv2dAttrs, w: &TensorType| {
            let extent = |axis: usize| w.shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(1);
            let width = extent(3) / attrs.groups.max(1);
            // Depthwise channels fill vectors across groups.
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
                let convolutions = Term::with_operands(terms, operands).filter_map(|(term, mine)| match term {
                    Term::Conv2d { attrs, .. } => Some(wasted(attrs, mine[1])),
                    _ => None,
                });
                convolutions.sum()
            }
            _ => 0.0,
        }
    }

    /// Number of pairs of a query and a key of an attention.
    fn scores(&self) -> f64 {
        let [q, k, ..] = self.operands else { return 0.0 };
        let extent =
            |ty: &TensorType, back: usize| ty.shape.iter().rev().nth(back).and_then(|dim| dim.fixed()).unwrap_or(1) as f64;
        elements(q) / extent(q, 0) * extent(k, 1)
    }

    /// The weights of the kernel's convolutions, if there are some and Winograd's filtering can compute all of them.
    fn filterable(&self) -> Option<Vec<&TensorType>> {
        let convolutions: Vec<(&Conv2dAttrs, &TensorType)> = match (self.op, self.operands) {
            (Op::Conv2d(attrs), [_, w]) => vec![(attrs, w)],
            (Op::FusedSum { terms, .. }, operands) => {
                let mut found = Vec::new();
                for (term, mine) in Term::with_operands(terms, operands) {
                    match term {
                        Term::Conv2d { attrs, .. } => found.push((attrs, mine[1])),
                        Term::MatMul { .. } => return None,
                        Term::Add => {}
                    }
                }
                found
            }
            _ => return None,
        };
        let fixed = |ty: &TensorType, axis: usize| ty.shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(0);
        let fits = |&(attrs, w): &(&Conv2dAttrs, &TensorType)| {
            let plain = (attrs.stride, attrs.dilation, attrs.groups) == ([1, 1], [1, 1], 1);
            plain && [0, 1].iter().all(|&i| fixed(w, i) == 3) && [2, 3].iter().all(|&i| fixed(w, i) >= FILTERED_CHANNELS)
        };
        let all = !convolutions.is_empty() && convolutions.iter().all(fits);
        all.then(|| convolutions.into_iter().map(|(_, w)| w).collect())
    }

    /// Bytes of the operands that are weights.
    pub fn weight_bytes(&self) -> f64 {
        let operands = self.operands.iter().zip(self.weights);
        4.0 * operands.filter(|(_, weight)| **weight).map(|(ty, _)| elements(ty)).sum::<f64>()
    }

    /// An activation of an operand costs twice as much as one of the result: it is applied again for each use of an element.
    fn prologue_flops(&self, terms: &[Term]) -> f64 {
        let active = |term: &Term| matches!(term, Term::Conv2d { relu: true, .. } | Term::MatMul { relu: true });
        Term::with_operands(terms, self.operands).filter(|(term, _)| active(term)).map(|(_, mine)| 2.0 * elements(mine[0])).sum()
    }

    /// Bytes of the operands and of the result, each moved once.
    pub fn bytes(&self) -> f64 {
        4.0 * (self.operands.iter().map(|ty| elements(ty)).sum::<f64>() + elements(self.result))
    }
}

/// The cost of a whole graph in which every node that depends on an input is one kernel.
pub fn graph_cost(graph: &sonar_ir::Graph, cost: &Cost<'_>) -> f64 {
    let mut total = 0.0;
    for_each_kernel(graph, |kernel| total += cost(kernel));
    total
}

/// Calls `look` with every node that depends on an input, as a kernel.
pub fn for_each_kernel(graph: &sonar_ir::Graph, mut look: impl FnMut(&KernelShape<'_>)) {
    let is_weight = graph.weights();
    for (id, node) in graph.iter() {
        if !is_weight[id] && node.op != Op::Input {
            let operands: Vec<&TensorType> = node.operands.iter().map(|&operand| graph.ty(operand)).collect();
            let weights: Vec<bool> = node.operands.iter().map(|operand| is_weight[*operand]).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_ir::machine::Bandwidth;

    /// Seconds of a convolution with 64 channels on an 8 × 8 image, in a network with `footprint` bytes of weights.
    fn seconds(machine: &'static Machine, filter: Option<usize>, footprint: usize) -> f64 {
        let attrs = Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() };
        let [x, w] = [TensorType::fixed(&[1, 8, 8, 64]), TensorType::fixed(&[3, 3, 64, 64])];
        let kernel = KernelShape { op: &Op::Conv2d(attrs), operands: &[&x, &w], weights: &[false, true], result: &x };
        Assumptions { machine, lanes: 16, filter, footprint }.cost()(&kernel)
    }

    #[test]
    fn filtering_pays_where_its_weights_are_close() {
        let usual = Machine::usual(16);
        assert!(seconds(usual, Some(4), 0) < seconds(usual, Some(2), 0));
        assert!(seconds(usual, Some(2), 0) < seconds(usual, None, 0));
        // Weights are read at 1 GB/s. Those of filtering are larger, and this outweighs everything else.
        let mut slow = usual.clone();
        for at in slow.bandwidths.iter_mut().filter(|at| at.bytes > 4 << 20) {
            *at = Bandwidth { bytes: at.bytes, read: 1.0, write: 1.0, copy: 1.0 };
        }
        let slow: &'static Machine = Box::leak(Box::new(slow));
        assert_eq!(seconds(slow, Some(4), 1 << 30), seconds(slow, None, 1 << 30));
        assert!(seconds(slow, Some(4), 1 << 30) > 1e-9 * 4.0 * (9 * 64 * 64) as f64);
    }

    #[test]
    fn what_is_read_in_place_is_free() {
        let x = TensorType::fixed(&[4, 8]);
        let flat = TensorType::fixed(&[32]);
        let reshape = Op::Reshape(flat.shape.clone());
        assert_eq!(roofline(&KernelShape { op: &reshape, operands: &[&x], weights: &[false], result: &flat }), 0.0);
    }
}
