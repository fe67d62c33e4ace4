//! The memory and the threads of one run.

use crate::error::CodegenError;
use crate::memory::buffer::AlignedBuffer;
use crate::memory::placement::BufferPlace;
use crate::run::kernel::check_lengths;
use crate::run::launch::Launch;
use crate::run::model::Model;
use crate::run::pool::Pool;
use crate::run::timeline::{Share, TracedCall};
use sonar_ir::loops::BufId;
use std::time::Instant;

/// Everything that one thread needs to run a model: the arena, temporaries, and a pool of threads. Runs allocate nothing.
pub struct Context {
    calls: Vec<Call>,
    pool: Pool,
    /// Owns the memory that addresses in `calls` point to.
    model: Model,
    arena: AlignedBuffer,
    scratch: AlignedBuffer,
}

/// One kernel call with the addresses of its buffers.
struct Call {
    body: Launch,
    /// Buffers whose addresses change with every run, and the caller's tensor for each.
    bindings: Vec<(BufId, Tensor)>,
}

/// A tensor of the caller.
#[derive(Clone, Copy)]
enum Tensor {
    Input(usize),
    Output(usize),
}

/// How long one call of a plan took.
#[derive(Clone, Debug, PartialEq)]
pub struct CallTime {
    /// Name of the kernel.
    pub kernel: String,
    /// The shortest of the repetitions.
    pub seconds: f64,
}

impl Context {
    pub(crate) fn new(model: Model) -> Result<Context, CodegenError> {
        let code = &model.code;
        let pool = Pool::new(code.threads)?;
        let arena = AlignedBuffer::new(code.arena);
        // The first thread's temporaries are in the arena; every other thread needs room for one call at a time.
        let scratch = AlignedBuffer::new(code.scratch * (pool.threads() - 1));
        let mut calls = Vec::with_capacity(code.calls.len());
        for call in &code.calls {
            let mut body = Launch::new(call.body, call.extent, call.places.len(), pool.threads());
            let mut bindings = Vec::new();
            for (buffer, place) in call.places.entries() {
                match *place {
                    BufferPlace::Input(i) => bindings.push((buffer, Tensor::Input(i))),
                    BufferPlace::Output(i) => bindings.push((buffer, Tensor::Output(i))),
                    BufferPlace::Constant(offset) => body.set(buffer, model.constants.at(offset)),
                    BufferPlace::Arena(offset) => body.set(buffer, arena.at(offset)),
                    BufferPlace::Temp { arena: first, scratch: offset } => {
                        body.set_for(0, buffer, arena.at(first));
                        for thread in 1..body.threads() {
                            body.set_for(thread, buffer, scratch.at((thread - 1) * code.scratch + offset));
                        }
                    }
                    BufferPlace::Unused => {}
                }
            }
            calls.push(Call { body, bindings });
        }
        Ok(Context { calls, pool, model, arena, scratch })
    }

    /// Computes the outputs from the inputs, both in the order of the graph and row-major.
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), CodegenError> {
        self.bind(inputs, outputs)?;
        for call in &self.calls {
            // SAFETY: the plan was verified when it was compiled, and the arguments by `bind`.
            unsafe { call.body.run(&mut self.pool) };
        }
        Ok(())
    }

    /// Runs several times like [`Context::run`], and reports how long each call takes.
    pub fn profile(
        &mut self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        repetitions: usize,
    ) -> Result<Vec<CallTime>, CodegenError> {
        self.bind(inputs, outputs)?;
        let mut seconds = vec![f64::INFINITY; self.calls.len()];
        for _ in 0..repetitions.max(1) {
            for (call, seconds) in self.calls.iter().zip(&mut seconds) {
                let start = Instant::now();
                // SAFETY: as in `run`.
                unsafe { call.body.run(&mut self.pool) };
                *seconds = seconds.min(start.elapsed().as_secs_f64());
            }
        }
        let names = self.model.code.calls.iter().map(|call| call.kernel.clone());
        Ok(names.zip(seconds).map(|(kernel, seconds)| CallTime { kernel, seconds }).collect())
    }

    /// Runs once like [`Context::run`], and reports which thread worked on which call, and when. It reads the clock twice for each
    /// piece of a call; apart from this it is an ordinary run.
    pub fn trace(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<Vec<TracedCall>, CodegenError> {
        self.bind(inputs, outputs)?;
        let names: Vec<String> = self.model.code.calls.iter().map(|call| call.kernel.clone()).collect();
        let shares: Vec<Share> = (0..self.pool.threads()).map(|_| Share::default()).collect();
        let mut calls = Vec::with_capacity(names.len());
        let origin = Instant::now();
        for (call, kernel) in self.calls.iter().zip(names) {
            let start = origin.elapsed().as_secs_f64();
            // SAFETY: as in `run`; the launch has no more threads than the pool.
            unsafe { call.body.run_timed(&mut self.pool, &shares) };
            let end = origin.elapsed().as_secs_f64();
            let parts = shares.iter().enumerate().filter_map(|(thread, share)| share.take(thread, origin)).collect();
            calls.push(TracedCall { kernel, start, end, parts });
        }
        Ok(calls)
    }

    /// The model that is run.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Bytes of memory for tensors between kernels and for temporaries.
    pub fn workspace_bytes(&self) -> usize {
        (self.arena.len() + self.scratch.len()) * size_of::<f32>()
    }

    /// Checks the caller's tensors and sets their addresses.
    fn bind(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), CodegenError> {
        let code = &self.model.code;
        check_lengths("input", code.inputs.iter().copied(), inputs.iter().map(|input| input.len()))?;
        check_lengths("output", code.outputs.iter().copied(), outputs.iter().map(|output| output.len()))?;
        for call in &mut self.calls {
            for &(buffer, tensor) in &call.bindings {
                call.body.set(
                    buffer,
                    match tensor {
                        // Kernels only read their inputs; the verifier checks this.
                        Tensor::Input(i) => inputs[i].as_ptr().cast_mut(),
                        Tensor::Output(i) => outputs[i].as_mut_ptr(),
                    },
                );
            }
        }
        Ok(())
    }
}
