//! The languages of Sonar, and nothing else: no code generation, no file system, no clock.
//!
//! | module | language |
//! |---|---|
//! | [`graph`] | tensor operators over named values, with a symbolic batch `N` |
//! | [`text`] | how graphs and search spaces are written |
//! | [`space`] | families of graphs: graphs with decisions |
//! | [`loops`] | loop programs over flat buffers: what a kernel does, in order |
//! | [`tile`] | tile programs: the straight-line vector code inside a micro-kernel |
//! | [`schedule`] | lists of steps that turn one loop program into another |
//! | [`plan`] | a whole model: kernels, memory, and the order of calls |
//!
//! [`machine`] is not a language: it records what a machine can do.
//!
//! Each language has an interpreter that defines its meaning: [`graph::interp`], [`loops::interp`], [`tile::interp`]. [`verify`]
//! defines which programs are well-formed, and [`graph::infer`] the type of an operator's result. Each is the only such definition.

pub mod entity;
pub mod graph;
pub mod loops;
pub mod machine;
pub mod plan;
pub mod print;
pub mod rounding;
pub mod scalar;
pub mod schedule;
pub mod space;
pub mod tensor;
pub mod text;
pub mod tile;
pub mod verify;

pub use graph::{Dim, Graph, Init, Node, NodeId, Op, TensorType, Term};
pub use scalar::{BinaryOp, ReduceOp, UnaryOp};
pub use tensor::{Tensor, Values};
