//! The operators of ONNX, made of the primitives of [`crate::build`].

mod elementwise;
mod logic;
mod movement;
mod normalise;
mod product;
mod recurrent;
mod reduce;
mod resize;
mod shape;
mod window;

use crate::build::{Builder, Value};
use crate::error::Refusal;
use crate::import::call::Call;

/// What an operator makes of its arguments: its results in order.
pub type Operator = fn(&mut Builder, &Call<'_>) -> Result<Vec<Value>, Refusal>;

/// The operator with this name.
pub fn find(name: &str) -> Option<Operator> {
    TABLE.iter().find(|(n, _)| *n == name).map(|(_, operator)| *operator)
}

/// Every operator.
#[rustfmt::skip]
const TABLE: &[(&str, Operator)] = &[
    // Of each element.
    ("Relu",                    elementwise::relu),
    ("LeakyRelu",               elementwise::leaky_relu),
    ("PRelu",                   elementwise::prelu),
    ("Clip",                    elementwise::clip),
    ("Sigmoid",                 elementwise::sigmoid),
    ("HardSigmoid",             elementwise::hard_sigmoid),
    ("HardSwish",               elementwise::hard_swish),
    ("Tanh",                    elementwise::tanh),
    ("Gelu",                    elementwise::gelu),
    ("Swish",                   elementwise::swish),
    ("Elu",                     elementwise::elu),
    ("Selu",                    elementwise::selu),
    ("Softplus",                elementwise::softplus),
    ("Softsign",                elementwise::softsign),
    ("Mish",                    elementwise::mish),
    ("Erf",                     elementwise::erf),
    ("Exp",                     elementwise::exp),
    ("Log",                     elementwise::log),
    ("Sqrt",                    elementwise::sqrt),
    ("Pow",                     elementwise::pow),
    ("Abs",                     elementwise::abs),
    ("Neg",                     elementwise::neg),
    ("Reciprocal",              elementwise::reciprocal),
    ("Add",                     elementwise::add),
    ("Sub",                     elementwise::sub),
    ("Mul",                     elementwise::mul),
    ("Div",                     elementwise::div),
    ("Min",                     elementwise::min),
    ("Max",                     elementwise::max),
    ("Sum",                     elementwise::sum),
    ("Mean",                    elementwise::mean),
    ("Identity",                elementwise::identity),
    ("Dropout",                 elementwise::dropout),
    ("Cast",                    elementwise::cast),
    // Comparisons.
    ("Equal",                   logic::equal),
    ("Greater",                 logic::greater),
    ("GreaterOrEqual",          logic::greater_or_equal),
    ("Less",                    logic::less),
    ("LessOrEqual",             logic::less_or_equal),
    ("Not",                     logic::not),
    ("And",                     logic::and),
    ("Or",                      logic::or),
    ("Sign",                    logic::sign),
    ("Where",                   logic::select),
    // Products.
    ("Conv",                    window::conv),
    ("ConvTranspose",           window::conv_transpose),
    ("Gemm",                    product::gemm),
    ("MatMul",                  product::matmul),
    ("LSTM",                    recurrent::lstm),
    ("GRU",                     recurrent::gru),
    ("RNN",                     recurrent::rnn),
    // Windows and reductions.
    ("MaxPool",                 window::max_pool),
    ("AveragePool",             window::average_pool),
    ("GlobalAveragePool",       reduce::global_average_pool),
    ("GlobalMaxPool",           reduce::global_max_pool),
    ("ReduceMean",              reduce::mean),
    ("ReduceSum",               reduce::sum),
    ("ReduceMax",               reduce::max),
    ("ReduceMin",               reduce::min),
    ("ReduceProd",              reduce::product),
    ("ReduceSumSquare",         reduce::sum_square),
    ("ReduceL1",                reduce::l1),
    ("ReduceL2",                reduce::l2),
    // Normalisations.
    ("BatchNormalization",      normalise::batch),
    ("InstanceNormalization",   normalise::instance),
    ("LayerNormalization",      normalise::layer),
    ("Softmax",                 normalise::softmax),
    ("LogSoftmax",              normalise::log_softmax),
    // Movements.
    ("Concat",                  movement::concat),
    ("Split",                   movement::split),
    ("Slice",                   movement::slice),
    ("Reshape",                 movement::reshape),
    ("Flatten",                 movement::flatten),
    ("Squeeze",                 movement::squeeze),
    ("Unsqueeze",               movement::unsqueeze),
    ("Transpose",               movement::transpose),
    ("Expand",                  movement::expand),
    ("Tile",                    movement::tile),
    ("Pad",                     movement::pad),
    ("Gather",                  movement::gather),
    ("Resize",                  resize::resize),
    ("Upsample",                resize::upsample),
    ("DepthToSpace",            movement::depth_to_space),
    ("SpaceToDepth",            movement::space_to_depth),
    // The arithmetic of shapes: of what is known at import only.
    ("Shape",                   shape::shape),
    ("Size",                    shape::size),
    ("Constant",                shape::constant),
    ("ConstantOfShape",         shape::constant_of_shape),
    ("Range",                   shape::range),
    ("Mod",                     shape::modulo),
    ("Floor",                   shape::floor),
    ("Ceil",                    shape::ceil),
    ("Round",                   shape::round),
];
