//! The rewrite rules, one a line, and the loop that applies them.
//!
//! A rule is a function from one e-node to classes that equal it. Patterns cannot say "any term of a sum", so rules look
//! into operands by hand. No rule ever sees a constant class: rewriting weights only makes the e-graph grow.
//! A user adds rules as text: see [`load`].

mod check;
mod forms;
mod fuse;
mod layout;
mod linear;
mod merge;
mod recognise;
mod simplify;
mod stated;
mod strength;
mod widen;

pub use check::{RuleError, STATED, load};

use crate::canonical;
use crate::language::{EGraph, ENode, Head, is_konst, users};
use crate::proof::{Application, Log};
use egg::Id;
use serde::Serialize;
use sonar_ir::graph::Op;
use sonar_ir::text::RuleText;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One rewrite rule.
#[derive(Clone)]
pub struct Rule {
    /// What reports call it.
    pub name: Cow<'static, str>,
    /// Which rules it belongs with.
    pub family: &'static str,
    /// When it is used.
    pub stage: Stage,
    /// In which arithmetic both sides are equal.
    pub class: Soundness,
    /// What it does and when it holds, for people.
    pub text: Cow<'static, str>,
    /// What it does.
    pub(crate) action: Action,
}

/// How a rule finds what equals an e-node.
#[derive(Clone)]
pub(crate) enum Action {
    /// By a function of this crate.
    Function(fn(&mut EGraph, &Match<'_>) -> Vec<Id>),
    /// As the text of a user says.
    Stated(Arc<RuleText>),
}

impl Rule {
    /// Classes equal to the matched e-node.
    pub(crate) fn apply(&self, egraph: &mut EGraph, m: &Match<'_>) -> Vec<Id> {
        match &self.action {
            Action::Function(function) => function(egraph, m),
            Action::Stated(text) => stated::apply(text, egraph, m),
        }
    }

    /// Whether it looks for an operator with another as its operand, so that a graph is not to be cut between the two.
    pub(crate) fn spans(&self, user: &Op, operand: &Op) -> bool {
        match &self.action {
            Action::Function(_) => false,
            Action::Stated(text) => stated::spans(&text.left, user, operand),
        }
    }
}

/// The e-node that a rule is tried on.
pub(crate) struct Match<'a> {
    /// Its operator.
    pub op: &'a Op,
    /// Its operands.
    pub operands: &'a [Id],
    /// Its class.
    pub class: Id,
}

/// When a rule is used. Every stage uses the rules of the stages before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Stage {
    /// It makes the graph smaller, or moves what could vanish elsewhere without adding to it: used on whole graphs.
    Simplify,
    /// It folds elementwise neighbours into a kernel: what every compiler does, and what others are compared to.
    Fuse,
    /// It trades one set of kernels for another.
    Trade,
    /// It trades, too, and looks at all users of a value at once that the cheapest graph so far has: used whenever the other rules
    /// find nothing more.
    Widen,
}

/// In which arithmetic both sides of a rule are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Soundness {
    /// Bit by bit.
    Exact,
    /// In real arithmetic; results differ by rounding.
    Real,
    /// In real arithmetic but for the constants of a formula, which are rounded, to five digits at least.
    Near,
}

use Soundness::{Exact, Near, Real};
use Stage::{Fuse, Simplify, Trade, Widen};

/// A line of the table; the family is the module that the function is in.
macro_rules! rule {
    ($name:literal, $stage:ident, $class:ident, $text:literal, $family:ident :: $apply:ident) => {
        Rule {
            name: Cow::Borrowed($name),
            family: stringify!($family),
            stage: $stage,
            class: $class,
            text: Cow::Borrowed($text),
            action: Action::Function($family::$apply),
        }
    };
}

