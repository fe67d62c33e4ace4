//! A plan with its weights as one object file, for programs in C and in languages that can call C.
//!
//! The object defines three functions. Their names begin with the name of the model:
//!
//! ```c
//! int NAME_run(const float *const *inputs, float *const *outputs, void *workspace);
//! size_t NAME_workspace_size(void);
//! int NAME_supported(void);
//! ```
//!
//! Each of them has a second name, which ends in a fingerprint of the model: `NAME_run_FINGERPRINT`. Programs that are compiled with
//! the model's header call it by that name, so they never reach another model that happens to have the same `NAME`.
//!
//! Everything else in it is local: kernels, tiles, and the constants as read-only data. It is position-independent,
//! has no state and allocates nothing. A run writes only to the workspace and the outputs, so any number of threads can run it at
//! once. Parallel loops run on the calling thread. It needs at most the C library's mathematical functions and, on RISC-V
//! with vectors, `getauxval`.

mod archive;
mod supported;

pub use archive::archive;

use crate::emit::loops::parallel_extent;
use crate::error::CodegenError;
use crate::memory::buffer::AlignedBuffer;
use crate::memory::constants;
use crate::memory::placement::{BufferPlace, Placement, place_buffers};
use crate::module::{Code, Definitions};
use crate::run::model::boundary;
use crate::target::Target;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, Block, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, default_libcall_names};
use cranelift_object::object::SymbolFlags;
use cranelift_object::object::write::Symbol;
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use sonar_ir::entity::EntityVec;
use sonar_ir::plan::{KernelId, Plan};
use sonar_ir::tensor::Tensor;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

/// The most bytes of constants: code addresses an object by signed 32-bit offsets.
const MAX_CONSTANTS: usize = 1 << 30;

/// Alignment of the constants and of the arena within the workspace, in bytes.
const ALIGNMENT: usize = 64;

/// The result of `NAME_run` if a pointer is null.
const NULL_POINTER: i64 = 1;

/// An object file, and the facts that a program needs to link with it.
pub struct ObjectFile {
    /// The file, in the format of the target's system.
    pub bytes: Vec<u8>,
    /// Bytes of the workspace of one run.
    pub workspace_bytes: usize,
    /// Bytes of the constants in it.
    pub weight_bytes: usize,
    /// The end of each function's second name: sixteen hexadecimal digits.
    pub fingerprint: String,
    /// Whether it calls functions of the C library's `libm`.
    pub needs_libm: bool,
    /// Whether it calls other functions of the C library.
    pub needs_libc: bool,
}

/// Compiles a plan to an object file. `value_of` gives the parameters by name. The names of the functions begin with `name`,
/// which must be a valid name in C.
///
/// The target need not be this machine. Code for this machine packs the weights, so this machine needs vectors as wide as those
/// of the setups; otherwise the plan is refused.
pub fn object<'v, E: From<CodegenError>>(
    plan: &Plan,
    target: &Target,
    name: &str,
    mut value_of: impl FnMut(&str) -> Result<Cow<'v, Tensor>, E>,
) -> Result<ObjectFile, E> {
    sonar_ir::verify::plan(plan).map_err(CodegenError::from)?;
    let placement = place_buffers(plan)?;
    let weight_bytes = 4 * placement.constants;
    if weight_bytes > MAX_CONSTANTS {
        return Err(CodegenError::TooLarge { bytes: weight_bytes, limit: MAX_CONSTANTS }.into());
    }
    let constants = pack(plan, &placement, &mut value_of)?;
    let workspace_bytes = 4 * plan.arena + ALIGNMENT;
    let (bytes, fingerprint, needs_libm) = emit(plan, &placement, &constants, &target.portable(), name, workspace_bytes)?;
    let needs_libc = supported::asks_the_system(target);
    Ok(ObjectFile { bytes, workspace_bytes, weight_bytes, fingerprint, needs_libm, needs_libc })
}

/// The constants, packed by code for this machine. The result of a setup does not depend on the target.
fn pack<'v, E: From<CodegenError>>(
    plan: &Plan,
    placement: &Placement,
    value_of: &mut dyn FnMut(&str) -> Result<Cow<'v, Tensor>, E>,
) -> Result<AlignedBuffer, E> {
    let (code, setups) = Code::build(&Target::native()?, |definitions| {
        plan.kernels.iter().map(|kernel| definitions.setup(kernel)).collect::<Result<Vec<_>, _>>()
    })?;
    let setups: EntityVec<_, _> = setups.into_iter().map(|id| id.map(|id| code.program_entry(id))).collect();
    constants::fill(plan, placement, &setups, value_of)
}

