//! Tiles to x86-64 machine code with 256-bit (AVX2, FMA) or 512-bit (AVX-512) vectors.
//!
//! The code is a System V leaf function of one argument, the array of pointers. It uses only registers that the caller
//! saves and the red zone below the stack pointer, and ends in `vzeroupper`. Constants follow the code and are addressed
//! relative to the instruction pointer, so the bytes are position-independent.
//!
//! Masked instructions use a mask register with AVX-512. With AVX2 a masked load takes its mask from the constants. A
//! masked store consists of stores of 16, 8 and 4 bytes, because masked stores are slow on some processors.

mod assembler;
mod encoding;
mod homes;
mod instructions;
mod legalise;

use crate::emit::registers::allocate;
use crate::error::CodegenError;
use assembler::Assembler;
use encoding::{Codes, Width, low_half, memory, rip};
use homes::{ARGUMENTS, Home, Homes, assign_homes};
use iced_x86::{Code, Instruction, MemoryOperand, Register};
use legalise::{check, legalise};
use sonar_ir::tile::{Addr, Ptr, Tile, TileStmt};

/// Alignment that the code needs, in bytes.
pub(crate) const ALIGNMENT: u64 = 64;

/// Machine code of a tile of 8 or 16 lanes.
pub(crate) fn emit(tile: &Tile) -> Result<Vec<u8>, CodegenError> {
    let width = match tile.lanes {
        8 => Width::Avx2,
        16 => Width::Avx512,
        lanes => return Err(unsupported(tile, format!("{lanes} lanes"))),
    };
    check(tile, &tile.body, 0)?;
    let tile = allocate(&legalise(tile, width), Tile::registers(tile.lanes))?;
    let mut emitter =
        Emitter { tile: &tile, width, codes: width.codes(), asm: Assembler::new(), homes: assign_homes(&tile), scratch: None };
    emitter.prologue()?;
    emitter.block(&tile.body, 0)?;
    emitter.asm.push(&Instruction::with(Code::VEX_Vzeroupper))?;
    emitter.asm.push(&Instruction::with(Code::Retnq))?;
    Ok(emitter.asm.finish())
}

fn unsupported(tile: &Tile, reason: impl Into<String>) -> CodegenError {
    CodegenError::Unsupported { name: tile.name.clone(), reason: reason.into() }
}

/// The mask of the first `tail` lanes.
const TAIL_MASK: Register = Register::K1;

/// The code of one tile during emission.
struct Emitter<'t> {
    tile: &'t Tile,
    width: Width,
    codes: &'static Codes,
    asm: Assembler,
    homes: Homes,
    /// The spilled pointer that the scratch register holds.
    scratch: Option<Ptr>,
}

