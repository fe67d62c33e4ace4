//! Tiles and loop programs as functions of one Cranelift module.
//!
//! [`Definitions`] works with any kind of module, so that code can be looked at for targets that do not run here;
//! [`Code`] is the kind that runs.

use crate::emit_clif::{self, Features};
use crate::emit_loops::{self, Callees, MATH};
use crate::emit_x86;
use crate::error::CodegenError;
use crate::target::Target;
use cranelift_codegen::Context;
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{AbiParam, Signature};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use sonar_ir::loops::{BufferKind, Program, Stmt};
use sonar_ir::tile::Tile;
use std::mem::ManuallyDrop;

/// Functions of a module.
pub(crate) struct Definitions<M: Module> {
    pub module: M,
    target: Target,
    /// Tiles defined so far; equal ones are shared.
    tiles: Vec<(Tile, FuncId)>,
    /// One for each of [`MATH`].
    math: Vec<FuncId>,
    context: Context,
    builder: FunctionBuilderContext,
    /// Texts of what was defined, if they are wanted.
    pub listing: Option<Vec<Listing>>,
    programs: usize,
}

/// One function as text.
pub(crate) struct Listing {
    pub name: String,
    pub source: Source,
}

/// What a function was made from.
pub(crate) enum Source {
    /// Cranelift IR, and the instructions that it became.
    Cranelift { clif: String, assembly: String },
    /// Bytes that were assembled here.
    Bytes(Vec<u8>),
}

/// The functions of a program.
#[derive(Clone, Copy)]
pub(crate) struct ProgramFunctions {
    /// Absent if the setup is empty.
    pub setup: Option<FuncId>,
    pub body: FuncId,
}

impl<M: Module> Definitions<M> {
    pub(crate) fn new(mut module: M, target: &Target, listing: bool) -> Result<Self, CodegenError> {
        let mut signature = module.make_signature();
        signature.params.push(AbiParam::new(F32));
        signature.returns.push(AbiParam::new(F32));
        let math = MATH
            .iter()
            .map(|(_, symbol, _)| Ok(module.declare_function(symbol, Linkage::Import, &signature)?))
            .collect::<Result<_, CodegenError>>()?;
        Ok(Definitions {
            context: module.make_context(),
            module,
            target: target.clone(),
            tiles: Vec::new(),
            math,
            builder: FunctionBuilderContext::new(),
            listing: listing.then(Vec::new),
            programs: 0,
        })
    }

    /// Defines a program and the tiles that it calls.
    pub(crate) fn program(&mut self, program: &Program) -> Result<ProgramFunctions, CodegenError> {
        let tiles = program.tiles.iter().map(|tile| self.tile(tile)).collect::<Result<Vec<_>, _>>()?;
        let number = self.programs;
        self.programs += 1;
        let setup = match program.setup.as_slice() {
            [] => None,
            stmts => Some(self.loops(&format!("setup{number}"), program, stmts, false, &tiles)?),
        };
        let divided = emit_loops::parallel_extent(program).is_some();
        let body = self.loops(&format!("kernel{number}"), program, &program.body, divided, &tiles)?;
        Ok(ProgramFunctions { setup, body })
    }

    fn loops(
        &mut self,
        name: &str,
        program: &Program,
        stmts: &[Stmt],
        divided: bool,
        tiles: &[FuncId],
    ) -> Result<FuncId, CodegenError> {
        let signature = self.signature(3);
        self.context.func.signature = signature;
        let func = &mut self.context.func;
        let tiles = tiles.iter().map(|id| self.module.declare_func_in_func(*id, func)).collect();
        let math = self.math.iter().map(|id| self.module.declare_func_in_func(*id, func)).collect();
        let callees = Callees { tiles, math };
        let config = self.module.target_config();
        emit_loops::emit(program, stmts, divided, &callees, func, &mut self.builder, config)?;
        self.define(name)
    }