/// Every rule. Constant folding and common sub-expressions need none: the analysis and the e-graph itself do those.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule!("identity",       Simplify, Exact, "op(x) → x, for a reshape, transpose, … that changes nothing, and x·1",           simplify::identity),
    rule!("relu-of-relu",   Simplify, Exact, "relu(relu(x)) → relu(x)",                                                        simplify::relu_of_relu),
    rule!("sum-normal",     Simplify, Real,  "Σ with zeros, broadcasts or several constants → Σ in normal form",               simplify::sum_normal),
    rule!("scale-scale",    Simplify, Real,  "(x·s)·t → x·(s·t), s and t constant",                                            simplify::scale_of_scale),
    rule!("transposes",     Simplify, Exact, "transpose(transpose(x)) → transpose(x)",                                         layout::transposes),
    rule!("reshapes",       Simplify, Exact, "reshape(reshape(x)) → reshape(x)",                                               layout::reshapes),
    rule!("unit-transpose", Simplify, Exact, "transpose(x) → reshape(x), only axes of extent 1 moving",                        layout::unit_transpose),
    rule!("sink-transpose", Simplify, Exact, "f(transpose(x), …) → transpose(f(x, …)), f elementwise, concat, slice, pad, reduction, softmax or matmul where the axes allow it", layout::sink_transpose),
    rule!("sink-reshape",   Simplify, Exact, "f(reshape(x), …) → reshape(f(x, …)), f elementwise, or softmax or matmul if the last axis stays", layout::sink_reshape),
    rule!("divide",         Simplify, Real,  "x/c → x·(1/c), c constant",                                                      strength::division),
    rule!("divide-root",    Simplify, Real,  "x/sqrt(y) → x·rsqrt(y) and 1/y → recip(y)",                                      strength::division_by_root),
    rule!("subtract-const", Simplify, Exact, "a − b → a + b·(−1), a or b constant",                                            strength::subtraction_of_constant),
    rule!("negate",         Simplify, Exact, "−x → x·(−1)",                                                                    strength::negation),
    rule!("unary-pairs",    Simplify, Real,  "log(exp(x)) → x, recip(sqrt(x)) → rsqrt(x), relu(exp(x)) → exp(x), |−x| → |x|, …", strength::pairs),
    rule!("pad-window",     Simplify, Exact, "conv(pad(x),w) → conv(x,w) with more padding, avgpool alike if it counts padding", strength::padding),
    rule!("global-mean",    Simplify, Real,  "a mean over height and width, as a reduction or a window → a global pooling",    strength::global_mean),
    rule!("gelu",           Simplify, Near,  "x/2·(1 + erf(x/√2)) → gelu(x), and the form with tanh, however it is written",     recognise::gelu),
    rule!("silu",           Simplify, Real,  "x·sigmoid(x) → silu(x)",                                                         recognise::silu),
    rule!("hard-swish",     Simplify, Near,  "x·min(max(x + 3, 0), 6)/6 → hard_swish(x), however it is written",               recognise::hard_swish),
    rule!("softmax",        Simplify, Real,  "exp(x − max(x)) / Σ exp(x − max(x)) → softmax(x)",                               recognise::softmax),
    rule!("layer-norm",     Simplify, Real,  "(x − mean(x)) / √(mean((x − mean(x))²) + eps) → layer_norm(x)",                  recognise::layer_norm),
    rule!("scale-layer-norm", Simplify, Real, "layer_norm(x,g,b)·s → layer_norm(x, g·s, b·s), s constant per channel",         recognise::scale_of_layer_norm),
    rule!("shift-layer-norm", Simplify, Real, "layer_norm(x,g,b) + s → layer_norm(x, g, b + s), s constant per channel",       recognise::shift_of_layer_norm),
    rule!("attention",      Simplify, Near,  "join(softmax(s·split(q)·split(k)ᵀ + mask)·split(v)) → attention(q,k,v,mask), split and join of heads", recognise::attention),
    rule!("scale-dense",    Fuse,     Real,  "conv(x,w)·s → conv(x, w·s) and matmul alike, s constant per output channel",     fuse::scale_of_dense),
    rule!("scale-sum",      Fuse,     Real,  "(Σ tᵢ)·s → Σ tᵢ·s, s constant per channel, some tᵢ a convolution or matmul",     fuse::scale_of_sum),
    rule!("sum-flatten",    Fuse,     Real,  "Σ of Σ → one Σ, up to 10 terms",                                                 fuse::flatten),
    rule!("fuse-residual",  Fuse,     Real,  "one convolution or matmul + others → one kernel",                                fuse::one_dense_term),
    rule!("fuse-prologue",  Fuse,     Exact, "conv(relu(x),w) → one kernel, and matmul alike",                                 fuse::prologue),
    rule!("fuse-epilogue",  Fuse,     Exact, "relu(kernel) → one kernel, for a sum, convolution, matmul or kernel",            fuse::epilogue),
    rule!("fuse-sources",   Trade,    Real,  "several convolutions or matmuls + others → one kernel, up to 5 of them",         fuse::many_dense_terms),
    rule!("merge-convs",    Trade,    Real,  "conv(x,v) + conv(x,w) → conv(x, v + pad w), same stride, w's window inside v's", merge::convolutions),
    rule!("merge-matmuls",  Trade,    Real,  "matmul(x,v) + matmul(x,w) → matmul(x, v + w), v and w constant",                 merge::matmuls),
    rule!("merge-pools",    Trade,    Real,  "avgpool(x) + avgpool(y) → avgpool(x + y), same attributes",                      merge::pools),
    rule!("split-pool",     Trade,    Real,  "avgpool(Σ tᵢ) → Σ avgpool(tᵢ), constants per channel stay if padding is not counted", merge::split_pool),
    rule!("pool-of-conv",   Trade,    Real,  "avgpool(conv1x1(x,w)) → conv1x1(avgpool(x),w), convolution of stride 1",         merge::pool_of_conv),
    rule!("conv-of-pool",   Trade,    Real,  "conv1x1(avgpool(x),w) → avgpool(conv1x1(x,w)), both of stride 1",                merge::conv_of_pool),
    rule!("slice-slice",    Simplify, Exact, "slice(slice(x)) → slice(x), along one axis",                                     widen::slice_of_slice),
    rule!("slice-concat",   Simplify, Exact, "slice(concat(…)) → concat of the operands, and parts of operands, that it takes", widen::slice_of_concat),
    rule!("concat-slices",  Simplify, Exact, "concat of neighbouring slices of x → slice(x)",                                  widen::concat_of_slices),
    rule!("slice-map",      Trade,    Exact, "slice(f(x)) → f(slice(x)), f a function of each element",                        widen::slice_of_map),
    rule!("map-concat",     Trade,    Exact, "f(concat(x, …)) → concat(f(x), …), f a function of each element",                widen::map_of_concat),
    rule!("batch-rows",     Trade,    Exact, "matmul(rows of x, w) → rows of matmul(x, w), w constant",                        widen::batch_rows),
    rule!("widen-concat",   Trade,    Real,  "concat of convolutions or matmuls of x, alike or but for their windows → one",   widen::concatenated),
    rule!("widen",          Widen,    Exact, "all convolutions, matmuls or kernels of them that read x alike → slices of one", widen::siblings),
    rule!("dense-dense",    Trade,    Real,  "matmul(matmul(x,a),b) → matmul(x, a·b) and conv1x1 or depthwise convolutions alike, a and b constant", linear::dense_of_dense),
    rule!("associate",      Trade,    Real,  "(x·y)·z ↔ x·(y·z), towards fewer operations, not all of y and z constant",       linear::association),
    rule!("dense-scale",    Trade,    Real,  "conv(x·s,w) → conv(x, s·w) and matmul alike, s constant per channel",            linear::dense_of_scale),
    rule!("dense-shift",    Trade,    Real,  "conv(x + b, w) → conv(x,w) + b·w and matmul alike, b constant per channel, no padding", linear::dense_of_shift),
    rule!("scale-product",  Trade,    Real,  "matmul(a,b)·s → matmul(a·s, b) or matmul(a, b·s), s one constant number",        linear::scale_of_product),
    rule!("scale-mean",     Trade,    Real,  "avgpool(x)·s → avgpool(x·s), s constant per channel",                            linear::scale_of_mean),
    rule!("mean-conv",      Trade,    Real,  "globalavgpool(conv1x1(x,w)) → matmul(globalavgpool(x), w)",                      linear::mean_of_conv),
    rule!("mean-sum",      Trade,    Real,  "globalavgpool(Σ tᵢ) → Σ globalavgpool(tᵢ), some tᵢ a convolution, the others of its shape or constant per channel", linear::mean_of_sum),
    rule!("subtract",       Trade,    Exact, "a − b → a + b·(−1)",                                                             strength::subtraction),
    rule!("turn-product",   Trade,    Exact, "transpose(matmul(a,b)) → matmul(transpose(b), transpose(a)), last two axes",     layout::transposed_product),
    rule!("product-turned", Trade,    Exact, "matmul(transpose(a), transpose(b)) → transpose(matmul(b,a)), either may be constant instead", layout::product_of_transposed),
    rule!("merge-groups",   Trade,    Real,  "conv(x,w) of g groups → conv of g/p groups, w on a block diagonal, up to 64 channels in a group", forms::merge_groups),
    rule!("whole-window",   Trade,    Exact, "conv(x,w) → matmul(flat x, flat w), the window being all of the image",          forms::whole_window),
    rule!("image-matmul",   Trade,    Exact, "matmul(x,w) → conv1x1(x,w), x an image, w constant",                             forms::product_of_image),
    rule!("dense-concat",   Trade,    Real,  "conv(concat(x,y),w) → conv(x,w₁) + conv(y,w₂) and matmul alike, up to 5 parts",  forms::dense_of_concat),
    rule!("shared-weight",  Trade,    Real,  "conv(x,w) + conv(y,w) → conv(x + y, w) and matmul alike, w constant",            forms::shared_weight),
];

