//! Tiles and loop programs as functions of one Cranelift module.
//!
//! [`Definitions`] works with any kind of module, so that code can be printed for targets that do not run here;
//! [`Code`] is the kind that runs.

pub(crate) mod inspect;

use crate::emit::cranelift_tile::{self, Features};
use crate::emit::loops::math::MathFunction;
use crate::emit::loops::{self, Callees};
use crate::emit::references::References;
use crate::emit::x86;
use crate::error::CodegenError;
use crate::target::Target;
use cranelift_codegen::Context;
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{AbiParam, Signature};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use sonar_ir::loops::{Program, Stmt};
use sonar_ir::tile::Tile;
use std::mem::ManuallyDrop;

/// Functions of a module.
pub(crate) struct Definitions<M: Module> {
    pub module: M,
    target: Target,
    /// Tiles defined so far; equal ones are shared.
    tiles: Vec<(Tile, FuncId)>,
    /// The functions of the C library that were called so far.
    math: Vec<(MathFunction, FuncId)>,
    pub context: Context,
    pub builder: FunctionBuilderContext,
    /// The functions as text, if requested.
    pub listing: Option<Vec<Listing>>,
    setups: usize,
    bodies: usize,
}

/// One function as text.
pub(crate) struct Listing {
    pub name: String,
    pub source: Source,
}

/// The source of a function.
pub(crate) enum Source {
    /// Cranelift IR, and the instructions that it was compiled to.
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
    pub(crate) fn new(module: M, target: &Target, listing: bool) -> Self {
        Definitions {
            context: module.make_context(),
            module,
            target: target.clone(),
            tiles: Vec::new(),
            math: Vec::new(),
            builder: FunctionBuilderContext::new(),
            listing: listing.then(Vec::new),
            setups: 0,
            bodies: 0,
        }
    }

    /// Defines a program and the tiles that it calls.
    pub(crate) fn program(&mut self, program: &Program) -> Result<ProgramFunctions, CodegenError> {
        Ok(ProgramFunctions { setup: self.setup(program)?, body: self.body(program)? })
    }

    /// Defines the setup of a program, if it is not empty.
    pub(crate) fn setup(&mut self, program: &Program) -> Result<Option<FuncId>, CodegenError> {
        if program.setup.is_empty() {
            return Ok(None);
        }
        self.setups += 1;
        self.loops(&format!("setup{}", self.setups - 1), program, &program.setup, false).map(Some)
    }

    /// Defines the body of a program.
    pub(crate) fn body(&mut self, program: &Program) -> Result<FuncId, CodegenError> {
        let divided = loops::parallel_extent(program).is_some();
        self.bodies += 1;
        self.loops(&format!("kernel{}", self.bodies - 1), program, &program.body, divided)
    }

    fn loops(&mut self, name: &str, program: &Program, stmts: &[Stmt], divided: bool) -> Result<FuncId, CodegenError> {
        let uses = References::of(stmts);
        let called = if uses.tiles { &*program.tiles } else { &[] };
        let tiles = called.iter().map(|tile| self.tile(tile)).collect::<Result<Vec<_>, _>>()?;
        for function in uses.functions.iter().filter_map(|op| MathFunction::of(*op)) {
            self.declare_math(function)?;
        }
        let signature = self.signature(3);
        self.context.func.signature = signature;
        let func = &mut self.context.func;
        let tiles = tiles.iter().map(|id| self.module.declare_func_in_func(*id, func)).collect();
        let math = self.math.iter().map(|(function, id)| (*function, self.module.declare_func_in_func(*id, func))).collect();
        let callees = Callees { tiles, math };
        let config = self.module.target_config();
        loops::emit(program, stmts, divided, &callees, func, &mut self.builder, config)?;
        self.define(name)
    }

    /// Declares a function of the C library, unless it is declared already. A declared function must exist when an object is linked.
    fn declare_math(&mut self, function: MathFunction) -> Result<(), CodegenError> {
        if self.math.iter().all(|(known, _)| *known != function) {
            let mut signature = self.module.make_signature();
            signature.params.push(AbiParam::new(F32));
            signature.returns.push(AbiParam::new(F32));
            self.math.push((function, self.module.declare_function(function.symbol(), Linkage::Import, &signature)?));
        }
        Ok(())
    }

    /// Whether functions of the C library were called.
    pub(crate) fn calls_math(&self) -> bool {
        !self.math.is_empty()
    }

    /// Defines a tile, unless an equal one exists already.
    pub(crate) fn tile(&mut self, tile: &Tile) -> Result<FuncId, CodegenError> {
        if let Some((_, id)) = self.tiles.iter().find(|(other, _)| other.same_code(tile)) {
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
            cranelift_tile::emit(tile, features, &mut self.context.func, &mut self.builder, config)?;
            self.define(&name)?
        } else {
            let bytes = x86::emit(tile)?;
            let id = self.module.declare_function(&name, Linkage::Local, &signature)?;
            self.module.define_function_bytes(id, x86::ALIGNMENT, &bytes, &[])?;
            if let Some(listing) = &mut self.listing {
                listing.push(Listing { name: format!("{name} ({})", tile.name), source: Source::Bytes(bytes) });
            }
            id
        };
        self.tiles.push((tile.clone(), id));
        Ok(id)
    }

    /// The signature of a function of `params` addresses or integers.
    fn signature(&self, params: usize) -> Signature {
        let mut signature = self.module.make_signature();
        signature.params.extend((0..params).map(|_| AbiParam::new(I64)));
        signature
    }

    /// Compiles the function in the context.
    fn define(&mut self, name: &str) -> Result<FuncId, CodegenError> {
        self.define_as(name, Linkage::Local)
    }

    /// As [`Definitions::define`], with any linkage.
    pub(crate) fn define_as(&mut self, name: &str, linkage: Linkage) -> Result<FuncId, CodegenError> {
        let id = self.module.declare_function(name, linkage, &self.context.func.signature)?;
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
        let mut builder = JITBuilder::with_isa(target.isa(false)?, default_libcall_names());
        for function in MathFunction::ALL {
            builder.symbol(function.symbol(), function.implementation() as *const u8);
        }
        let mut definitions = Definitions::new(JITModule::new(builder), target, false);
        let result = define(&mut definitions);
        // From here on the module is freed on every path.
        let mut code = Code { module: ManuallyDrop::new(definitions.module) };
        let result = result?;
        code.module.finalize_definitions()?;
        Ok((code, result))
    }

    /// The function of a program. It may be called only while `self` lives.
    pub(crate) fn program_entry(&self, id: FuncId) -> ProgramEntry {
        // SAFETY: the function was defined with this signature by `Definitions::loops`.
        unsafe { std::mem::transmute::<*const u8, ProgramEntry>(self.module.get_finalized_function(id)) }
    }

    /// The function of a tile. It may be called only while `self` lives.
    pub(crate) fn tile_entry(&self, id: FuncId) -> TileEntry {
        // SAFETY: the function was defined with this signature by `Definitions::tile`.
        unsafe { std::mem::transmute::<*const u8, TileEntry>(self.module.get_finalized_function(id)) }
    }
}

// SAFETY: once built, the module is only asked for the addresses of its functions until it is dropped. This changes nothing.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: the module is not used afterwards, and every holder of an entry also holds `self`.
        unsafe { ManuallyDrop::take(&mut self.module).free_memory() }
    }
}