impl Emitter<'_> {
    /// Puts every pointer into its home. The register of the argument array is overwritten last.
    fn prologue(&mut self) -> Result<(), CodegenError> {
        let argument = |i: usize| memory(ARGUMENTS, 8 * i as i64);
        let mut last = None;
        for (i, home) in self.homes.pointers.clone().into_iter().enumerate() {
            match home {
                Home::Nowhere => {}
                Home::Register(ARGUMENTS) => last = Some(i),
                Home::Register(register) => {
                    self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, register, argument(i))?)?;
                }
                Home::Memory(at) => {
                    let scratch = self.scratch_register()?;
                    self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, scratch, argument(i))?)?;
                    self.asm.push(&Instruction::with2(Code::Mov_rm64_r64, memory(Register::RSP, at), scratch)?)?;
                }
            }
        }
        if let Some(i) = last {
            self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, ARGUMENTS, argument(i))?)?;
        }
        if self.width == Width::Avx512 && self.tile.tail > 0 {
            // From memory, because every general register may hold a pointer by now.
            let constant = self.asm.constant((1 << self.tile.tail) - 1, 1);
            self.asm.push_rip(&mut Instruction::with2(Code::VEX_Kmovw_kr_km16, TAIL_MASK, rip())?, constant)?;
        }
        Ok(())
    }

    fn scratch_register(&self) -> Result<Register, CodegenError> {
        self.homes.scratch.ok_or_else(|| CodegenError::Backend("a pointer was spilled without a scratch register".into()))
    }

    fn block(&mut self, block: &[TileStmt], depth: usize) -> Result<(), CodegenError> {
        for stmt in block {
            match stmt {
                TileStmt::Loop { trips: 1, body } => self.block(body, depth)?,
                TileStmt::Loop { trips, body } => self.repeat(*trips, body, depth)?,
                TileStmt::Advance { ptr, by } => self.advance(*ptr, *by)?,
                TileStmt::Inst(inst) => self.inst(inst)?,
            }
        }
        Ok(())
    }

    fn repeat(&mut self, trips: u32, body: &[TileStmt], depth: usize) -> Result<(), CodegenError> {
        let counter = self.homes.counters.get(depth).copied().unwrap_or(Home::Nowhere);
        let trips = i32::try_from(trips).map_err(|_| unsupported(self.tile, format!("{trips} iterations")))?;
        match counter {
            Home::Nowhere => return Err(CodegenError::Backend("a loop has no counter".into())),
            Home::Register(register) => {
                self.asm.push(&Instruction::with2(Code::Mov_r32_imm32, low_half(register), trips)?)?;
            }
            Home::Memory(at) => {
                self.asm.push(&Instruction::with2(Code::Mov_rm32_imm32, memory(Register::RSP, at), trips)?)?;
            }
        }
        self.scratch = None;
        if !body.iter().any(|stmt| matches!(stmt, TileStmt::Loop { .. })) {
            self.asm.align_loop();
        }
        let head = self.asm.position();
        self.block(body, depth + 1)?;
        match counter {
            Home::Nowhere => {}
            Home::Register(register) => self.asm.push(&Instruction::with1(Code::Dec_rm32, low_half(register))?)?,
            Home::Memory(at) => self.asm.push(&Instruction::with1(Code::Dec_rm32, memory(Register::RSP, at))?)?,
        }
        self.scratch = None;
        self.asm.jump_back_if_not_zero(head)
    }

    fn advance(&mut self, ptr: Ptr, by: i32) -> Result<(), CodegenError> {
        let bytes = self.bytes(by)?;
        let code = |near, far| if i8::try_from(bytes).is_ok() { near } else { far };
        match self.homes.pointers[ptr] {
            Home::Nowhere => Ok(()),
            Home::Register(register) => {
                let code = code(Code::Add_rm64_imm8, Code::Add_rm64_imm32);
                self.asm.push(&Instruction::with2(code, register, bytes)?)
            }
            Home::Memory(at) => {
                if self.scratch == Some(ptr) {
                    self.scratch = None;
                }
                let code = code(Code::Add_rm64_imm8, Code::Add_rm64_imm32);
                self.asm.push(&Instruction::with2(code, memory(Register::RSP, at), bytes)?)
            }
        }
    }

    fn bytes(&self, elements: i32) -> Result<i32, CodegenError> {
        elements.checked_mul(4).ok_or_else(|| unsupported(self.tile, format!("an offset of {elements} elements")))
    }

    /// The memory operand of an address plus `extra` bytes. A spilled pointer is loaded first.
    fn address(&mut self, addr: Addr, extra: i64) -> Result<MemoryOperand, CodegenError> {
        let offset = i64::from(self.bytes(addr.offset)?) + extra;
        match self.homes.pointers[addr.ptr] {
            Home::Register(register) => Ok(memory(register, offset)),
            Home::Memory(at) => {
                let scratch = self.scratch_register()?;
                if self.scratch != Some(addr.ptr) {
                    self.asm.push(&Instruction::with2(Code::Mov_r64_rm64, scratch, memory(Register::RSP, at))?)?;
                    self.scratch = Some(addr.ptr);
                }
                Ok(memory(scratch, offset))
            }
            Home::Nowhere => Err(CodegenError::Backend("a pointer has no home".into())),
        }
    }
}