/// The rules of this stage and of those before it.
pub fn rules_up_to(rules: &[Rule], stage: Stage) -> Vec<Rule> {
    rules.iter().filter(|rule| rule.stage <= stage).cloned().collect()
}

/// The laws of [`crate::canonical`]: each brings a graph nearer to sums of scaled convolutions and means.
#[rustfmt::skip]
pub(crate) const LAWS: &[Rule] = &[
    rule!("identity",       Simplify, Exact, "op(x) → x, for a reshape, transpose, … that changes nothing, and x·1",           simplify::identity),
    rule!("relu-of-relu",   Simplify, Exact, "relu(relu(x)) → relu(x)",                                                        simplify::relu_of_relu),
    rule!("sum-normal",     Simplify, Real,  "Σ with zeros, broadcasts or several constants → Σ in normal form",               simplify::sum_normal),
    rule!("scale-scale",    Simplify, Real,  "(x·s)·t → x·(s·t), s and t constant",                                            simplify::scale_of_scale),
    rule!("scale-dense",    Fuse,     Real,  "conv(x,w)·s → conv(x, w·s) and matmul alike, s constant per output channel",     fuse::scale_of_dense),
    rule!("scale-sum",      Fuse,     Real,  "(Σ tᵢ)·s → Σ tᵢ·s, s constant",                                                  canonical::scale_of_sum),
    rule!("sum-flatten",    Fuse,     Real,  "Σ of Σ → one Σ",                                                                 canonical::flatten),
    rule!("split-pool",     Trade,    Real,  "avgpool(Σ tᵢ) → Σ avgpool(tᵢ), where what is constant per channel stays",         canonical::split_pool),
    rule!("pool-of-scale",  Trade,    Real,  "avgpool(x·s) → avgpool(x)·s, s constant per channel",                            canonical::pool_of_scale),
    rule!("pool-of-conv",   Trade,    Real,  "avgpool(conv1x1(x,w)) → conv1x1(avgpool(x),w), convolution of stride 1",         merge::pool_of_conv),
];

