//! ONNX's operators, made of the primitives of [`crate::build`].

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
use Elements::{Bool, Int64, Like, Told};

/// A function from the arguments of an operator to its results, in order.
pub type Operator = fn(&mut Builder, &Call<'_>) -> Result<Vec<Value>, Refusal>;

/// The type of the elements of an operator's first result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// The type of an argument, by its index.
    Like(usize),
    /// Truth values.
    Bool,
    /// 64-bit integers.
    Int64,
    /// The type in an attribute, or its default.
    Told,
}

/// The operator with this name.
pub fn find(name: &str) -> Option<(Operator, Elements)> {
    TABLE.iter().find(|(n, ..)| *n == name).map(|&(_, operator, elements)| (operator, elements))
}

/// Every operator.
#[rustfmt::skip]
const TABLE: &[(&str, Operator, Elements)] = &[
    // Of each element.
    ("Relu",                    elementwise::relu,               Like(0)),
    ("LeakyRelu",               elementwise::leaky_relu,         Like(0)),
    ("PRelu",                   elementwise::prelu,              Like(0)),
    ("Clip",                    elementwise::clip,               Like(0)),
    ("Sigmoid",                 elementwise::sigmoid,            Like(0)),
    ("HardSigmoid",             elementwise::hard_sigmoid,       Like(0)),
    ("HardSwish",               elementwise::hard_swish,         Like(0)),
    ("Tanh",                    elementwise::tanh,               Like(0)),
    ("Gelu",                    elementwise::gelu,               Like(0)),
    ("Swish",                   elementwise::swish,              Like(0)),
    ("Elu",                     elementwise::elu,                Like(0)),
    ("Selu",                    elementwise::selu,               Like(0)),
    ("Softplus",                elementwise::softplus,           Like(0)),
    ("Softsign",                elementwise::softsign,           Like(0)),
    ("Mish",                    elementwise::mish,               Like(0)),
    ("Erf",                     elementwise::erf,                Like(0)),
    ("Exp",                     elementwise::exp,                Like(0)),
    ("Log",                     elementwise::log,                Like(0)),
    ("Sqrt",                    elementwise::sqrt,               Like(0)),
    ("Pow",                     elementwise::pow,                Like(0)),
    ("Abs",                     elementwise::abs,                Like(0)),
    ("Neg",                     elementwise::neg,                Like(0)),
    ("Reciprocal",              elementwise::reciprocal,         Like(0)),
    ("Add",                     elementwise::add,                Like(0)),
    ("Sub",                     elementwise::sub,                Like(0)),
    ("Mul",                     elementwise::mul,                Like(0)),
    ("Div",                     elementwise::div,                Like(0)),
    ("Min",                     elementwise::min,                Like(0)),
    ("Max",                     elementwise::max,                Like(0)),
    ("Sum",                     elementwise::sum,                Like(0)),
    ("Mean",                    elementwise::mean,               Like(0)),
    ("Identity",                elementwise::identity,           Like(0)),
    ("Dropout",                 elementwise::dropout,            Like(0)),
    ("Cast",                    elementwise::cast,               Told),
    // Comparisons.
    ("Equal",                   logic::equal,                    Bool),
    ("Greater",                 logic::greater,                  Bool),
    ("GreaterOrEqual",          logic::greater_or_equal,         Bool),
    ("Less",                    logic::less,                     Bool),
    ("LessOrEqual",             logic::less_or_equal,            Bool),
    ("Not",                     logic::not,                      Bool),
    ("And",                     logic::and,                      Bool),
    ("Or",                      logic::or,                       Bool),
    ("Sign",                    logic::sign,                     Like(0)),
    ("Where",                   logic::select,                   Like(1)),
    // Products.
    ("Conv",                    window::conv,                    Like(0)),
    ("ConvTranspose",           window::conv_transpose,          Like(0)),
    ("Gemm",                    product::gemm,                   Like(0)),
    ("MatMul",                  product::matmul,                 Like(0)),
    ("LSTM",                    recurrent::lstm,                 Like(0)),
    ("GRU",                     recurrent::gru,                  Like(0)),
    ("RNN",                     recurrent::rnn,                  Like(0)),
    // Windows and reductions.
    ("MaxPool",                 window::max_pool,                Like(0)),
    ("AveragePool",             window::average_pool,            Like(0)),
    ("GlobalAveragePool",       reduce::global_average_pool,     Like(0)),
    ("GlobalMaxPool",           reduce::global_max_pool,         Like(0)),
    ("ReduceMean",              reduce::mean,                    Like(0)),
    ("ReduceSum",               reduce::sum,                     Like(0)),
    ("ReduceMax",               reduce::max,                     Like(0)),
    ("ReduceMin",               reduce::min,                     Like(0)),
    ("ReduceProd",              reduce::product,                 Like(0)),
    ("ReduceSumSquare",         reduce::sum_square,              Like(0)),
    ("ReduceL1",                reduce::l1,                      Like(0)),
    ("ReduceL2",                reduce::l2,                      Like(0)),
    // Normalisations.
    ("BatchNormalization",      normalise::batch,                Like(0)),
    ("InstanceNormalization",   normalise::instance,             Like(0)),
    ("LayerNormalization",      normalise::layer,                Like(0)),
    ("Softmax",                 normalise::softmax,              Like(0)),
    ("LogSoftmax",              normalise::log_softmax,          Like(0)),
    // Movements.
    ("Concat",                  movement::concat,                Like(0)),
    ("Split",                   movement::split,                 Like(0)),
    ("Slice",                   movement::slice,                 Like(0)),
    ("Reshape",                 movement::reshape,               Like(0)),
    ("Flatten",                 movement::flatten,               Like(0)),
    ("Squeeze",                 movement::squeeze,               Like(0)),
    ("Unsqueeze",               movement::unsqueeze,             Like(0)),
    ("Transpose",               movement::transpose,             Like(0)),
    ("Expand",                  movement::expand,                Like(0)),
    ("Tile",                    movement::tile,                  Like(0)),
    ("Pad",                     movement::pad,                   Like(0)),
    ("Gather",                  movement::gather,                Like(0)),
    ("Resize",                  resize::resize,                  Like(0)),
    ("Upsample",                resize::upsample,                Like(0)),
    ("DepthToSpace",            movement::depth_to_space,        Like(0)),
    ("SpaceToDepth",            movement::space_to_depth,        Like(0)),
    // The arithmetic of shapes, for known values only.
    ("Shape",                   shape::shape,                    Int64),
    ("Size",                    shape::size,                     Int64),
    ("Constant",                shape::constant,                 Told),
    ("ConstantOfShape",         shape::constant_of_shape,        Told),
    ("Range",                   shape::range,                    Like(0)),
    ("Mod",                     shape::modulo,                   Like(0)),
    ("Floor",                   shape::floor,                    Like(0)),
    ("Ceil",                    shape::ceil,                     Like(0)),
    ("Round",                   shape::round,                    Like(0)),
];