    /// Defines a tile, unless an equal one exists already.
    pub(crate) fn tile(&mut self, tile: &Tile) -> Result<FuncId, CodegenError> {
        let same = |other: &Tile| {
            (other.lanes, other.tail, other.pointers) == (tile.lanes, tile.tail, tile.pointers) && other.body == tile.body
        };
        if let Some((_, id)) = self.tiles.iter().find(|(other, _)| same(other)) {
            return Ok(*id);
        }
        if !self.target.supports_lanes(tile.lanes) {
            let (tile, lanes) = (tile.name.clone(), tile.lanes);
            return Err(CodegenError::UnsupportedLanes { tile, lanes, target: self.target.to_string() });
        }
        let name = format!("tile{}", self.tiles.len());
        let signature = self.signature(1);
        let id = if tile.lanes == 4 {
            self.context.func.signature = signature;
            let features = Features { vectors: self.target.has_vectors(), fma: self.target.has_fma() };
            let config = self.module.target_config();
            emit_clif::emit(tile, features, &mut self.context.func, &mut self.builder, config)?;
            self.define(&name)?
        } else {
            let bytes = emit_x86::emit(tile)?;
            let id = self.module.declare_function(&name, Linkage::Local, &signature)?;
            self.module.define_function_bytes(id, emit_x86::ALIGNMENT, &bytes, &[])?;
            if let Some(listing) = &mut self.listing {
                listing.push(Listing { name: format!("{name} ({})", tile.name), source: Source::Bytes(bytes) });
            }
            id
        };
        self.tiles.push((tile.clone(), id));
        Ok(id)
    }

    /// A function of so many addresses or integers.
    fn signature(&self, params: usize) -> Signature {
        let mut signature = self.module.make_signature();
        signature.params.extend((0..params).map(|_| AbiParam::new(I64)));
        signature
    }

    /// Compiles what is in the context.
    fn define(&mut self, name: &str) -> Result<FuncId, CodegenError> {
        let id = self.module.declare_function(name, Linkage::Local, &self.context.func.signature)?;
        let clif = self.listing.is_some().then(|| self.context.func.display().to_string());
        self.context.set_disasm(clif.is_some());
        self.module.define_function(id, &mut self.context)?;
        if let (Some(clif), Some(listing)) = (clif, &mut self.listing) {
            let assembly = self.context.compiled_code().and_then(|code| code.vcode.clone()).unwrap_or_default();
            listing.push(Listing { name: name.to_string(), source: Source::Cranelift { clif, assembly } });
        }
        self.module.clear_context(&mut self.context);
        Ok(id)
    }
}

/// Functions in executable memory, which is freed on drop.
pub(crate) struct Code {
    module: ManuallyDrop<JITModule>,
}

/// The function of a program: addresses of its buffers, and the range of the outermost loop if that is divided.
pub(crate) type ProgramEntry = unsafe extern "C" fn(*const *mut f32, i64, i64);
/// The function of a tile: the array of its pointers.
pub(crate) type TileEntry = unsafe extern "C" fn(*const *mut f32);

impl Code {
    /// Defines functions and makes them executable.
    pub(crate) fn build<T>(
        target: &Target,
        define: impl FnOnce(&mut Definitions<JITModule>) -> Result<T, CodegenError>,
    ) -> Result<(Code, T), CodegenError> {
        if !target.runs_here() {
            return Err(CodegenError::NotRunnable(target.to_string()));
        }
        let mut builder = JITBuilder::with_isa(target.isa()?, default_libcall_names());
        for (_, symbol, function) in MATH {
            builder.symbol(symbol, function as *const u8);
        }
        let mut definitions = Definitions::new(JITModule::new(builder), target, false)?;
        let result = define(&mut definitions);
        // From here on the module is freed on every path.
        let mut code = Code { module: ManuallyDrop::new(definitions.module) };
        let result = result?;
        code.module.finalize_definitions()?;
        Ok((code, result))
    }

    /// The function of a program. It may be called only while this lives.
    pub(crate) fn program_entry(&self, id: FuncId) -> ProgramEntry {
        // SAFETY: the function was defined with this signature by `Definitions::loops`.
        unsafe { std::mem::transmute::<*const u8, ProgramEntry>(self.module.get_finalized_function(id)) }
    }

