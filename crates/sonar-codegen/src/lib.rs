//! Loop programs and tile programs to machine code.
//!
//! | module | what it does |
//! |---|---|
//! | `target` | which processor code is for |
//! | `tile_alloc`, `emit_x86` | tiles of 8 and 16 lanes: registers, then instructions |
//! | `emit_clif` | tiles of 4 lanes to Cranelift IR, on every target |
//! | `emit_loops` | loop programs to Cranelift IR; they call tiles |
//! | `module` | all of them as functions of one module in executable memory |
//! | `kernel`, `model` | one program, or a whole plan, with its memory, ready to run |
//! | `pool`, `affinity` | threads, and the processor they stay on |
//! | `inspect` | code as text |
//! | `peak`, `bandwidth` | the speed limits of a core |
//!
//! This is the only crate with `unsafe` code. It rests on three things: programs are verified before they are compiled,
//! so their accesses are within their buffers; the lengths of arguments are checked at every call; and code is freed only
//! together with what calls it.

#![allow(unsafe_code)]

mod affinity;
mod bandwidth;
mod buffer;
mod emit_clif;
mod emit_loops;
mod emit_x86;
mod error;
mod inspect;
mod kernel;
mod model;
mod module;
mod peak;
mod pool;
mod target;
mod tile_alloc;

pub use affinity::pin_to_one_processor;
pub use bandwidth::{Bandwidth, bandwidth};
pub use error::CodegenError;
pub use inspect::{asm, clif};
pub use kernel::Kernel;
pub use model::{CallTime, Model};
pub use peak::peak_gflops;
pub use pool::Pool;
pub use target::Target;