/// The object file, its fingerprint, and whether it calls mathematical functions.
fn emit(
    plan: &Plan,
    placement: &Placement,
    constants: &AlignedBuffer,
    target: &Target,
    name: &str,
    workspace_bytes: usize,
) -> Result<(Vec<u8>, String, bool), CodegenError> {
    let builder = ObjectBuilder::new(target.isa(true)?, name, default_libcall_names())?;
    let mut definitions = Definitions::new(ObjectModule::new(builder), target, false);
    let kernels = plan.kernels.iter().map(|kernel| definitions.body(kernel)).collect::<Result<EntityVec<_, _>, _>>()?;
    let data = define_constants(&mut definitions.module, &format!("{name}_weights"), constants)?;
    define_run(&mut definitions, plan, placement, &kernels, data)?;
    let run = definitions.define_as(&format!("{name}_run"), Linkage::Export)?;
    define_constant_function(&mut definitions, I64, workspace_bytes as i64);
    let workspace_size = definitions.define_as(&format!("{name}_workspace_size"), Linkage::Export)?;
    let supported = supported::define(&mut definitions, target, &format!("{name}_supported"))?;
    let needs_libm = definitions.calls_math();
    let mut product = definitions.module.finish();
    let backend = |e: cranelift_object::object::write::Error| CodegenError::Backend(e.to_string());
    let fingerprint = fingerprint(&product.object.write().map_err(backend)?);
    for function in [run, workspace_size, supported] {
        add_second_name(&mut product, function, &fingerprint);
    }
    Ok((product.emit().map_err(backend)?, fingerprint, needs_libm))
}

/// Digits that depend on the code and the constants of an object.
fn fingerprint(object: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(object);
    format!("{:016x}", hasher.finish())
}

/// Gives an exported function a second name that ends in a fingerprint.
fn add_second_name(product: &mut ObjectProduct, function: FuncId, fingerprint: &str) {
    let first = product.object.symbol(product.function_symbol(function));
    let second = Symbol {
        name: [&first.name, b"_".as_slice(), fingerprint.as_bytes()].concat(),
        value: first.value,
        size: first.size,
        kind: first.kind,
        scope: first.scope,
        weak: first.weak,
        section: first.section,
        flags: SymbolFlags::None,
    };
    product.object.add_symbol(second);
}

/// The constants as read-only data. All targets are little-endian.
fn define_constants(module: &mut ObjectModule, name: &str, constants: &AlignedBuffer) -> Result<DataId, CodegenError> {
    let bytes: Vec<u8> = constants.as_slice().iter().flat_map(|value| value.to_le_bytes()).collect();
    let id = module.declare_data(name, Linkage::Local, false, false)?;
    let mut data = DataDescription::new();
    data.define(bytes.into_boxed_slice());
    data.set_align(ALIGNMENT as u64);
    module.define_data(id, &data)?;
    Ok(id)
}

/// Fills the context with a function of no arguments that returns a number.
pub(crate) fn define_constant_function<M: Module>(definitions: &mut Definitions<M>, ty: cranelift_codegen::ir::Type, value: i64) {
    let mut signature = definitions.module.make_signature();
    signature.returns.push(AbiParam::new(ty));
    definitions.context.func.signature = signature;
    let config = definitions.module.target_config();
    let mut builder = FunctionBuilder::new(&mut definitions.context.func, &mut definitions.builder);
    let block = builder.create_block();
    builder.switch_to_block(block);
    let value = builder.ins().iconst(ty, value);
    builder.ins().return_(&[value]);
    builder.seal_all_blocks();
    builder.finalize(config);
}

