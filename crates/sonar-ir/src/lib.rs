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
//! [`machine`] is no language: it is the record of what a machine can do.
//!
//! What each language means is said by its interpreter: [`interp`], [`loops_interp`], [`tile_interp`]. What is well-formed
//! is said by [`verify`], and what type an operator gives by [`infer`], each the only place that does.

pub mod canonical;
pub mod entity;
pub mod fold;
pub mod graph;
pub mod infer;
pub mod init;
pub mod interp;
pub mod loops;
pub mod loops_interp;
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
pub mod tile_interp;
pub mod verify;

pub use graph::{Dim, Graph, Init, Node, NodeId, Op, TensorType, Term};
pub use scalar::{BinaryOp, ReduceOp, UnaryOp};
pub use tensor::{Tensor, Values};