/// What bounds saturation. Whatever is reached first, the e-graph stays valid.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// E-nodes, of one segment of the graph.
    pub nodes: usize,
    /// Rounds over all e-nodes.
    pub iterations: usize,
    /// Wall-clock time of the whole graph. Each segment has a share by its size; what one leaves is for those after it.
    pub time: Duration,
}

/// Why saturation ended, the best reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum StopReason {
    /// No rule finds anything new.
    Saturated,
    /// [`Limits::iterations`] is reached.
    Iterations,
    /// [`Limits::nodes`] is reached.
    Nodes,
    /// [`Limits::time`] is over.
    Time,
}

/// How a saturation went.
#[derive(Clone, Debug)]
pub struct Saturation {
    /// Why it ended.
    pub stop: StopReason,
    /// Rounds over all e-nodes.
    pub iterations: usize,
    /// How many new equalities each of the rules found, in the order in which they were given.
    pub fired: Vec<usize>,
}

/// Applies rules until nothing changes or a limit is reached. The e-graph is rebuilt on return.
pub fn saturate(egraph: &mut EGraph, rules: &[Rule], limits: &Limits) -> Saturation {
    let all = |egraph: &EGraph| egraph.classes().map(|class| class.id).collect();
    saturate_with_log(egraph, rules, limits, &all, &mut None)
}

