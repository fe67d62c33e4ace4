//! Vector instructions, one method for each kind.

use super::encoding::{Width, rip, rip_broadcast};
use super::{Emitter, TAIL_MASK, unsupported};
use crate::error::CodegenError;
use iced_x86::{Code, Instruction, Register};
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use sonar_ir::tile::{Addr, BitsOp, Inst, Reg};

/// The predicate "greater than, ordered, quiet" of a vector comparison.
const GREATER: i32 = 0x1e;
/// A permutation of the four parts of a vector that swaps its halves.
const HALVES: u32 = 0b01_00_11_10;
/// A permutation of the four parts of a vector that swaps neighbours.
const NEIGHBOURS: u32 = 0b10_11_00_01;
/// The mask of a comparison's result.
const COMPARE_MASK: Register = Register::K2;

impl Emitter<'_> {
    pub(super) fn inst(&mut self, inst: &Inst) -> Result<(), CodegenError> {
        let r = |reg: Reg| self.width.register(reg);
        let codes = self.codes;
        match *inst {
            Inst::Const { dst, value } => {
                if value.to_bits() == 0 {
                    return self.asm.push(&Instruction::with3(codes.xor, r(dst), r(dst), r(dst))?);
                }
                let mut broadcast = Instruction::with2(codes.broadcast, r(dst), rip())?;
                let constant = self.asm.constant(value.to_bits(), 1);
                self.asm.push_rip(&mut broadcast, constant)
            }
            Inst::Load { dst, addr, masked } => self.load(dst, addr, masked),
            Inst::Store { src, addr, masked } => self.store(src, addr, masked),
            Inst::Broadcast { dst, addr } => {
                let dst = r(dst);
                let address = self.address(addr, 0)?;
                self.asm.push(&Instruction::with2(codes.broadcast, dst, address)?)
            }
            Inst::Copy { dst, a } if dst == a => Ok(()),
            Inst::Copy { dst, a } => self.asm.push(&Instruction::with2(codes.load, r(dst), r(a))?),
            Inst::Unary { op, dst, a } => self.unary(op, r(dst), r(a)),
            Inst::Or { dst, a, b } => self.asm.push(&Instruction::with3(codes.or, r(dst), r(a), r(b))?),
            Inst::Binary { op, dst, a, b } => {
                let code = match op {
                    BinaryOp::Add => codes.add,
                    BinaryOp::Sub => codes.sub,
                    BinaryOp::Mul => codes.mul,
                    BinaryOp::Div => codes.div,
                    BinaryOp::Max => codes.max,
                    BinaryOp::Min => codes.min,
                    BinaryOp::Gate => return self.gate(r(dst), r(a), r(b)),
                };
                self.asm.push(&Instruction::with3(code, r(dst), r(a), r(b))?)
            }
            Inst::Bits { op, dst, a, constant } => match op {
                BitsOp::Shl => self.asm.push(&Instruction::with3(codes.shift_left, r(dst), r(a), constant)?),
                BitsOp::Shr => self.asm.push(&Instruction::with3(codes.shift_right, r(dst), r(a), constant)?),
                BitsOp::And => self.with_constant(codes.and, r(dst), r(a), constant),
                BitsOp::Or => self.with_constant(codes.or, r(dst), r(a), constant),
            },
            Inst::Fill { dst, a, value } => self.fill(r(dst), r(a), value),
            Inst::Swap { dst, a, distance } => {
                let (code, order) = match (self.width, distance) {
                    (Width::Avx512, 8) => (Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, HALVES),
                    (Width::Avx512, 4) => (Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, NEIGHBOURS),
                    (Width::Avx2, 4) => (Code::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, 1),
                    (_, 2) => (codes.shuffle, HALVES),
                    (_, 1) => (codes.shuffle, NEIGHBOURS),
                    _ => return Err(unsupported(self.tile, format!("swapping lanes {distance} apart"))),
                };
                self.asm.push(&Instruction::with4(code, r(dst), r(a), r(a), order)?)
            }
            Inst::StoreFirst { src, addr } => self.store_low(src, addr, 0, 1),
            Inst::Fma { acc, a, b } => self.asm.push(&Instruction::with3(codes.fma, r(acc), r(a), r(b))?),
            Inst::FmaBroadcast { acc, addr, b } => {
                let (acc, b) = (r(acc), r(b));
                let mut address = self.address(addr, 0)?;
                address.is_broadcast = true;
                self.asm.push(&Instruction::with3(codes.fma, acc, b, address)?)
            }
        }
    }

    fn load(&mut self, dst: Reg, addr: Addr, masked: bool) -> Result<(), CodegenError> {
        let dst = self.width.register(dst);
        let address = self.address(addr, 0)?;
        match (masked, self.width) {
            (false, _) => self.asm.push(&Instruction::with2(self.codes.load, dst, address)?),
            (true, Width::Avx512) => {
                let mut load = Instruction::with2(self.codes.load, dst, address)?;
                load.set_op_mask(TAIL_MASK);
                load.set_zeroing_masking(true);
                self.asm.push(&load)
            }
            (true, Width::Avx2) => {
                let mask: Vec<u32> = (0..8).map(|lane| if lane < self.tile.tail { u32::MAX } else { 0 }).collect();
                let constant = self.asm.constants(&mask);
                self.asm.push_rip(&mut Instruction::with2(self.codes.load, dst, rip())?, constant)?;
                self.asm.push(&Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, dst, dst, address)?)
            }
        }
    }

    fn store(&mut self, src: Reg, addr: Addr, masked: bool) -> Result<(), CodegenError> {
        let vector = self.width.register(src);
        match (masked, self.width) {
            (false, _) => {
                let address = self.address(addr, 0)?;
                self.asm.push(&Instruction::with2(self.codes.store, address, vector)?)
            }
            (true, Width::Avx512) => {
                let address = self.address(addr, 0)?;
                let mut store = Instruction::with2(self.codes.store, address, vector)?;
                store.set_op_mask(TAIL_MASK);
                self.asm.push(&store)
            }
            (true, Width::Avx2) if self.tile.tail <= 4 => self.store_low(src, addr, 0, self.tile.tail),
            (true, Width::Avx2) => {
                self.store_low(src, addr, 0, 4)?;
                let swap_halves = Instruction::with4(Code::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, vector, vector, vector, 1)?;
                self.asm.push(&swap_halves)?;
                self.store_low(src, addr, 16, self.tile.tail - 4)?;
                self.asm.push(&swap_halves)
            }
        }
    }

    /// Stores the first 1 to 4 lanes, `extra` bytes after an address.
    fn store_low(&mut self, src: Reg, addr: Addr, extra: i64, count: usize) -> Result<(), CodegenError> {
        let low = Register::XMM0 + src.0;
        let address = self.address(addr, extra)?;
        let first = match count {
            1 if self.width == Width::Avx512 => Code::EVEX_Vmovss_m32_k1_xmm,
            1 => Code::VEX_Vmovss_m32_xmm,
            2 | 3 => Code::VEX_Vmovlps_m64_xmm,
            _ => Code::VEX_Vmovups_xmmm128_xmm,
        };
        self.asm.push(&Instruction::with2(first, address, low)?)?;
        if count == 3 {
            let third = self.address(addr, extra + 8)?;
            self.asm.push(&Instruction::with3(Code::VEX_Vextractps_rm32_xmm_imm8, third, low, 2)?)?;
        }
        Ok(())
    }

    /// `dst` = the first `tail` lanes of `a`, and `value` in the others.
    fn fill(&mut self, dst: Register, a: Register, value: f32) -> Result<(), CodegenError> {
        let of_lanes = |inside: u32, outside: u32| -> Vec<u32> {
            (0..self.tile.lanes).map(|lane| if lane < self.tile.tail { inside } else { outside }).collect()
        };
        let (mask, rest) = (of_lanes(u32::MAX, 0), of_lanes(0, value.to_bits()));
        let mask = self.asm.constants(&mask);
        self.asm.push_rip(&mut Instruction::with3(self.codes.and, dst, a, rip())?, mask)?;
        let rest = self.asm.constants(&rest);
        self.asm.push_rip(&mut Instruction::with3(self.codes.or, dst, dst, rip())?, rest)
    }

    fn unary(&mut self, op: UnaryOp, dst: Register, a: Register) -> Result<(), CodegenError> {
        const SIGN: u32 = 1 << 31;
        match op {
            UnaryOp::Neg => self.with_constant(self.codes.xor, dst, a, SIGN),
            UnaryOp::Abs => self.with_constant(self.codes.and, dst, a, !SIGN),
            UnaryOp::Sqrt => self.asm.push(&Instruction::with2(self.codes.sqrt, dst, a)?),
            UnaryOp::Step => self.step(dst, a),
            _ => Err(unsupported(self.tile, format!("`{op}` is not a vector instruction"))),
        }
    }

    /// Compares with 0: lanes above it are set in the mask register (AVX-512) or in `dst` (AVX2).
    fn above_zero(&mut self, dst: Register, a: Register) -> Result<(), CodegenError> {
        let (code, flags, operand, copies) = match self.width {
            Width::Avx2 => (Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, dst, rip(), 8),
            Width::Avx512 => (Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, COMPARE_MASK, rip_broadcast(), 1),
        };
        let zero = self.asm.constant(0, copies);
        self.asm.push_rip(&mut Instruction::with4(code, flags, a, operand, GREATER)?, zero)
    }

    /// `dst` = `a` where `b > 0`, else 0. With AVX2 `dst` is another register than `a`.
    fn gate(&mut self, dst: Register, a: Register, b: Register) -> Result<(), CodegenError> {
        self.above_zero(dst, b)?;
        match self.width {
            Width::Avx2 => self.asm.push(&Instruction::with3(self.codes.and, dst, dst, a)?),
            Width::Avx512 => {
                let mut copy = Instruction::with2(self.codes.load, dst, a)?;
                copy.set_op_mask(COMPARE_MASK);
                copy.set_zeroing_masking(true);
                self.asm.push(&copy)
            }
        }
    }

    /// `dst` = 1 where `a > 0`, else 0.
    fn step(&mut self, dst: Register, a: Register) -> Result<(), CodegenError> {
        let one = 1f32.to_bits();
        self.above_zero(dst, a)?;
        match self.width {
            Width::Avx2 => self.with_constant(self.codes.and, dst, dst, one),
            Width::Avx512 => {
                let one = self.asm.constant(one, 1);
                let mut broadcast = Instruction::with2(self.codes.broadcast, dst, rip())?;
                broadcast.set_op_mask(COMPARE_MASK);
                broadcast.set_zeroing_masking(true);
                self.asm.push_rip(&mut broadcast, one)
            }
        }
    }

    /// `dst = code(a, value in every lane)`.
    fn with_constant(&mut self, code: Code, dst: Register, a: Register, value: u32) -> Result<(), CodegenError> {
        let (operand, copies) = match self.width {
            Width::Avx2 => (rip(), 8),
            Width::Avx512 => (rip_broadcast(), 1),
        };
        let constant = self.asm.constant(value, copies);
        self.asm.push_rip(&mut Instruction::with3(code, dst, a, operand)?, constant)
    }
}
