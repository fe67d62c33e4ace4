//! A function that reports whether the processor can run the code of an object.

use crate::error::CodegenError;
use crate::module::Definitions;
use crate::object::define_constant_function;
use crate::target::{InstructionSet, Target};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Linkage, Module};
use iced_x86::code_asm::{AsmRegister32, CodeAssembler, CodeLabel, eax, ebx, ecx, rbx};

/// Defines `int NAME(void)`, which returns 1 if the processor is at least the target's, and 0 if it is not.
pub(crate) fn define<M: Module>(definitions: &mut Definitions<M>, target: &Target, name: &str) -> Result<FuncId, CodegenError> {
    match target.instruction_set {
        InstructionSet::X86V2 | InstructionSet::X86V3 | InstructionSet::X86V4 => {
            let bytes = ask_x86(target.instruction_set)?;
            let mut signature = definitions.module.make_signature();
            signature.returns.push(AbiParam::new(I32));
            let id = definitions.module.declare_function(name, Linkage::Export, &signature)?;
            definitions.module.define_function_bytes(id, 16, &bytes, &[])?;
            Ok(id)
        }
        InstructionSet::Riscv64V => {
            ask_riscv(definitions)?;
            definitions.define_as(name, Linkage::Export)
        }
        // Every processor of an architecture has its base instruction set.
        InstructionSet::Aarch64 | InstructionSet::Riscv64 => {
            define_constant_function(definitions, I32, 1);
            definitions.define_as(name, Linkage::Export)
        }
    }
}

/// Whether the function calls the C library.
pub(crate) fn asks_the_system(target: &Target) -> bool {
    target.instruction_set == InstructionSet::Riscv64V
}

/// The bits that `cpuid` and `xgetbv` must report; all bits of a mask must be set.
struct Masks {
    /// Leaf 1, `ecx`: SSE3, SSSE3, SSE4.1, SSE4.2, POPCNT; then FMA, OSXSAVE, AVX.
    basic: u32,
    /// The register states that the system saves, in `xcr0`: SSE and AVX; then the three of AVX-512.
    saved: u32,
    /// Leaf 7, `ebx`: BMI1, AVX2, BMI2; then AVX-512 F, DQ, CD, BW, VL.
    extended: u32,
    /// Leaf 0x80000001, `ecx`: LZCNT.
    more: u32,
}

impl Masks {
    fn of(level: InstructionSet) -> Self {
        let bits = |bits: &[u32]| bits.iter().fold(0, |mask, bit| mask | 1 << bit);
        let v2 = Masks { basic: bits(&[0, 9, 19, 20, 23]), saved: 0, extended: 0, more: 0 };
        let v3 =
            Masks { basic: v2.basic | bits(&[12, 27, 28]), saved: bits(&[1, 2]), extended: bits(&[3, 5, 8]), more: bits(&[5]) };
        match level {
            InstructionSet::X86V4 => {
                Masks { saved: v3.saved | bits(&[5, 6, 7]), extended: v3.extended | bits(&[16, 17, 28, 30, 31]), ..v3 }
            }
            InstructionSet::X86V3 => v3,
            _ => v2,
        }
    }
}

/// The function for an x86-64 level.
fn ask_x86(level: InstructionSet) -> Result<Vec<u8>, CodegenError> {
    const EXTENSIONS: u32 = 0x8000_0000;
    let masks = Masks::of(level);
    let mut a = CodeAssembler::new(64)?;
    let mut no = a.create_label();
    a.push(rbx)?;
    ask_leaf(&mut a, 0)?;
    a.cmp(eax, if masks.extended == 0 { 1 } else { 7 })?;
    a.jb(no)?;
    ask_leaf(&mut a, 1)?;
    need(&mut a, ecx, masks.basic, no)?;
    if masks.saved != 0 {
        // The instruction exists because OSXSAVE was found.
        a.xor(ecx, ecx)?;
        a.xgetbv()?;
        need(&mut a, eax, masks.saved, no)?;
    }
    if masks.extended != 0 {
        ask_leaf(&mut a, 7)?;
        need(&mut a, ebx, masks.extended, no)?;
    }
    if masks.more != 0 {
        ask_leaf(&mut a, EXTENSIONS)?;
        a.cmp(eax, EXTENSIONS + 1)?;
        a.jb(no)?;
        ask_leaf(&mut a, EXTENSIONS + 1)?;
        need(&mut a, ecx, masks.more, no)?;
    }
    a.mov(eax, 1)?;
    a.pop(rbx)?;
    a.ret()?;
    a.set_label(&mut no)?;
    a.xor(eax, eax)?;
    a.pop(rbx)?;
    a.ret()?;
    Ok(a.assemble(0)?)
}

fn ask_leaf(a: &mut CodeAssembler, leaf: u32) -> Result<(), CodegenError> {
    a.mov(eax, leaf)?;
    a.xor(ecx, ecx)?;
    a.cpuid()?;
    Ok(())
}

/// Jumps to `no` unless every bit of the mask is set.
fn need(a: &mut CodeAssembler, register: AsmRegister32, mask: u32, no: CodeLabel) -> Result<(), CodegenError> {
    a.and(register, mask)?;
    a.cmp(register, mask)?;
    a.jne(no)?;
    Ok(())
}

/// Fills the context with the function for RISC-V with vectors. Linux reports single-letter extensions in `AT_HWCAP`.
fn ask_riscv<M: Module>(definitions: &mut Definitions<M>) -> Result<(), CodegenError> {
    const AT_HWCAP: i64 = 16;
    let mut signature = definitions.module.make_signature();
    signature.params.push(AbiParam::new(I64));
    signature.returns.push(AbiParam::new(I64));
    let getauxval = definitions.module.declare_function("getauxval", Linkage::Import, &signature)?;
    let mut signature = definitions.module.make_signature();
    signature.returns.push(AbiParam::new(I32));
    let func = &mut definitions.context.func;
    func.signature = signature;
    let getauxval = definitions.module.declare_func_in_func(getauxval, func);
    let config = definitions.module.target_config();
    let mut builder = FunctionBuilder::new(func, &mut definitions.builder);
    let block = builder.create_block();
    builder.switch_to_block(block);
    let key = builder.ins().iconst(I64, AT_HWCAP);
    let call = builder.ins().call(getauxval, &[key]);
    let extensions = builder.inst_results(call)[0];
    let vectors = builder.ins().band_imm_s(extensions, 1 << (b'v' - b'a'));
    let found = builder.ins().icmp_imm_s(IntCC::NotEqual, vectors, 0);
    let found = builder.ins().uextend(I32, found);
    builder.ins().return_(&[found]);
    builder.seal_all_blocks();
    builder.finalize(config);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Code;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_answer_is_that_of_the_standard_library() {
        for name in ["x86-64-v2", "x86-64-v3", "x86-64-v4"] {
            let target = Target::parse(name).unwrap();
            let bytes = ask_x86(target.instruction_set).unwrap();
            let (code, id) = Code::build(&Target::native().unwrap(), |definitions| {
                let signature = definitions.module.make_signature();
                let id = definitions.module.declare_function("supported", Linkage::Local, &signature)?;
                definitions.module.define_function_bytes(id, 16, &bytes, &[])?;
                Ok(id)
            })
            .unwrap();
            // SAFETY: the function has no arguments, returns an integer and follows the calling convention.
            let ask =
                unsafe { std::mem::transmute::<crate::module::TileEntry, unsafe extern "C" fn() -> i32>(code.tile_entry(id)) };
            // SAFETY: as above; the code is alive.
            assert_eq!(unsafe { ask() } == 1, target.runs_here(), "{name}");
        }
    }
}
