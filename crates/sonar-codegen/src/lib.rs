//! Loop programs and tile programs to machine code.
//!
//! | module | what it does |
//! |---|---|
//! | `target` | which processor code is for |
//! | `tile_alloc`, `emit_x86` | tiles of 8 and 16 lanes: registers, then instructions |
//! | `emit_clif` | tiles of 4 lanes to Cranelift IR, on every target |
//! | `emit_loops` | loop programs to Cranelift IR; they call tiles |
//! | `module` | all of them as functions of one module; those of a module in executable memory can be called |
//! | `launch`, `kernel` | one program with its memory, ready to run |
//! | `places`, `constants` | where the buffers of a whole plan lie, and how weights get there |
//! | `model`, `context` | a plan with its weights, and the memory of one run at a time |
//! | `object`, `supported`, `archive` | a plan with its weights as a file that C programs link with |
//! | `pool`, `affinity` | threads, and the processor they stay on |
//! | `guarded`, `system`, `fault` | for kernels that are not trusted: memory that notices, bounds, and misbehaviour on purpose |
//! | `inspect` | code as text |
//! | `timeline` | which thread worked when on what |
//! | `peak`, `bandwidth` | the speed limits of a core |
//!
//! This is the only crate with `unsafe` code. It rests on four things: programs are verified before they are compiled,
//! so their accesses are within their buffers; the lengths of arguments are checked at every call; code is freed only
//! together with what calls it; and the iterations of a parallel loop are independent. The last one no verifier checks:
//! it is up to who makes the loop parallel.

#![allow(unsafe_code)]

mod affinity;
mod archive;
mod bandwidth;
mod buffer;
mod constants;
mod context;
mod emit_clif;
mod emit_loops;
mod emit_x86;
mod error;
mod fault;
mod guarded;
mod inspect;
mod kernel;
mod launch;
mod model;
mod module;
mod object;
mod peak;
mod places;
mod pool;
mod supported;
mod system;
mod target;
mod tile_alloc;
mod timeline;
mod uses;

pub use affinity::pin_to_one_processor;
pub use archive::archive;
pub use bandwidth::{Bandwidth, bandwidth};
pub use context::{CallTime, Context};
pub use error::CodegenError;
pub use fault::Fault;
pub use guarded::Guarded;
pub use inspect::{asm, clif};
pub use kernel::Kernel;
pub use model::{CompiledPlan, Model};
pub use object::{ObjectFile, object};
pub use peak::peak_gflops;
pub use pool::Pool;
pub use system::{end_group, limit_memory};
pub use target::Target;
pub use timeline::{TracedCall, TracedPart};
