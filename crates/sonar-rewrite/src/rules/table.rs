//! The built-in rules, one a line.

use super::families::{forms, fuse, layout, linear, merge, recognise, simplify, strength, widen};
use super::rule::Soundness::{Exact, Near, Real};
use super::rule::Stage::{Fuse, Simplify, Trade, Widen};
use super::rule::{Action, Rule, Stage, rule};
use std::borrow::Cow;

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
