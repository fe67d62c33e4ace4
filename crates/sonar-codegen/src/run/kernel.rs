//! One loop program as a callable function.

use crate::emit::loops::parallel_extent;
use crate::error::CodegenError;
use crate::memory::buffer::{AlignedBuffer, aligned};
use crate::module::Code;
use crate::run::launch::{Launch, arguments, layout};
use crate::run::pool::Pool;
use crate::sandbox::fault::Fault;
use crate::target::Target;
use sonar_ir::loops::{BufId, BufferKind, Program};

/// A compiled program with its temporaries and packed weights.
///
/// ```
/// use sonar_codegen::{CompiledKernel, Target};
/// use sonar_ir::loops::*;
/// use std::sync::Arc;
/// let buffer = |name: &str, kind| Buffer { name: name.into(), len: 8, kind };
/// let element = |b| Access { buffer: BufId(b), index: Affine::var(Var(0), 1) };
/// let double = Expr::Binary(sonar_ir::BinaryOp::Add, Arc::new(Expr::Load(element(0))), Arc::new(Expr::Load(element(0))));
/// let program = Program {
///     name: "double".into(),
///     buffers: vec![buffer("x", BufferKind::Input), buffer("y", BufferKind::Output)].into(),
///     vars: vec!["i".into()].into(),
///     setup: vec![],
///     body: vec![Stmt::For {
///         var: Var(0),
///         extent: 8,
///         kind: LoopKind::Serial,
///         body: vec![Stmt::Store { target: element(1), value: double }],
///     }],
///     tiles: vec![].into(),
/// };
/// let mut kernel = CompiledKernel::compile(&program, &Target::native()?)?;
/// let (mut x, mut y) = ([1.5; 8], [0.0; 8]);
/// kernel.run(&mut [&mut x, &mut y])?;
/// assert_eq!(y, [3.0; 8]);
/// # Ok::<(), sonar_codegen::CodegenError>(())
/// ```
pub struct CompiledKernel {
    setup: Option<Launch>,
    body: Launch,
    /// Index of the buffer and length of each argument.
    arguments: Vec<(BufId, usize)>,
    pool: Pool,
    /// The fault that it commits, if one was planted.
    fault: Option<Fault>,
    /// The memory that [`CompiledKernel::evict`] reads, a part for each thread.
    evictor: Option<AlignedBuffer>,
    /// Owned by the kernel because `setup` and `body` hold their addresses.
    _temps: Vec<AlignedBuffer>,
    _packed: AlignedBuffer,
    _code: Code,
}

impl CompiledKernel {
    /// Compiles a program for one thread. Programs are verified, because code for an invalid one would be unsafe to run.
    pub fn compile(program: &Program, target: &Target) -> Result<CompiledKernel, CodegenError> {
        CompiledKernel::compile_threaded(program, target, 1)
    }

    /// Like [`CompiledKernel::compile`], for several threads if the body of the program is one parallel loop.
    pub fn compile_threaded(program: &Program, target: &Target, threads: usize) -> Result<CompiledKernel, CodegenError> {
        sonar_ir::verify::program(program)?;
        let (code, functions) = Code::build(target, |definitions| definitions.program(program))?;
        let launch = |id, extent| Launch::new(code.program_entry(id), extent, program.buffers.len(), threads);
        let mut body = launch(functions.body, parallel_extent(program));
        let mut setup = functions.setup.map(|id| launch(id, None));

        let (packed_offsets, packed_len) = layout(program, BufferKind::Packed);
        let packed = AlignedBuffer::new(packed_len);
        let (temp_offsets, temp_len) = layout(program, BufferKind::Temp);
        let temps: Vec<AlignedBuffer> = (0..body.threads()).map(|_| AlignedBuffer::new(temp_len)).collect();
        for launch in setup.iter_mut().chain([&mut body]) {
            for &(buffer, offset) in &packed_offsets {
                launch.set(buffer, packed.at(offset));
            }
            for &(buffer, offset) in &temp_offsets {
                for (thread, temps) in temps.iter().enumerate().take(launch.threads()) {
                    launch.set_for(thread, buffer, temps.at(offset));
                }
            }
        }
        let pool = Pool::new(body.threads())?;
        let arguments = arguments(program).map(|i| (i, program.buffers[i].len)).collect();
        Ok(CompiledKernel {
            setup,
            body,
            arguments,
            pool,
            fault: None,
            evictor: None,
            _temps: temps,
            _packed: packed,
            _code: code,
        })
    }

    /// Fills packed weights from the arguments. A kernel whose program has a setup needs this before its first run, and again after
    /// its weights change.
    pub fn setup(&mut self, args: &mut [&mut [f32]]) -> Result<(), CodegenError> {
        check_lengths("buffer", self.arguments.iter().map(|(_, len)| *len), args.iter().map(|arg| arg.len()))?;
        if let Some(setup) = &mut self.setup {
            for ((buffer, _), arg) in self.arguments.iter().zip(args) {
                setup.set(*buffer, arg.as_mut_ptr());
            }
            // SAFETY: the program is verified, the lengths are checked, and exclusive slices do not overlap.
            unsafe { setup.run(&mut self.pool) };
        }
        Ok(())
    }

    /// Runs the program on its arguments, inputs and outputs in the order of its buffers.
    pub fn run(&mut self, args: &mut [&mut [f32]]) -> Result<(), CodegenError> {
        check_lengths("buffer", self.arguments.iter().map(|(_, len)| *len), args.iter().map(|arg| arg.len()))?;
        for ((buffer, _), arg) in self.arguments.iter().zip(&mut *args) {
            self.body.set(*buffer, arg.as_mut_ptr());
        }
        // SAFETY: the program is verified, the lengths are checked, and exclusive slices do not overlap.
        unsafe { self.body.run(&mut self.pool) };
        if let Some(fault) = self.fault {
            fault.commit(args);
        }
        Ok(())
    }

    /// Makes every later run commit this fault.
    pub fn plant(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Reads `bytes` of other memory on every thread of the kernel. This removes the buffers of the kernel from caches that are
    /// smaller than that.
    pub fn evict(&mut self, bytes: usize) {
        let threads = self.pool.threads();
        let share = aligned(bytes / size_of::<f32>());
        let fits = self.evictor.as_ref().is_some_and(|buffer| buffer.len() >= threads * share);
        if !fits {
            // Pages that were never written may all be the same physical page.
            let mut buffer = AlignedBuffer::new(threads * share);
            (0..threads).for_each(|thread| buffer.write(thread * share, &vec![1.0; share]));
            self.evictor = Some(buffer);
        }
        let Some(buffer) = &self.evictor else { return };
        self.pool.run(threads as u32, &|_, piece| {
            let lines = buffer.as_slice()[piece * share..][..share].iter().step_by(aligned(1));
            std::hint::black_box(lines.sum::<f32>());
        });
    }
}

/// Refuses arguments of the wrong number or lengths.
pub(crate) fn check_lengths(
    what: &'static str,
    expected: impl ExactSizeIterator<Item = usize>,
    found: impl ExactSizeIterator<Item = usize>,
) -> Result<(), CodegenError> {
    if expected.len() != found.len() {
        return Err(CodegenError::ArgumentCount { what, expected: expected.len(), found: found.len() });
    }
    for (index, (expected, found)) in expected.zip(found).enumerate() {
        if expected != found {
            return Err(CodegenError::ArgumentLength { what, index, expected, found });
        }
    }
    Ok(())
}