/// [`saturate`] that writes down which rules found something new, and where, if there is a log. `wanted` says, before rules look
/// at all users of a value, which classes the cheapest graph so far computes: of the many forms of one user they consider those.
pub fn saturate_with_log(
    egraph: &mut EGraph,
    rules: &[Rule],
    limits: &Limits,
    wanted: &dyn Fn(&EGraph) -> Vec<Id>,
    log: &mut Log,
) -> Saturation {
    let started = Instant::now();
    let mut fired = vec![0; rules.len()];
    let mut iterations = 0;
    let mut tried = HashSet::new();
    let (late, early): (Vec<Numbered<'_>>, Vec<Numbered<'_>>) =
        rules.iter().enumerate().partition(|(_, rule)| rule.stage == Stage::Widen);
    let mut others_found_nothing = false;
    let stop = loop {
        if iterations == limits.iterations {
            break StopReason::Iterations;
        }
        iterations += 1;
        let size = egraph.total_size();
        let unions: usize = fired.iter().sum();
        let limit = if others_found_nothing {
            for class in wanted(egraph) {
                egraph[class].data.wanted = true;
            }
            // Users may have changed where operands have not.
            round(egraph, &late, limits, started, &mut fired, &mut HashSet::new(), log)
        } else {
            round(egraph, &early, limits, started, &mut fired, &mut tried, log)
        };
        egraph.rebuild();
        if let Some(limit) = limit {
            break limit;
        }
        let nothing = egraph.total_size() == size && fired.iter().sum::<usize>() == unions;
        if nothing && (others_found_nothing || late.is_empty()) {
            break StopReason::Saturated;
        }
        others_found_nothing = nothing;
    };
    Saturation { stop, iterations, fired }
}

/// A rule with its index.
type Numbered<'a> = (usize, &'a Rule);

/// Tries every rule on every e-node once, unless it was tried before: `tried` holds hashes of e-nodes and of what their
/// operands' classes held. Returns early with the limit that is reached.
fn round(
    egraph: &mut EGraph,
    rules: &[Numbered<'_>],
    limits: &Limits,
    started: Instant,
    fired: &mut [usize],
    tried: &mut HashSet<u64>,
    log: &mut Log,
) -> Option<StopReason> {
    let contents: HashMap<Id, u64> = egraph.classes().map(|class| (class.id, hash(&(&class.nodes, class.data.konst)))).collect();
    let mut work: Vec<(Id, ENode)> = Vec::new();
    for class in egraph.classes().filter(|class| !class.data.konst) {
        work.extend(class.nodes.iter().map(|node| (class.id, node.clone())));
    }
    work.sort_unstable();
    for (class, node) in work {
        let operands: Vec<Option<&u64>> = node.operands.iter().map(|&id| contents.get(&id)).collect();
        if !tried.insert(hash(&(&node, operands))) {
            continue;
        }
        let head = egraph.analysis.heads.get(node.head).clone();
        let Head::Op(op) = &*head else { continue };
        let mut operands = node.operands.clone();
        for &(index, rule) in rules {
            let class = egraph.find(class);
            if is_konst(egraph, class) {
                break;
            }
            operands.iter_mut().for_each(|id| *id = egraph.find(*id));
            let before = fired[index];
            let siblings = if log.is_some() && rule.stage == Stage::Widen { wanted_users(egraph, &operands) } else { Vec::new() };
            for equal in rule.apply(egraph, &Match { op, operands: &operands, class }) {
                fired[index] += usize::from(egraph.union(class, equal));
            }
            if let Some(log) = log.as_mut().filter(|_| fired[index] > before) {
                log.push(Application { rule: rule.clone(), op: op.clone(), operands: operands.to_vec(), siblings });
            }
        }
        if egraph.total_size() > limits.nodes {
            return Some(StopReason::Nodes);
        }
        if started.elapsed() > limits.time {
            return Some(StopReason::Time);
        }
    }
    None
}

/// The users of some classes that the cheapest graph so far has.
fn wanted_users(egraph: &EGraph, classes: &[Id]) -> Vec<Id> {
    let users = classes.iter().flat_map(|&class| users(egraph, class));
    let mut wanted: Vec<Id> = users.map(|(class, ..)| class).filter(|&class| egraph[class].data.wanted).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Default for Limits {
    fn default() -> Self {
        Limits { nodes: 10_000, iterations: 30, time: Duration::from_secs(2) }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

impl fmt::Display for Soundness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Soundness::Exact => "exact",
            Soundness::Real => "real",
            Soundness::Near => "near",
        })
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Saturated => "saturated",
            StopReason::Iterations => "iteration limit",
            StopReason::Nodes => "node limit",
            StopReason::Time => "time limit",
        })
    }
}
