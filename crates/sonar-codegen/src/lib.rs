//! Loop programs and tile programs to machine code.
//!
//! The modules, in the order in which a program passes through them:
//!
//! | module | what it does |
//! |---|---|
//! | `target` | the processor that code is generated for |
//! | `emit::x86` | tiles of 8 and 16 lanes to x86-64 instructions; `emit::registers` gives them vector registers first |
//! | `emit::cranelift_tile` | tiles of 4 lanes to Cranelift IR, on every target |
//! | `emit::loops` | loop programs to Cranelift IR; they call tiles |
//! | `emit::references` | the buffers, conditions, functions and tiles that a part of a program refers to |
//! | `module` | all of this as functions of one module, callable if they are in executable memory; `module::inspect` prints them |
//! | `memory` | aligned buffers, the place of each buffer of a plan, and the values of the constants |
//! | `object` | a plan with its weights as a file that C programs link with |
//! | `run` | code with its memory and threads: one kernel, or a plan as a model and the contexts of its runs |
//! | `sandbox` | for untrusted kernels: memory that detects wrong writes, limits of the process, and faults for tests |
//! | [`machine`] | measures the performance of this machine |
//!
//! This is the only crate with `unsafe` code. It rests on four things: programs are verified before they are compiled,
//! so their accesses are within their buffers; the lengths of arguments are checked at every call; code is freed only
//! together with its callers; and the iterations of a parallel loop are independent. The verifier does not check the last
//! condition: the author of a parallel loop is responsible for it.

#![allow(unsafe_code)]

mod emit;
mod error;
pub mod machine;
mod memory;
mod module;
mod object;
mod run;
mod sandbox;
mod target;

pub use error::CodegenError;
pub use machine::peak_gflops;
pub use module::inspect::{asm, clif};
pub use object::{ObjectFile, archive, object};
pub use run::affinity::pin_to_one_processor;
pub use run::context::{CallTime, Context};
pub use run::kernel::CompiledKernel;
pub use run::model::{CompiledPlan, Model};
pub use run::pool::Pool;
pub use run::timeline::{TracedCall, TracedPart};
pub use sandbox::fault::Fault;
pub use sandbox::guarded::Guarded;
pub use sandbox::limits::{end_group, limit_memory};
pub use target::Target;