    /// The function of a tile. It may be called only while this lives.
    pub(crate) fn tile_entry(&self, id: FuncId) -> TileEntry {
        // SAFETY: the function was defined with this signature by `Definitions::tile`.
        unsafe { std::mem::transmute::<*const u8, TileEntry>(self.module.get_finalized_function(id)) }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: the module is not used afterwards, and whoever holds an entry holds this too.
        unsafe { ManuallyDrop::take(&mut self.module).free_memory() }
    }
}

/// Into how many pieces a parallel loop is cut, if it has as many iterations.
const PIECES_PER_THREAD: usize = 4;

/// A compiled program with the addresses of its buffers.
pub(crate) struct Launch {
    entry: ProgramEntry,
    /// Iterations that threads may share.
    extent: Option<usize>,
    /// Addresses of all buffers, for each thread that takes part.
    tables: Vec<Vec<*mut f32>>,
}

// SAFETY: the addresses belong to buffers that the owner of the launch owns, or are set before each run.
unsafe impl Send for Launch {}
// SAFETY: threads only read the tables; what the code writes is divided between them.
unsafe impl Sync for Launch {}

impl Launch {
    /// A launch on `threads` threads (one, unless the body is a parallel loop), with all addresses null.
    pub(crate) fn new(program: &Program, entry: ProgramEntry, threads: usize) -> Launch {
        let extent = emit_loops::parallel_extent(program);
        let threads = if extent.is_some_and(|extent| extent > 1) { threads.max(1) } else { 1 };
        Launch { entry, extent, tables: vec![vec![std::ptr::null_mut(); program.buffers.len()]; threads] }
    }

    /// How many threads may take part.
    pub(crate) fn threads(&self) -> usize {
        self.tables.len()
    }

    /// Sets the address of a buffer for every thread.
    pub(crate) fn set(&mut self, buffer: usize, address: *mut f32) {
        for table in &mut self.tables {
            table[buffer] = address;
        }
    }

    /// Sets the address of a buffer for one thread.
    pub(crate) fn set_for(&mut self, thread: usize, buffer: usize, address: *mut f32) {
        self.tables[thread][buffer] = address;
    }

    /// Runs the program.
    ///
    /// # Safety
    /// Every address is that of a buffer of the length that the program states; no two that overlap are written, and
    /// nothing else uses them meanwhile. The code is alive. The pool has no more threads than this, unless this has one.
    pub(crate) unsafe fn run(&self, pool: &mut crate::Pool) {
        let extent = self.extent.unwrap_or(1);
        if self.tables.len() == 1 {
            // SAFETY: by the contract of this function.
            return unsafe { (self.entry)(self.tables[0].as_ptr(), 0, extent as i64) };
        }
        // More pieces than threads, so that one that is held up does not hold up the others.
        let pieces = extent.min(PIECES_PER_THREAD * self.tables.len());
        pool.run(pieces as u32, &|thread, piece| {
            let bound = |i: usize| (extent * i / pieces) as i64;
            // SAFETY: by the contract of this function; the iterations of a parallel loop are independent, and each
            // thread has its own temporaries.
            unsafe { (self.entry)(self.tables[thread].as_ptr(), bound(piece), bound(piece + 1)) }
        });
    }
}

/// Offsets of the buffers of one kind, laid end to end at multiples of a cache line, and the elements of all together.
pub(crate) fn layout(program: &Program, kind: BufferKind) -> (Vec<(usize, usize)>, usize) {
    let mut offsets = Vec::new();
    let mut end = 0;
    for (i, buffer) in program.buffers.iter().enumerate().filter(|(_, buffer)| buffer.kind == kind) {
        offsets.push((i, end));
        end += crate::buffer::aligned(buffer.len);
    }
    (offsets, end)
}

/// Indices of the buffers that the caller passes.
pub(crate) fn arguments(program: &Program) -> impl Iterator<Item = usize> + '_ {
    let passed = |kind| matches!(kind, BufferKind::Input | BufferKind::Output);
    program.buffers.iter().enumerate().filter(move |(_, buffer)| passed(buffer.kind)).map(|(i, _)| i)
}