/// Fills the context with the function that runs a plan: it checks that no pointer is null, and then makes every call in
/// order with a table of the addresses of its buffers.
fn define_run(
    definitions: &mut Definitions<ObjectModule>,
    plan: &Plan,
    placement: &Placement,
    kernels: &EntityVec<KernelId, FuncId>,
    data: DataId,
) -> Result<(), CodegenError> {
    let mut signature = definitions.module.make_signature();
    signature.params.extend([AbiParam::new(I64); 3]);
    signature.returns.push(AbiParam::new(I32));
    let func = &mut definitions.context.func;
    func.signature = signature;
    let kernels: EntityVec<KernelId, _> = kernels.iter().map(|id| definitions.module.declare_func_in_func(*id, func)).collect();
    let data = definitions.module.declare_data_in_func(data, func);
    let config = definitions.module.target_config();
    let mut builder = FunctionBuilder::new(func, &mut definitions.builder);
    let (entry, refused) = (builder.create_block(), builder.create_block());
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let &[inputs, outputs, workspace] = builder.block_params(entry) else {
        return Err(CodegenError::Backend("a function of three parameters has others".to_string()));
    };
    let most = plan.kernels.iter().map(|kernel| kernel.buffers.len()).max().unwrap_or(0);
    let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * most as u32, 3);
    let table = builder.create_sized_stack_slot(slot);
    let mut caller = Caller { builder, refused, inputs, outputs, table };

    let (input_lengths, output_lengths) = boundary(plan);
    caller.refuse_null(workspace);
    for (array, lengths) in [(inputs, input_lengths), (outputs, output_lengths)] {
        if !lengths.is_empty() {
            caller.refuse_null(array);
        }
        for i in 0..lengths.len() {
            let pointer = caller.element(array, i);
            caller.refuse_null(pointer);
        }
    }
    let arena = caller.align(workspace);
    let constants = caller.builder.ins().symbol_value(I64, data);
    for (call, buffers) in plan.calls.iter().zip(&placement.calls) {
        for (buffer, place) in buffers.iter().enumerate() {
            caller.set(buffer, *place, arena, constants);
        }
        let extent = parallel_extent(&plan.kernels[call.kernel]).unwrap_or(1);
        let table = caller.builder.ins().stack_addr(I64, caller.table, 0);
        let low = caller.builder.ins().iconst(I64, 0);
        let high = caller.builder.ins().iconst(I64, extent as i64);
        caller.builder.ins().call(kernels[call.kernel], &[table, low, high]);
    }
    caller.finish();
    caller.builder.seal_all_blocks();
    caller.builder.finalize(config);
    Ok(())
}

/// The function that makes the calls, under construction.
struct Caller<'a> {
    builder: FunctionBuilder<'a>,
    /// The block for a null pointer.
    refused: Block,
    inputs: Value,
    outputs: Value,
    /// Addresses of the buffers of the next call.
    table: StackSlot,
}

impl Caller<'_> {
    fn refuse_null(&mut self, pointer: Value) {
        let next = self.builder.create_block();
        let null = self.builder.ins().icmp_imm_s(IntCC::Equal, pointer, 0);
        self.builder.ins().brif(null, self.refused, &[], next, &[]);
        self.builder.switch_to_block(next);
    }

    /// An element of an array of pointers.
    fn element(&mut self, array: Value, index: usize) -> Value {
        self.builder.ins().load(I64, MemFlagsData::trusted(), array, 8 * index as i32)
    }

    /// The first address from `pointer` on that is aligned to a cache line.
    fn align(&mut self, pointer: Value) -> Value {
        let above = self.builder.ins().iadd_imm_s(pointer, ALIGNMENT as i64 - 1);
        self.builder.ins().band_imm_s(above, -(ALIGNMENT as i64))
    }

    /// Puts the address of a buffer into the table.
    fn set(&mut self, buffer: usize, place: BufferPlace, arena: Value, constants: Value) {
        let address = match place {
            BufferPlace::Input(i) => self.element(self.inputs, i),
            BufferPlace::Output(i) => self.element(self.outputs, i),
            BufferPlace::Constant(offset) => self.builder.ins().iadd_imm_s(constants, 4 * offset as i64),
            BufferPlace::Arena(offset) | BufferPlace::Temp { arena: offset, .. } => {
                self.builder.ins().iadd_imm_s(arena, 4 * offset as i64)
            }
            BufferPlace::Unused => self.builder.ins().iconst(I64, 0),
        };
        self.builder.ins().stack_store(I64, address, self.table, 8 * buffer as i32);
    }

    /// Returns success; the block of null pointers returns failure.
    fn finish(&mut self) {
        let success = self.builder.ins().iconst(I32, 0);
        self.builder.ins().return_(&[success]);
        self.builder.switch_to_block(self.refused);
        let failure = self.builder.ins().iconst(I32, NULL_POINTER);
        self.builder.ins().return_(&[failure]);
    }
}
